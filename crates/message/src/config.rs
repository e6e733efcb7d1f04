//! The parameters of cleanup(8) that shape a message, as plain data with Postfix's defaults.

use crate::addresses::AddressRules;
use crate::lookup::Maps;
use policy::{Settings, TableRegistry};
use std::sync::Arc;

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

/// Everything that shapes a message on its way in.
#[derive(Clone, Debug)]
pub struct CleanupConfig {
    /// `myhostname`, in message ids.
    pub myhostname: String,
    /// Rewriting and mapping of addresses; `None`: addresses stay as they are.
    pub addresses: Option<Arc<AddressRules>>,
    /// `remote_header_rewrite_domain`; empty: headers of remote clients are left as they are.
    pub remote_header_rewrite_domain: String,
    /// `always_add_missing_headers`.
    pub always_add_missing_headers: bool,
    /// `undisclosed_recipients_header`; empty: none.
    pub undisclosed_recipients_header: String,
    /// `enable_long_queue_ids`.
    pub enable_long_queue_ids: bool,
    /// `message_drop_headers`, in lower case.
    pub message_drop_headers: Vec<String>,
    /// Whose `Authentication-Results:` are dropped (`postern_authserv_id`, with `postern_authentication_results`).
    pub results_of: Option<String>,
    /// `hopcount_limit`.
    pub hopcount_limit: usize,
    /// `header_size_limit`.
    pub header_size_limit: usize,
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
    /// `milter_header_checks`.
    pub milter_header_checks: Maps,
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
            addresses: None,
            remote_header_rewrite_domain: String::new(),
            always_add_missing_headers: false,
            undisclosed_recipients_header: String::new(),
            enable_long_queue_ids: false,
            message_drop_headers: ["bcc", "content-length", "resent-bcc", "return-path"].map(String::from).into(),
            results_of: None,
            hopcount_limit: 50,
            header_size_limit: 102_400,
            line_length_limit: 2048,
            message_strip_characters: Vec::new(),
            message_reject_characters: Vec::new(),
            non_empty_end_of_header_action: EndOfHeaderAction::FixQuietly,
            header_checks: Maps::none("header_checks"),
            mime_header_checks: Maps::none("mime_header_checks"),
            nested_header_checks: Maps::none("nested_header_checks"),
            body_checks: Maps::none("body_checks"),
            milter_header_checks: Maps::none("milter_header_checks"),
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

impl CleanupConfig {
    /// Read the parameters of a service. Problems with values are the configuration's own to report; what can't be
    /// read counts as its default.
    pub fn compile(settings: &dyn Settings, tables: &mut TableRegistry) -> Self {
        let default = Self::default();
        let text = |name: &str| settings.get(name).trim().to_owned();
        let size = |name: &str, default: usize| {
            settings.int(name).and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
        };
        let yes = |name: &str| settings.bool(name);
        let mut maps = |name: &str| Maps::compile(name, settings, tables);
        let header_checks = maps("header_checks");
        let mime_header_checks = maps("mime_header_checks");
        let nested_header_checks = maps("nested_header_checks");
        let body_checks = maps("body_checks");
        let milter_header_checks = maps("milter_header_checks");
        Self {
            myhostname: text("myhostname"),
            addresses: Some(Arc::new(AddressRules::compile(settings, tables))),
            remote_header_rewrite_domain: text("remote_header_rewrite_domain"),
            always_add_missing_headers: yes("always_add_missing_headers"),
            undisclosed_recipients_header: text("undisclosed_recipients_header"),
            enable_long_queue_ids: yes("enable_long_queue_ids"),
            message_drop_headers: settings
                .elements("message_drop_headers")
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            results_of: yes("postern_authentication_results").then(|| text("postern_authserv_id")),
            hopcount_limit: size("hopcount_limit", default.hopcount_limit),
            header_size_limit: size("header_size_limit", default.header_size_limit),
            line_length_limit: size("line_length_limit", default.line_length_limit),
            message_strip_characters: unescape(&text("message_strip_characters")),
            message_reject_characters: unescape(&text("message_reject_characters")),
            non_empty_end_of_header_action: match text("non_empty_end_of_header_action").as_str() {
                "add_header" => EndOfHeaderAction::AddHeader,
                "reject" => EndOfHeaderAction::Reject,
                _ => EndOfHeaderAction::FixQuietly,
            },
            header_checks,
            mime_header_checks,
            nested_header_checks,
            body_checks,
            milter_header_checks,
            body_checks_size_limit: size("body_checks_size_limit", default.body_checks_size_limit),
            disable_mime_input_processing: yes("disable_mime_input_processing"),
            mime_nesting_limit: size("mime_nesting_limit", default.mime_nesting_limit),
            mime_boundary_length_limit: size("mime_boundary_length_limit", default.mime_boundary_length_limit),
            strict_8bitmime: yes("strict_8bitmime"),
            strict_7bit_headers: yes("strict_7bit_headers"),
            strict_8bitmime_body: yes("strict_8bitmime_body"),
            strict_mime_encoding_domain: yes("strict_mime_encoding_domain"),
            detect_8bit_encoding_header: yes("detect_8bit_encoding_header"),
        }
    }
}

/// C-like escapes: `\a \b \f \n \r \t \v \ddd` and `\\`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'a') => bytes.push(7),
            Some(b'b') => bytes.push(8),
            Some(b'f') => bytes.push(12),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'v') => bytes.push(11),
            Some(first @ b'0'..=b'7') => {
                let mut code = u32::from(first - b'0');
                for _ in 0..2 {
                    if let Some(digit) = rest.next_if(|b| (b'0'..=b'7').contains(b)) {
                        code = code * 8 + u32::from(digit - b'0');
                    }
                }
                bytes.push(u8::try_from(code & 0xff).unwrap_or(0));
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Values;

    #[test]
    fn escapes_are_those_of_c() {
        assert_eq!(unescape("\\0"), [0]);
        assert_eq!(unescape("\\001\\177a\\\\\\n\\"), [1, 127, b'a', b'\\', b'\n']);
    }

    #[test]
    fn parameters_are_read() {
        let values = [
            ("header_checks", "regexp:/a, {inline:{x=y, z}}"),
            ("hopcount_limit", "7"),
            ("message_reject_characters", "\\0"),
            ("message_drop_headers", "Bcc, X-Foo"),
            ("non_empty_end_of_header_action", "reject"),
            ("strict_8bitmime", "yes"),
        ];
        let mut tables = TableRegistry::new();
        let config = CleanupConfig::compile(&Values(&values), &mut tables);
        assert_eq!(config.hopcount_limit, 7);
        assert_eq!(config.header_size_limit, 102_400);
        assert_eq!(config.message_reject_characters, [0]);
        assert_eq!(config.message_drop_headers, ["bcc", "x-foo"]);
        assert_eq!(config.non_empty_end_of_header_action, EndOfHeaderAction::Reject);
        assert!(config.strict_8bitmime && !config.strict_7bit_headers);
        let specs: Vec<&str> = tables.specs().iter().map(|used| &*used.spec).collect();
        assert_eq!(specs, ["regexp:/a", "inline:{x=y, z}"]);
        assert_eq!(config.header_checks.tables.iter().map(|t| t.pattern).collect::<Vec<_>>(), [true, false]);
    }
}
