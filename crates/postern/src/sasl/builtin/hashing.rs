//! Where passwords are hashed: on threads for blocking work, as many at a time as there are cores. Hashes are slow on
//! purpose, and an event loop has other sessions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// So many logins wait for a core at most.
const QUEUE: usize = 256;
/// And so long.
const PATIENCE: Duration = Duration::from_secs(20);

static CORES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.clamp(1, 16)))
});
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Too many logins at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Counts as one that waits.
struct Place;

impl Place {
    fn take() -> Result<Self, Busy> {
        let place = Self;
        if WAITING.fetch_add(1, Ordering::Relaxed) < QUEUE { Ok(place) } else { Err(Busy) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Do the work when a core is free.
///
/// # Errors
/// When none is, for long, or too many wait already.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
    let place = Place::take()?;
    let core = timeout(PATIENCE, Arc::clone(&CORES).acquire_owned()).await;
    let Ok(Ok(core)) = core else { return Err(Busy) };
    drop(place);
    // The core is taken until the work is done, whether anybody waits for it or not.
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(core);
        done
    });
    done.await.map_err(|_| Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_elsewhere_and_in_bounds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let here = std::thread::current().id();
        let there = runtime.block_on(run(move || std::thread::current().id() != here));
        assert_eq!(there, Ok(true));
        let places: Vec<_> = std::iter::from_fn(|| Place::take().ok()).take(QUEUE + 1).collect();
        assert!(places.len() <= QUEUE, "{}", places.len());
        assert_eq!(runtime.block_on(run(|| ())), Err(Busy));
        drop(places);
        assert_eq!(runtime.block_on(run(|| ())), Ok(()));
    }
}
