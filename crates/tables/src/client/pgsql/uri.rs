//! `postgresql://` connection URIs, with libpq's TLS parameters.

use super::super::tls::{Check, Files};
use crate::open::OpenOptions;
use std::path::PathBuf;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// A connection URI, taken apart.
pub(super) struct Uri {
    /// For errors: without its password.
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) check: Check,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Uri {
    /// The error is for the postmaster, without the URI.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (front, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut ours, mut rest) = ([None, None, None, None], Vec::new());
        const NAMES: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match NAMES.iter().position(|known| *known == name) {
                Some(at) => ours[at] = Some(value.replace("%2F", "/").replace("%2f", "/")),
                None => rest.push(parameter),
            }
        }
        let joined = if rest.is_empty() { front.to_owned() } else { format!("{front}?{}", rest.join("&")) };
        // What the library says of a URI may quote it, and with it the password.
        let mut config: Config =
            joined.parse().map_err(|_| format!("not understood, or with an option other than {}", NAMES.join(", ")))?;
        let [mode, root, certificate, key] = ours;
        let (ssl_mode, check) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Check::Nothing),
            // Against a server that has TLS, "allow" and "prefer" differ only in what is tried first.
            None | Some("allow" | "prefer") => (SslMode::Prefer, Check::Nothing),
            // With a root certificate libpq checks the issuer even so.
            Some("require") => (SslMode::Require, if root.is_some() { Check::Issuer } else { Check::Nothing }),
            Some("verify-ca") => (SslMode::Require, Check::Issuer),
            Some("verify-full") => (SslMode::Require, Check::IssuerAndName),
            Some(other) => return Err(format!("unknown sslmode {other}")),
        };
        config.ssl_mode(ssl_mode);
        let root = root.filter(|root| root != "system");
        Ok(Self { name: without_password(text), config, check, root, certificate, key })
    }

    /// The files of TLS.
    pub(super) fn files(&self, options: &OpenOptions) -> Files {
        let path = |name: &Option<String>| -> Option<PathBuf> { name.as_ref().map(|name| options.path(name)) };
        Files {
            ca_file: path(&self.root),
            ca_directory: None,
            certificate: path(&self.certificate),
            key: path(&self.key),
        }
    }
}

/// A URI that may be shown: user, host and database only.
pub(super) fn without_password(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else { return "URI".to_owned() };
    match rest.rsplit_once('@') {
        Some((who, place)) => format!("{scheme}://{}@{place}", who.split(':').next().unwrap_or_default()),
        None => text.to_owned(),
    }
}
