//! Address lists in message headers, for a rewriter that replaces just the addresses.

use super::quote_local;
use super::token::{Token, scan};

/// `header_address_token_limit`: tokens beyond this many are dropped.
pub const HEADER_ADDRESS_TOKEN_LIMIT: usize = 10_240;

/// A piece of an address list: an address, or what stands around it.
enum Piece {
    Address(Vec<Token>),
    Other(Token),
}

/// Offer every address of a header value (`From: `, `To: ` and the like already cut off) to `rewrite`, in internal form.
/// When it changes any, the whole value comes back in external form, one address a line (`a@x,\nb@y`), as
/// [`fold_header`] wants it; `None` when nothing changed, so that the header can stay as it was.
pub fn rewrite_addresses(value: &str, rewrite: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let pieces = parse(value);
    let mut changed = false;
    let mut out = String::with_capacity(value.len());
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Other(Token::Special(b',')) => {
                out.push(',');
                if index + 1 < pieces.len() {
                    out.push('\n');
                }
                continue;
            }
            Piece::Other(token) => token.external(&mut out),
            Piece::Address(tokens) => {
                let mut internal = String::new();
                for token in tokens {
                    if *token == Token::Special(b'<') && !internal.is_empty() {
                        internal.push(' ');
                    }
                    token.internal(&mut internal);
                }
                match rewrite(&internal).filter(|new| *new != internal) {
                    Some(new) => {
                        changed = true;
                        out.push_str(&quote_local(&new));
                    }
                    None => tokens.iter().for_each(|token| token.external(&mut out)),
                }
            }
        }
        if pieces.get(index + 1).is_some_and(|next| space_between(piece, next)) {
            out.push(' ');
        }
    }
    changed.then_some(out)
}

/// All addresses of a header value, in internal form.
pub fn addresses(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    rewrite_addresses(value, &mut |address| {
        found.push(address.to_owned());
        None
    });
    found
}

/// Lay out a rewritten header (`Name: value`, one address a line): as many addresses on a line as fit, further lines
/// begin with a tab.
pub fn fold_header(header: &str) -> String {
    let mut out = String::with_capacity(header.len() + 8);
    let mut width = 0;
    for (index, line) in header.split('\n').enumerate() {
        if index == 0 {
            width = line.len();
        } else if width + 1 + line.len() < 70 {
            out.push(' ');
            width += 1 + line.len();
        } else {
            out.push('\n');
            if !line.starts_with([' ', '\t']) {
                out.push('\t');
            }
            width = line.len();
        }
        out.push_str(line);
    }
    out
}

/// Words, comments and addresses are kept apart; `<` and the members of a group stand away from what is before them.
fn space_between(piece: &Piece, next: &Piece) -> bool {
    let is_text = |piece: &Piece| match piece {
        Piece::Address(_) => true,
        Piece::Other(token) => token.is_word() || matches!(token, Token::Comment(_)),
    };
    match (piece, next) {
        (_, Piece::Other(Token::Special(b'<'))) => true,
        (Piece::Other(Token::Special(b':')), Piece::Address(_)) => true,
        (piece, next) => is_text(piece) && is_text(next),
    }
}

/// What the parser, on its way from the end to the beginning, takes words for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Addresses, side by side.
    Words,
    /// One address, between `<` and `>`.
    Bracket,
    /// A name before `<`.
    Phrase,
    /// A name before `:` of a group.
    GroupName,
}

/// Reads from the end, where it shows whether words are a name or an address, as Postfix does.
struct Parser {
    /// Last first.
    pieces: Vec<Piece>,
    /// The address at hand, last token first.
    run: Vec<Token>,
    /// The comments in it, last first.
    comments: Vec<Token>,
    mode: Mode,
    in_group: bool,
}

/// Addresses, and the phrases, comments and separators around them.
fn parse(value: &str) -> Vec<Piece> {
    let mut tokens = scan(value, HEADER_ADDRESS_TOKEN_LIMIT);
    let mut parser =
        Parser { pieces: Vec::new(), run: Vec::new(), comments: Vec::new(), mode: Mode::Words, in_group: false };
    // Without its `>`, a `<` is a character like others.
    let mut is_open = false;
    let mut has_route = false;
    while let Some(token) = tokens.pop() {
        match token {
            Token::Special(b',') if !(parser.mode == Mode::Bracket && has_route) => {
                parser.close(false);
                parser.begin(Mode::Words, token);
                is_open = false;
            }
            _ if parser.mode == Mode::GroupName => parser.pieces.push(Piece::Other(token)),
            Token::Special(b'>') => {
                parser.close(true);
                parser.begin(Mode::Bracket, token);
                is_open = true;
                has_route = begins_with_route(&tokens);
            }
            Token::Special(b'<') if is_open => {
                parser.close(false);
                parser.begin(Mode::Phrase, token);
                is_open = false;
            }
            Token::Special(b';') if parser.mode != Mode::Bracket => {
                parser.close(true);
                parser.begin(Mode::Words, token);
                parser.in_group = true;
            }
            Token::Special(b':') if parser.mode == Mode::Phrase || (parser.mode == Mode::Words && parser.in_group) => {
                parser.close(false);
                let mode = if parser.in_group { Mode::GroupName } else { Mode::Words };
                parser.begin(mode, token);
                parser.in_group = false;
            }
            token => parser.take(token),
        }
    }
    parser.close(false);
    parser.pieces.reverse();
    parser.pieces
}

/// Do the tokens before a `>` begin with a route, `<@a,@b:user@c>`, whose commas separate no addresses?
fn begins_with_route(before: &[Token]) -> bool {
    let inside = before.iter().rev().take_while(|token| !matches!(token, Token::Special(b'<' | b'>')));
    inside.last() == Some(&Token::Special(b'@'))
}

impl Parser {
    fn begin(&mut self, mode: Mode, token: Token) {
        self.pieces.push(Piece::Other(token));
        self.mode = mode;
    }

    /// One more word or comment.
    fn take(&mut self, token: Token) {
        match (self.mode, &token) {
            (Mode::Phrase | Mode::GroupName, _) => self.pieces.push(Piece::Other(token)),
            (_, Token::Comment(_)) => self.comments.push(token),
            (Mode::Words, token_ref) if token_ref.is_word() && self.run.last().is_some_and(Token::is_word) => {
                self.close(true);
                self.run.push(token);
            }
            _ => self.run.push(token),
        }
    }

    /// The address at hand is complete; its comments come after it. An address before something that is not
    /// separated from it gets a comma.
    fn close(&mut self, separate: bool) {
        let is_empty_bracket = self.mode == Mode::Bracket && self.run.is_empty() && self.comments.is_empty();
        self.pieces.extend(self.comments.drain(..).map(Piece::Other));
        if self.run.is_empty() && !is_empty_bracket {
            return;
        }
        let mut address: Vec<Token> = self.run.drain(..).rev().collect();
        if address.first() == Some(&Token::Special(b'@'))
            && let Some(end) = address.iter().position(|token| *token == Token::Special(b':'))
        {
            address.drain(..=end);
        }
        self.pieces.push(Piece::Address(address));
        if separate && self.mode == Mode::Words {
            self.pieces.push(Piece::Other(Token::Special(b',')));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_domain(value: &str) -> Option<String> {
        rewrite_addresses(value, &mut |address| {
            (!address.contains('@') && !address.is_empty()).then(|| format!("{address}@example.com"))
        })
    }

    #[test]
    fn addresses_are_replaced_in_place() {
        for (value, expected) in [
            ("user", Some("user@example.com")),
            ("user@host", None),
            ("Foo Bar <user>", Some("Foo Bar <user@example.com>")),
            ("\"Foo, Bar\" <user>", Some("\"Foo, Bar\" <user@example.com>")),
            ("<user> (comment)", Some("<user@example.com>(comment)")),
            ("user (comment)", Some("user@example.com (comment)")),
            ("a, b@c ,d", Some("a@example.com,\nb@c,\nd@example.com")),
            ("group: a, b@c;", Some("group: a@example.com,\nb@c;")),
            ("<>", None),
            ("\"two words\"", Some("\"two words\"@example.com")),
            ("\"two words\"@x, a", Some("\"two words\"@x,\na@example.com")),
            ("<@relay:user>", Some("<user@example.com>")),
        ] {
            assert_eq!(add_domain(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn layouts_are_those_of_cleanup() {
        // Left what was sent, right what cleanup(8) made of it.
        for (value, expected) in [
            ("a b c", "a@example.com, b@example.com, c@example.com"),
            ("(c1) a (c2)", "a@example.com (c1) (c2)"),
            ("<b> (c4)", "<b@example.com>(c4)"),
            ("<z z>", "<zz@example.com>"),
            ("a;b", "a@example.com;, b@example.com"),
            ("foo: bar: baz;", "foo:bar: baz@example.com;"),
            ("A.B.C. <x>", "A.B.C. <x@example.com>"),
            ("<b> c", "<b@example.com>, c@example.com"),
            ("<b> <c>", "<b@example.com> <c@example.com>"),
            ("a <b> c d", "a <b@example.com>, c@example.com, d@example.com"),
            ("a (c) b", "a@example.com, b@example.com (c)"),
            ("(c) <b>", "(c) <b@example.com>"),
            ("x (c) <b>", "x (c) <b@example.com>"),
            ("x (c) y <b>", "x (c) y <b@example.com>"),
            ("a , (c) b", "a@example.com, b@example.com (c)"),
            ("(c)", "(c)"),
            ("(c), a", "(c), a@example.com"),
            ("a (c), b (d)", "a@example.com (c), b@example.com (d)"),
            ("g: a, b;", "g: a@example.com, b@example.com;"),
            ("g: a; h: b;", "g:a;h: b@example.com;"),
            ("g:;", "g:;"),
            ("g: a b;", "g: a@example.com, b@example.com;"),
            ("g: (c) a;", "g: a@example.com (c);"),
            ("x y: a;", "x y: a@example.com;"),
            ("<b>, <c>", "<b@example.com>, <c@example.com>"),
            ("a@b c@d", "a@b, c@d"),
            ("a @ b", "a@b"),
            ("a . b", "a.b@example.com"),
            ("\"q q\" r", "\"q q\"@example.com, r@example.com"),
            ("a@[1.2.3.4] x", "a@[1.2.3.4], x@example.com"),
            ("x <y> (c) z", "x <y@example.com>, z@example.com (c)"),
            ("<y> (c) (d)", "<y@example.com>(c) (d)"),
            ("(c) a", "a@example.com (c)"),
            ("a(c)b", "a@example.com, b@example.com (c)"),
            ("a@(c)b", "a@b (c)"),
            ("a.(c)b", "a.b@example.com (c)"),
            ("<(c) a>", "<a@example.com (c)>"),
            ("<a (c)>", "<a@example.com (c)>"),
            ("<(c)>", "<(c)>"),
            ("a;", "a@example.com;"),
            ("a;,b", "a@example.com;, b@example.com"),
            ("a,;b", "a@example.com, ;, b@example.com"),
            ("a;<b>", "a@example.com; <b@example.com>"),
            ("a<b>", "a <b@example.com>"),
            ("a:b", "\"a:b\"@example.com"),
            ("a:<b>", "a@example.com: <b@example.com>"),
            ("a: (c)", "\"a:\"@example.com (c)"),
            ("a ; b", "a@example.com;, b@example.com"),
            ("@r:b", "b@example.com"),
            ("<@r:b>", "<b@example.com>"),
            ("<@r,@s:b>", "<b@example.com>"),
            ("<a", "\"<a\"@example.com"),
            ("a>", "a@example.com>"),
            ("a <b", "\"a <b\"@example.com"),
            ("x <a, y", "\"x <a\"@example.com, y@example.com"),
            ("a b@c", "a@example.com, b@c"),
            ("a b@c d", "a@example.com, b@c, d@example.com"),
            ("\"a\"b", "a@example.com, b@example.com"),
            ("a\"b\"", "a@example.com, b@example.com"),
            ("b\\ c", "\"b c\"@example.com"),
            ("<b c@d>", "<bc@d>"),
            ("<a> b <c>", "<a@example.com>b <c@example.com>"),
            ("(c) (d) a b (e)", "a@example.com (c) (d), b@example.com (e)"),
            (";a", ";, a@example.com"),
            (":a", "\":a\"@example.com"),
            (",a", ", a@example.com"),
            ("a,,b", "a@example.com, , b@example.com"),
            ("g: <a>, \"x y\" <b>;", "g: <a@example.com>, \"x y\" <b@example.com>;"),
        ] {
            let laid_out = rewrite_addresses(value, &mut |address| {
                // Any change will do: addresses with a domain are written anew, too.
                Some(if address.contains('@') || address.is_empty() {
                    format!("{address}~")
                } else {
                    format!("{address}@example.com")
                })
            });
            let laid_out = laid_out.unwrap_or_else(|| value.to_owned()).replace(",\n", ", ").replace('~', "");
            assert_eq!(laid_out, expected, "{value}");
        }
    }

    #[test]
    fn listing() {
        assert_eq!(addresses("A <a@x>, \"q q\"@y (c), g: h@z;"), ["a@x", "q q@y", "h@z"]);
    }

    #[test]
    fn folding_fills_lines_up_to_seventy() {
        assert_eq!(fold_header("To: a@example.com,\nb@example.com"), "To: a@example.com, b@example.com");
        let long = format!("To: {}@example.com,\nb@example.com", "a".repeat(60));
        assert_eq!(fold_header(&long), format!("To: {}@example.com,\n\tb@example.com", "a".repeat(60)));
    }
}
