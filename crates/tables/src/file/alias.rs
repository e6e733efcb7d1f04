//! Entries of alias files (aliases(5)): `name: value`, both made of the words of RFC 822.
//!
//! The value is stored as it will be parsed again, in external form; so is the name, as Postfix 3.12 does it (before,
//! names were stored without their quotes).

/// A piece of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Plain text.
    Atom(Vec<u8>),
    /// Text that must be quoted, without its quotes.
    Quoted(Vec<u8>),
    /// With its parentheses, as written.
    Comment(Vec<u8>),
    /// Without its brackets.
    Literal(Vec<u8>),
    /// Any other special character.
    Special(u8),
}

/// A name in external form, and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// The name in external form and the value of a logical line; `None` if there is nothing on it. The error is Postfix's
/// text.
pub(super) fn entry(line: &[u8]) -> Result<Option<Entry>, &'static str> {
    let tokens = scan(line);
    if tokens.is_empty() {
        return Ok(None);
    }
    let is = |special: u8| move |token: &Token| *token == Token::Special(special);
    let colon = tokens.iter().position(is(b':')).unwrap_or(0);
    let (name, value) = (&tokens[..colon], tokens.get(colon + 1..).unwrap_or_default());
    if name.is_empty() || value.is_empty() || name.iter().any(is(b',')) {
        return Err("need name:value pair");
    }
    if name.iter().any(is(b'@')) {
        return Err("name must be local");
    }
    Ok(Some((external_name(&written(name, false)), written(value, true))))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Characters with a meaning of their own, in Postfix's reading.
fn is_special(byte: u8) -> bool {
    matches!(
        byte,
        b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'.' | b'[' | b']' | b'!' | b'%' | b'|'
    )
}

/// Must a word with this character be quoted?
fn needs_quotes(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || is_special(byte)
}

fn scan(mut text: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    while let [first, rest @ ..] = text {
        let token;
        (token, text) = match first {
            blank if is_blank(*blank) => {
                text = rest;
                continue;
            }
            b'"' => {
                let (word, rest) = word(rest, |byte| byte != b'"');
                (Token::Quoted(word), rest.get(1..).unwrap_or_default())
            }
            b'[' => {
                let (word, rest) = word(rest, |byte| byte != b']');
                (Token::Literal(word), rest.get(1..).unwrap_or_default())
            }
            b'(' => comment(text),
            special if is_special(*special) && *special != b'\\' => (Token::Special(*special), rest),
            _ => {
                let (word, rest) = word(text, |byte| !is_special(byte) && !is_blank(byte));
                let quoted = word.iter().any(|&byte| needs_quotes(byte));
                (if quoted { Token::Quoted(word) } else { Token::Atom(word) }, rest)
            }
        };
        tokens.push(token);
    }
    tokens
}

/// Characters as long as they belong to the word, and those behind a backslash without it. Blanks of all kinds become
/// spaces.
fn word(text: &[u8], belongs: impl Fn(u8) -> bool) -> (Vec<u8>, &[u8]) {
    let (mut word, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        let byte = match byte {
            b'\\' => {
                at += 1;
                match text.get(at) {
                    Some(&escaped) => escaped,
                    None => break,
                }
            }
            byte if !belongs(byte) => break,
            byte => byte,
        };
        word.push(if is_blank(byte) { b' ' } else { byte });
        at += 1;
    }
    (word, &text[at.min(text.len())..])
}

/// A comment with the comments in it, as written; an open one ends with the text.
fn comment(text: &[u8]) -> (Token, &[u8]) {
    let (mut level, mut at) = (0usize, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'(' => level += 1,
            b')' => level -= 1,
            _ => {}
        }
        if level == 0 {
            break;
        }
    }
    let (comment, rest) = text.split_at(at.min(text.len()));
    (Token::Comment(comment.to_vec()), rest)
}

/// Tokens as text: words are separated by blanks, a comma is followed by one. `external` text can be parsed again.
fn written(tokens: &[Token], external: bool) -> Vec<u8> {
    let mut text = Vec::new();
    let mut after_word = false;
    for token in tokens {
        let is_word = !matches!(token, Token::Special(_));
        let before_route = *token == Token::Special(b'<') && text.last().is_some_and(|&last| last != b' ');
        if after_word && is_word || before_route {
            text.push(b' ');
        }
        match token {
            Token::Atom(word) | Token::Comment(word) => text.extend_from_slice(word),
            Token::Quoted(word) if external => text.extend(quoted(word)),
            Token::Quoted(word) => text.extend_from_slice(word),
            Token::Literal(word) => {
                text.push(b'[');
                let escaped = |&byte: &u8| [b'\\', byte].into_iter().skip(usize::from(byte != b'\\' || !external));
                text.extend(word.iter().flat_map(escaped));
                text.push(b']');
            }
            Token::Special(b',') => text.extend_from_slice(b", "),
            Token::Special(special) => text.push(*special),
        }
        after_word = is_word;
    }
    text
}

fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for &byte in word {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
    text
}

/// A name with quotes around it if it needs them: names like `a.b` don't.
fn external_name(name: &[u8]) -> Vec<u8> {
    let plain = |part: &[u8]| !part.is_empty() && !part.iter().any(|&byte| needs_quotes(byte) && !is_our_special(byte));
    if name.split(|&byte| byte == b'.').all(plain) { name.to_vec() } else { quoted(name) }
}

/// Special when Postfix reads addresses, but not in RFC 822's quoting.
fn is_our_special(byte: u8) -> bool {
    matches!(byte, b'!' | b'%' | b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from postalias(1).
    #[test]
    fn values_are_written_as_postalias_writes_them() {
        for (value, stored) in [
            ("a . b", "a.b"),
            ("a ,b,,c", "a, b, , c"),
            ("a;b", "a;b"),
            ("a<b>c", "a <b>c"),
            ("a < b > c", "a <b>c"),
            ("<d@e><d@e>, <x>", "<d@e> <d@e>, <x>"),
            (":;!<d>", ":;! <d>"),
            ("a(c(d)e)b", "a (c(d)e) b"),
            ("a (unclosed", "a (unclosed"),
            ("\"q\"r", "\"q\" r"),
            ("\"unclosed", "\"unclosed\""),
            ("[unclosed", "[unclosed]"),
            ("a\\b", "ab"),
            ("a\\\"b", "\"a\\\"b\""),
            ("a\\ b", "\"a b\""),
            ("a\\", "a"),
            ("a \\", "a "),
            ("\"a\\\\b\"", "\"a\\\\b\""),
            (":include:/x/y", ":include:/x/y"),
            ("|\"cmd a\"", "|\"cmd a\""),
            ("a# \"q\"", "a# \"q\""),
            ("a\t b", "a b"),
            ("group: a, b; c", "group:a, b;c"),
            ("a,", "a, "),
            ("(a)(b)", "(a) (b)"),
            ("a\"b\"(c)[d]e", "a \"b\" (c) [d] e"),
            ("(a\\)b)", "(a\\)b)"),
            ("(a\\", "(a\\"),
            ("[a\\]b]", "[a]b]"),
            ("[a\\\\b]", "[a\\\\b]"),
            ("\u{1} a", "\"\u{1}\" a"),
            ("\"x\ry\"", "\"x y\""),
            ("a::b c", "a::b c"),
        ] {
            let (_, found) = entry(format!("k: {value}").as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), stored, "{value}");
        }
    }

    #[test]
    fn names_are_quoted_where_they_must() {
        for (name, key) in [
            ("a", "a"),
            ("\"a\"", "a"),
            ("\"a b\"", "\"a b\""),
            ("a b", "\"a b\""),
            ("a . b", "a.b"),
            ("a.", "\"a.\""),
            ("(x) a", "\"(x) a\""),
            ("a\\\"b", "\"a\\\"b\""),
            ("\"a@b\"", "\"a@b\""),
            ("a/b", "a/b"),
            ("|x", "|x"),
            ("\"\"", "\"\""),
            ("\"\u{e9}\"", "\u{e9}"),
        ] {
            let (found, _) = entry(format!("{name}: v").as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), key, "{name}");
        }
    }

    #[test]
    fn what_is_no_entry() {
        for line in ["a b", "a:", ": a", "a,b: c", "a, : c", "\"a: b\""] {
            assert_eq!(entry(line.as_bytes()), Err("need name:value pair"), "{line}");
        }
        assert_eq!(entry(b"a@b: c"), Err("name must be local"));
        assert_eq!(entry(b"\\"), Err("need name:value pair"));
        assert_eq!(entry(b"\r"), Ok(None));
    }
}
