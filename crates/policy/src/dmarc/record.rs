//! A DMARC record: `v=DMARC1; p=reject; …`.

/// What a domain wants done with mail that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DmarcPolicy {
    /// Nothing.
    #[default]
    None,
    /// It is suspicious.
    Quarantine,
    /// It is to be refused.
    Reject,
}

impl DmarcPolicy {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject].into_iter().find(|it| text.eq_ignore_ascii_case(it.word()))
    }

    /// One step milder.
    pub(super) fn milder(self) -> Self {
        if self == Self::Reject { Self::Quarantine } else { Self::None }
    }
}

/// What a domain says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub policy: DmarcPolicy,
    /// For subdomains (`sp=`).
    pub below: Option<DmarcPolicy>,
    /// For subdomains that don't exist (`np=`).
    pub missing: Option<DmarcPolicy>,
    pub strict_dkim: bool,
    pub strict_spf: bool,
    /// For so many in a hundred messages (`pct=`, RFC 7489).
    pub percent: u8,
    /// `t=y`.
    pub testing: bool,
    /// `psd=`: it is a public suffix, it isn't, it doesn't say.
    pub suffix: Option<bool>,
}

impl Record {
    /// Read a record; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut tags = text.split(';').map(|tag| tag.split_once('=').map(|(name, value)| (name.trim(), value.trim())));
        let (Some(Some(("v", "DMARC1"))), rest) = (tags.next(), tags) else { return None };
        let mut record = Self { percent: 100, ..Self::default() };
        for (name, value) in rest.flatten() {
            match name.to_ascii_lowercase().as_str() {
                // a policy that nobody knows is none
                "p" => record.policy = DmarcPolicy::parse(value).unwrap_or_default(),
                "sp" => record.below = DmarcPolicy::parse(value),
                "np" => record.missing = DmarcPolicy::parse(value),
                "adkim" => record.strict_dkim = value.eq_ignore_ascii_case("s"),
                "aspf" => record.strict_spf = value.eq_ignore_ascii_case("s"),
                "pct" => record.percent = value.parse().ok().filter(|percent| *percent <= 100).unwrap_or(100),
                "t" => record.testing = value.eq_ignore_ascii_case("y"),
                "psd" if value.eq_ignore_ascii_case("y") => record.suffix = Some(true),
                "psd" if value.eq_ignore_ascii_case("n") => record.suffix = Some(false),
                _ => {}
            }
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let plain = Record { percent: 100, ..Record::default() };
        for (text, expected) in [
            ("v=DMARC1", Some(plain.clone())),
            ("v=DMARC1; p=none; rua=mailto:a@b.example", Some(plain.clone())),
            (" v = DMARC1 ;P=Reject;", Some(Record { policy: DmarcPolicy::Reject, ..plain.clone() })),
            ("v=DMARC1; p=other; pct=101", Some(plain.clone())),
            (
                "v=DMARC1;p=quarantine;sp=none;np=reject;adkim=s;aspf=r;pct=0;t=y;psd=n",
                Some(Record {
                    policy: DmarcPolicy::Quarantine,
                    below: Some(DmarcPolicy::None),
                    missing: Some(DmarcPolicy::Reject),
                    strict_dkim: true,
                    strict_spf: false,
                    percent: 0,
                    testing: true,
                    suffix: Some(false),
                }),
            ),
            ("v=DMARC2; p=reject", None),
            ("v=dmarc1; p=reject", None),
            ("p=reject; v=DMARC1", None),
            ("", None),
        ] {
            assert_eq!(Record::parse(text), expected, "{text}");
        }
    }
}
