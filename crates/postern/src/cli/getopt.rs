//! Options in getopt(3)'s manner, for commands that have Postfix's: `-c DIR`, `-cDIR`, `-vp`, `--`.

use std::fmt;

/// An option that is not known, or has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// Not known.
    Unknown(char),
    /// Without its value.
    NoValue(char),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(letter) => write!(f, "invalid option -- '{letter}'"),
            Self::NoValue(letter) => write!(f, "option requires an argument -- '{letter}'"),
        }
    }
}

/// Options with their values, and what follows them.
pub type Parsed = (Vec<(char, String)>, Vec<String>);

/// Parse; a letter in `known` that a colon follows takes a value.
///
/// # Errors
/// The first misuse.
pub fn parse(arguments: &[String], known: &str) -> Result<Parsed, Misuse> {
    let mut options = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.as_slice().first() {
        let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
        rest.next();
        if letters == "-" {
            break;
        }
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            let place = known.find(letter).filter(|_| letter != ':').ok_or(Misuse::Unknown(letter))?;
            if !known[place + letter.len_utf8()..].starts_with(':') {
                options.push((letter, String::new()));
                continue;
            }
            let value = match letters.as_str() {
                "" => rest.next().cloned().ok_or(Misuse::NoValue(letter))?,
                value => value.to_owned(),
            };
            options.push((letter, value));
            break;
        }
    }
    Ok((options, rest.as_slice().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_getopt_has_them() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let shown = |(options, rest): Parsed| {
                let options = options.into_iter().map(|(letter, value)| format!("{letter}={value}"));
                (options.collect::<Vec<_>>().join(" "), rest.join(" "))
            };
            super::parse(&words, "c:d:pv").map(shown).map_err(|misuse| misuse.to_string())
        };
        for (line, want) in [
            ("-c dir -p", Ok(("c=dir p=", ""))),
            ("-cdir -vp -d - hold -p", Ok(("c=dir v= p= d=-", "hold -p"))),
            ("-p -- -d", Ok(("p=", "-d"))),
            ("", Ok(("", ""))),
            ("-x", Err("invalid option -- 'x'")),
            ("-v:", Err("invalid option -- ':'")),
            ("-pd", Err("option requires an argument -- 'd'")),
        ] {
            let want = want.map(|(a, b)| (a.to_owned(), b.to_owned())).map_err(str::to_owned);
            assert_eq!(parse(line), want, "{line}");
        }
    }
}
