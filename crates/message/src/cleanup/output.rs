//! How headers are written.

use super::{Cleanup, Io};

impl Cleanup {
    /// Write a header. Lines that begin with no white space (from rewriting or tables) get a tab; what exceeds
    /// `header_size_limit` goes, at a line end where that loses little.
    pub(super) fn write_header(&mut self, header: &[u8], io: &mut Io<'_>) {
        self.effects.utf8_header |= !header.is_ascii();
        let limit = self.config.header_size_limit;
        let mut start = 0;
        loop {
            let end = memchr::memchr(b'\n', &header[start..]).map_or(header.len(), |end| start + end);
            let kept = end.min(limit);
            if end > limit && (start > limit / 10 * 9 || start >= limit) {
                return;
            }
            let line = &header[start..kept];
            if start > 0 && !matches!(line.first(), Some(b' ' | b'\t')) {
                io.out.push(b'\t');
            }
            // Nothing of a line survives a NUL.
            io.out.extend_from_slice(memchr::memchr(0, line).map_or(line, |nul| &line[..nul]));
            io.out.push(b'\n');
            if kept < end || end == header.len() {
                return;
            }
            start = end + 1;
        }
    }
}
