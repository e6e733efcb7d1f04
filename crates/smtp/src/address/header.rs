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
                tokens.iter().for_each(|token| token.internal(&mut internal));
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

fn space_between(piece: &Piece, next: &Piece) -> bool {
    let word = |p: &Piece| match p {
        Piece::Address(_) => true,
        Piece::Other(token) => token.is_word() || matches!(token, Token::Comment(_)),
    };
    match (piece, next) {
        (Piece::Other(Token::Special(b'>' | b';' | b':')), next) => {
            word(next) || matches!(next, Piece::Other(Token::Special(b'<')))
        }
        (piece, Piece::Other(Token::Special(b'<'))) => word(piece),
        (piece, next) => word(piece) && word(next),
    }
}

/// Addresses, and the phrases, comments and separators around them.
fn parse(value: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut run: Vec<Token> = Vec::new();
    let mut bracket = false;
    for token in scan(value, HEADER_ADDRESS_TOKEN_LIMIT) {
        match &token {
            Token::Special(b'<') => {
                pieces.extend(run.drain(..).map(Piece::Other));
                bracket = true;
                pieces.push(Piece::Other(token));
            }
            Token::Special(b'>') => {
                close(&mut run, &mut pieces, true);
                bracket = false;
                pieces.push(Piece::Other(token));
            }
            Token::Special(b',' | b';') if !(bracket && run.first() == Some(&Token::Special(b'@'))) => {
                close(&mut run, &mut pieces, bracket);
                pieces.push(Piece::Other(token));
            }
            Token::Special(b':') if !bracket => {
                pieces.extend(run.drain(..).map(Piece::Other));
                pieces.push(Piece::Other(token));
            }
            Token::Special(b':') if run.first() == Some(&Token::Special(b'@')) => run.clear(),
            Token::Comment(_) if run.is_empty() => pieces.push(Piece::Other(token)),
            _ => run.push(token),
        }
    }
    close(&mut run, &mut pieces, bracket);
    pieces
}

/// End of a run of words: one address, or several where words stand side by side; comments come out of it.
fn close(run: &mut Vec<Token>, pieces: &mut Vec<Piece>, bracket: bool) {
    let mut address: Vec<Token> = Vec::new();
    let mut comments = Vec::new();
    for token in run.drain(..) {
        match token {
            Token::Comment(_) => comments.push(token),
            _ => {
                if token.is_word() && address.last().is_some_and(Token::is_word) {
                    pieces.push(Piece::Address(std::mem::take(&mut address)));
                    pieces.extend(comments.drain(..).map(Piece::Other));
                }
                address.push(token);
            }
        }
    }
    if !address.is_empty() || (bracket && matches!(pieces.last(), Some(Piece::Other(Token::Special(b'<'))))) {
        pieces.push(Piece::Address(address));
    }
    pieces.extend(comments.into_iter().map(Piece::Other));
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
            ("<user> (comment)", Some("<user@example.com> (comment)")),
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
