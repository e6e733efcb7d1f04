//! Input that waits to be read.

/// Buffers of an idle session are no larger.
pub(super) const IDLE_BUFFER: usize = 512;

/// A buffer that is filled at its end and used up at its beginning.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Nothing is going on: give memory back.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.capacity() > IDLE_BUFFER {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let mut input = Input::default();
        input.extend(b"abcdef");
        input.consume(2);
        input.extend(b"gh");
        assert_eq!(input.bytes(), b"cdefgh");
        input.consume(100);
        assert!(input.is_empty());
        input.extend(&[b'x'; 4096]);
        input.shrink();
        assert_eq!(input.len(), 4096);
        input.consume(4096);
        input.shrink();
        assert_eq!(input.capacity(), 0);
    }
}
