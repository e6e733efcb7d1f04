//! `smtpd_proxy_options = speed_adjust`: a message that waits, in memory or in a file without a name, until it is complete.

use super::{Dialogue, WRITE_ERROR, Want};
use queue::{QueueId, Spool};
use smtp::proxy::ProxyReply;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Read back in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Commands and content, to be told to the next hop later.
pub struct Kept {
    mail: String,
    recipients: Vec<String>,
    /// The end of the content; all of it as long as there is no file.
    memory: Vec<u8>,
    file: Option<File>,
}

impl Kept {
    /// A message from this sender.
    pub fn new(mail: String) -> Self {
        Self { mail, recipients: Vec::new(), memory: Vec::new(), file: None }
    }

    /// The MAIL command.
    pub fn mail(&self) -> &str {
        &self.mail
    }

    /// One more RCPT command.
    pub fn recipient(&mut self, command: String) {
        self.recipients.push(command);
    }

    /// Part of the content, as it goes over the wire.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn content(&mut self, bytes: &[u8], spool: &Spool, id: impl FnOnce() -> QueueId) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() <= queue::INLINE_LIMIT {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(spool.scratch_file(id()).map_err(|error| io::Error::other(error.to_string()))?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// The last of the content, which stays in memory.
    pub fn finish(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
    }

    /// How much of it is in memory.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> usize {
        self.memory.len()
    }

    /// Tell all of it to the next hop, which knows the sender already; its reply to the last command it was told.
    ///
    /// # Errors
    /// What the client hears when there is none.
    pub async fn tell(mut self, hop: &mut Dialogue) -> Result<ProxyReply, String> {
        for command in &self.recipients {
            hop.command(command, Want::Ok).await?;
        }
        hop.data().await?;
        if let Some(file) = &mut self.file {
            let failed = |_| WRITE_ERROR.to_owned();
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut buffer = vec![0; PIECE];
            loop {
                let count = file.read(&mut buffer).map_err(failed)?;
                if count == 0 {
                    break;
                }
                hop.content(&buffer[..count]).await?;
            }
        }
        hop.end(&self.memory).await
    }
}
