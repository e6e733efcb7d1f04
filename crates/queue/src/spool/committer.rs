//! The committer.
pub(super) struct Shared;
pub(super) struct Threads;
