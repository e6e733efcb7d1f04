//! The parameters of the SMTP session, typed.

use super::limits::ClientLimits;
use crate::proxy_filter::ProxyFilter;
use crate::tls::{Level, smtpd_level};
use config::{Parameters, list};
use smtp::server::{ErrorClasses, ForbidBareNewline, ForbiddenCommands, Rate, SessionConfig};

/// The settings of one service's sessions.
pub fn session_config(p: &Parameters, limits: &ClientLimits, tls_available: bool) -> SessionConfig {
    let level = smtpd_level(p);
    let seconds = |name: &str| p.time(name).as_secs();
    let number = |name: &str| u32::try_from(p.int(name)).unwrap_or(0);
    let size = |name: &str| usize::try_from(p.int(name)).unwrap_or(0);
    let words = |name: &str| list::words(&p.get(name)).unwrap_or_default();
    let set = |name: &str| !p.get(name).trim().is_empty();
    SessionConfig {
        myhostname: p.get("myhostname"),
        smtpd_banner: p.get("smtpd_banner"),
        smtpd_delay_reject: p.bool("smtpd_delay_reject"),
        smtpd_enforce_tls: level == Level::Encrypt,
        smtpd_use_tls: level > Level::None,
        smtpd_tls_wrappermode: p.bool("smtpd_tls_wrappermode"),
        tls_available,
        requiretls_enable: p.bool("requiretls_enable"),
        smtpd_helo_required: p.bool("smtpd_helo_required"),
        disable_vrfy_command: p.bool("disable_vrfy_command"),
        strict_rfc821_envelopes: p.bool("strict_rfc821_envelopes"),
        allow_min_user: p.bool("allow_min_user"),
        inet_ipv6: words("inet_protocols")
            .iter()
            .any(|word| ["all", "ipv6"].contains(&word.to_ascii_lowercase().as_str())),
        resolve_numeric_domain: p.bool("resolve_numeric_domain"),
        resolve_null_domain: p.bool("resolve_null_domain"),
        smtputf8_enable: p.bool("smtputf8_enable"),
        notify_classes: ErrorClasses::parse(&p.get("notify_classes")).0,
        smtpd_history_flush_threshold: size("smtpd_history_flush_threshold"),
        strict_smtputf8: p.bool("strict_smtputf8"),
        message_size_limit: u64::try_from(p.int("message_size_limit")).unwrap_or(0),
        line_length_limit: size("line_length_limit"),
        smtpd_timeout: seconds("smtpd_timeout"),
        smtpd_per_request_deadline: p.bool("smtpd_per_request_deadline"),
        smtpd_min_data_rate: u64::try_from(p.int("smtpd_min_data_rate")).unwrap_or(0),
        smtpd_error_sleep_time: seconds("smtpd_error_sleep_time"),
        smtpd_soft_error_limit: number("smtpd_soft_error_limit"),
        smtpd_hard_error_limit: number("smtpd_hard_error_limit"),
        smtpd_junk_command_limit: number("smtpd_junk_command_limit"),
        // LMTP has an answer for each recipient at the end of a message, SMTP only one.
        smtpd_recipient_limit: match ProxyFilter::speaks_lmtp(&p.get("smtpd_proxy_filter")) {
            true => 1,
            false => size("smtpd_recipient_limit"),
        },
        smtpd_recipient_overshoot_limit: number("smtpd_recipient_overshoot_limit"),
        smtpd_forbid_unauth_pipelining: p.bool("smtpd_forbid_unauth_pipelining"),
        smtpd_forbid_bare_newline: ForbidBareNewline::parse(p.get("smtpd_forbid_bare_newline").trim())
            .unwrap_or_default(),
        smtpd_forbid_bare_newline_reject_code: u16::try_from(p.int("smtpd_forbid_bare_newline_reject_code"))
            .unwrap_or(550),
        cleanup_replace_stray_cr_lf: p.bool("cleanup_replace_stray_cr_lf"),
        smtpd_noop_commands: words("smtpd_noop_commands"),
        smtpd_forbidden_commands: ForbiddenCommands::from_elements(
            words("smtpd_forbidden_commands").iter().map(String::as_str),
        ),
        smtpd_delay_open_until_valid_rcpt: p.bool("smtpd_delay_open_until_valid_rcpt"),
        soft_bounce: p.bool("soft_bounce"),
        smtpd_command_filter: set("smtpd_command_filter"),
        finish_replies: ["smtpd_reject_filter_maps", "smtpd_reject_footer", "smtpd_reject_footer_maps"]
            .iter()
            .any(|name| set(name)),
        smtpd_proxy_filter: set("smtpd_proxy_filter"),
        // As in Postfix: where anything is limited, connections are counted too.
        count_connections: limits.any(),
        count_messages: limits.of_client(Rate::Message).is_some(),
        count_recipients: limits.of_client(Rate::Recipient).is_some(),
        count_new_tls_sessions: limits.of_client(Rate::NewTlsSession).is_some(),
        count_auths: limits.of_client(Rate::Auth).is_some(),
        count_login_messages: limits.of_login(Rate::Message).is_some(),
        count_login_recipients: limits.of_login(Rate::Recipient).is_some(),
        broken_sasl_auth_clients: p.bool("broken_sasl_auth_clients"),
        smtpd_sasl_response_limit: size("smtpd_sasl_response_limit"),
        default_verp_delimiters: p.get("default_verp_delimiters"),
        verp_delimiter_filter: p.get("verp_delimiter_filter"),
    }
}
