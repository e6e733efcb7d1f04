//! What a running server holds against logins: signs of a takeover, failures.

use super::steward::Tell;
use crate::anvil::Prefixes;
use crate::clock;
use crate::sasl::failures::Failures;
use crate::sasl::takeover::Takeover;
use std::net::IpAddr;
use std::sync::Arc;

/// Where it is kept.
pub struct Logins {
    /// Logins that look taken over.
    pub takeover: Arc<Takeover>,
    /// Failed logins.
    pub failures: Arc<Failures>,
}

impl Logins {
    /// Those whose mail is held, as JSON lines.
    pub(super) fn list(&self, tell: Tell<'_>) -> Result<(), String> {
        for held in self.takeover.all_held(clock::now_ms()) {
            tell(&serde_json::to_string(&held).map_err(|error| error.to_string())?)?;
        }
        Ok(())
    }

    /// Forget it, and tell what there was.
    pub(super) fn release(
        &self,
        (name, address): (&str, Option<IpAddr>),
        prefixes: Prefixes,
        tell: Tell<'_>,
    ) -> Result<(), String> {
        let name = name.to_lowercase();
        if self.takeover.release(&name, clock::now_ms()) {
            tell("its mail is not held any more")?;
        }
        if self.failures.forgive(&name, address.map(|address| prefixes.network(address))) {
            tell("failed logins are forgotten")?;
        }
        Ok(())
    }
}
