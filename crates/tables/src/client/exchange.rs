//! The exchanges with one server through a library that is written for event loops, run to their end by the thread
//! that waits for them. Each connection has an event loop of its own, which turns only while somebody waits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// The event loop of a connection.
pub(super) struct Exchange(Option<Runtime>);

impl Exchange {
    /// A new one.
    pub(super) fn new() -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(1).build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| crate::open::io_text(&error))
    }

    /// What a future comes to, `None` when that takes longer than the deadline.
    pub(super) fn until<T>(&self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let runtime = self.0.as_ref()?;
        runtime.block_on(async { tokio::time::timeout_at(deadline.into(), future).await.ok() })
    }

    /// Go as far as one can without waiting.
    pub(super) fn without_waiting(&self, future: impl Future) {
        let Some(runtime) = &self.0 else { return };
        let _here = runtime.enter();
        let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl Drop for Exchange {
    /// Without waiting for a name look-up that may be under way, and on an event loop, too.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ends_at_the_deadline() {
        let exchange = Exchange::new().unwrap();
        assert_eq!(exchange.until(Instant::now() + Duration::from_secs(60), async { 1 }), Some(1));
        assert_eq!(exchange.until(Instant::now(), std::future::pending::<()>()), None);
    }

    #[test]
    fn may_be_dropped_on_an_event_loop() {
        let outer = Exchange::new().unwrap();
        let inner = Exchange::new().unwrap();
        outer.until(Instant::now() + Duration::from_secs(60), async move { drop(inner) }).unwrap();
    }
}
