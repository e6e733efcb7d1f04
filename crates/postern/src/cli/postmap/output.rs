//! What the command writes: messages in Postfix's form, and output that a fatal error cuts as it does there.

use super::Tool;
use std::io::{self, Write};

/// Output is written in pieces of this size; what is not written yet is lost with a fatal error.
const PIECE: usize = 4096;

/// Standard output and standard error.
pub(super) struct Console {
    name: &'static str,
    /// Messages may show UTF-8.
    pub(super) utf8: bool,
    pending: Vec<u8>,
}

impl Console {
    pub(super) fn new(tool: Tool) -> Self {
        Self { name: tool.name(), utf8: true, pending: Vec::new() }
    }

    /// A line without a severity.
    pub(super) fn plain(&mut self, text: &str) {
        let text = tables::printable(text.as_bytes(), self.utf8);
        // Nothing can be done if nobody listens.
        let _ = writeln!(io::stderr(), "{}: {text}", self.name);
    }

    /// A message.
    pub(super) fn say(&mut self, severity: &str, text: &str) {
        self.plain(&format!("{severity}: {text}"));
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.say("warning", text);
    }

    /// Bytes as they are, for messages.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        tables::printable(bytes, self.utf8)
    }

    /// Output.
    pub(super) fn print(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        parts.iter().for_each(|part| self.pending.extend_from_slice(part));
        let whole = self.pending.len() / PIECE * PIECE;
        if whole > 0 {
            let mut out = io::stdout().lock();
            out.write_all(&self.pending[..whole])?;
            out.flush()?;
            self.pending.drain(..whole);
        }
        Ok(())
    }

    /// All that was printed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&self.pending)?;
        self.pending.clear();
        out.flush()
    }
}

/// An operating system error without Rust's "(os error N)".
pub(super) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.find(" (os error").map_or(text.clone(), |end| text[..end].to_owned())
}
