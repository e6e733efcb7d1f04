//! Which parameters act in postern today. The one file to edit when another one starts to act: add a row at the top
//! of its block, or remove the row that says it does not.

/// What setting a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honour {
    /// Postern acts on it.
    Acts,
    /// Nothing in postern corresponds to it; setting it does no harm.
    Harmless,
    /// Postfix acts on it, postern does not yet; the text names the feature that is missing.
    NotYet(&'static str),
}

use Honour::{Acts, Harmless, NotYet};

/// Names, with at most one `*` for any text. The first row that fits counts.
const RULES: &[(&str, Honour)] = &[
    // What acts although a row below would say otherwise.
    ("postern_*", Acts),
    ("smtpd_error_sleep_time", Acts),
    ("plaintext_reject_code", Acts),
    ("smtp_bind_address", Acts),
    ("smtp_bind_address6", Acts),
    ("smtp_bind_address_enforce", Acts),
    ("smtp_helo_name", Acts),
    ("smtp_helo_timeout", Acts),
    ("smtp_connect_timeout", Acts),
    ("smtp_mail_timeout", Acts),
    ("smtp_rcpt_timeout", Acts),
    ("smtp_rset_timeout", Acts),
    ("smtp_quit_timeout", Acts),
    ("smtp_data_*_timeout", Acts),
    ("smtp_fallback_relay", Acts),
    ("smtp_mx_address_limit", Acts),
    ("smtp_mx_session_limit", Acts),
    ("smtp_skip_5xx_greeting", Acts),
    ("smtp_skip_quit_response", Acts),
    ("smtp_always_send_ehlo", Acts),
    ("smtp_never_send_ehlo", Acts),
    ("smtp_address_preference", Acts),
    ("smtp_host_lookup", Acts),
    ("smtp_tcp_port", Acts),
    ("smtp_line_length_limit", Acts),
    ("smtp_randomize_addresses", Acts),
    ("smtp_quote_rfc821_envelope", Acts),
    ("smtp_dns_support_level", Acts),
    ("ignore_mx_lookup_error", Acts),
    ("disable_dns_lookups", Acts),
    ("best_mx_transport", NotYet("delivery to ourselves as best MX")),
    ("known_tcp_ports", Acts),
    ("default_transport", Acts),
    ("relayhost", Acts),
    ("soft_bounce", Acts),
    ("home_mailbox", Acts),
    ("mail_spool_directory", Acts),
    ("mailbox_size_limit", Acts),
    ("virtual_mailbox_*", Acts),
    ("virtual_uid_maps", Acts),
    ("virtual_gid_maps", Acts),
    ("virtual_minimum_uid", Acts),
    ("virtual_transport", Acts),
    ("local_transport", Acts),
    ("relay_transport", Acts),
    ("recipient_delimiter", Acts),
    ("prepend_delivered_header", Acts),
    ("maximal_queue_lifetime", Acts),
    ("bounce_queue_lifetime", Acts),
    ("minimal_backoff_time", Acts),
    ("maximal_backoff_time", Acts),
    ("queue_run_delay", Acts),
    ("transport_retry_time", Acts),
    ("bounce_size_limit", Acts),
    ("bounce_notice_recipient", Acts),
    ("2bounce_notice_recipient", Acts),
    ("error_notice_recipient", Acts),
    ("double_bounce_sender", Acts),
    ("notify_classes", Acts),
    ("delay_warning_time", Acts),
    ("enable_idna2003_compatibility", NotYet("IDNA2003")),
    ("maps_rbl_domains", Harmless),
    ("delay_notice_recipient", Acts),
    ("maillog_file", Acts),
    ("maillog_file_prefixes", Acts),
    ("syslog_*", Acts),
    ("info_log_address_format", Acts),
    ("delay_logging_resolution_limit", Acts),
    ("hash_queue_*", Harmless),
    // What has no counterpart: processes, locks, places of programs, Berkeley DB.
    ("smtpd_service_name", Harmless),
    ("*_service_name", Harmless),
    ("milter_macro_daemon_name", NotYet("milters")),
    ("alternate_config_directories", Harmless),
    ("application_event_drain_time", Harmless),
    ("authorized_*_users", Harmless),
    ("berkeley_db_*", Harmless),
    ("lmdb_map_size", Harmless),
    ("biff", Harmless),
    ("backwards_bounce_logfile_compatibility", Harmless),
    ("command_directory", Harmless),
    ("cyrus_sasl_config_path", Harmless),
    ("daemon_*", Harmless),
    ("data_directory", Harmless),
    ("debugger_command", Harmless),
    ("default_process_limit", Harmless),
    ("deliver_lock_*", Harmless),
    ("dns_ncache_ttl_fix_enable", Harmless),
    ("dont_remove", Harmless),
    ("export_environment", Harmless),
    ("import_environment", Harmless),
    ("fork_*", Harmless),
    ("helpful_warnings", Harmless),
    ("html_directory", Harmless),
    ("in_flow_delay", Harmless),
    ("ipc_*", Harmless),
    ("mail_owner", Acts),
    ("mail_release_date", Harmless),
    ("mail_version", Acts),
    ("mailbox_delivery_lock", Harmless),
    ("mailq_path", Harmless),
    ("maillog_file_permissions", NotYet("other permissions of the log file than 0600")),
    ("maillog_file_*", NotYet("log rotation")),
    ("manpage_directory", Harmless),
    ("max_idle", Harmless),
    ("max_use", Harmless),
    ("meta_directory", Harmless),
    ("multi_instance_name", Acts),
    ("multi_instance_*", NotYet("multiple instances")),
    ("newaliases_path", Harmless),
    ("openssl_path", Harmless),
    ("postlogd_watchdog_timeout", Harmless),
    ("process_*", Harmless),
    ("proxy_read_maps", Harmless),
    ("proxy_write_maps", Harmless),
    ("qmgr_*", Harmless),
    ("queue_directory", Acts),
    ("readme_directory", Harmless),
    ("sample_directory", Harmless),
    ("sendmail_path", Harmless),
    ("service_name", Acts),
    ("service_throttle_time", Harmless),
    ("setgid_group", Harmless),
    ("shlib_directory", Harmless),
    ("stale_lock_time", Harmless),
    ("strict_mailbox_ownership", Harmless),
    ("sun_mailtool_compatibility", Harmless),
    ("trigger_timeout", Harmless),
    ("virtual_mailbox_lock", Harmless),
    ("address_verify_*", NotYet("address verification")),
    ("unverified_*", NotYet("address verification")),
    // What is not there yet.
    ("*_delivery_slot_*", Harmless),
    ("*_minimum_delivery_slots", Harmless),
    ("*_recipient_refill_*", Harmless),
    ("*_extra_recipient_limit", Harmless),
    ("*_destination_*", NotYet("limits per destination")),
    ("*initial_destination_concurrency", NotYet("limits per destination")),
    ("*_transport_rate_delay", NotYet("rate delays")),
    ("*_delivery_status_filter", NotYet("delivery status filters")),
    ("*_tlsrpt_*", NotYet("TLS reporting")),
    ("requiretls_*", NotYet("REQUIRETLS")),
    ("*_requiretls_policy", NotYet("REQUIRETLS")),
    ("smtpd_sasl_tls_*", NotYet("TLS")),
    ("smtpd_sasl_local_domain", Harmless),
    ("smtpd_sasl_*", Acts),
    ("broken_sasl_auth_clients", Acts),
    ("*sasl_*", NotYet("SASL")),
    ("smtpd_client_auth_rate_limit", NotYet("rate limits")),
    ("smtp_sender_dependent_authentication", NotYet("SASL")),
    ("postscreen_*", NotYet("postscreen")),
    ("dnsblog_*", NotYet("postscreen")),
    ("tls_*", NotYet("TLS")),
    ("tlsproxy_*", NotYet("TLS")),
    ("tlsmgr_*", NotYet("TLS")),
    ("smtpd_tls_*", NotYet("TLS")),
    ("smtp_tls_*", NotYet("TLS")),
    ("*_use_tls", NotYet("TLS")),
    ("*_enforce_tls", NotYet("TLS")),
    ("*_starttls_timeout", NotYet("TLS")),
    ("*_log_tls_feature_status", NotYet("TLS")),
    ("relay_clientcerts", NotYet("TLS")),
    ("smtpd_milter*", NotYet("milters")),
    ("milter_*", NotYet("milters")),
    ("non_smtpd_milters", NotYet("milters")),
    ("internal_mail_filter_classes", NotYet("milters")),
    ("smtpd_proxy_*", NotYet("smtpd_proxy_filter")),
    ("smtpd_upstream_proxy_*", Acts),
    ("anvil_*", NotYet("rate limits")),
    ("smtpd_client_connection_*", NotYet("rate limits")),
    ("smtpd_client_*_rate_limit", NotYet("rate limits")),
    ("smtpd_client_event_limit_exceptions", NotYet("rate limits")),
    ("smtpd_client_ipv4_prefix_length", NotYet("rate limits")),
    ("smtpd_client_ipv6_prefix_length", NotYet("rate limits")),
    ("*verp*", NotYet("VERP")),
    ("qmqpd_*", NotYet("QMQP")),
    ("fast_flush_*", NotYet("fast flush")),
    ("content_filter", NotYet("content filters")),
    ("default_filter_nexthop", NotYet("content filters")),
    ("lmtp_*", NotYet("LMTP delivery")),
    ("smtp_*", NotYet("this part of SMTP delivery")),
    ("connection_cache_*", NotYet("connection caching")),
    ("destination_concurrency_feedback_debug", NotYet("limits per destination")),
    ("*_time_limit", NotYet("pipe and spawn")),
    ("defer_transports", NotYet("deferred transports")),
    ("confirm_delay_cleared", Acts),
    ("bounce_template_file", NotYet("bounce templates")),
    ("enable_threaded_bounces", NotYet("threaded bounces")),
    ("use_srv_lookup", NotYet("SRV look-ups")),
    ("*_srv_lookup_*", NotYet("SRV look-ups")),
    ("dnssec_probe", NotYet("DNSSEC")),
    ("debug_peer_*", NotYet("debug logging per peer")),
    ("default_recipient_limit", Harmless),
    ("smtpd_recipient_limit", Acts),
    ("*_recipient_limit", Harmless),
    ("alias_maps", Acts),
    ("alias_database", Harmless),
    ("default_database_type", Acts),
    ("default_cache_db_type", Acts),
];

/// What setting this parameter does. User parameters act: through those that refer to them.
pub fn honoured(name: &str) -> Honour {
    if let Some((_, honour)) = RULES.iter().find(|(pattern, _)| fits(pattern, name)) {
        return *honour;
    }
    match super::find(name) {
        Some(parameter) if only_local_delivery(parameter.component) => NotYet("this part of local delivery"),
        _ => Acts,
    }
}

fn only_local_delivery(component: &str) -> bool {
    component.split(',').all(|reader| matches!(reader, "local" | "pipe" | "spawn" | "proxymap"))
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => match tail.strip_suffix('*') {
            Some(middle) => head.is_empty() && name.contains(middle),
            None => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_and_what_does_not() {
        for (name, want) in [
            ("smtpd_recipient_restrictions", Acts),
            ("smtpd_hard_error_limit", Acts),
            ("smtpd_recipient_limit", Acts),
            ("virtual_alias_maps", Acts),
            ("header_checks", Acts),
            ("transport_maps", Acts),
            ("smtp_data_init_timeout", Acts),
            ("my_own_thing", Acts),
            ("in_flow_delay", Harmless),
            ("verify_service_name", Harmless),
            ("smtpd_sasl_auth_enable", Acts),
            ("smtpd_sasl_tls_security_options", NotYet("TLS")),
            ("smtp_sasl_auth_enable", NotYet("SASL")),
            ("smtpd_tls_cert_file", NotYet("TLS")),
            ("smtpd_starttls_timeout", NotYet("TLS")),
            ("smtpd_milters", NotYet("milters")),
            ("smtp_destination_rate_delay", NotYet("limits per destination")),
            ("slow_destination_concurrency_limit", NotYet("limits per destination")),
            ("mailbox_command", NotYet("this part of local delivery")),
            ("disable_verp_bounces", NotYet("VERP")),
        ] {
            assert_eq!(honoured(name), want, "{name}");
        }
    }

    #[test]
    fn every_rule_is_of_use() {
        for (pattern, _) in RULES {
            let used = super::super::all().iter().any(|parameter| fits(pattern, parameter.name));
            assert!(used, "{pattern} fits no parameter");
        }
    }
}
