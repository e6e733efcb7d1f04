//! Memory that sessions used goes back to the system when many of them have ended.

#![allow(unsafe_code)]

/// Give back what this thread's heap has free.
pub fn give_back() {
    // SAFETY: mi_collect takes a plain flag, touches only the calling thread's heap and what other threads have freed
    // into it, and may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Tells when giving back is worth it: the sessions are fewer than half of what they were.
#[derive(Debug, Default)]
pub struct Tide {
    high: usize,
}

impl Tide {
    /// Few sessions are not worth a walk through the heap.
    const WORTH: usize = 256;

    /// So many sessions there are now.
    pub fn is_out(&mut self, sessions: usize) -> bool {
        self.high = self.high.max(sessions);
        let out = self.high >= Self::WORTH && sessions < self.high / 2;
        if out {
            self.high = sessions;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Tide;

    #[test]
    fn the_tide_goes_out_once() {
        let mut tide = Tide::default();
        let seen: Vec<bool> = [10, 3, 1000, 600, 400, 400, 100, 300, 10].map(|n| tide.is_out(n)).into();
        assert_eq!(seen, [false, false, false, false, true, false, true, false, true]);
    }
}
