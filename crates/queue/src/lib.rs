//! Envelopes, queue ids, the spool, the retry schedule and non-delivery reports.
//!
//! The spool is the one place that writes mail to disk, and keeps one promise: a message whose commit was reported is
//! on stable storage until it is finished. When to try a message again ([`schedule`]) and what a bounce says
//! ([`bounce`]) are pure; how mail leaves is the program's business.

pub mod bounce;
mod envelope;
mod id;
mod record;
pub mod schedule;
mod spool;

pub use envelope::{
    Client, Content, DeliveryStatus, Envelope, LargeContent, Message, Notify, Recipient, RecipientState, Ret,
};
pub use id::{QueueId, QueueIdSource};
pub use spool::{
    ContentSource, Done, Fault, FaultHook, FileOperation, INLINE_LIMIT, LargeWriter, RecipientUpdate, Recovery, Spool,
    SpoolError, SpoolOptions,
};
