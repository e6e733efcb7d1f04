//! Parameters that Postfix announced to remove, or that later ones replaced.

use crate::diagnostic::{Diagnostic, Span};
use crate::master_cf::MasterCf;
use crate::parameters::Parameters;

/// Name, and what to write instead.
const DEPRECATED: [(&str, &str); 30] = [
    ("authorized_verp_clients", "smtpd_authorized_verp_clients"),
    ("disable_dns_lookups", "smtp_dns_support_level"),
    ("fallback_relay", "smtp_fallback_relay"),
    ("lmtp_enforce_tls", "lmtp_tls_security_level"),
    ("lmtp_per_record_deadline", "lmtp_per_request_deadline"),
    ("lmtp_tls_cipherlist", "lmtp_tls_mandatory_ciphers"),
    ("lmtp_tls_enforce_peername", "lmtp_tls_security_level"),
    ("lmtp_tls_per_site", "lmtp_tls_policy_maps"),
    ("lmtp_use_tls", "lmtp_tls_security_level"),
    ("maps_rbl_domains", "reject_rbl_client"),
    ("permit_mx_backup_networks", "relay_domains"),
    ("postscreen_blacklist_action", "postscreen_denylist_action"),
    ("postscreen_dnsbl_ttl", "postscreen_dnsbl_max_ttl"),
    ("postscreen_dnsbl_whitelist_threshold", "postscreen_dnsbl_allowlist_threshold"),
    ("postscreen_whitelist_interfaces", "postscreen_allowlist_interfaces"),
    ("smtp_enforce_tls", "smtp_tls_security_level"),
    ("smtp_per_record_deadline", "smtp_per_request_deadline"),
    ("smtp_tls_cipherlist", "smtp_tls_mandatory_ciphers"),
    ("smtp_tls_enforce_peername", "smtp_tls_security_level"),
    ("smtp_tls_per_site", "smtp_tls_policy_maps"),
    ("smtp_use_tls", "smtp_tls_security_level"),
    ("smtpd_client_connection_limit_exceptions", "smtpd_client_event_limit_exceptions"),
    ("smtpd_enforce_tls", "smtpd_tls_security_level"),
    ("smtpd_per_record_deadline", "smtpd_per_request_deadline"),
    ("smtpd_tls_cipherlist", "smtpd_tls_mandatory_ciphers"),
    ("smtpd_tls_dh1024_param_file", "tls_ffdhe_auto_groups (the default is right)"),
    ("smtpd_tls_dh512_param_file", "nothing: export ciphers are gone"),
    ("smtpd_tls_eecdh_grade", "tls_eecdh_auto_curves (the default is right)"),
    ("smtpd_use_tls", "smtpd_tls_security_level"),
    ("virtual_maps", "virtual_alias_maps and virtual_alias_domains"),
];

pub(super) fn lint(parameters: &Parameters, master: &MasterCf, found: &mut Vec<Diagnostic>) {
    for definition in parameters.main().effective() {
        found.extend(judge(&definition.name, &definition.span));
    }
    for setting in master.effective().flat_map(|service| &service.overrides) {
        found.extend(judge(&setting.name, &setting.span));
    }
}

fn judge(name: &str, span: &Span) -> Option<Diagnostic> {
    let (_, instead) = DEPRECATED.iter().find(|(old, _)| *old == name)?;
    let help = match instead.strip_prefix("nothing: ") {
        Some(why) => format!("remove it: {why}"),
        None => format!("instead, use {instead}"),
    };
    let message = format!("{name} is an old setting that Postfix will remove, or has replaced");
    Some(Diagnostic::warning("deprecated-parameter", message).at(Some(span.clone())).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::testing::told;
    use crate::registry;

    #[test]
    fn old_settings_are_told_in_both_files() {
        assert_eq!(
            told("smtpd_use_tls = yes\nrelayhost = x\n", "smtp inet n - n - - smtpd -o smtpd_enforce_tls=yes\n"),
            [
                "main.cf:1: warning: smtpd_use_tls is an old setting that Postfix will remove, or has replaced [deprecated-parameter]",
                "master.cf:1: warning: smtpd_enforce_tls is an old setting that Postfix will remove, or has replaced \
                 [deprecated-parameter]",
            ]
        );
    }

    #[test]
    fn what_to_write_instead_exists() {
        for (_, instead) in DEPRECATED {
            let name = instead.split(' ').next().unwrap_or_default();
            assert!(name.starts_with("reject_") || name == "nothing:" || registry::find(name).is_some(), "{name}");
        }
    }
}
