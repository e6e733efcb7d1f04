//! `%s`, `%u`, `%d` and their like in queries and result formats (sqlite_table(5); the same in mysql, pgsql and ldap).

/// A text with places for values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A part of the value (of the key, in a query).
    Value(Piece),
    /// A part of the key, in either.
    Key(Piece),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Whole,
    User,
    Domain,
    /// A label of the domain, from the right, 0 for the last.
    Label(usize),
}

/// A key or a value, taken apart.
pub(super) struct Values<'a> {
    whole: &'a str,
    /// Local part and domain, when there is an @.
    address: Option<(&'a str, &'a str)>,
}

impl<'a> Values<'a> {
    pub(super) fn of(whole: &'a str) -> Self {
        Self { whole, address: whole.rsplit_once('@') }
    }

    /// The domain of an address with a local part.
    pub(super) fn domain_of_user(&self) -> Option<&'a str> {
        self.address.filter(|(user, domain)| !user.is_empty() && !domain.is_empty()).map(|(_, domain)| domain)
    }

    /// A piece of it; `None` when it has none, which suppresses the query or the result.
    fn piece(&self, piece: Piece) -> Option<&'a str> {
        let text = match piece {
            Piece::Whole => Some(self.whole),
            Piece::User => Some(self.address.map_or(self.whole, |(user, _)| user)),
            Piece::Domain => self.address.map(|(_, domain)| domain),
            Piece::Label(number) => self.address.and_then(|(_, domain)| domain.rsplit('.').nth(number)),
        };
        text.filter(|text| !text.is_empty())
    }
}

impl Template {
    /// Take a text apart; an unknown letter is an error.
    pub(super) fn parse(text: &str) -> Result<Self, ()> {
        let (mut parts, mut literal, mut letters) = (Vec::new(), String::new(), text.chars());
        while let Some(letter) = letters.next() {
            if letter != '%' {
                literal.push(letter);
                continue;
            }
            let part = match letters.next() {
                Some('%') => {
                    literal.push('%');
                    continue;
                }
                Some('s') => Part::Value(Piece::Whole),
                Some('u') => Part::Value(Piece::User),
                Some('d') => Part::Value(Piece::Domain),
                Some('S') => Part::Key(Piece::Whole),
                Some('U') => Part::Key(Piece::User),
                Some('D') => Part::Key(Piece::Domain),
                Some(digit @ '1'..='9') => Part::Key(Piece::Label(digit as usize - '1' as usize)),
                _ => return Err(()),
            };
            parts.extend((!literal.is_empty()).then(|| Part::Literal(std::mem::take(&mut literal))));
            parts.push(part);
        }
        parts.extend((!literal.is_empty()).then_some(Part::Literal(literal)));
        Ok(Self(parts))
    }

    /// Are there any places?
    pub(super) fn is_dynamic(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Literal(_)))
    }

    /// Fill the places in; `None` when a piece that is asked for doesn't exist.
    pub(super) fn expand(
        &self,
        value: &Values<'_>,
        key: &Values<'_>,
        quote: impl Fn(&str) -> String,
    ) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(piece) => text.push_str(&quote(value.piece(*piece)?)),
                Part::Key(piece) => text.push_str(&quote(key.piece(*piece)?)),
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands() {
        for (text, key, value, result) in [
            ("%s|%u|%d|%S|%U|%D|%1|%2|%%", "k@e.org", "u@d.com", Some("u@d.com|u|d.com|k@e.org|k|e.org|org|e|%")),
            ("%u", "k", "v", Some("v")),
            ("%d", "k@d", "v", None),
            ("%D", "k", "v", None),
            ("%3", "k@e.org", "v", None),
            ("%u", "k", "@d", None),
            ("%u", "k", "a@b@c", Some("a@b")),
        ] {
            let expanded = Template::parse(text).unwrap().expand(&Values::of(value), &Values::of(key), str::to_owned);
            assert_eq!(expanded.as_deref(), result, "{text} {key} {value}");
        }
        for bad in ["%q", "%0", "%"] {
            assert_eq!(Template::parse(bad), Err(()), "{bad}");
        }
    }
}
