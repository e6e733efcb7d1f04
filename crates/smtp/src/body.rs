//! BODY= of MAIL FROM (RFC 6152).

/// What was said of the content's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Nothing was said.
    #[default]
    Unspecified,
    /// 7BIT
    SevenBit,
    /// 8BITMIME
    EightBitMime,
}

impl Body {
    /// The word in MAIL FROM.
    pub fn keyword(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::SevenBit => Some("7BIT"),
            Self::EightBitMime => Some("8BITMIME"),
        }
    }

    /// The word in Content-Transfer-Encoding (RFC 2045).
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::SevenBit => Some("7bit"),
            Self::EightBitMime => Some("8bit"),
        }
    }
}
