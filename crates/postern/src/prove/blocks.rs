//! What can refuse mail from or to an address.

use super::{Listed, Stage, place};
use crate::daemon::site::{Service, Site};
use crate::explain::Style;
use policy::prove::Role;
use serde::Serialize;
use std::fmt::Write;

/// What was found for a service.
#[derive(Clone, Debug, Serialize)]
pub struct Blocks {
    /// Its name in master.cf.
    pub service: String,
    /// What refuses mail from the address.
    pub as_sender: Vec<String>,
    /// What refuses mail to it.
    pub as_recipient: Vec<String>,
    /// What may refuse any mail, because of something else.
    pub otherwise: Vec<String>,
}

/// Everything that can refuse mail from or to this address.
pub fn what_blocks(site: &Site, service: &Service, address: &str) -> Blocks {
    let mut stage = Stage::new(&site.tables, None);
    let found = service.plan.blocks(address, &mut Listed::new(&site.tables), &mut stage);
    let mut blocks = Blocks {
        service: service.name.to_string(),
        as_sender: Vec::new(),
        as_recipient: Vec::new(),
        otherwise: Vec::new(),
    };
    for block in found {
        let warns = if block.warns { " (it only warns)" } else { "" };
        let text = format!("{} in {}: {}{warns}", place(&block.place), block.list, block.why);
        match block.role {
            Some(Role::Sender) => blocks.as_sender.push(text),
            Some(Role::Recipient) => blocks.as_recipient.push(text),
            _ => blocks.otherwise.push(text),
        }
    }
    for (parameter, list) in [
        ("smtpd_reject_unlisted_sender", &mut blocks.as_sender),
        ("smtpd_reject_unlisted_recipient", &mut blocks.as_recipient),
    ] {
        let ours = !service.plan.is_relayed("", address, false, &mut stage);
        if ours && service.parameters.bool(parameter) {
            list.push(format!("{parameter} = yes: the address is in our own domains, and perhaps no table knows it"));
        }
    }
    blocks
}

impl Blocks {
    /// As text.
    pub fn print(&self, style: Style, address: &str) -> String {
        let mut out = format!("service {}\n", self.service);
        for (title, lines) in [
            (format!("Mail from {address} can be refused by"), &self.as_sender),
            (format!("Mail to {address} can be refused by"), &self.as_recipient),
            ("Any mail can be refused, whatever its addresses, by".to_owned(), &self.otherwise),
        ] {
            let _ = writeln!(out, "  {}", style.paint("1", &title));
            if lines.is_empty() {
                let _ = writeln!(out, "    nothing");
            }
            for line in lines {
                let _ = writeln!(out, "    * {line}");
            }
        }
        out
    }
}
