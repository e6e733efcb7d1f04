//! Where a scenario runs: its temporary directory and its ports, and the way from a scenario's names to them and back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use super::scenario::Scenario;
use crate::peer::Address;
use crate::ports::free_port;

/// The port that MX hosts listen on, in a scenario.
const SMTP: u16 = 25;
const FOLDERS: [(&str, &str); 4] =
    [("/etc/postfix", "etc"), ("/var/spool/postfix", "spool"), ("/var/lib/postfix", "data"), ("/var/log", "log")];

static LOOPBACK_PORT: LazyLock<Regex> = LazyLock::new(|| regex(r"((?:127\.0\.0\.\d+|localhost|\[::1)\]?:)(\d{2,5})\b"));
static SERVICE_PORT: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\S*:)?(\d+)(\s+inet\s)"));
static ANY_PORT: LazyLock<Regex> = LazyLock::new(|| regex(r":(\d{5})\b"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of our own")
}

/// The temporary directory and the ports of one run.
#[derive(Debug)]
pub struct Place {
    root: tempfile::TempDir,
    ports: BTreeMap<u16, u16>,
}

impl Place {
    /// A fresh place for a scenario, with a free port for each port that it names.
    pub fn new(scenario: &Scenario) -> io::Result<Self> {
        let root = crate::temp_dir()?;
        for (_, folder) in FOLDERS {
            std::fs::create_dir(root.path().join(folder))?;
        }
        let mut named = vec![SMTP, super::scenario::SINK, super::scenario::PORT];
        for entry in scenario.master_cf() {
            named.extend(SERVICE_PORT.captures(&entry).and_then(|c| c[2].parse::<u16>().ok()));
        }
        for kind in ["milter", "policy", "sink", "sasl", "tcptable", "socketmap"] {
            named.extend(scenario.get(kind).filter_map(|b| b.args.first()?.rsplit(':').next()?.parse::<u16>().ok()));
        }
        let texts = ["file", "map", "policy", "tcptable", "socketmap"].map(|kind| scenario.text(kind)).concat();
        let texts = texts + &scenario.main_cf() + &scenario.master_cf().join("\n");
        named.extend(LOOPBACK_PORT.captures_iter(&texts).filter_map(|c| c[2].parse::<u16>().ok()));
        let mut ports = BTreeMap::new();
        for port in named {
            ports.entry(port).or_insert_with(free_port);
        }
        Ok(Self { root, ports })
    }

    /// The temporary directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The configuration directory.
    pub fn etc(&self) -> PathBuf {
        self.root.path().join("etc")
    }

    /// The queue directory.
    pub fn spool(&self) -> PathBuf {
        self.root.path().join("spool")
    }

    /// The real port for a scenario's port.
    pub fn port(&self, named: u16) -> u16 {
        self.ports.get(&named).copied().unwrap_or(named)
    }

    /// The real port in place of port 25.
    pub fn smtp_port(&self) -> u16 {
        self.port(SMTP)
    }

    /// The real ports of the services in master.cf.
    pub fn service_ports(&self, scenario: &Scenario) -> Vec<u16> {
        let ports = scenario.master_cf();
        let ports = ports.iter().filter_map(|e| SERVICE_PORT.captures(e)?[2].parse().ok());
        ports.map(|p| self.port(p)).collect()
    }

    /// A helper's address: `unix:path` below the queue directory, `inet:host:port`, `host:port` or a port.
    pub fn address(&self, text: &str) -> io::Result<Address> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(self.spool().join(path)));
        }
        let text = text.strip_prefix("inet:").unwrap_or(text);
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let bad = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("bad address {text:?}"));
        let host = host.parse::<std::net::IpAddr>().map_err(bad)?;
        let port = port
            .parse::<u16>()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("bad port {text:?}")))?;
        Ok(Address::Inet((host, self.port(port)).into()))
    }

    /// A scenario's text with this place's paths and ports.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (named, folder) in FOLDERS {
            text = text.replace(named, &self.root.path().join(folder).to_string_lossy());
        }
        let replace = |c: &Captures<'_>| {
            let port = c[2].parse::<u16>().map_or_else(|_| c[2].to_owned(), |p| self.port(p).to_string());
            format!("{}{port}", &c[1])
        };
        LOOPBACK_PORT.replace_all(&text, replace).into_owned()
    }

    /// An entry of master.cf with this place's paths and ports; services that talk to clients believe the PROXY protocol.
    pub fn apply_entry(&self, entry: &str) -> String {
        let Some(found) = SERVICE_PORT.captures(entry) else { return self.apply(entry) };
        let port = found[2].parse::<u16>().map_or(0, |p| self.port(p));
        let rest = &entry[found.get(0).map_or(0, |m| m.end())..];
        let host = found.get(1).map_or("", |m| m.as_str());
        let mut out = format!("{host}{port}{}{}", &found[3], self.apply(rest));
        for daemon in ["smtpd", "postscreen"] {
            if rest.split_whitespace().nth(5) == Some(daemon) {
                out += &format!("\n  -o {daemon}_upstream_proxy_protocol=haproxy");
            }
        }
        out
    }

    /// Text from the program with the scenario's paths and ports.
    pub fn restore(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (named, folder) in FOLDERS {
            let real = self.root.path().join(folder);
            if text.contains(real.to_string_lossy().as_ref()) {
                text = text.replace(real.to_string_lossy().as_ref(), named);
            }
        }
        let replace = |c: &Captures<'_>| {
            let named = self.ports.iter().find(|(_, real)| real.to_string() == c[1]);
            named.map_or_else(|| c[0].to_owned(), |(named, _)| format!(":{named}"))
        };
        ANY_PORT.replace_all(&text, replace).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = "[main.cf]\nx = smtp:[127.0.0.1]:2526, inet:127.0.0.1:10031, hash:/etc/postfix/a\n[master.cf]\n[::1]:2500 inet n - n - - smtpd\n  -o smtpd_proxy_filter=127.0.0.1:10025\n[sink 127.0.0.11:25]\n";
        let scenario = Scenario::parse("x", text);
        let place = Place::new(&scenario).expect("a place");
        let main_cf = scenario.main_cf();
        let applied = place.apply(&main_cf);
        assert!(applied.contains(&format!(
            "x = smtp:[127.0.0.1]:{}, inet:127.0.0.1:{}",
            place.port(2526),
            place.port(10031)
        )));
        assert!(!applied.contains("/etc/postfix"));
        assert_eq!(place.restore(&applied), main_cf);
        let entries = scenario.master_cf();
        let entry = place.apply_entry(entries.last().expect("entries"));
        let (server, filter) = (place.port(2500), place.port(10025));
        assert_eq!(
            entry,
            format!(
                "[::1]:{server} inet n - n - - smtpd\n  -o smtpd_proxy_filter=127.0.0.1:{filter}\n  -o smtpd_upstream_proxy_protocol=haproxy"
            )
        );
        assert_eq!(place.service_ports(&scenario), [server, server]);
        assert_eq!(
            place.address("127.0.0.11:25").expect("address"),
            Address::Inet(([127, 0, 0, 11], place.smtp_port()).into())
        );
        assert_eq!(place.address("unix:private/x").expect("address"), Address::Unix(place.spool().join("private/x")));
        assert!(place.address("nonsense").is_err());
    }
}
