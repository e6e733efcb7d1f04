//! Large tables in the manner of those that people have, and keys for them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Corpus {
    /// So many patterns.
    Pcre(u32),
    /// So many patterns.
    Regexp(u32),
    /// So many networks.
    Cidr(u32),
    /// So many senders.
    Texthash(u32),
}

impl Corpus {
    /// Its type, and how many entries it has.
    pub fn describe(self) -> (&'static str, u32) {
        match self {
            Self::Pcre(n) => ("pcre", n),
            Self::Regexp(n) => ("regexp", n),
            Self::Cidr(n) => ("cidr", n),
            Self::Texthash(n) => ("texthash", n),
        }
    }

    /// Writes it into a directory; the answer is its `type:name`.
    pub fn write(self, directory: &Path) -> Result<String, String> {
        let (kind, count) = self.describe();
        let path = directory.join(format!("{kind}.{count}"));
        let mut text = String::new();
        for n in 0..count {
            let _ = match self {
                Self::Pcre(_) | Self::Regexp(_) => writeln!(text, "{}", pattern(n)),
                Self::Cidr(_) => writeln!(text, "10.{}.{}.{} REJECT {n}", n >> 16 & 255, n >> 8 & 255, n & 255),
                Self::Texthash(_) => writeln!(text, "user{n}@example{}.com REJECT {n}", n % 97),
            };
        }
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(format!("{kind}:{}", path.display()))
    }

    /// So many keys, a line each.
    pub fn keys(self, keys: u32) -> String {
        let mut text = String::new();
        let (_, count) = self.describe();
        for n in (0..keys).map(|n| n.wrapping_mul(7919) % count) {
            let _ = match (self, n % 4) {
                // Every second one is in the table.
                (Self::Cidr(_), kind) => {
                    writeln!(text, "{}.{}.{}.{}", 10 + kind % 2, n >> 16 & 255, n >> 8 & 255, n & 255)
                }
                (Self::Texthash(_), kind) => writeln!(text, "user{n}@example{}.com", n % 97 + 100 * (kind % 2)),
                // Few are matched, as with mail.
                (_, 0) => writeln!(text, "user{n}@mail.domain{}.test", n + n % 3),
                (_, 1) => {
                    writeln!(text, "Subject: buy our free pills{n} or others, {} in all, as long as they last", n * 7)
                }
                (_, 2) => {
                    writeln!(text, "Received: from mx{n}.host-{n}.example.org (unknown [192.0.2.7]) by mx.relay.test")
                }
                _ => writeln!(text, "someone.else{n}@another-domain.example"),
            };
        }
        text
    }
}

/// Patterns of five kinds, the same for both engines.
fn pattern(n: u32) -> String {
    match n % 5 {
        0 => format!("/^user{n}@.*\\.domain{n}\\.test$/ REJECT user {n}"),
        1 => format!("/@(mx[0-9]*\\.)?shop-{n}\\.(com|net|org)$/ REJECT shop"),
        2 => format!("/^Subject:.*(cheap|free) +pills{n}/ REJECT $1"),
        3 => format!("/^Received: from [^ ]*\\.host-{n}\\.example\\.net/ REJECT"),
        _ => format!("/^(list|news)-[0-9]+-bulk{n}@/ REJECT"),
    }
}
