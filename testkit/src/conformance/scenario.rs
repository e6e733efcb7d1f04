//! Scenario files: free text, then `[section args]` blocks.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

const KINDS: &[&str] = &[
    "main.cf",
    "master.cf",
    "file",
    "map",
    "sqlite",
    "dns",
    "milter",
    "policy",
    "sink",
    "sasl",
    "tcptable",
    "socketmap",
    "session",
];

/// The port that takes all mail by default.
pub const SINK: u16 = 2525;
/// The port of the server under test.
pub const PORT: u16 = 2500;

const BASE_MAIN: &str = "\
compatibility_level = 3.12
mail_name = Postfix
myhostname = mail.example.com
mydomain = example.com
myorigin = example.com
mydestination = $myhostname, localhost.$mydomain, localhost, example.com
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = relay.example
local_recipient_maps =
alias_maps =
biff = no
notify_classes =
local_transport = smtp:[127.0.0.1]:2525
relay_transport = smtp:[127.0.0.1]:2525
virtual_transport = smtp:[127.0.0.1]:2525
default_transport = smtp:[127.0.0.1]:2525
smtpd_error_sleep_time = 0
smtpd_tls_security_level = none
maillog_file = /var/log/maillog
";

const BASE_MASTER: &str = "\
127.0.0.1:2500 inet n - n - - smtpd
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
local     unix  - n n -     - local
virtual   unix  - n n -     - virtual
lmtp      unix  - - n -     - lmtp
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
";

const BASE_ZONE: &str = "\
example.com MX 10 mail.example.com
example.com SOA ns.example.com root.example.com 1 3600 600 86400 60
mail.example.com A 127.0.0.1
example.org A 192.0.2.30
example.net MX 10 mx.example.net
mx.example.net A 192.0.2.20
client.example.net A 192.0.2.10
@rev 192.0.2.10 PTR client.example.net
@rev 127.0.0.1 PTR localhost
localhost A 127.0.0.1
";

/// One block of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// `main.cf`, `session` and so on.
    pub kind: String,
    /// The words after the kind.
    pub args: Vec<String>,
    /// The lines below, with one newline at the end.
    pub text: String,
}

impl Block {
    /// Is `word` among the arguments?
    pub fn has(&self, word: &str) -> bool {
        self.args.iter().any(|a| a == word)
    }

    /// The value of the argument `name=value`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.args.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file name without `.scn`.
    pub name: String,
    blocks: Vec<Block>,
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::parse(&name, &std::fs::read_to_string(path)?))
    }

    /// Takes the text of a scenario apart.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        for line in text.split('\n') {
            if let Some((kind, args)) = heading(line) {
                blocks.push(Block { kind, args, text: String::new() });
            } else if let Some(block) = blocks.last_mut() {
                block.text += line;
                block.text += "\n";
            }
        }
        for block in &mut blocks {
            block.text.truncate(block.text.trim_end_matches('\n').len());
            block.text += "\n";
        }
        Self { name: name.to_owned(), blocks }
    }

    /// What the scenario is about: its name up to the first `-`.
    pub fn area(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }

    /// The blocks of a kind.
    pub fn get<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Block> {
        self.blocks.iter().filter(move |b| b.kind == kind)
    }

    /// All text of a kind.
    pub fn text(&self, kind: &str) -> String {
        self.get(kind).map(|b| b.text.as_str()).collect()
    }

    /// The base main.cf without the names that the scenario sets, then what the scenario sets.
    pub fn main_cf(&self) -> String {
        let extra = self.text("main.cf");
        let named = |line: &str| -> Option<String> {
            let name = line.split_once('=')?.0.trim_end();
            let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            word.then(|| name.to_owned())
        };
        let names: BTreeSet<String> = extra.lines().filter_map(named).collect();
        let base = BASE_MAIN.lines().filter(|l| !named(l).is_some_and(|n| names.contains(&n)));
        base.map(|l| format!("{l}\n")).collect::<String>() + &extra
    }

    /// The logical lines of master.cf: the base ones, those of the scenario added or in their place.
    pub fn master_cf(&self) -> Vec<String> {
        let mut entries: Vec<(Vec<String>, String)> = Vec::new();
        for text in [BASE_MASTER, &self.text("master.cf")] {
            let mut current = None;
            for line in text.lines() {
                if line.starts_with([' ', '\t'])
                    && let Some(i) = current
                {
                    let entry: &mut (Vec<String>, String) = &mut entries[i];
                    entry.1 += "\n";
                    entry.1 += line;
                } else if !line.trim().is_empty() && !line.starts_with('#') {
                    let key: Vec<String> = line.split_whitespace().take(2).map(str::to_owned).collect();
                    let place = entries.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                        entries.push((key, String::new()));
                        entries.len() - 1
                    });
                    entries[place].1 = line.to_owned();
                    current = Some(place);
                }
            }
        }
        entries.into_iter().map(|(_, text)| text).collect()
    }

    /// The DNS zone text.
    pub fn zone(&self) -> String {
        let extra = self.text("dns");
        if extra.contains("; nobase") { extra } else { BASE_ZONE.to_owned() + &extra }
    }
}

fn heading(line: &str) -> Option<(String, Vec<String>)> {
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let mut words = inner.split_whitespace().map(str::to_owned);
    let kind = words.next()?;
    let known = KINDS.contains(&kind.as_str()) && inner.starts_with(&kind) && !inner.contains(']');
    known.then(|| (kind, words.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "About it.\n\n[main.cf]\nmynetworks = 10.0.0.0/8\nnew =\n  more\n\n[master.cf]\n127.0.0.1:2500 inet n - n - 1 postscreen\n127.0.0.1:2501 inet n - n - - smtpd\n  -o a=b\n\n[session one from=10.0.0.1 timing]\n[::1] is no heading\nQUIT\n";

    #[test]
    fn blocks() {
        let scenario = Scenario::parse("relay-x", TEXT);
        assert_eq!(scenario.area(), "relay");
        let session = scenario.get("session").next().expect("a session");
        assert_eq!(session.text, "[::1] is no heading\nQUIT\n");
        assert_eq!(
            (session.option("from"), session.has("timing"), session.option("port")),
            (Some("10.0.0.1"), true, None)
        );
    }

    #[test]
    fn settings_replace_the_base() {
        let main_cf = Scenario::parse("x", TEXT).main_cf();
        assert!(!main_cf.contains("mynetworks = 127.0.0.1/32"));
        assert!(main_cf.ends_with("mynetworks = 10.0.0.0/8\nnew =\n  more\n"));
    }

    #[test]
    fn services_replace_the_base() {
        let master_cf = Scenario::parse("x", TEXT).master_cf();
        assert_eq!(master_cf[0], "127.0.0.1:2500 inet n - n - 1 postscreen");
        assert_eq!(master_cf.last().expect("lines"), "127.0.0.1:2501 inet n - n - - smtpd\n  -o a=b");
        assert_eq!(master_cf.len(), BASE_MASTER.lines().count() + 1);
    }
}
