//! The program's handle to the delivery thread.

use super::{Change, DeliverConfig, InHand, Surroundings, Temporary};
use queue::{Message, QueueId, Recipient};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the thread is told.
pub(super) enum Order {
    /// A message is in the spool: deliver it.
    Deliver(Message),
    /// Would mail for this address be taken? The answer comes to [`Surroundings::probed`].
    Probe(Arc<str>),
    /// Try all deferred mail now.
    Flush,
    /// Somebody wants something done to a message; tells whether it was there.
    Change(QueueId, Change, SyncSender<bool>),
    /// What is being delivered?
    InHand(SyncSender<InHand>),
    /// Whom does a message reach that begins its way anew?
    Expand(Message, SyncSender<Result<Vec<Recipient>, Temporary>>),
    /// Another configuration.
    Reload(Box<DeliverConfig>),
    /// Start nothing more, end when what goes on is over or the time is.
    Drain(Duration, SyncSender<bool>),
}

/// The delivery thread answers what it is asked within this time, or never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A handle to delivery; clones share it.
#[derive(Clone)]
pub struct DeliverHandle {
    orders: mpsc::UnboundedSender<Order>,
}

/// Starts delivery on a thread of its own. Messages that the spool recovered are handed in with
/// [`DeliverHandle::enqueue`] like new ones.
pub fn start(config: DeliverConfig, surroundings: Surroundings) -> io::Result<DeliverHandle> {
    let (orders, received) = mpsc::unbounded_channel();
    super::runner::spawn(config, surroundings, received)?;
    Ok(DeliverHandle { orders })
}

impl DeliverHandle {
    /// Delivers a message that the spool has.
    pub fn enqueue(&self, message: Message) {
        // A thread that is gone has its mail in the spool.
        let _ = self.orders.send(Order::Deliver(message));
    }

    /// Finds out whether mail for an address (internal form) would be taken, without sending any.
    pub fn probe(&self, address: Arc<str>) {
        // Who asked looks again, and then gives up.
        let _ = self.orders.send(Order::Probe(address));
    }

    /// Tries all deferred mail now (`postqueue -f`).
    pub fn flush(&self) {
        let _ = self.orders.send(Order::Flush);
    }

    /// Holds, releases, removes or tries a message. False if there is none; nothing if delivery doesn't answer. Blocks.
    pub fn change(&self, id: QueueId, change: Change) -> Option<bool> {
        self.ask(|answer| Order::Change(id, change, answer))
    }

    /// What is being delivered, or about to be. Blocks.
    pub fn in_hand(&self) -> Option<InHand> {
        self.ask(Order::InHand)
    }

    /// The recipients of a message, with aliases expanded anew. Blocks.
    pub fn expand(&self, message: Message) -> Option<Result<Vec<Recipient>, Temporary>> {
        self.ask(|answer| Order::Expand(message, answer))
    }

    fn ask<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> Option<T> {
        let (sender, receiver) = sync_channel(1);
        self.orders.send(order(sender)).ok()?;
        receiver.recv_timeout(PATIENCE).ok()
    }

    /// From now on, another configuration. Deliveries under way end under the old one.
    pub fn reload(&self, config: DeliverConfig) {
        let _ = self.orders.send(Order::Reload(Box::new(config)));
    }

    /// Starts no more deliveries and waits for those under way, up to `deadline`. Tells whether all ended in time.
    /// Blocks; delivery is over afterwards.
    pub fn drain(&self, deadline: Duration) -> bool {
        let (sender, receiver) = sync_channel(1);
        if self.orders.send(Order::Drain(deadline, sender)).is_err() {
            return true;
        }
        receiver.recv_timeout(deadline + Duration::from_secs(1)).unwrap_or(false)
    }
}
