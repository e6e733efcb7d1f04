//! What clients say and tables hold. The restrictions come from the program's registry.

use policy::{Argument, restrictions};

use super::dice::Dice;
use super::known;

/// Domains with all kinds of DNS records, and things that are hardly domains.
pub const DOMAINS: &[&str] = &[
    "ok.example",
    "ok.example",
    "mxonly.example",
    "nx.example",
    "nodata.example",
    "temp.example",
    "refused.example",
    "nullmx.example",
    "mxlo.example",
    "cname.example",
    "cnameloop.example",
    "mxtemp.example",
    "mxaddr.example",
    "mxmany.example",
    "v6.example",
    "nstemp.example",
    "deep.sub.ok.example",
    "example.com",
    "example.com",
    "mail.example.com",
    "EXAMPLE.COM",
    "relay.example",
    "sub.relay.example",
    "backup.example",
    "primmy.example",
    "backuptemp.example",
    "backupnx.example",
    "virt.example",
    "alias.example",
    "[192.0.2.7]",
    "[127.0.0.1]",
    "[IPv6:2001:db8::1]",
    "[ipv6:::1]",
    "[1.2.3]",
    "[nonsense]",
    "nodot",
    "ok.example.",
    "ok.example..",
    "x_y.example",
    "-bad.example",
    "123.45",
    "192.0.2.1",
    "filtered.example",
    "xn--mnchen-3ya.example",
];

/// Domains that only a client with SMTPUTF8 may name.
pub const UTF8_DOMAINS: &[&str] = &["münchen.example", "exämple.com", "faß.example", "пример.example", "ＯＫ.example"];

/// HELO arguments.
pub const HELOS: &[&str] = &[
    "client.example.net",
    "client.example.net",
    "ok.example",
    "nx.example",
    "temp.example",
    "refused.example",
    "nodata.example",
    "nullmx.example",
    "mxonly.example",
    "[192.0.2.10]",
    "[1.2.3]",
    "[]",
    "[IPv6:2001:db8::1]",
    "192.0.2.10",
    "2001:db8::1",
    "nodot",
    "localhost",
    "bad_name.example",
    "helo.ok.example",
    "ok.example.",
    "-x.example",
    "mxlo.example",
    "mail.example.com",
    "v6.example",
    "cname.example",
    "cnameloop.example",
    "mxtemp.example",
    "nstemp.example",
    "filtered.example",
    "münchen.example",
    "xn--mnchen-3ya.example",
    "two words",
    "a.b.c.d.e.f.ok.example",
];

/// Where clients come from.
pub const CLIENTS: &[&str] = &[
    "192.0.2.10",
    "192.0.2.11",
    "192.0.2.12",
    "192.0.2.13",
    "192.0.2.14",
    "192.0.2.15",
    "192.0.2.16",
    "127.0.0.1",
    "127.0.0.3",
    "198.51.100.7",
];

/// IPv6 clients.
pub const CLIENTS6: &[&str] = &["2001:db8::10", "2001:db8:1::7", "::1", "2001:db8::b1"];

/// Local parts.
pub const LOCALS: &[&str] = &[
    "user",
    "user",
    "user",
    "user+ext",
    "user+ext",
    "user-ext",
    "User",
    "nobody",
    "postmaster",
    "moved",
    "err",
    "ret",
    "slow",
    "cat",
    "canon",
    "joe",
    "abuse+x+y",
    "+x",
    "user+",
    "owner-x",
    "x-request",
    "MAILER-DAEMON",
    "user%ok.example",
    "user%example.com",
    "ok.example!user",
    "relay.example!user",
    "\"a b\"",
    "\"user\"",
    "\"user+ext\"",
    "\"user@ok.example\"",
    "\"user%ok.example\"",
    "a.b",
    ".user",
    "us\\er",
    "\"us\\er\"",
    "\"\"",
    "user@relay.example",
];

/// Values of access tables, beside the names of restrictions.
pub const ACTIONS: &[&str] = &[
    "OK",
    "OK",
    "RELAY",
    "DUNNO",
    "DUNNO",
    "REJECT",
    "REJECT no thanks",
    "REJECT 5.1.8 mapped text",
    "REJECT 4.7.0 four",
    "REJECT 5.1.7 rcpt form",
    "Reject mixed",
    "554 no",
    "450 4.1.2 later",
    "550",
    "450",
    "12345",
    "399 x",
    "600 x",
    "451 4.1.1 x",
    "553 5.1.3 y",
    "550 4.2.1 wrong class",
    "550 5.1.99 odd",
    "550 5.7.1000 long",
    "421 4.3.2 bye",
    "521 bye",
    "421 4.7.0 a long farewell",
    "DEFER",
    "DEFER wait 4.2.2",
    "DEFER 4.2.2 wait",
    "DEFER_IF_PERMIT",
    "DEFER_IF_PERMIT dip text",
    "DEFER_IF_PERMIT 4.1.1 z",
    "DEFER_IF_REJECT",
    "DEFER_IF_REJECT 4.5.6 dir text",
    "defer_if_permit",
    "defer_if_reject",
    "WARN",
    "WARN careful",
    "INFO",
    "INFO note",
    "HOLD",
    "HOLD check",
    "PREPEND X-Pre: yes",
    "PREPEND bad",
    "PREPEND",
    "FILTER smtp:[127.0.0.1]:2525",
    "FILTER nope",
    "FILTER",
    "REDIRECT r@example.com",
    "REDIRECT noat",
    "REDIRECT",
    "BCC b@example.com",
    "BCC noat",
    "BCC",
    "DISCARD",
    "DISCARD gone",
    "reject",
    "defer",
    "permit",
    "reject_unauth_destination",
    "permit_mynetworks, reject",
    "warn_if_reject reject",
    "warn_if_reject, reject_unknown_sender_domain, reject_non_fqdn_sender",
    "warn_if_reject",
    "permit_auth_destination, reject",
    "no such words",
    "sub1",
    "SUB1",
    "sub2",
    "warn_if_reject sub2",
    "hash:/etc/postfix/nosuch",
    "check_sender_access",
    "check_sender_access hash",
    "check_sender_access static:OK",
    "reject_rbl_client bl.example",
    "reject_rbl_client",
    "permit_dnswl_client wl.example, reject",
    "reject junk after",
    "permit, reject",
    "OK with text",
    "sleep 0",
    "sleep",
    "sleep x",
    "reject_unknown_helo_hostname",
    "check_policy_service",
    "check_policy_service inet",
    "reject_multi_recipient_bounce reject_unlisted_sender",
    ",",
];

/// The names of restrictions with this kind of argument that both programs know, aliases too.
pub fn restrictions_with(argument: Argument) -> Vec<&'static str> {
    restrictions()
        .filter(|r| r.argument == argument && !known::avoided(r.name))
        .flat_map(|r| std::iter::once(r.name).chain(r.aliases.iter().copied()))
        .collect()
}

/// An address between `<` and `>`.
pub fn address(dice: &mut Dice) -> String {
    let local = dice.pick(LOCALS);
    let domain = dice.pick(DOMAINS);
    // the colon of an IPv6 address would end a source route
    let domain = if local == "\"\"" && domain.starts_with('[') { "ok.example" } else { domain };
    match dice.below(100) {
        0 => format!("@relay.example:{local}@{domain}"),
        1 => format!("@a.example,@b.example:{local}@{domain}"),
        2 => local.to_owned(),
        3 => format!("{local}@"),
        4 => "@ok.example".to_owned(),
        5 => format!("{local}@{domain}@example.com"),
        6 => format!("user@{domain} "),
        7..40 => format!("user@{domain}"),
        40..60 => format!(
            "{local}@{}",
            dice.pick(&["example.com", "relay.example", "ok.example", "virt.example", "alias.example"])
        ),
        _ => format!("{local}@{domain}"),
    }
}

/// An action of an access table.
pub fn action(dice: &mut Dice) -> String {
    if dice.percent(8) {
        return dice.pick(&restrictions_with(Argument::None)).to_owned();
    }
    dice.pick(ACTIONS).to_owned()
}
