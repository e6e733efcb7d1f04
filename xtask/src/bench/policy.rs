//! The cell of policy services: what a query adds to a session, and what sessions cost that wait for a silent service.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::cells::Bench;
use super::load::{Generator, Kind};
use super::meter::{memory_kib, threads};
use super::peers::{Who, policy};
use super::spell::{load, median};
use super::table::Figure;

impl Bench {
    /// Refused sessions with and without a service that has no opinion, in turn; then sessions that wait.
    pub fn policy(&mut self, who: Who) -> Result<(), String> {
        let port = service(Some(b"action=DUNNO\n\n")).map_err(|e| e.to_string())?;
        let text = policy(self.site.table());
        let with = self.site.start_with(who, &(text.clone() + &asking(port)), false)?;
        let without = self.site.start_with(who, &text, false)?;
        let turns = self.in_turn(who, [(&with, Kind::Reject), (&without, Kind::Reject)])?;
        self.table.add(Figure::PolicyCpu, who, median(turns.iter().map(|[with, without]| with - without)));
        self.waiting(who)
    }

    fn waiting(&mut self, who: Who) -> Result<(), String> {
        let port = service(None).map_err(|e| e.to_string())?;
        // a large table leaves free memory behind, in which the sessions would find their place unseen
        let peer = self.site.start_with(who, &(policy("static:DUNNO") + &asking(port)), false)?;
        // What is made once is not counted to the sessions. The allocator takes memory in huge pages where the kernel lets it:
        // the figure goes in steps of 2 MiB, so 2 KiB a session; MIMALLOC_ALLOW_THP=0 tells it finer.
        self.hold(who, peer.port, 20)?;
        let (memory, count) = (memory_kib(peer.pid()), threads(peer.pid()));
        // Postfix serves as many as it has processes
        let wanted = if who == Who::Postern { 1000 } else { 70 };
        let generator = self.hold(who, peer.port, wanted)?;
        let grown = memory_kib(peer.pid()).saturating_sub(memory);
        self.table.add(Figure::PolicyMemory, who, grown as f64 / generator.held() as f64);
        self.table.add(Figure::PolicyThreads, who, threads(peer.pid()).saturating_sub(count) as f64);
        Ok(())
    }

    /// So many sessions that have said RCPT.
    fn hold(&mut self, who: Who, port: u16, count: u64) -> Result<Generator, String> {
        let mut generator = Generator::new(load(Kind::Waiting, port, 20)).map_err(|e| e.to_string())?;
        generator.run_count(count).map_err(|e| e.to_string())?;
        self.errors(who, &generator.outcome.clone())?;
        // their last command is on its way
        thread::sleep(Duration::from_secs(1));
        Ok(generator)
    }
}

/// The service is asked first of all.
fn asking(port: u16) -> String {
    format!("smtpd_client_restrictions = check_policy_service inet:127.0.0.1:{port}\n")
}

/// A policy service that always says the same, or nothing; it lasts as long as the bench.
fn service(answer: Option<&'static [u8]>) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(stream, answer));
        }
    });
    Ok(port)
}

/// An error is the other side going away.
fn converse(mut stream: TcpStream, answer: Option<&[u8]>) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    let mut end = [0; 2];
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        end = if read > 1 { [bytes[read - 2], bytes[read - 1]] } else { [end[1], bytes[0]] };
        if end == *b"\n\n"
            && let Some(answer) = answer
        {
            stream.write_all(answer)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_answers_each_request() {
        let port = service(Some(b"action=DUNNO\n\n")).expect("a port");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        for request in ["a=b\n\n", "a=b\nc=d\n\n"] {
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut answer = [0; 14];
            stream.read_exact(&mut answer).expect("it answers");
            assert_eq!(&answer, b"action=DUNNO\n\n");
        }
    }
}
