//! Header names that cleanup(8) knows, and what a header looks like.

/// Headers that are recognised by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ApparentlyTo,
    Bcc,
    Cc,
    ContentDescription,
    ContentDisposition,
    ContentId,
    ContentLength,
    ContentTransferEncoding,
    ContentType,
    Date,
    DeliveredTo,
    DispositionNotificationTo,
    ErrorsTo,
    From,
    MailFollowupTo,
    MessageId,
    MimeVersion,
    Received,
    ReplyTo,
    ResentBcc,
    ResentCc,
    ResentDate,
    ResentFrom,
    ResentMessageId,
    ResentReplyTo,
    ResentSender,
    ResentTo,
    ReturnPath,
    ReturnReceiptTo,
    Sender,
    To,
}

/// Whose addresses a header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    None,
    Sender,
    Recipient,
}

use Addresses::{None as Plain, Recipient, Sender};

const KNOWN: [(&str, Kind, Addresses); 31] = [
    ("To", Kind::To, Recipient),
    ("From", Kind::From, Sender),
    ("Date", Kind::Date, Plain),
    ("Received", Kind::Received, Plain),
    ("Message-Id", Kind::MessageId, Plain),
    ("Content-Type", Kind::ContentType, Plain),
    ("MIME-Version", Kind::MimeVersion, Plain),
    ("Content-Transfer-Encoding", Kind::ContentTransferEncoding, Plain),
    ("Cc", Kind::Cc, Recipient),
    ("Bcc", Kind::Bcc, Recipient),
    ("Reply-To", Kind::ReplyTo, Sender),
    ("Sender", Kind::Sender, Sender),
    ("Return-Path", Kind::ReturnPath, Sender),
    ("Delivered-To", Kind::DeliveredTo, Plain),
    ("Content-Disposition", Kind::ContentDisposition, Plain),
    ("Content-Description", Kind::ContentDescription, Plain),
    ("Content-Id", Kind::ContentId, Plain),
    ("Content-Length", Kind::ContentLength, Plain),
    ("Apparently-To", Kind::ApparentlyTo, Recipient),
    ("Disposition-Notification-To", Kind::DispositionNotificationTo, Sender),
    ("Errors-To", Kind::ErrorsTo, Sender),
    ("Mail-Followup-To", Kind::MailFollowupTo, Sender),
    ("Return-Receipt-To", Kind::ReturnReceiptTo, Sender),
    ("Resent-Bcc", Kind::ResentBcc, Recipient),
    ("Resent-Cc", Kind::ResentCc, Recipient),
    ("Resent-Date", Kind::ResentDate, Plain),
    ("Resent-From", Kind::ResentFrom, Sender),
    ("Resent-Message-Id", Kind::ResentMessageId, Plain),
    ("Resent-Reply-To", Kind::ResentReplyTo, Recipient),
    ("Resent-Sender", Kind::ResentSender, Sender),
    ("Resent-To", Kind::ResentTo, Recipient),
];

/// What is known of a header by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub name: &'static str,
    pub kind: Kind,
    pub addresses: Addresses,
}

impl Known {
    /// Look up a name, in any case.
    pub fn find(name: &[u8]) -> Option<Self> {
        let found = KNOWN.iter().find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|&(name, kind, addresses)| Self { name, kind, addresses })
    }

    /// Headers that `mime_header_checks` look at.
    pub fn is_mime(self) -> bool {
        matches!(
            self.kind,
            Kind::MimeVersion
                | Kind::ContentType
                | Kind::ContentTransferEncoding
                | Kind::ContentDisposition
                | Kind::ContentDescription
                | Kind::ContentId
        )
    }

    /// One bit for each kind.
    pub fn bit(self) -> u32 {
        bit(self.kind)
    }

    /// Headers that make a message a resent one.
    pub fn is_resent(self) -> bool {
        matches!(
            self.kind,
            Kind::ResentBcc
                | Kind::ResentCc
                | Kind::ResentDate
                | Kind::ResentFrom
                | Kind::ResentMessageId
                | Kind::ResentReplyTo
                | Kind::ResentSender
                | Kind::ResentTo
        )
    }
}

/// One bit for each kind, to remember what was seen.
pub(crate) const fn bit(kind: Kind) -> u32 {
    1 << kind as u32
}

/// How long the name of a header is, and where its colon stands; `None` if the line is no header. Blanks between name
/// and colon are allowed (RFC 5322 §4.5).
pub(crate) fn is_header(line: &[u8]) -> Option<(usize, usize)> {
    let end = line.iter().position(|&b| !(0x21..0x7f).contains(&b) || b == b':')?;
    let colon = end + line[end..].iter().position(|&b| b != b' ' && b != b'\t')?;
    (end > 0 && line[colon] == b':').then_some((end, colon))
}

/// The value of a header, without leading white space.
pub(crate) fn value(header: &[u8]) -> &[u8] {
    match memchr::memchr(b':', header) {
        Some(colon) => header[colon + 1..].trim_ascii_start(),
        None => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_printable_name_and_a_colon() {
        for (line, want) in [
            ("Subject: x", Some((7, 7))),
            ("Subject:", Some((7, 7))),
            ("Subject \t: x", Some((7, 9))),
            ("X Foo: e", None),
            ("X-Foo (c): d", None),
            (": nothing", None),
            (" : nothing", None),
            ("", None),
            ("no colon", None),
            ("caf\u{e9}: x", None),
            ("a\x01: x", None),
            ("From someone: x", None),
        ] {
            assert_eq!(is_header(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        let known = Known::find(b"MESSAGE-ID").unwrap();
        assert_eq!((known.kind, known.addresses, known.is_mime()), (Kind::MessageId, Addresses::None, false));
        assert!(Known::find(b"content-type").unwrap().is_mime());
        assert!(!Known::find(b"Content-Length").unwrap().is_mime());
        assert!(Known::find(b"Resent-To").unwrap().is_resent());
        assert_eq!(Known::find(b"X-Foo"), None);
        let bits: std::collections::HashSet<u32> = KNOWN.iter().map(|&(_, kind, _)| bit(kind)).collect();
        assert_eq!(bits.len(), KNOWN.len());
    }

    #[test]
    fn values_start_at_the_first_visible_character() {
        assert_eq!(value(b"A:  b "), b"b ");
        assert_eq!(value(b"A:\n b"), b"b");
        assert_eq!(value(b"A"), b"");
    }
}
