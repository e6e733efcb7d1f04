//! Addresses in headers: standard form, canonical maps, masquerading.

use super::header::Known;
use super::{Cleanup, Io};

impl Cleanup {
    pub(super) fn rewrite_header(&mut self, _known: Known, _header: &mut Vec<u8>, _io: &mut Io<'_>) {}
}
