//! The cell `tls`: what a session (EHLO, STARTTLS, EHLO, QUIT) with a full handshake costs the server, by kind of key and
//! version, and what it keeps of an idle one.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::Dialog;
use testkit::tls::{ECDSA, RSA, SecureDialog, Visitor};

use super::cells::Bench;
use super::meter::{cpu_seconds, memory_kib};
use super::peers::{Peer, Who, policy};
use super::spell::Length;
use super::table::Figure;

/// Clients at a time.
const CLIENTS: u64 = 4;

/// Keys and versions. Both servers have the same key and the usual settings; no client has been there before, so that no
/// session is resumed; both give one ticket.
const KINDS: [(&str, bool, Figure); 4] = [
    (ECDSA, false, Figure::TlsEcdsaCpu),
    (RSA, false, Figure::TlsRsaCpu),
    (ECDSA, true, Figure::TlsOldEcdsaCpu),
    (RSA, true, Figure::TlsOldRsaCpu),
];

impl Bench {
    pub(super) fn tls(&mut self, who: Who) -> Result<(), String> {
        for (keys, old, figure) in KINDS {
            let peer = self.with_keys(who, keys)?;
            let visitor = Visitor { old, ..Visitor::default() };
            let Length { warm_up, time } = Length::usual(self.quick);
            handshakes(peer.port, visitor, warm_up)?;
            let before = cpu_seconds(peer.pid());
            let begin = Instant::now();
            let sessions = handshakes(peer.port, visitor, time)? as f64;
            let cpu = cpu_seconds(peer.pid()) - before;
            self.table.add(figure, who, cpu * 1e6 / sessions);
            if figure == Figure::TlsEcdsaCpu {
                self.table.add(Figure::TlsRate, who, sessions / begin.elapsed().as_secs_f64());
                self.idle_under_tls(who, &peer)?;
            }
        }
        Ok(())
    }

    fn with_keys(&self, who: Who, keys: &str) -> Result<Peer, String> {
        let path = self.site.directory().join("keys.pem");
        fs::write(&path, keys).map_err(|e| format!("{}: {e}", path.display()))?;
        let settings = format!("smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}\n", path.display());
        self.site.start_with(who, &(policy(self.site.table()) + &settings), false)
    }

    fn idle_under_tls(&mut self, who: Who, peer: &Peer) -> Result<(), String> {
        let wanted = if who == Who::Postern { 1000 } else { 80 };
        let before = memory_kib(peer.pid());
        let held: Result<Vec<_>, _> = (0..wanted).map(|_| secure(peer.port, Visitor::default())).collect();
        let held = held.map_err(|e| e.to_string())?;
        let grown = memory_kib(peer.pid()).saturating_sub(before);
        self.table.add(Figure::TlsIdleMemory, who, grown as f64 / held.len() as f64);
        Ok(())
    }
}

fn secure(port: u16, visitor: Visitor<'_>) -> std::io::Result<SecureDialog> {
    let mut dialog = SecureDialog::starttls(Dialog::greeted(port)?, visitor)?;
    dialog.command("EHLO client.example.net")?;
    Ok(dialog)
}

/// Sessions with a full handshake each, for some time; how many.
fn handshakes(port: u16, visitor: Visitor<'_>, time: Duration) -> Result<u64, String> {
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let one = || -> std::io::Result<()> {
        while !over.load(Ordering::Relaxed) {
            let reply = secure(port, visitor)?.command("QUIT")?;
            if !reply.starts_with("221") {
                return Err(std::io::Error::other(reply));
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(done) => done.map_err(|e| e.to_string()),
            Err(_) => Err("a client failed".to_owned()),
        })
    })?;
    Ok(count.load(Ordering::Relaxed).max(1))
}
