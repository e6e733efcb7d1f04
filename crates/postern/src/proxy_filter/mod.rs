//! The client of a before-queue filter (SMTPD_PROXY_README): where it listens, the dialogue with it, and messages that are
//! kept until they are complete (`smtpd_proxy_options = speed_adjust`).

mod dialogue;
mod kept;
#[cfg(test)]
mod tests;

pub use dialogue::{Dialogue, Want, Warn};
pub use kept::Kept;

use config::{Diagnostic, Parameters};
use policy::ServiceEndpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What a client hears when the next hop can't be asked, or makes no sense.
pub const WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";

/// `smtpd_proxy_filter` and the parameters that go with it.
#[derive(Clone, Debug)]
pub struct ProxyFilter {
    /// As written: its name in the log.
    pub name: Arc<str>,
    /// Where it listens.
    pub endpoint: ServiceEndpoint,
    /// `smtpd_proxy_timeout`: for connecting, and for each command and its reply.
    pub timeout: Duration,
    /// `smtpd_proxy_ehlo`.
    pub ehlo: Arc<str>,
    /// It speaks LMTP: one recipient a message, so that there is one answer at its end.
    pub lmtp: bool,
    /// `smtpd_proxy_options = speed_adjust`: nobody is asked before the whole message is here.
    pub speed_adjust: bool,
    /// `postern_proxy_filter_connection_limit`: who has one of these may connect.
    pub slots: Arc<Semaphore>,
}

impl ProxyFilter {
    /// The filter of a service, if it has one. What can't be done is an error: mail must not pass without the filter.
    pub fn compile(p: &Parameters, problems: &mut Vec<Diagnostic>) -> Option<Arc<Self>> {
        let name = p.get("smtpd_proxy_filter");
        let name = name.trim();
        if name.is_empty() {
            return None;
        }
        let mut refuse = |parameter: &str, text: String, help: &str| {
            let problem = Diagnostic::error("bad-value", text).at(p.origin(parameter)).help(help);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        let place = name.strip_prefix(LMTP).unwrap_or(name);
        let endpoint = match endpoint(place, &p.get("queue_directory")) {
            Ok(endpoint) => endpoint,
            Err(why) => {
                let help = "write host:port, inet:host:port or unix:path, with lmtp: before it for an LMTP server";
                refuse("smtpd_proxy_filter", format!("smtpd_proxy_filter = {name}: {why}"), help);
                return None;
            }
        };
        let mut speed_adjust = false;
        for word in config::list::words(&p.get("smtpd_proxy_options")).unwrap_or_default() {
            if word == "speed_adjust" {
                speed_adjust = true;
            } else {
                let text = format!("smtpd_proxy_options: {word}: unknown option");
                refuse("smtpd_proxy_options", text, "the only option is speed_adjust");
            }
        }
        let timeout = p.time("smtpd_proxy_timeout");
        let ehlo = p.get("smtpd_proxy_ehlo").trim().into();
        let lmtp = Self::speaks_lmtp(name);
        let limit = usize::try_from(p.int("postern_proxy_filter_connection_limit")).unwrap_or(0);
        let slots = Arc::new(Semaphore::new(if limit == 0 { Semaphore::MAX_PERMITS } else { limit }));
        Some(Arc::new(Self { name: name.into(), endpoint, timeout, ehlo, lmtp, speed_adjust, slots }))
    }
}

impl ProxyFilter {
    /// Does the value of `smtpd_proxy_filter` name an LMTP server?
    pub fn speaks_lmtp(value: &str) -> bool {
        value.trim().starts_with(LMTP)
    }
}

/// Before the endpoint of an LMTP server.
const LMTP: &str = "lmtp:";

/// `[inet:]host:port`, a port of this host, or `unix:path` below the queue directory.
fn endpoint(text: &str, queue_directory: &str) -> Result<ServiceEndpoint, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err("no path"),
            absolute if absolute.starts_with('/') => Ok(ServiceEndpoint::Unix(absolute.into())),
            relative => Ok(ServiceEndpoint::Unix(format!("{queue_directory}/{relative}").into())),
        };
    }
    let place = text.strip_prefix("inet:").unwrap_or(text);
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if crate::daemon::listen::port(port).is_err() {
        return Err("no port, and no service in /etc/services");
    }
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(ServiceEndpoint::Inet { host: host.into(), port: port.into() })
}
