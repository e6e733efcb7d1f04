//! `submit_rate DIR [SECONDS] [SUBMITTERS] [BYTES]`: how many messages the spool below DIR commits, and at what CPU.
//!
//! Once with a thread a submitter, once with one thread that keeps as many submissions in flight, as an event loop does.
//! Each message is finished after its commit, as if it had been delivered.

use nix::sys::resource::{Usage, UsageWho, getrusage};
use queue::{Content, Envelope, Message, QueueIdSource, Recipient, Spool, SpoolOptions};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

struct Load {
    spool: Spool,
    ids: QueueIdSource,
    content: Arc<[u8]>,
}

impl Load {
    fn message(&self) -> Message {
        let arrival = 1_795_350_000_000_000;
        let mut envelope = Envelope::new(self.ids.next(true, arrival), arrival, "sender@example.org");
        envelope.client.name = "client.example.net".into();
        envelope.client.address = "192.0.2.10".parse().ok();
        envelope.client.helo = "client.example.net".into();
        envelope.client.protocol = "ESMTP".into();
        envelope.size = self.content.len() as u64;
        envelope.recipients = vec![Recipient::new("recipient@example.com")];
        Message { envelope: Arc::new(envelope), content: Content::Memory(self.content.clone()) }
    }

    fn threads(&self, count: usize, end: Instant) -> u64 {
        std::thread::scope(|scope| {
            let one = || {
                let mut done = 0;
                while Instant::now() < end {
                    let message = self.message();
                    let id = message.envelope.queue_id;
                    self.spool.submit_and_wait(message).expect("commit");
                    self.spool.finish(id).expect("finish");
                    done += 1;
                }
                done
            };
            let all: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|h| h.join().expect("submitter")).sum()
        })
    }

    fn in_flight(&self, count: usize, end: Instant) -> u64 {
        let (sender, receiver) = mpsc::channel();
        let submit = || {
            let message = self.message();
            let (id, sender) = (message.envelope.queue_id, sender.clone());
            self.spool.submit(message, Box::new(move |result| sender.send((id, result)).expect("listener")));
        };
        (0..count).for_each(|_| submit());
        let mut done = 0;
        while Instant::now() < end {
            let (id, result) = receiver.recv().expect("committer");
            result.expect("commit");
            self.spool.finish(id).expect("finish");
            done += 1;
            submit();
        }
        for (id, result) in receiver.iter().take(count) {
            result.expect("commit");
            self.spool.finish(id).expect("finish");
        }
        done
    }
}

fn cpu(usage: &Usage) -> (f64, f64) {
    let micros = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 * 1e6 + t.tv_usec() as f64;
    (micros(usage.user_time()), micros(usage.system_time()))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(dir) = arguments.get(1) else {
        eprintln!("usage: submit_rate DIR [SECONDS] [SUBMITTERS] [BYTES]");
        std::process::exit(2)
    };
    let number = |at: usize, default: u64| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (seconds, count, bytes) = (number(2, 3), number(3, 50) as usize, number(4, 1024) as usize);
    let (spool, found) = Spool::open(dir.as_ref(), SpoolOptions::default()).expect("spool");
    println!("recovered {} messages", found.messages.len());
    let load = Load { spool, ids: QueueIdSource::new(0), content: vec![b'x'; bytes].into() };
    for round in ["threads", "in flight", "threads", "in flight"] {
        let before = cpu(&getrusage(UsageWho::RUSAGE_SELF).expect("usage"));
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds);
        let done = if round == "threads" { load.threads(count, end) } else { load.in_flight(count, end) } as f64;
        let took = begun.elapsed().as_secs_f64();
        let after = cpu(&getrusage(UsageWho::RUSAGE_SELF).expect("usage"));
        println!(
            "{round:>9} {count}: {:.0} messages/s, CPU a message {:.1} us ({:.1} user, {:.1} system)",
            done / took,
            (after.0 + after.1 - before.0 - before.1) / done,
            (after.0 - before.0) / done,
            (after.1 - before.1) / done,
        );
    }
}
