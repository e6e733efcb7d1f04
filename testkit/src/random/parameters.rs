//! Random parameters around the lists: codes, address classes, address maps, match lists, footers, logins.

use super::dice::Dice;
use super::draft::Draft;

/// Limits that would end sessions early, and 3.12's defaults that older versions don't have.
const ALWAYS: &[(&str, &str)] = &[
    ("smtpd_hard_error_limit", "10000"),
    ("smtpd_soft_error_limit", "10000"),
    ("smtpd_junk_command_limit", "10000"),
    ("smtpd_forbid_unauth_pipelining", "yes"),
    ("smtpd_forbid_bare_newline", "normalize"),
    ("smtpd_policy_service_retry_delay", "1s"),
    // What is postern's own counts on many sessions; these are few, with lists that list everything.
    ("postern_policy_service_breaker", ""),
    ("postern_dnsbl_guardian", "no"),
];

/// Parameters with values to try; what `@` stands before is a table of addresses.
const CHOICES: &[(&str, &[&str])] = &[
    ("access_map_reject_code", &["551", "450", "521"]),
    ("access_map_defer_code", &["451", "554"]),
    ("reject_code", &["521", "450"]),
    ("defer_code", &["452", "421"]),
    ("maps_rbl_reject_code", &["450", "550"]),
    ("relay_domains_reject_code", &["553", "450", "521"]),
    ("unknown_address_reject_code", &["550"]),
    ("unknown_client_reject_code", &["550"]),
    ("unknown_hostname_reject_code", &["550"]),
    ("invalid_hostname_reject_code", &["450", "521"]),
    ("non_fqdn_reject_code", &["450", "554"]),
    ("multi_recipient_bounce_reject_code", &["450"]),
    ("plaintext_reject_code", &["530"]),
    ("unknown_local_recipient_reject_code", &["450"]),
    ("unknown_relay_recipient_reject_code", &["554"]),
    ("unknown_virtual_alias_reject_code", &["450"]),
    ("unknown_virtual_mailbox_reject_code", &["553"]),
    ("reject_tempfail_action", &["defer"]),
    ("unknown_address_tempfail_action", &["defer"]),
    ("unknown_helo_hostname_tempfail_action", &["defer"]),
    ("soft_bounce", &["yes"]),
    ("smtpd_reject_unlisted_sender", &["yes"]),
    ("smtpd_reject_unlisted_recipient", &["no"]),
    ("show_user_unknown_table_name", &["no"]),
    ("smtpd_relay_before_recipient_restrictions", &["no"]),
    (
        "parent_domain_matches_subdomains",
        &[
            "",
            "relay_domains",
            "smtpd_access_maps",
            "mynetworks, smtpd_access_maps",
            "!relay_domains, mynetworks, smtpd_access_maps, relay_domains",
        ],
    ),
    ("allow_untrusted_routing", &["yes"]),
    ("smtpd_client_port_logging", &["yes"]),
    ("recipient_delimiter", &["+", "+-", "-", "+", "+-_"]),
    ("owner_request_special", &["no"]),
    ("smtpd_delay_open_until_valid_rcpt", &["no"]),
    (
        "default_rbl_reply",
        &[
            "$rbl_code Blocked: $rbl_what $rbl_class $rbl_domain ${rbl_reason?[$rbl_reason]}",
            "450 4.2.1 $client $client_address $client_name $reverse_client_name $helo_name",
            "550 $sender/$sender_name/$sender_domain/$recipient/$recipient_name/$recipient_domain $server_name",
            "$rbl_code ${rbl_txt:no text} $(rbl_what)",
        ],
    ),
    (
        "rbl_reply_maps",
        &[
            "inline:{ {bl.example = 550 5.7.9 see $$rbl_txt $$client $$sender $$recipient} {rhs.example=127.0.0.2 = $$rbl_code 4.1.8 rhs $$rbl_what} }",
            "texthash:/etc/postfix/rblreply",
            "static:{$$rbl_code $$rbl_class}",
            "static:{no code}",
            "fail:broken",
        ],
    ),
    ("append_dot_mydomain", &["yes"]),
    ("append_at_myorigin", &["no"]),
    ("swap_bangpath", &["no"]),
    ("allow_percent_hack", &["no"]),
    ("resolve_dequoted_address", &["no"]),
    ("resolve_numeric_domain", &["yes"]),
    ("resolve_null_domain", &["yes"]),
    ("allow_min_user", &["yes"]),
    (
        "permit_mx_backup_networks",
        &["192.0.2.40/32", "10.0.0.0/8", "192.0.2.0/24, !192.0.2.40", "!192.0.2.40, 0.0.0.0/0"],
    ),
    ("smtpd_helo_required", &["yes"]),
    ("smtpd_null_access_lookup_key", &["nullsender"]),
    (
        "smtpd_log_access_permit_actions",
        &[
            "static:all",
            "OK, RELAY",
            "permit_mynetworks, permit_auth_destination",
            "!permit_mynetworks, static:all",
            "dunno, permit",
        ],
    ),
    (
        "smtpd_reject_footer",
        &[
            "\\c footer $client_address",
            "see https://example.com/?c=$client&s=$sender&r=$recipient",
            "one\\ntwo $server_name",
            "\\c. ${helo_name?helo $helo_name} ${nothing:none}",
        ],
    ),
    (
        "smtpd_reject_footer_maps",
        &[
            "regexp:{{/^450/ one moment} {/Relay/ \\c no relay} {!/^4/ hard}}",
            "regexp:/etc/postfix/footers",
            "static:{all}",
        ],
    ),
    ("strict_rfc821_envelopes", &["yes"]),
    ("smtpd_discard_ehlo_keywords", &["pipelining", "smtputf8", "dsn, silent-discard"]),
    (
        "mynetworks",
        &[
            "127.0.0.0/8, !192.0.2.15, 192.0.2.15",
            "client.example.net, 127.0.0.1",
            "/etc/postfix/nets",
            "!192.0.2.11, cidr:{{192.0.2.0/28 x}}, [2001:db8::]/32",
            "!/etc/postfix/nets, 0.0.0.0/0",
            "inline:{192.0.2.10=x, example.net=y, 192.0.2=z}, 127.0.0.0/8",
            ".example.net, 127.0.0.1",
            "127.0.0.1, fail:broken",
        ],
    ),
    (
        "relay_domains",
        &[
            "hash:/etc/postfix/reldom",
            "relay.example, .ok.example",
            "!sub.relay.example, relay.example",
            "regexp:{{/^relay/ x}}",
            "static:all",
            "münchen.example, relay.example",
            "relay.example, fail:broken",
        ],
    ),
    ("mydestination", &["$myhostname, example.com, alias.example, ok.example", "inline:{example.com=x}, localhost"]),
    ("smtpd_peername_lookup", &["no"]),
    (
        "smtpd_sender_login_maps",
        &[
            "inline:{ {user@ok.example=joe} {joe=joe,sue} {@relay.example = sue joe} {canon@example.com=canon} }",
            "static:joe",
            "fail:broken",
        ],
    ),
    (
        "relocated_maps",
        &[
            "inline:{ {moved@example.com=new@x.example} {moved = other@x.example} {@nullmx.example=gone} }",
            "pcre:{{/^(.*)moved@/ new$$1@y.example}}",
        ],
    ),
    (
        "transport_maps",
        &[
            "inline:{ {err@example.com=error:5.1.2 errtext} {ret@example.com=retry:later} {relay.example=smtp:[127.0.0.1]:2525} {.ok.example=error:4.1.0 sub} }",
            "inline:{ {example.com=error:mail is off} {ret@ok.example=retry:4.4.4 some} {<>=discard:} }",
            "inline:{ {*=error:everything} {user@ok.example=smtp:[127.0.0.1]:2525} {example.com=:} }",
            "regexp:{{/^err/ error:5.2.0 regexp}}",
            "fail:broken",
        ],
    ),
    (
        "canonical_maps",
        &[
            "inline:{ {canon@example.com=user@ok.example} {canon=canonical} {@primmy.example=@example.com} }",
            "regexp:{{/^canon@(.*)$$/ canon.$$1@example.com}}",
        ],
    ),
    ("recipient_canonical_maps", &["inline:{ {nobody@example.com=user} {@backup.example=cat} }"]),
    ("sender_canonical_maps", &["inline:{ {nobody@example.com=user} {user@ok.example=joe@example.com} }"]),
    (
        "sender_dependent_default_transport_maps",
        &[
            "inline:{ {user@ok.example=error:5.7.0 not from you} {<>=retry:no bounces now} {@relay.example=smtp:[127.0.0.1]:2525} }",
        ],
    ),
    ("sender_dependent_relayhost_maps", &["inline:{ {user@ok.example=[127.0.0.1]:2525} {@example.com=DUNNO} }"]),
    ("relayhost", &["[127.0.0.1]:2525"]),
    ("proxy_interfaces", &["192.0.2.31", "192.0.2.7, 192.0.2.40"]),
    (
        "smtpd_dns_reply_filter",
        &["regexp:{{/ A 192\\.0\\.2\\.66/ ignore}}", "pcre:{{/^(mx\\.)?filtered/ ignore} {/MX 10 mx.mxonly/ ignore}}"],
    ),
    ("default_transport", &["error:5.0.0 nothing leaves", "retry:4.0.0 not now"]),
    ("local_recipient_maps", &["proxy:unix:passwd.byname $alias_maps", "fail:broken", "inline:{user=x, joe=x}"]),
    ("disable_vrfy_command", &["yes"]),
    ("smtputf8_enable", &["no"]),
    ("smtpd_recipient_limit", &["2", "3"]),
    ("smtpd_history_flush_threshold", &["1"]),
    ("smtpd_policy_service_default_action", &["DUNNO", "DEFER_IF_PERMIT dead", "nonsense"]),
    ("smtpd_expansion_filter", &["abcdefghijklmnopqrstuvwxyz .@[]"]),
    ("local_header_rewrite_clients", &[""]),
    ("empty_address_default_transport_maps_lookup_key", &["nullsender"]),
    ("enable_long_queue_ids", &["yes"]),
    ("smtpd_noop_commands", &["ETRN", "FOO, BAR"]),
    ("smtpd_forbidden_commands", &["CONNECT GET regexp:{{/^foo/ x}}"]),
];

/// Files that some of the values above name.
const FILES: &[(&str, &str)] = &[
    ("file nets", "# ours\n127.0.0.0/8\n!192.0.2.11\n192.0.2.8/29 [2001:db8::]/64\n"),
    (
        "file rblreply",
        "bl.example $rbl_code 5.7.2 file $rbl_what; $rbl_txt\nbl.example=127.0.0.2 450 4.7.2 filtered $rbl_domain\nrhs.example nonsense\n",
    ),
    ("file footers", "/^5(..)/ hard $1 ${client_name}\n/^4/ \\c soft\n"),
    ("map hash reldom", "relay.example x\n.ok.example y\nmünchen.example z\n"),
];

/// Adds parameters.
pub fn add(dice: &mut Dice, draft: &mut Draft) {
    for (name, value) in ALWAYS {
        draft.set(name, *value);
    }
    classes(dice, draft);
    let many = dice.range(0, 9);
    for (name, values) in dice.some(CHOICES, many, many) {
        draft.set(name, dice.pick(values));
    }
    for (heading, text) in FILES {
        let name = heading.rsplit(' ').next().unwrap_or_default();
        if CHOICES.iter().any(|(p, _)| draft.get(p).is_some_and(|v| v.contains(&format!("/etc/postfix/{name}")))) {
            draft.block(heading, text);
        }
    }
    draft.ipv6 = dice.percent(20);
    if draft.ipv6 {
        draft.set("inet_protocols", "all");
    }
    draft.login = dice.percent(25);
    if draft.login {
        login(dice, draft);
    }
    if dice.percent(15) {
        draft.set("smtpd_authorized_xclient_hosts", "192.0.2.0/24");
    }
}

/// The address classes with their tables.
fn classes(dice: &mut Dice, draft: &mut Draft) {
    if dice.percent(60) {
        draft.set("local_recipient_maps", "inline:{user=x, moved=x, err=x, ret=x, canon=x, {user@mail.example.com=x}}");
    }
    if dice.percent(60) {
        draft.set("virtual_alias_domains", "alias.example");
        draft.set(
            "virtual_alias_maps",
            "inline:{user@alias.example=user@example.com, cat@alias.example=user, {@exämple.com=user@example.com}}",
        );
    }
    if dice.percent(60) {
        draft.set("virtual_mailbox_domains", "virt.example");
        draft.set(
            "virtual_mailbox_maps",
            dice.pick(&["inline:{user@virt.example=x}", "inline:{@virt.example=x}", "fail:broken"]),
        );
    }
    if dice.percent(40) {
        draft.set(
            "relay_recipient_maps",
            dice.pick(&["inline:{user@relay.example=x}", "inline:{user@relay.example=x, @ok.example=y}"]),
        );
    }
}

fn login(dice: &mut Dice, draft: &mut Draft) {
    draft.set("smtpd_sasl_auth_enable", "yes");
    draft.set("smtpd_sasl_type", "dovecot");
    draft.set("smtpd_sasl_path", "private/auth");
    if dice.percent(20) {
        draft.set("smtpd_sasl_authenticated_header", "yes");
    }
    draft.block("sasl unix:private/auth mech=PLAIN,LOGIN", "joe pw\nsue pw\nuser@ok.example pw\ntemp !temp\n");
}
