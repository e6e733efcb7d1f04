//! What a session must know of the configuration and of its client.

use super::transcript::ErrorClasses;
use std::fmt;

/// `smtpd_forbid_bare_newline`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForbidBareNewline {
    /// Take a bare LF as a line end everywhere.
    No,
    /// Take it as a line end, but only CRLF.CRLF ends a message (also `yes`).
    #[default]
    Normalize,
    /// As `Normalize`, and tell in the session's last log line.
    Note,
    /// Refuse.
    Reject,
}

impl ForbidBareNewline {
    /// The parameter's value.
    pub fn parse(word: &str) -> Option<Self> {
        [
            ("no", Self::No),
            ("yes", Self::Normalize),
            ("normalize", Self::Normalize),
            ("note", Self::Note),
            ("reject", Self::Reject),
        ]
        .into_iter()
        .find_map(|(name, value)| word.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// `smtpd_forbidden_commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForbiddenCommands {
    /// Plain words, compared without case.
    pub words: Vec<String>,
    /// The default's `regexp:{{/^[^A-Z]/ Bogus}}`: whatever does not begin with a letter.
    pub not_a_letter: bool,
    /// There are other tables: [`super::Event::MatchForbidden`] asks.
    pub tables: bool,
}

impl ForbiddenCommands {
    /// From the list's elements, one each.
    pub fn from_elements<'a>(elements: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self { words: Vec::new(), not_a_letter: false, tables: false };
        for element in elements {
            if element.split_whitespace().eq(["regexp:{{/^[^A-Z]/", "Bogus}}"]) {
                list.not_a_letter = true;
            } else if element.contains([':', '/']) {
                list.tables = true;
            } else {
                list.words.push(element.to_owned());
            }
        }
        list
    }
}

impl Default for ForbiddenCommands {
    fn default() -> Self {
        Self::from_elements(["CONNECT", "GET", "POST", "regexp:{{/^[^A-Z]/ Bogus}}"])
    }
}

/// A set of EHLO keywords, as `smtpd_discard_ehlo_keywords` lists them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct EhloKeywords(u16);

impl EhloKeywords {
    const NAMES: [&'static str; 16] = [
        "8bitmime",
        "auth",
        "chunking",
        "dsn",
        "enhancedstatuscodes",
        "etrn",
        "pipelining",
        "requiretls",
        "size",
        "smtputf8",
        "starttls",
        "verp",
        "vrfy",
        "xclient",
        "xforward",
        "silent-discard",
    ];
    /// 8BITMIME.
    pub const EIGHTBITMIME: Self = Self(1);
    /// AUTH.
    pub const AUTH: Self = Self(1 << 1);
    /// CHUNKING, and with it BDAT.
    pub const CHUNKING: Self = Self(1 << 2);
    /// DSN, and with it RET, ENVID, NOTIFY and ORCPT.
    pub const DSN: Self = Self(1 << 3);
    /// ENHANCEDSTATUSCODES.
    pub const ENHANCEDSTATUSCODES: Self = Self(1 << 4);
    /// ETRN.
    pub const ETRN: Self = Self(1 << 5);
    /// PIPELINING.
    pub const PIPELINING: Self = Self(1 << 6);
    /// REQUIRETLS.
    pub const REQUIRETLS: Self = Self(1 << 7);
    /// SIZE.
    pub const SIZE: Self = Self(1 << 8);
    /// SMTPUTF8.
    pub const SMTPUTF8: Self = Self(1 << 9);
    /// STARTTLS.
    pub const STARTTLS: Self = Self(1 << 10);
    /// XVERP.
    pub const VERP: Self = Self(1 << 11);
    /// VRFY.
    pub const VRFY: Self = Self(1 << 12);
    /// XCLIENT.
    pub const XCLIENT: Self = Self(1 << 13);
    /// XFORWARD.
    pub const XFORWARD: Self = Self(1 << 14);
    /// Not a keyword: do not log what is discarded.
    pub const SILENT_DISCARD: Self = Self(1 << 15);

    /// The words of a list (separated by blanks or commas); the second value has those that nobody knows.
    pub fn parse(list: &str) -> (Self, Vec<String>) {
        let mut set = Self::default();
        let mut unknown = Vec::new();
        for word in list.split([' ', '\t', '\r', '\n', ',']).filter(|w| !w.is_empty()) {
            match Self::NAMES.iter().position(|name| word.eq_ignore_ascii_case(name)) {
                Some(bit) => set.0 |= 1 << bit,
                None => unknown.push(word.to_owned()),
            }
        }
        (set, unknown)
    }

    /// Is every keyword of `other` in this set?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// No keyword but perhaps `silent-discard`?
    pub const fn is_empty(self) -> bool {
        self.0 & !Self::SILENT_DISCARD.0 == 0
    }
}

impl fmt::Display for EhloKeywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (bit, name) in Self::NAMES.iter().enumerate().take(15) {
            if self.0 & (1 << bit) != 0 {
                f.write_str(if first { "" } else { " " })?;
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EhloKeywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EhloKeywords({self})")
    }
}

/// What this client may do and is offered: looked up by address (and name) when it connects, and again after XCLIENT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authorised {
    /// `smtpd_authorized_xclient_hosts`. Judged by the real client at connect, by the new identity after XCLIENT.
    pub xclient: bool,
    /// `smtpd_authorized_xforward_hosts`.
    pub xforward: bool,
    /// `smtpd_authorized_verp_clients`.
    pub verp: bool,
    /// `smtpd_forbid_bare_newline_exclusions`.
    pub bare_newline_exempt: bool,
    /// `smtpd_client_event_limit_exceptions`, or authorised for XCLIENT: nothing is counted.
    pub event_limit_exempt: bool,
    /// `smtpd_discard_ehlo_keywords`, or what the address map says.
    pub discard_ehlo_keywords: EhloKeywords,
}

/// Every parameter the session needs, under its Postfix name; `Default` has Postfix 3.12's defaults.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct SessionConfig {
    /// Host name for replies.
    pub myhostname: String,
    /// What follows `220 `, with `$myhostname` and so on already expanded.
    pub smtpd_banner: String,
    /// Do client, HELO and sender lists wait for RCPT?
    pub smtpd_delay_reject: bool,
    /// `smtpd_tls_security_level = encrypt` and its likes: nothing but a few commands before TLS.
    pub smtpd_enforce_tls: bool,
    /// `smtpd_tls_security_level = may`, or more: STARTTLS is offered.
    pub smtpd_use_tls: bool,
    /// `smtpd_tls_wrappermode`: the session begins with the TLS handshake.
    pub smtpd_tls_wrappermode: bool,
    /// There are certificates and keys to do so with.
    pub tls_available: bool,
    /// REQUIRETLS is offered under TLS.
    pub requiretls_enable: bool,
    /// Must HELO or EHLO come first?
    pub smtpd_helo_required: bool,
    /// No VRFY.
    pub disable_vrfy_command: bool,
    /// Only `<address>` in MAIL and RCPT.
    pub strict_rfc821_envelopes: bool,
    /// May addresses start with `-`?
    pub allow_min_user: bool,
    /// Is IPv6 among `inet_protocols`?
    pub inet_ipv6: bool,
    /// Is `user@1.2.3.4` fine?
    pub resolve_numeric_domain: bool,
    /// Is `user@` an address of this system?
    pub resolve_null_domain: bool,
    /// Announce SMTPUTF8, and refuse commands that are not UTF-8.
    pub smtputf8_enable: bool,
    /// Whom the postmaster wants to hear of.
    pub notify_classes: ErrorClasses,
    /// A transcript is done with when it has more lines, at HELO, RSET or the end of a message.
    pub smtpd_history_flush_threshold: usize,
    /// Refuse non-ASCII addresses without SMTPUTF8.
    pub strict_smtputf8: bool,
    /// In bytes; 0 is no limit.
    pub message_size_limit: u64,
    /// Longest command line, with its line end.
    pub line_length_limit: usize,
    /// Seconds to wait for input or output.
    pub smtpd_timeout: u64,
    /// Is `smtpd_timeout` for a whole request?
    pub smtpd_per_request_deadline: bool,
    /// With that, bytes a second which keep a DATA or BDAT going; 0 is any.
    pub smtpd_min_data_rate: u64,
    /// Seconds before each reply past the soft limit.
    pub smtpd_error_sleep_time: u64,
    /// Errors from which replies are late.
    pub smtpd_soft_error_limit: u32,
    /// Errors at which the session ends.
    pub smtpd_hard_error_limit: u32,
    /// Junk commands (NOOP, RSET, …) beyond which each is an error.
    pub smtpd_junk_command_limit: u32,
    /// Recipients of one message.
    pub smtpd_recipient_limit: usize,
    /// Recipients over the limit that are not yet errors.
    pub smtpd_recipient_overshoot_limit: u32,
    /// Close the connection on commands sent too early.
    pub smtpd_forbid_unauth_pipelining: bool,
    /// Bare LF.
    pub smtpd_forbid_bare_newline: ForbidBareNewline,
    /// Reply code for it.
    pub smtpd_forbid_bare_newline_reject_code: u16,
    /// Turn stray CR in content into a blank.
    pub cleanup_replace_stray_cr_lf: bool,
    /// Commands that do nothing and get `250 2.0.0 Ok`.
    pub smtpd_noop_commands: Vec<String>,
    /// Commands that end the session.
    pub smtpd_forbidden_commands: ForbiddenCommands,
    /// Open the message at the first good recipient (else at MAIL)?
    pub smtpd_delay_open_until_valid_rcpt: bool,
    /// Turn 5xx into 4xx.
    pub soft_bounce: bool,
    /// Is there a `smtpd_command_filter`? Then [`super::Event::FilterCommand`] asks for every line.
    pub smtpd_command_filter: bool,
    /// Is there `smtpd_reject_filter_maps`, `smtpd_reject_footer` or `smtpd_reject_footer_maps`? Then
    /// [`super::Event::FinishReply`] asks for every 4xx and 5xx reply.
    pub finish_replies: bool,
    /// Is there a `smtpd_proxy_filter`? Then each [`super::Event::Recipient`] wants `recipient_answered`, and the
    /// MAIL and RCPT lines are kept.
    pub smtpd_proxy_filter: bool,
    /// Is any `smtpd_client_…_limit` set? Then [`super::Event::Count`] asks at each connection.
    pub count_connections: bool,
    /// Is `smtpd_client_message_rate_limit` set? Then [`super::Event::Count`] asks at MAIL.
    pub count_messages: bool,
    /// Is `smtpd_client_recipient_rate_limit` set? Then [`super::Event::Count`] asks at RCPT and VRFY.
    pub count_recipients: bool,
    /// Is `smtpd_client_new_tls_session_rate_limit` set? Then [`super::Event::Count`] asks at STARTTLS.
    pub count_new_tls_sessions: bool,
    /// Is `postern_sasl_client_message_rate_limit` set? Then [`super::Event::Count`] asks at MAIL of those logged in.
    pub count_login_messages: bool,
    /// Is `postern_sasl_client_recipient_rate_limit` set? Likewise at RCPT.
    pub count_login_recipients: bool,
    /// Is `smtpd_client_auth_rate_limit` set? Then [`super::Event::Count`] asks at AUTH.
    pub count_auths: bool,
    /// Also announce `AUTH=`, for old clients.
    pub broken_sasl_auth_clients: bool,
    /// Longest line of an AUTH exchange, without its line end.
    pub smtpd_sasl_response_limit: usize,
    /// Delimiters when a client asks for plain XVERP.
    pub default_verp_delimiters: String,
    /// Characters that may be VERP delimiters.
    pub verp_delimiter_filter: String,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            myhostname: "localhost".to_owned(),
            smtpd_banner: "localhost ESMTP Postfix".to_owned(),
            smtpd_delay_reject: true,
            smtpd_enforce_tls: false,
            smtpd_use_tls: false,
            smtpd_tls_wrappermode: false,
            tls_available: false,
            requiretls_enable: true,
            smtpd_helo_required: false,
            disable_vrfy_command: false,
            strict_rfc821_envelopes: false,
            allow_min_user: false,
            inet_ipv6: true,
            resolve_numeric_domain: false,
            resolve_null_domain: false,
            smtputf8_enable: true,
            notify_classes: ErrorClasses::default(),
            smtpd_history_flush_threshold: 100,
            strict_smtputf8: false,
            message_size_limit: 10_240_000,
            line_length_limit: 2048,
            smtpd_timeout: 300,
            smtpd_per_request_deadline: false,
            smtpd_min_data_rate: 500,
            smtpd_error_sleep_time: 1,
            smtpd_soft_error_limit: 10,
            smtpd_hard_error_limit: 20,
            smtpd_junk_command_limit: 100,
            smtpd_recipient_limit: 1000,
            smtpd_recipient_overshoot_limit: 1000,
            smtpd_forbid_unauth_pipelining: true,
            smtpd_forbid_bare_newline: ForbidBareNewline::Normalize,
            smtpd_forbid_bare_newline_reject_code: 550,
            cleanup_replace_stray_cr_lf: true,
            smtpd_noop_commands: Vec::new(),
            smtpd_forbidden_commands: ForbiddenCommands::default(),
            smtpd_delay_open_until_valid_rcpt: true,
            soft_bounce: false,
            smtpd_command_filter: false,
            finish_replies: false,
            smtpd_proxy_filter: false,
            count_connections: false,
            count_new_tls_sessions: false,
            count_login_messages: false,
            count_login_recipients: false,
            count_messages: false,
            count_recipients: false,
            count_auths: false,
            broken_sasl_auth_clients: false,
            smtpd_sasl_response_limit: 12_288,
            default_verp_delimiters: "+=".to_owned(),
            verp_delimiter_filter: "-=+".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyword_lists() {
        let (set, unknown) = EhloKeywords::parse("pipelining, DSN size,CHUNKING silent-discard foo");
        assert_eq!(set.to_string(), "chunking dsn pipelining size");
        assert_eq!(unknown, ["foo"]);
        assert!(set.contains(EhloKeywords::SILENT_DISCARD) && set.contains(EhloKeywords::DSN));
        assert!(!set.contains(EhloKeywords::ETRN));
        assert!(EhloKeywords::SILENT_DISCARD.is_empty() && !EhloKeywords::DSN.union(EhloKeywords::ETRN).is_empty());
    }

    #[test]
    fn forbidden_command_lists() {
        let default = ForbiddenCommands::default();
        assert_eq!(default.words, ["CONNECT", "GET", "POST"]);
        assert!(default.not_a_letter && !default.tables);
        let own = ForbiddenCommands::from_elements(["GET", "regexp:{{/^(FORBID|X-BAD)/ yes}}"]);
        assert!(own.tables && !own.not_a_letter);
    }

    #[test]
    fn bare_newline_words() {
        assert_eq!(ForbidBareNewline::parse("YES"), Some(ForbidBareNewline::Normalize));
        assert_eq!(ForbidBareNewline::parse("maybe"), None);
    }
}
