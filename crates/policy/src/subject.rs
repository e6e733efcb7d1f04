//! What a reply is about: the words of `<name>: CLASS rejected: text`.

/// The thing being judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The client, `name[address]`.
    Client,
    /// The client's unverified name.
    ReverseClient,
    /// The client's certificate.
    Certificate,
    /// The SASL login.
    Login,
    /// The HELO argument.
    Helo,
    /// MAIL FROM.
    Sender,
    /// RCPT TO or VRFY.
    Recipient,
    /// ETRN.
    Etrn,
    /// DATA or BDAT.
    Data,
    /// The end of the message.
    EndOfData,
}

impl Subject {
    /// The class as replies have it.
    pub fn class(self) -> &'static str {
        match self {
            Self::Client => "Client host",
            Self::ReverseClient => "Unverified Client host",
            Self::Certificate => "Client certificate",
            Self::Login => "SASL login name",
            Self::Helo => "Helo command",
            Self::Sender => "Sender address",
            Self::Recipient => "Recipient address",
            Self::Etrn => "Etrn command",
            Self::Data => "Data command",
            Self::EndOfData => "End-of-data",
        }
    }
}
