//! Who connected to the load balancer before us (`smtpd_upstream_proxy_protocol`): reading what it says, and nothing more.

use super::conversation::Conversation;
use super::proxy_protocol::{self, Ends, Header};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

impl Conversation {
    /// Read the header and take the client's address from it.
    ///
    /// # Errors
    /// What the log has to say: the connection is refused.
    pub(super) async fn read_proxy_header(&mut self) -> Result<(), String> {
        let limit = self.service.proxy_timeout;
        let tcp = self.stream.tcp();
        let ends = tokio::time::timeout(limit, read_header(tcp)).await.map_err(|_| "timeout error".to_owned())??;
        if let Some(ends) = ends {
            self.client.address = Some(ends.client.ip());
            self.client.port = ends.client.port();
            self.server_address = Some(ends.server.ip());
            self.server_port = ends.server.port();
        }
        Ok(())
    }
}

/// The header and not a byte of what follows it: that belongs to the session, or to TLS.
async fn read_header(tcp: &TcpStream) -> Result<Option<Ends>, String> {
    let mut seen = 0;
    loop {
        let mut buffer = [0; proxy_protocol::LONGEST_LINE];
        let length = tcp.peek(&mut buffer).await.map_err(|error| error.to_string())?;
        let bytes = &buffer[..length];
        match proxy_protocol::look(bytes) {
            Header::Line(end, ends) => {
                read_exactly(tcp, &mut buffer[..end]).await?;
                return Ok(Some(ends));
            }
            Header::Binary(end) => {
                let mut header = vec![0; end];
                read_exactly(tcp, &mut header).await?;
                let shown = |problem| format!("{problem}: {}", proxy_protocol::shown(&header));
                return proxy_protocol::parse_binary(&header).map_err(shown);
            }
            Header::Malformed(problem) => {
                let shown = proxy_protocol::shown(bytes);
                // Closing with something unread would take our reply back.
                let _ = tcp.try_read(&mut buffer);
                return Err(format!("{problem}: {shown}"));
            }
            Header::Incomplete if length == 0 => return Err("EOF".to_owned()),
            Header::Incomplete => {
                // Peeking again at the same bytes would spin.
                if length == seen {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                seen = length;
            }
        }
    }
}

async fn read_exactly(tcp: &TcpStream, mut rest: &mut [u8]) -> Result<(), String> {
    while !rest.is_empty() {
        tcp.readable().await.map_err(|error| error.to_string())?;
        match tcp.try_read(rest) {
            Ok(0) => return Err("EOF".to_owned()),
            Ok(count) => rest = &mut rest[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}
