//! The parameters of cleanup(8) that shape a message, as plain data with Postfix's defaults.

use crate::lookup::Maps;

/// `header_from_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderFrom {
    /// `name <address>`.
    #[default]
    Standard,
    /// `address (name)`.
    Obsolete,
}

/// `non_empty_end_of_header_action`: what to do when text follows the primary header without an empty line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndOfHeaderAction {
    /// Insert the empty line.
    #[default]
    FixQuietly,
    /// Insert it, and a `MIME-Error:` header above it.
    AddHeader,
    /// Refuse the message.
    Reject,
}

/// Which addresses a mapping applies to (`canonical_classes`, `masquerade_classes` and the like).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// `envelope_sender`.
    pub envelope_sender: bool,
    /// `envelope_recipient`.
    pub envelope_recipient: bool,
    /// `header_sender`.
    pub header_sender: bool,
    /// `header_recipient`.
    pub header_recipient: bool,
}

impl Classes {
    /// The classes named in a list; unknown words are left to the configuration's own diagnostics.
    pub fn parse(text: &str) -> Self {
        let mut classes = Self::default();
        for word in text.split(|c: char| c == ',' || c.is_ascii_whitespace()) {
            match word {
                "envelope_sender" => classes.envelope_sender = true,
                "envelope_recipient" => classes.envelope_recipient = true,
                "header_sender" => classes.header_sender = true,
                "header_recipient" => classes.header_recipient = true,
                _ => {}
            }
        }
        classes
    }
}

/// Address masquerading: hosts hidden behind their domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// `masquerade_domains`, as written (`!domain` is left alone).
    pub domains: Vec<String>,
    /// `masquerade_exceptions`: user names left alone, in lower case.
    pub exceptions: Vec<String>,
    /// `masquerade_classes`.
    pub classes: Classes,
}

/// Everything that shapes a message on its way in.
#[derive(Clone, Debug)]
pub struct CleanupConfig {
    /// `myhostname`, in message ids.
    pub myhostname: String,
    /// `mydomain`.
    pub mydomain: String,
    /// `myorigin`.
    pub myorigin: String,
    /// `mydestination`, plain domains in lower case: where `user` without domain stands for itself in table keys.
    pub mydestination: Vec<String>,
    /// `append_at_myorigin`.
    pub append_at_myorigin: bool,
    /// `append_dot_mydomain`.
    pub append_dot_mydomain: bool,
    /// `swap_bangpath`.
    pub swap_bangpath: bool,
    /// `allow_percent_hack`.
    pub allow_percent_hack: bool,
    /// `remote_header_rewrite_domain`; empty: headers of remote clients are left as they are.
    pub remote_header_rewrite_domain: String,
    /// `recipient_delimiter`.
    pub recipient_delimiter: String,
    /// `owner_request_special`.
    pub owner_request_special: bool,
    /// `double_bounce_sender`, local part.
    pub double_bounce_sender: String,
    /// `empty_address_recipient`.
    pub empty_address_recipient: String,

    /// `canonical_maps`.
    pub canonical_maps: Maps,
    /// `canonical_classes`.
    pub canonical_classes: Classes,
    /// `sender_canonical_maps`.
    pub sender_canonical_maps: Maps,
    /// `sender_canonical_classes`.
    pub sender_canonical_classes: Classes,
    /// `recipient_canonical_maps`.
    pub recipient_canonical_maps: Maps,
    /// `recipient_canonical_classes`.
    pub recipient_canonical_classes: Classes,
    /// `propagate_unmatched_extensions` names `canonical`.
    pub propagate_canonical: bool,
    /// `propagate_unmatched_extensions` names `virtual`.
    pub propagate_virtual: bool,
    /// `masquerade_domains` and what goes with it.
    pub masquerade: Masquerade,
    /// `virtual_alias_maps`.
    pub virtual_alias_maps: Maps,
    /// `virtual_alias_expansion_limit`.
    pub virtual_alias_expansion_limit: usize,
    /// `virtual_alias_recursion_limit`.
    pub virtual_alias_recursion_limit: usize,
    /// `virtual_alias_address_length_limit`.
    pub virtual_alias_address_length_limit: usize,
    /// `always_bcc`.
    pub always_bcc: String,
    /// `sender_bcc_maps`.
    pub sender_bcc_maps: Maps,
    /// `recipient_bcc_maps`.
    pub recipient_bcc_maps: Maps,
    /// `duplicate_filter_limit`.
    pub duplicate_filter_limit: usize,
    /// `enable_original_recipient`.
    pub enable_original_recipient: bool,

    /// `always_add_missing_headers`.
    pub always_add_missing_headers: bool,
    /// `undisclosed_recipients_header`; empty: none.
    pub undisclosed_recipients_header: String,
    /// `header_from_format`.
    pub header_from_format: HeaderFrom,
    /// `enable_long_queue_ids`.
    pub enable_long_queue_ids: bool,
    /// `message_drop_headers`, in lower case.
    pub message_drop_headers: Vec<String>,
    /// `hopcount_limit`.
    pub hopcount_limit: usize,
    /// `header_size_limit`.
    pub header_size_limit: usize,
    /// `header_address_token_limit`.
    pub header_address_token_limit: usize,
    /// `line_length_limit`: checks see longer body lines in pieces of this size.
    pub line_length_limit: usize,
    /// `message_strip_characters`, C escapes already undone.
    pub message_strip_characters: Vec<u8>,
    /// `message_reject_characters`, C escapes already undone.
    pub message_reject_characters: Vec<u8>,
    /// `non_empty_end_of_header_action`.
    pub non_empty_end_of_header_action: EndOfHeaderAction,

    /// `header_checks`.
    pub header_checks: Maps,
    /// `mime_header_checks`; its default is `$header_checks`.
    pub mime_header_checks: Maps,
    /// `nested_header_checks`; its default is `$header_checks`.
    pub nested_header_checks: Maps,
    /// `body_checks`.
    pub body_checks: Maps,
    /// `body_checks_size_limit`; 0: none.
    pub body_checks_size_limit: usize,

    /// `disable_mime_input_processing`.
    pub disable_mime_input_processing: bool,
    /// `mime_nesting_limit`.
    pub mime_nesting_limit: usize,
    /// `mime_boundary_length_limit`.
    pub mime_boundary_length_limit: usize,
    /// `strict_8bitmime`.
    pub strict_8bitmime: bool,
    /// `strict_7bit_headers`.
    pub strict_7bit_headers: bool,
    /// `strict_8bitmime_body`.
    pub strict_8bitmime_body: bool,
    /// `strict_mime_encoding_domain`.
    pub strict_mime_encoding_domain: bool,
    /// `detect_8bit_encoding_header`.
    pub detect_8bit_encoding_header: bool,
}

impl Default for CleanupConfig {
    fn default() -> Self {
        Self {
            myhostname: "localhost.localdomain".into(),
            mydomain: "localdomain".into(),
            myorigin: "localhost.localdomain".into(),
            mydestination: Vec::new(),
            append_at_myorigin: true,
            append_dot_mydomain: false,
            swap_bangpath: true,
            allow_percent_hack: true,
            remote_header_rewrite_domain: String::new(),
            recipient_delimiter: String::new(),
            owner_request_special: true,
            double_bounce_sender: "double-bounce".into(),
            empty_address_recipient: "MAILER-DAEMON".into(),
            canonical_maps: Maps::none("canonical_maps"),
            canonical_classes: Classes {
                envelope_sender: true,
                envelope_recipient: true,
                header_sender: true,
                header_recipient: true,
            },
            sender_canonical_maps: Maps::none("sender_canonical_maps"),
            sender_canonical_classes: Classes { envelope_sender: true, header_sender: true, ..Classes::default() },
            recipient_canonical_maps: Maps::none("recipient_canonical_maps"),
            recipient_canonical_classes: Classes {
                envelope_recipient: true,
                header_recipient: true,
                ..Classes::default()
            },
            propagate_canonical: true,
            propagate_virtual: true,
            masquerade: Masquerade::default(),
            virtual_alias_maps: Maps::none("virtual_alias_maps"),
            virtual_alias_expansion_limit: 1000,
            virtual_alias_recursion_limit: 1000,
            virtual_alias_address_length_limit: 1000,
            always_bcc: String::new(),
            sender_bcc_maps: Maps::none("sender_bcc_maps"),
            recipient_bcc_maps: Maps::none("recipient_bcc_maps"),
            duplicate_filter_limit: 1000,
            enable_original_recipient: true,
            always_add_missing_headers: false,
            undisclosed_recipients_header: String::new(),
            header_from_format: HeaderFrom::Standard,
            enable_long_queue_ids: false,
            message_drop_headers: ["bcc", "content-length", "resent-bcc", "return-path"].map(String::from).into(),
            hopcount_limit: 50,
            header_size_limit: 102_400,
            header_address_token_limit: 10_240,
            line_length_limit: 2048,
            message_strip_characters: Vec::new(),
            message_reject_characters: Vec::new(),
            non_empty_end_of_header_action: EndOfHeaderAction::FixQuietly,
            header_checks: Maps::none("header_checks"),
            mime_header_checks: Maps::none("mime_header_checks"),
            nested_header_checks: Maps::none("nested_header_checks"),
            body_checks: Maps::none("body_checks"),
            body_checks_size_limit: 51_200,
            disable_mime_input_processing: false,
            mime_nesting_limit: 100,
            mime_boundary_length_limit: 2048,
            strict_8bitmime: false,
            strict_7bit_headers: false,
            strict_8bitmime_body: false,
            strict_mime_encoding_domain: false,
            detect_8bit_encoding_header: true,
        }
    }
}

impl Default for Masquerade {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            exceptions: Vec::new(),
            classes: Classes {
                envelope_sender: true,
                header_sender: true,
                header_recipient: true,
                ..Classes::default()
            },
        }
    }
}
