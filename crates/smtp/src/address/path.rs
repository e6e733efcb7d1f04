//! MAIL FROM and RCPT TO arguments (RFC 5321 §4.1.2, RFC 822 where Postfix is lenient).

use unicase::UniCase;

use super::host::{valid_hostaddr, valid_hostname, valid_mailhost_literal};
use super::split_domain;
use super::token::{Token, scan};

/// More tokens than any command line can hold.
const TOKEN_LIMIT: usize = 10_240;

/// How strict to be with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `strict_rfc821_envelopes`: only `<address>`, nothing around it.
    pub strict_rfc821_envelopes: bool,
    /// May the address be empty (MAIL FROM)?
    pub allow_empty: bool,
    /// Was SMTPUTF8 asked for, so that the domain may be non-ASCII?
    pub smtputf8: bool,
    /// `smtputf8_enable`: are non-ASCII letters folded, so that the domain may become ASCII?
    pub smtputf8_enable: bool,
    /// `allow_min_user`: may the address start with `-`?
    pub allow_min_user: bool,
    /// `resolve_numeric_domain`: is `user@1.2.3.4` taken as `user@[1.2.3.4]`?
    pub resolve_numeric_domain: bool,
    /// `resolve_null_domain`: is `user@` taken as an address of this system?
    pub resolve_null_domain: bool,
}

/// The argument is not an address, or not one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal address syntax")]
pub struct SyntaxError;

/// The internal form of the address in a MAIL, RCPT or VRFY argument. Source routes are stripped.
pub fn parse_path(text: &str, rules: PathRules) -> Result<String, SyntaxError> {
    if let Some(address) = plain_path(text) {
        return check(address.to_owned(), rules);
    }
    if rules.strict_rfc821_envelopes && !text.starts_with('<') {
        return Err(SyntaxError);
    }
    let found = addresses(scan(text, TOKEN_LIMIT));
    if found.count > 1 || (rules.strict_rfc821_envelopes && found.other) {
        return Err(SyntaxError);
    }
    check(found.last, rules)
}

/// `<user@domain>` of nothing but ordinary characters: what nearly everybody sends.
fn plain_path(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let plain = |b: u8| b > b' ' && b != 127 && !b"\"(),:;<>@[]\\".contains(&b);
    let (local, domain) = inner.split_once('@')?;
    let both = !local.is_empty() && local.bytes().all(plain) && domain.bytes().all(plain);
    both.then_some(inner)
}

struct Found {
    last: String,
    count: usize,
    other: bool,
}

/// All addresses of a token list; words side by side are addresses of their own, unless `<` makes a phrase of them.
fn addresses(tokens: Vec<Token>) -> Found {
    let mut found = Found { last: String::new(), count: 0, other: false };
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut bracket = false;
    let mut route = false;
    let has_route = |rest: &[Token]| {
        let inside = rest.iter().take_while(|t| **t != Token::Special(b'>')).position(|t| *t == Token::Special(b':'));
        rest.first() == Some(&Token::Special(b'@')) && inside.is_some()
    };
    for (index, token) in tokens.iter().enumerate() {
        if route {
            route = *token != Token::Special(b':');
            continue;
        }
        match token {
            Token::Comment(_) => found.other = true,
            Token::Special(b'<') => {
                found.other |= !words.is_empty();
                words.clear();
                open = false;
                bracket = true;
                route = has_route(&tokens[index + 1..]);
            }
            Token::Special(b'>') => {
                close(&mut words, &mut found);
                open = false;
                bracket = false;
            }
            Token::Special(b',' | b';') => {
                found.other = true;
                close(&mut words, &mut found);
                open = false;
            }
            Token::Special(b':') if !bracket && !words.is_empty() => {
                found.other = true;
                words.clear();
                open = false;
            }
            _ => {
                let word = token.is_word();
                if words.is_empty() || (word && open) {
                    words.push(String::new());
                }
                if let Some(last) = words.last_mut() {
                    token.internal(last);
                }
                open = word;
            }
        }
    }
    close(&mut words, &mut found);
    found
}

fn close(words: &mut Vec<String>, found: &mut Found) {
    found.count += words.len();
    if let Some(last) = words.pop() {
        found.last = last;
    }
    words.clear();
}

/// What the address resolver calls an error: a bad domain or literal, a leading `-`.
fn check(address: String, rules: PathRules) -> Result<String, SyntaxError> {
    let good = if address.is_empty() {
        rules.allow_empty
    } else if (rules.strict_rfc821_envelopes && address.starts_with('@'))
        || (address.starts_with('-') && !rules.allow_min_user)
    {
        false
    } else {
        match split_domain(&address) {
            (_, Some("")) if rules.resolve_null_domain => true,
            (_, Some("")) => {
                let inner = address.trim_end_matches('@');
                // what stands before may be an address in another notation, which those who resolve it know
                inner.contains(['%', '!'])
                    || matches!(split_domain(inner), (_, Some(domain)) if valid_domain(domain, rules))
            }
            (_, Some(domain)) => valid_domain(domain, rules),
            (local, None) => !local.starts_with('[') || valid_domain(local, rules),
        }
    };
    if good { Ok(address) } else { Err(SyntaxError) }
}

fn valid_domain(domain: &str, rules: PathRules) -> bool {
    if domain.starts_with('[') {
        return valid_mailhost_literal(domain);
    }
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // the case is folded before anybody looks: a sharp s is ss
    let folds = || rules.smtputf8_enable && UniCase::unicode(domain).to_folded_case().is_ascii();
    if !rules.smtputf8 && !domain.is_ascii() && !folds() {
        return false;
    }
    valid_hostname(domain) || (rules.resolve_numeric_domain && valid_hostaddr(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Postfix: argument, internal form (`!` = syntax error).
    const LENIENT: &[(&str, &str)] = &[
        ("<@a.example,@b.example:user@c.example>", "user@c.example"),
        ("@a.example:user@c.example", "user@c.example"),
        ("<@c.example>", "@c.example"),
        ("<a@[1.2.3]>", "!"),
        ("<a@[1.2.3.4]>", "a@[1.2.3.4]"),
        ("<a@1.2.3.4>", "!"),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("<a@[IPv6:1.2.3.4]>", "!"),
        ("<a@[ipv6:2001:db8::1]>", "a@[ipv6:2001:db8::1]"),
        ("<a@[2001:db8::1]>", "!"),
        ("<a@exa_mple.org>", "a@exa_mple.org"),
        ("<a@-example.org>", "!"),
        ("<a@example-.org>", "!"),
        ("<a@example..org>", "!"),
        ("<a@.example.org>", "!"),
        ("<a@example.org.>", "a@example.org."),
        ("<a@example.org..>", "!"),
        ("<a.@example.org>", "a.@example.org"),
        ("<.a@example.org>", ".a@example.org"),
        ("<a..b@example.org>", "a..b@example.org"),
        ("<-a@example.org>", "!"),
        ("<a\\b@example.org>", "ab@example.org"),
        ("<a\\ b@example.org>", "a b@example.org"),
        ("<a b@example.org>", "!"),
        ("<\"a b\"@example.org>", "a b@example.org"),
        ("<\"a\\\"b\"@example.org>", "a\"b@example.org"),
        ("<\"a\\\\b\"@example.org>", "a\\b@example.org"),
        ("<\"\">", "!"),
        ("<\"\"@example.org>", "@example.org"),
        ("<>", "!"),
        ("< a@example.org >", "a@example.org"),
        ("<a @ example.org>", "a@example.org"),
        ("<a(comment)@example.org>", "a@example.org"),
        ("<a@example.org(comment)>", "a@example.org"),
        ("(comment)a@example.org", "a@example.org"),
        ("\"Foo Bar\"<a@example.org>", "a@example.org"),
        ("Foo<a@example.org>", "a@example.org"),
        ("<a@b@example.org>", "a@b@example.org"),
        ("<a@@example.org>", "a@@example.org"),
        ("<a@example.org>,", "a@example.org"),
        ("a@example.org,", "a@example.org"),
        ("a@example.org;", "a@example.org"),
        ("a@example.org,b@example.org", "!"),
        ("<a,b@example.org>", "!"),
        ("<a;b@example.org>", "!"),
        ("<a:b@example.org>", "a:b@example.org"),
        ("group:a@example.org;", "a@example.org"),
        ("<a@example.org><b@example.org>", "!"),
        ("<a@example.org>x", "!"),
        ("<<a@example.org>>", "a@example.org"),
        ("<a@example.org>>", "a@example.org"),
        (">a@example.org", "a@example.org"),
        ("a>b@example.org", "!"),
        ("<a)@example.org>", "a)@example.org"),
        ("<a(@example.org>", "a"),
        ("<a]b@example.org>", "a]b@example.org"),
        ("<a\"b\"c@example.org>", "!"),
        ("<a.b \"c\"@example.org>", "!"),
        ("<a!b>", "a!b"),
        ("<a%b.example@example.com>", "a%b.example@example.com"),
        ("user", "user"),
        ("<user@>", "!"),
        ("<user%example.org@>", "user%example.org@"),
        ("<a@example.org.@>", "a@example.org.@"),
        ("<a@exa mple.org>", "!"),
        ("<a@\"example\".org>", "a@example.org"),
        ("<a@exam\\ple.org>", "a@example.org"),
        ("<a@[1.2.3.4>", "a@[1.2.3.4]"),
        ("<a@[1.2.3.4].example>", "!"),
        ("<a@[ 1.2.3.4 ]>", "!"),
        ("<a@example.123>", "a@example.123"),
        ("<a@123.123>", "!"),
        ("<a@ex+ample.org>", "!"),
        ("<é@example.org>", "é@example.org"),
        ("<a@é.example.org>", "!"),
        ("[a@b]", "!"),
        ("[1.2.3.4]", "[1.2.3.4]"),
        (".", "."),
        (":", ":"),
        ("<@>", "!"),
        ("<@:a@b.example>", "a@b.example"),
        ("<@a:@b:c@d.example>", "@b:c@d.example"),
        ("\\a@b.example", "a@b.example"),
        ("a\\", "a"),
        ("<a\\>@b.example>", "a>@b.example"),
    ];

    #[test]
    fn lenient_forms() {
        for (text, expected) in LENIENT {
            let got = parse_path(text, PathRules::default());
            assert_eq!(got.as_deref().unwrap_or("!"), *expected, "{text}");
        }
    }

    #[test]
    fn strict_forms() {
        let rules = PathRules { strict_rfc821_envelopes: true, ..PathRules::default() };
        for (text, expected) in [
            ("<@a.example,@b.example:user@c.example>", "user@c.example"),
            ("<@c.example>", "!"),
            ("< a@example.org >", "a@example.org"),
            ("<a(comment)@example.org>", "!"),
            ("<a b@example.org>", "!"),
            ("<a\\ b@example.org>", "a b@example.org"),
            ("<a@example.org>,", "!"),
            ("<<a@example.org>>", "a@example.org"),
            ("<a@example.org>>", "a@example.org"),
            ("<a:b@example.org>", "a:b@example.org"),
            ("<foo <a@b>>", "!"),
            ("<user>", "user"),
            ("a@example.org", "!"),
            ("Some", "!"),
        ] {
            assert_eq!(parse_path(text, rules).as_deref().unwrap_or("!"), expected, "{text}");
        }
    }

    #[test]
    fn what_rules_allow() {
        let empty = PathRules { allow_empty: true, ..PathRules::default() };
        assert_eq!(parse_path("<>", empty), Ok(String::new()));
        let utf8 = PathRules { smtputf8: true, ..PathRules::default() };
        assert_eq!(parse_path("<a@é.example.org>", utf8).as_deref(), Ok("a@é.example.org"));
        let minus = PathRules { allow_min_user: true, ..PathRules::default() };
        assert_eq!(parse_path("<-a@example.org>", minus).as_deref(), Ok("-a@example.org"));
        let null = PathRules { resolve_null_domain: true, ..PathRules::default() };
        assert_eq!(parse_path("<a@>", null).as_deref(), Ok("a@"));
        assert_eq!(parse_path("<a@>", PathRules::default()), Err(SyntaxError));
        let numeric = PathRules { resolve_numeric_domain: true, ..PathRules::default() };
        assert_eq!(parse_path("<a@1.2.3.4>", numeric).as_deref(), Ok("a@1.2.3.4"));
    }
}
