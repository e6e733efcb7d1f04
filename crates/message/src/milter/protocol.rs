//! Numbers and names of the protocol.

/// The most that one body packet carries.
pub const BODY_CHUNK: usize = 65_535;

/// Changes that we let a filter make: all there are, with macro lists of its own.
pub(super) const ACTIONS: u32 = 0x1ff;
/// Wants to be told of recipients that were refused.
pub(super) const WANTS_REJECTED_RECIPIENTS: u32 = 0x800;
/// Header values come as they stand after the colon.
pub(super) const LEADING_SPACE: u32 = 0x10_0000;
/// Steps without an answer: what a filter doesn't say isn't waited for, whichever version it speaks.
pub(super) const UNANSWERED: u32 = 0x0f_f080;

/// Something that a filter may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A client has connected.
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, or the first BDAT.
    Data,
    /// A command that is none.
    Unknown,
    /// One header.
    Header,
    /// The end of the headers.
    EndOfHeader,
    /// A piece of the body.
    Body,
    /// The end of the message: now it may be changed.
    EndOfMessage,
}

impl Event {
    /// The letter of its command.
    pub(super) fn command(self) -> u8 {
        match self {
            Self::Connect => b'C',
            Self::Helo => b'H',
            Self::Mail => b'M',
            Self::Rcpt => b'R',
            Self::Data => b'T',
            Self::Unknown => b'U',
            Self::Header => b'L',
            Self::EndOfHeader => b'N',
            Self::Body => b'B',
            Self::EndOfMessage => b'E',
        }
    }

    /// Its name in warnings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "SMFIC_CONNECT",
            Self::Helo => "SMFIC_HELO",
            Self::Mail => "SMFIC_MAIL",
            Self::Rcpt => "SMFIC_RCPT",
            Self::Data => "SMFIC_DATA",
            Self::Unknown => "SMFIC_UNKNOWN",
            Self::Header => "SMFIC_HEADER",
            Self::EndOfHeader => "SMFIC_EOH",
            Self::Body => "SMFIC_BODY",
            Self::EndOfMessage => "SMFIC_BODYEOB",
        }
    }

    /// The step that says "not me", and the one that says "no answer to it".
    pub(super) fn step_bits(self) -> (u32, u32) {
        match self {
            Self::Connect => (0x1, 0x1000),
            Self::Helo => (0x2, 0x2000),
            Self::Mail => (0x4, 0x4000),
            Self::Rcpt => (0x8, 0x8000),
            Self::Body => (0x10, 0x8_0000),
            Self::Header => (0x20, 0x80),
            Self::EndOfHeader => (0x40, 0x4_0000),
            Self::Unknown => (0x100, 0x2_0000),
            Self::Data => (0x200, 0x1_0000),
            Self::EndOfMessage => (0, 0),
        }
    }

    /// The first version that has it.
    pub(super) fn since(self) -> u32 {
        match self {
            Self::Data => 4,
            Self::Unknown => 3,
            _ => 2,
        }
    }

    /// Does it belong to the session as a whole? Then what a filter decides holds for all of it.
    pub fn is_of_session(self) -> bool {
        matches!(self, Self::Connect | Self::Helo)
    }

    /// Does it belong to the content (`milter_content_timeout`)?
    pub fn is_of_content(self) -> bool {
        matches!(self, Self::Header | Self::EndOfHeader | Self::Body | Self::EndOfMessage)
    }
}

/// Names of answers, for warnings.
pub(super) fn reply_name(command: u8) -> &'static str {
    match command {
        b'+' => "SMFIR_ADDRCPT",
        b'-' => "SMFIR_DELRCPT",
        b'2' => "SMFIR_ADDRCPT_PAR",
        b'4' => "SMFIR_SHUTDOWN",
        b'a' => "SMFIR_ACCEPT",
        b'b' => "SMFIR_REPLBODY",
        b'c' => "SMFIR_CONTINUE",
        b'd' => "SMFIR_DISCARD",
        b'e' => "SMFIR_CHGFROM",
        b'f' => "SMFIR_CONN_FAIL",
        b'h' => "SMFIR_ADDHEADER",
        b'i' => "SMFIR_INSHEADER",
        b'l' => "SMFIR_SETSYMLIST",
        b'm' => "SMFIR_CHGHEADER",
        b'p' => "SMFIR_PROGRESS",
        b'q' => "SMFIR_QUARANTINE",
        b'r' => "SMFIR_REJECT",
        b's' => "SMFIR_SKIP",
        b't' => "SMFIR_TEMPFAIL",
        b'y' => "SMFIR_REPLYCODE",
        _ => "(unknown filter reply)",
    }
}

/// What we offer (`milter_protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offer {
    /// 2, 3, 4 or 6.
    pub version: u32,
    /// Answers to single headers are not waited for.
    pub no_header_reply: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self { version: 6, no_header_reply: false }
    }
}

impl Offer {
    /// A value of `milter_protocol`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut version = None;
        let mut no_header_reply = false;
        for word in text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            match (word, version) {
                ("2" | "3" | "4" | "6", None) => version = word.parse().ok(),
                ("no_header_reply", _) => no_header_reply = true,
                _ => return Err(format!("bad protocol version or option: {word}")),
            }
        }
        let version = version.ok_or_else(|| format!("no protocol version in \"{text}\""))?;
        Ok(Self { version, no_header_reply })
    }

    /// The steps that a version knows.
    pub(super) fn steps(self) -> u32 {
        match self.version {
            2 => 0x7f,
            3 => 0x17f,
            4 => 0x37f,
            _ => 0x1f_ffff,
        }
    }
}
