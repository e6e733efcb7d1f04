//! What macros are worth: the values that filters are told with each event.

use policy::{PeerName, PeerStatus};
use std::net::IpAddr;

/// What macros are made of, as it stands at one event.
#[derive(Clone, Debug, Default)]
pub struct MacroFacts {
    /// `myhostname`.
    pub my_hostname: String,
    /// `milter_macro_v`.
    pub v: String,
    /// `milter_macro_daemon_name`.
    pub daemon_name: String,
    /// Where the client came to.
    pub server: Option<(IpAddr, u16)>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its port.
    pub client_port: u16,
    /// Its names.
    pub names: Option<PeerName>,
    /// How many connections it has.
    pub connections: Option<u32>,
    /// Whether the client's name is right isn't told: the content is looked at, or there is no client.
    pub is_content: bool,
    /// The message's.
    pub queue_id: Option<String>,
    /// Who is logged in.
    pub sasl: Option<policy::Sasl>,
    /// What TLS came to.
    pub tls: Option<policy::Tls>,
    /// Whom the message is from.
    pub sender: Option<Resolved>,
    /// Whom it is for, one after the other.
    pub recipient: Option<Resolved>,
}

/// Address, next hop and transport, as macros have them.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// In external form.
    pub address: String,
    /// The next hop.
    pub host: Option<String>,
    /// The transport.
    pub mailer: Option<String>,
}

impl Resolved {
    /// A reply to a recipient as its macros have it: `CODE STATUS <address>: text`.
    pub fn refused(reply: &str) -> Self {
        let mut words = reply.splitn(4, ' ').skip(1);
        let host = words.next().map(str::to_owned);
        let (first, rest) = (words.next().unwrap_or_default(), words.next());
        let address = rest.unwrap_or(first).to_owned();
        Self { address, host: Some(host.unwrap_or_default()), mailer: Some("error".to_owned()) }
    }

    /// An address that nobody has asked the way for.
    pub fn unresolved(address: &str) -> Self {
        Self { address: address.to_owned(), host: None, mailer: None }
    }
}

impl MacroFacts {
    /// The value of a macro, by its name as configured.
    pub fn value(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(name);
        let names = self.names.as_ref();
        let certificate = || self.tls.as_ref()?.certificate.as_ref().filter(|it| it.is_trusted);
        let some = |text: &str| Some(text.to_owned());
        let filled = |text: &str| if text.is_empty() { None } else { some(text) };
        match name {
            "j" => some(&self.my_hostname),
            "v" => some(&self.v),
            "i" => self.queue_id.clone(),
            "_" => names.map(|names| self.origin(names)),
            "daemon_name" => some(&self.daemon_name),
            "daemon_addr" => self.server.map(|(address, _)| address.to_string()),
            "daemon_port" => self.server.map(|(_, port)| port.to_string()),
            "client_addr" => Some(self.client.map_or_else(|| "unknown".to_owned(), shown)),
            "client_name" => names.map(|names| names.name.to_string()),
            "client_port" => Some(self.client_port.to_string()),
            "client_ptr" => names.map(|names| names.reverse.to_string()),
            "client_connections" => self.connections.map(|count| count.to_string()),
            "client_resolve" => {
                names.filter(|_| !self.is_content).map(|names| resolve_word(names.name_status).to_owned())
            }
            "tls_version" => self.tls.as_ref().map(|tls| tls.protocol.clone()),
            "cipher" => self.tls.as_ref().map(|tls| tls.cipher.clone()),
            "cipher_bits" => self.tls.as_ref().map(|tls| tls.bits.to_string()),
            "cert_subject" => certificate().and_then(|it| filled(&it.subject_cn)),
            "cert_issuer" => certificate().and_then(|it| filled(&it.issuer_cn)),
            "tls_sni" => self.tls.as_ref().and_then(|tls| filled(&tls.sni)),
            "auth_type" => self.sasl.as_ref().map(|sasl| sasl.method.clone()),
            "auth_authen" => self.sasl.as_ref().map(|sasl| sasl.username.clone()),
            "auth_author" => self.sasl.as_ref().and_then(|sasl| filled(&sasl.sender)),
            "mail_addr" => self.sender.as_ref().map(|it| it.address.clone()),
            "mail_host" => self.sender.as_ref().and_then(|it| it.host.clone()),
            "mail_mailer" => self.sender.as_ref().and_then(|it| it.mailer.clone()),
            "rcpt_addr" => self.recipient.as_ref().map(|it| it.address.clone()),
            "rcpt_host" => self.recipient.as_ref().and_then(|it| it.host.clone()),
            "rcpt_mailer" => self.recipient.as_ref().and_then(|it| it.mailer.clone()),
            _ => None,
        }
    }

    fn origin(&self, names: &PeerName) -> String {
        let address = self.client.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let forged = if names.reverse.eq_ignore_ascii_case(&names.name) { "" } else { " (may be forged)" };
        format!("{} [{address}]{forged}", names.reverse)
    }
}

/// Addresses of version 6 have a prefix.
fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("IPv6:{v6}"),
    }
}

fn resolve_word(status: PeerStatus) -> &'static str {
    match status {
        PeerStatus::Ok => "OK",
        PeerStatus::Temporary => "TEMP",
        PeerStatus::Permanent => "FAIL",
        PeerStatus::Forged => "FORGED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> MacroFacts {
        MacroFacts {
            my_hostname: "mail.example.com".into(),
            v: "Postfix 3.12".into(),
            daemon_name: "d".into(),
            server: Some(("127.0.0.1".parse().unwrap(), 25)),
            client: Some("192.0.2.66".parse().unwrap()),
            client_port: 1234,
            names: Some(PeerName {
                name: "unknown".into(),
                reverse: "forged.example.net".into(),
                name_status: PeerStatus::Forged,
                reverse_status: PeerStatus::Ok,
            }),
            recipient: Some(Resolved::refused("454 4.7.1 <u@other.example>: Relay access denied")),
            ..MacroFacts::default()
        }
    }

    #[test]
    fn values_of_macros() {
        let facts = facts();
        for (name, want) in [
            ("j", Some("mail.example.com")),
            ("{j}", Some("mail.example.com")),
            ("v", Some("Postfix 3.12")),
            ("i", None),
            ("_", Some("forged.example.net [192.0.2.66] (may be forged)")),
            ("{daemon_addr}", Some("127.0.0.1")),
            ("{daemon_port}", Some("25")),
            ("{client_addr}", Some("192.0.2.66")),
            ("{client_name}", Some("unknown")),
            ("{client_port}", Some("1234")),
            ("{client_ptr}", Some("forged.example.net")),
            ("{client_resolve}", Some("FORGED")),
            ("{tls_version}", None),
            ("{auth_type}", None),
            ("{mail_addr}", None),
            ("{rcpt_addr}", Some("Relay access denied")),
            ("{rcpt_host}", Some("4.7.1")),
            ("{rcpt_mailer}", Some("error")),
            ("{if_addr}", None),
        ] {
            assert_eq!(facts.value(name).as_deref(), want, "{name}");
        }
        let facts = MacroFacts { is_content: true, ..facts };
        assert_eq!(facts.value("{client_resolve}"), None);
        let facts = MacroFacts { client: Some("2001:db8::1".parse().unwrap()), ..facts };
        assert_eq!(facts.value("{client_addr}").as_deref(), Some("IPv6:2001:db8::1"));
    }
}
