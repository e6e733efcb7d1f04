//! Tests of address resolution.

use super::*;
use crate::testing::{Script, resolve_with};

fn route(values: &[(&str, &str)], script: Script, sender: &str, address: &str) -> Resolved {
    resolve_with(values, script, sender, address)
}

#[test]
fn every_address_has_a_class_and_a_way() {
    use AddressClass::{Default, Local, Relay, VirtualAlias, VirtualMailbox};
    let values = [
        ("relay_domains", "relay.example"),
        ("virtual_alias_domains", "alias.example"),
        ("virtual_mailbox_domains", "mbox.example"),
    ];
    for (address, class, transport, nexthop, recipient) in [
        ("user@example.com", Local, "local", "mail.example.com", "user@example.com"),
        ("user", Local, "local", "mail.example.com", "user@example.com"),
        ("", Local, "local", "mail.example.com", "MAILER-DAEMON@mail.example.com"),
        ("user@[127.0.0.1]", Local, "local", "mail.example.com", "user@[127.0.0.1]"),
        ("a b@example.com.", Local, "local", "mail.example.com", "a b@example.com"),
        ("x@alias.example", VirtualAlias, "error", "5.1.1 User unknown in virtual alias table", "x@alias.example"),
        ("x@mbox.example", VirtualMailbox, "virtual", "mbox.example", "x@mbox.example"),
        ("x@sub.relay.example", Relay, "relay", "sub.relay.example", "x@sub.relay.example"),
        ("x@other.example", Default, "smtp", "other.example", "x@other.example"),
        ("x@[192.0.2.9]", Default, "smtp", "[192.0.2.9]", "x@[192.0.2.9]"),
        ("x%other.example@example.com", Default, "smtp", "other.example", "x@other.example"),
        ("other.example!x", Default, "smtp", "other.example", "x@other.example"),
        ("x@other.example@example.com", Default, "smtp", "other.example", "x@other.example"),
        ("x%example.com@example.com", Local, "local", "mail.example.com", "x@example.com"),
    ] {
        let resolved = route(&values, Script::default(), "", address);
        assert_eq!(
            (resolved.class, resolved.transport.as_str(), resolved.nexthop.as_str(), resolved.recipient.as_str()),
            (class, transport, nexthop, recipient),
            "{address}"
        );
        assert_eq!(resolved.flags, ResolvedFlags::default(), "{address}");
    }
}

#[test]
fn odd_addresses_are_flagged() {
    for (address, routed, error) in [
        ("user@faß.example", false, false),
        ("user@пример.example", false, false),
        ("u%far.example@near.example", true, false),
        ("far.example!u@near.example", true, false),
        ("u@far.example@near.example", true, false),
        ("u@near.example", false, false),
        ("u@", false, true),
        ("u@near.example@", false, false),
        ("u@.example", false, true),
        ("u@-bad-.example", false, true),
        ("u@[example]", false, true),
        ("u@192.0.2.1", false, true),
        ("-u@near.example", false, true),
    ] {
        let flags = route(&[], Script::default(), "", address).flags;
        assert_eq!((flags.routed, flags.error, flags.failed), (routed, error, false), "{address}");
    }
    let flags = route(&[("allow_min_user", "yes")], Script::default(), "", "-u@near.example").flags;
    assert!(!flags.error);
}

#[test]
fn the_way_out_can_be_configured() {
    let script = || {
        Script::default()
            .entry("hash:/transport", "x@one.example", "lmtp:unix:/one")
            .entry("hash:/transport", "two.example", "smtp:[mx.two.example]:25")
            .entry("hash:/transport", ".two.example", ":[sub.two.example]")
            .entry("hash:/transport", "three.example", "slow:")
            .entry("hash:/transport", "four.example", ":")
            .entry("hash:/transport", "example.com", "uucp:far")
            .entry("hash:/transport", "alias.example", "smtp:never")
            .entry("hash:/relayhosts", "@paying.example", "[fast.example]")
            .entry("hash:/relayhosts", "dunno@paying.example", "DUNNO")
            .entry("hash:/relayhosts", "<>", "[bounce.example]")
            .entry("hash:/transports", "@special.example", "special:there")
    };
    let values = [
        ("relayhost", "[relay.example]"),
        ("transport_maps", "hash:/transport"),
        ("sender_dependent_relayhost_maps", "hash:/relayhosts"),
        ("sender_dependent_default_transport_maps", "hash:/transports"),
        ("virtual_alias_domains", "alias.example"),
    ];
    for (sender, address, expected) in [
        ("a@b.example", "x@zero.example", "smtp [relay.example]"),
        ("a@b.example", "x@one.example", "lmtp unix:/one"),
        ("a@b.example", "y@one.example", "smtp [relay.example]"),
        ("a@b.example", "x@two.example", "smtp [mx.two.example]:25"),
        ("a@b.example", "x@a.two.example", "smtp [sub.two.example]"),
        ("a@b.example", "x@three.example", "slow three.example"),
        ("a@b.example", "x@four.example", "smtp [relay.example]"),
        ("a@b.example", "x@example.com", "uucp far"),
        ("a@b.example", "x@alias.example", "error 5.1.1 User unknown in virtual alias table"),
        ("a@paying.example", "x@zero.example", "smtp [fast.example]"),
        ("dunno@paying.example", "x@zero.example", "smtp [relay.example]"),
        ("", "x@zero.example", "smtp [bounce.example]"),
        ("a@special.example", "x@zero.example", "special there"),
    ] {
        let resolved = route(&values, script(), sender, address);
        assert_eq!(format!("{} {}", resolved.transport, resolved.nexthop), expected, "{sender} {address}");
    }
    let star = script().entry("hash:/transport", "*", "smtp:[everywhere]");
    assert_eq!(route(&values, star, "a@b.example", "x@zero.example").nexthop, "[everywhere]");
}

#[test]
fn failures_and_overlaps_are_told() {
    let values = [("transport_maps", "broken:down")];
    let resolved = route(&values, Script::default(), "", "x@one.example");
    assert!(resolved.flags.failed);
    assert_eq!(resolved.warnings, ["down", "broken:down lookup error for \"x@one.example\""]);
    let values = [("virtual_alias_domains", "a.example"), ("relay_domains", "a.example")];
    let resolved = route(&values, Script::default(), "", "x@a.example");
    let line = "do not list domain a.example in BOTH virtual_alias_domains and relay_domains";
    assert_eq!(resolved.warnings, [line]);
}
