//! Random policies with random tables.

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    pub fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Names of hosts and domains.
pub const HOSTS: &[&str] = &[
    "localhost",
    "trusted",
    "friend.example",
    "mail.friend.example",
    "host.partner.example",
    "partner.example",
    "example.com",
    "mail.example.com",
    "sub.example.com",
    "relay.example",
    "a.relay.example",
    "stranger.example",
    "client.stranger.example",
    "mx1.stranger.example",
    "[203.0.113.9]",
    "203.0.113.9",
    "xfriend.example",
    "com",
    "OK",
    "permit",
    "x",
];
/// Addresses of clients.
pub const ADDRESSES: &[&str] = &["203.0.113.9", "203.0.113.200", "198.51.100.7", "8.8.8.8", "2001:db8::9", "2a00:1::1"];
const NETWORKS: &[&str] = &["192.0.2.7", "198.51.100", "203.0.113.200", "2001:db8", "10"];
/// Local parts.
pub const USERS: &[&str] = &["user", "boss", "postmaster", "victim", "user+x", "abuse"];
/// Values of tables.
pub const VALUES: &[&str] = &[
    "OK",
    "OK",
    "RELAY",
    "REJECT",
    "REJECT",
    "DUNNO",
    "DUNNO",
    "550 no",
    "450 4.7.1 later",
    "200",
    "DEFER",
    "DEFER_IF_PERMIT",
    "DEFER_IF_REJECT",
    "permit",
    "reject",
    "HOLD",
    "DISCARD",
    "FILTER smtp:x",
    "PREPEND X-A: b",
    "soft",
    "hard",
    "soft, reject",
    "permit_auth_destination, reject",
    "reject_unauth_destination",
    "permit_mynetworks, reject",
    "nonsense",
    "WARN x",
    "warn_if_reject reject",
    "permit_mx_backup",
    "reject_unknown_sender_domain, permit",
    "HANGUP",
    "INFO",
    "REDIRECT a@b.example",
];
const PATTERNS: &[&str] = &[
    "^friend",
    "friend\\.example$$",
    "^(boss|user)@",
    "@friend\\.example$$",
    "^mail[0-9]*\\.",
    ".",
    "^203\\.0\\.113\\.",
    "stranger",
    "^[^@]*$$",
    "^victim@elsewhere\\.example$$",
    "@(sub\\.)?example\\.com$$",
    "^x?friend",
    "%",
    "!",
];

/// Makes policies.
pub struct Policy<'a>(pub &'a mut Dice);

impl Policy<'_> {
    fn mail_key(&mut self) -> String {
        let (user, host) = (self.0.pick(USERS), self.0.pick(HOSTS));
        match self.0.below(6) {
            0 => format!("{user}@"),
            1 => format!("{user}@elsewhere.example"),
            2 => "elsewhere.example".into(),
            3 => host.into(),
            4 => format!(".{host}"),
            _ => format!("{user}@{host}"),
        }
    }

    fn inline(&mut self, mail: bool) -> String {
        let count = 1 + self.0.below(4);
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = match (mail, self.0.below(3)) {
                (true, 0) if self.0.one_in(3) => "<>".to_owned(),
                (true, _) => self.mail_key(),
                (false, 0) => self.0.pick(NETWORKS).to_owned(),
                (false, 1) => format!(".{}", self.0.pick(HOSTS)),
                (false, _) => self.0.pick(HOSTS).to_owned(),
            };
            entries.push(format!("{{{key} = {}}}", self.0.pick(VALUES)));
        }
        format!("inline:{{ {} }}", entries.join(", "))
    }

    fn patterns(&mut self) -> String {
        let kind = self.0.pick(&["regexp", "pcre"]);
        let mut rules = Vec::new();
        for _ in 0..=self.0.below(3) {
            let not = if self.0.one_in(6) { "!" } else { "" };
            let value = if self.0.one_in(12) && not.is_empty() { "$$1 x" } else { self.0.pick(VALUES) };
            let pattern = if value.starts_with("$$1") { "^(.*)$$" } else { self.0.pick(PATTERNS) };
            rules.push(format!("{{{not}/{pattern}/ {value}}}"));
        }
        if self.0.one_in(5) {
            rules.insert(0, format!("{{if /{}/}}", self.0.pick(PATTERNS)));
            rules.push("{endif}".into());
        }
        format!("{kind}:{{ {} }}", rules.join(", "))
    }

    fn networks(&mut self) -> String {
        let all =
            ["203.0.113.0/24", "198.51.100.7", "0.0.0.0/0", "::/0", "2001:db8::/32", "8.0.0.0/7", "!192.0.2.0/24"];
        let mut rules = Vec::new();
        for _ in 0..=self.0.below(3) {
            rules.push(format!("{{{} {}}}", self.0.pick(&all), self.0.pick(VALUES)));
        }
        format!("cidr:{{ {} }}", rules.join(", "))
    }

    fn table(&mut self, mail: bool) -> String {
        match self.0.below(12) {
            0..=4 => self.inline(mail),
            5..=7 => self.patterns(),
            8 => format!("static:{{{}}}", self.0.pick(VALUES)),
            9 => self.networks(),
            10 => format!("unionmap:{{ {{{}}}, {{{}}} }}", self.inline(mail), self.inline(mail)),
            _ => format!("randmap:{{ {{{}}}, {{{}}} }}", self.0.pick(VALUES), self.0.pick(VALUES)),
        }
    }

    fn restriction(&mut self) -> String {
        let simple = [
            "permit_mynetworks",
            "permit_sasl_authenticated",
            "permit_tls_clientcerts",
            "permit_auth_destination",
            "soft",
            "hard",
            "reject_unknown_client_hostname",
            "reject_non_fqdn_helo_hostname",
            "reject_unknown_sender_domain",
            "reject_rbl_client bl.example",
            "permit_dnswl_client wl.example",
            "permit_rhswl_client wl.example",
            "defer_if_permit",
            "defer_if_reject",
            "reject_unlisted_recipient",
            "permit_inet_interfaces",
            "reject_unauth_pipelining",
            "sleep 1",
            "reject_multi_recipient_bounce",
            "permit_mx_backup",
            "reject_rhsbl_sender bl.example",
            "reject_plaintext_session",
        ];
        let prefix = if self.0.one_in(12) { "warn_if_reject " } else { "" };
        let word = match self.0.below(20) {
            0..=2 => "reject_unauth_destination".into(),
            3 => "defer_unauth_destination".into(),
            4 => self.0.pick(&["permit", "reject", "defer"]).to_owned(),
            5 => "check_policy_service inet:127.0.0.1:10023".into(),
            6..=9 => {
                let name =
                    self.0.pick(&["check_client_access", "check_helo_access", "check_reverse_client_hostname_access"]);
                format!("{name} {}", self.table(false))
            }
            10..=13 => {
                let name = self.0.pick(&["check_sender_access", "check_recipient_access"]);
                format!("{name} {}", self.table(true))
            }
            14 => {
                let names = [
                    "check_sender_mx_access",
                    "check_recipient_a_access",
                    "check_helo_ns_access",
                    "check_client_mx_access",
                    "check_sasl_access",
                    "check_ccert_access",
                ];
                format!("{} {}", self.0.pick(&names), self.table(false))
            }
            _ => self.0.pick(&simple).to_owned(),
        };
        format!("{prefix}{word}")
    }

    fn list(&mut self, most: usize) -> String {
        let count = self.0.below(most + 1);
        (0..count).map(|_| self.restriction()).collect::<Vec<_>>().join(", ")
    }

    pub fn main_cf(&mut self) -> String {
        let mut lines = vec![
            "compatibility_level = 3.12".to_owned(),
            "myhostname = mail.example.com".into(),
            "mydestination = example.com, mail.example.com".into(),
            "inet_interfaces = 127.0.0.1".into(),
            "proxy_interfaces = 192.0.2.2".into(),
            "smtpd_restriction_classes = soft, hard".into(),
            format!(
                "mynetworks = {}",
                self.0.pick(&["127.0.0.0/8", "127.0.0.0/8, 192.0.2.64/28", "cidr:{ {10.0.0.0/8 x} }"])
            ),
            format!("soft = {}, permit", self.restriction()),
            format!("hard = {}, reject", self.restriction()),
        ];
        let domains = [
            "relay.example",
            "",
            ".relay.example",
            "inline:{relay.example=x}",
            "regexp:{ {/^(.*\\.)?relay\\.example$$/ x} }",
        ];
        lines.push(format!("relay_domains = {}", self.0.pick(&domains)));
        for name in ["smtpd_delay_reject", "smtpd_relay_before_recipient_restrictions", "smtpd_helo_required"] {
            lines.push(format!("{name} = {}", self.0.pick(&["yes", "no"])));
        }
        if self.0.one_in(3) {
            lines.push("parent_domain_matches_subdomains =".into());
        }
        for (name, value) in [
            ("allow_untrusted_routing", "yes"),
            ("swap_bangpath", "no"),
            ("allow_percent_hack", "no"),
            ("resolve_dequoted_address", "no"),
            ("soft_bounce", "yes"),
            ("recipient_delimiter", "+"),
            ("permit_mx_backup_networks", "203.0.113.0/24"),
            ("local_recipient_maps", ""),
            ("append_dot_mydomain", "yes"),
        ] {
            if self.0.one_in(4) {
                lines.push(format!("{name} = {value}"));
            }
        }
        // Near the border: what matters stands before the relay check, and little stands elsewhere.
        for (name, one_in) in [("client", 4), ("helo", 4), ("sender", 4), ("recipient", 2), ("data", 8)] {
            let list = if self.0.one_in(one_in) { self.list(2) } else { String::new() };
            lines.push(format!("smtpd_{name}_restrictions = {list}"));
        }
        let check = if self.0.one_in(6) { self.restriction() } else { "reject_unauth_destination".into() };
        lines.push(format!("smtpd_relay_restrictions = {}, {check}", self.list(3)));
        lines.join("\n") + "\n"
    }
}
