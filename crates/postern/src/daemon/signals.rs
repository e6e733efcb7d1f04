//! SIGTERM, SIGINT and SIGHUP.

use super::server::event_loop;
use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the server knows, and the loop that waits for them.
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they don't end the program.
    pub(super) fn install() -> Result<Self> {
        let runtime = event_loop()?;
        let (terminate, interrupt, hangup) = {
            let _entered = runtime.enter();
            let install = |kind| signal(kind).context("installing signal handlers");
            (install(SignalKind::terminate())?, install(SignalKind::interrupt())?, install(SignalKind::hangup())?)
        };
        Ok(Self { runtime, terminate, interrupt, hangup })
    }

    /// Reload at each SIGHUP, return at SIGTERM or SIGINT.
    pub(super) fn serve(self, reload: impl Fn()) {
        let Self { runtime, mut terminate, mut interrupt, mut hangup } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = hangup.recv() => reload(),
                }
            }
        });
    }
}
