//! Tokens of RFC 822 addresses, read as leniently as Postfix's tok822 does.

/// One token, with its value in internal form: quotes, backslashes and brackets are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A run of ordinary characters. The flag tells that it held characters that need quotes.
    Atom(String),
    /// `"…"`, or an atom that needs quotes in external form.
    Quoted(String),
    /// `[…]`
    Literal(String),
    /// `(…)`, as written.
    Comment(String),
    /// One special character.
    Special(u8),
}

impl Token {
    /// Atom, quoted string or domain literal?
    pub(crate) fn is_word(&self) -> bool {
        matches!(self, Token::Atom(_) | Token::Quoted(_) | Token::Literal(_))
    }

    /// Append the internal form.
    pub(crate) fn internal(&self, out: &mut String) {
        match self {
            Token::Atom(text) | Token::Quoted(text) | Token::Comment(text) => out.push_str(text),
            Token::Literal(text) => {
                out.push('[');
                out.push_str(text);
                out.push(']');
            }
            Token::Special(byte) => out.push(char::from(*byte)),
        }
    }

    /// Append the external form.
    pub(crate) fn external(&self, out: &mut String) {
        match self {
            Token::Quoted(text) => {
                out.push('"');
                for c in text.chars() {
                    if matches!(c, '"' | '\\' | '\r') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            }
            _ => self.internal(out),
        }
    }
}

const SPECIALS: &[u8] = b"\"(),.:;<>@[]%!";

/// Cut `text` into at most `limit` tokens.
pub(crate) fn scan(text: &str, limit: usize) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() && tokens.len() < limit {
        let token = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' | 11 | 12 => {
                at += 1;
                continue;
            }
            b'(' => comment(text, &mut at),
            b'"' => Token::Quoted(enclosed(text, &mut at, b'"')),
            b'[' => Token::Literal(enclosed(text, &mut at, b']')),
            byte if SPECIALS.contains(&byte) => {
                at += 1;
                Token::Special(byte)
            }
            _ => atom(text, &mut at),
        };
        tokens.push(token);
    }
    tokens
}

/// A comment with the comments in it, as written; an unclosed one is closed.
fn comment(text: &str, at: &mut usize) -> Token {
    let bytes = text.as_bytes();
    let start = *at;
    let mut depth = 0usize;
    while *at < bytes.len() {
        let byte = bytes[*at];
        *at += 1;
        match byte {
            b'\\' => *at += usize::from(*at < bytes.len()),
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    while !text.is_char_boundary(*at) {
        *at += 1;
    }
    let mut value = text[start..*at].to_owned();
    value.extend(std::iter::repeat_n(')', depth));
    Token::Comment(value)
}

/// What stands between the byte at `at` and the closing `end`, backslashes taken off.
fn enclosed(text: &str, at: &mut usize, end: u8) -> String {
    let mut value = String::new();
    *at += 1;
    let start = *at;
    // An unclosed literal leaves a final `>` alone: `<user@[192.0.2.1>`.
    let unclosed = end == b']' && !text[start..].contains(']') && text[start..].ends_with('>');
    let stop = text.len() - usize::from(unclosed);
    let mut chars = text[start..stop].char_indices();
    *at = stop;
    while let Some((offset, c)) = chars.next() {
        if c == char::from(end) {
            *at = start + offset + 1;
            break;
        }
        if c == '\\' {
            value.extend(chars.next().map(|(_, c)| c));
        } else {
            value.push(c);
        }
    }
    value
}

fn atom(text: &str, at: &mut usize) -> Token {
    let mut value = String::new();
    let mut quote = false;
    let start = *at;
    let mut chars = text[start..].char_indices();
    *at = text.len();
    while let Some((offset, c)) = chars.next() {
        if c == '\\' {
            let Some((_, c)) = chars.next() else { break };
            quote |= c.is_ascii() && (c <= ' ' || c == '\x7f' || c == '\\' || SPECIALS.contains(&(c as u8)));
            value.push(c);
        } else if c.is_ascii_whitespace() || c == '\x0b' || (c.is_ascii() && SPECIALS.contains(&(c as u8))) {
            *at = start + offset;
            break;
        } else {
            quote |= c.is_ascii_control();
            value.push(c);
        }
    }
    if quote { Token::Quoted(value) } else { Token::Atom(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (String, String) {
        let (mut internal, mut external) = (String::new(), String::new());
        for token in scan(text, 100) {
            token.internal(&mut internal);
            token.external(&mut external);
            internal.push('|');
            external.push('|');
        }
        (internal, external)
    }

    #[test]
    fn tokens() {
        for (text, internal, external) in [
            ("a@b.c", "a|@|b|.|c|", "a|@|b|.|c|"),
            ("\"a b\" @ [1.2 ]", "a b|@|[1.2 ]|", "\"a b\"|@|[1.2 ]|"),
            ("a\\ b", "a b|", "\"a b\"|"),
            ("a\\b", "ab|", "ab|"),
            ("x (c (d) \\) e) y", "x|(c (d) \\) e)|y|", "x|(c (d) \\) e)|y|"),
            ("(open", "(open)|", "(open)|"),
            ("(open \\é", "(open \\é)|", "(open \\é)|"),
            ("[open", "[open]|", "[open]|"),
            ("\"q\\\"\\\\\"", "q\"\\|", "\"q\\\"\\\\\"|"),
            ("a\\", "a|", "a|"),
        ] {
            assert_eq!(shown(text), (internal.to_owned(), external.to_owned()), "{text}");
        }
        assert_eq!(scan("a.b.c", 2).len(), 2);
    }
}
