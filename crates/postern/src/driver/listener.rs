//! Accepting connections for one service on one event loop.

use super::Worker;
use super::conversation::Conversation;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Accept until the server stops. `service` is the name in master.cf, by which each new connection finds the service
/// in the configuration of the moment.
pub async fn accept_loop(worker: Arc<Worker>, listener: StdListener, service: Arc<str>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let local = listener.local_addr().ok();
    let mut stopping = worker.stopping.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let site = worker.site.load_full();
                // A service that a reload removed: its socket is closed with the next restart.
                let Some(service) = site.service(&service) else { continue };
                let server = local.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
                // In a box: as an argument it would be in the future twice.
                let conversation =
                    Box::new(Conversation::new(Arc::clone(&worker), site, service, stream, peer, server));
                tokio::spawn(conversation.run());
            }
            Err(error) => {
                // EMFILE and the like: the connection waits in the kernel's queue until somebody else leaves.
                worker.log.warning("postfix/smtpd", &format!("accept connection: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
