//! Routing parameters as address probes have them (ADDRESS_VERIFICATION_README, "Controlling the routing").

use super::site::ServiceSettings;
use config::{Places, Span};
use policy::Settings;
use std::net::IpAddr;

/// The same settings, but for those that have an `address_verify_` name of their own.
pub struct ProbeSettings<'a>(pub ServiceSettings<'a>);

const NAMES: [(&str, &str); 8] = [
    ("local_transport", "address_verify_local_transport"),
    ("virtual_transport", "address_verify_virtual_transport"),
    ("relay_transport", "address_verify_relay_transport"),
    ("default_transport", "address_verify_default_transport"),
    ("relayhost", "address_verify_relayhost"),
    ("transport_maps", "address_verify_transport_maps"),
    ("sender_dependent_relayhost_maps", "address_verify_sender_dependent_relayhost_maps"),
    ("sender_dependent_default_transport_maps", "address_verify_sender_dependent_default_transport_maps"),
];

fn own(name: &str) -> &str {
    NAMES.iter().find(|(usual, _)| *usual == name).map_or(name, |(_, own)| own)
}

impl Settings for ProbeSettings<'_> {
    fn get(&self, name: &str) -> String {
        self.0.get(own(name))
    }

    fn origin(&self, name: &str) -> Option<Span> {
        self.0.origin(own(name))
    }

    fn places(&self, name: &str) -> Places<'_> {
        self.0.places(own(name))
    }

    fn read_list_file(&self, path: &str) -> Result<String, String> {
        self.0.read_list_file(path)
    }

    fn interface_addresses(&self) -> Vec<IpAddr> {
        self.0.interface_addresses()
    }
}
