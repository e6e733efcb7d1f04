//! A server for tests, on a port of its own: each request gets the next reply of its script.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a request gets.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Reply(Vec<u8>),
    /// Sent, then the connection is closed.
    Last(Vec<u8>),
    /// Sent again and again, until nobody reads.
    Endless(Vec<u8>),
    /// Nothing, and the connection stays.
    Silence,
}

/// The usual one.
pub(super) fn reply(text: &str) -> Act {
    Act::Reply(text.as_bytes().to_vec())
}

/// The connection is closed without a reply.
pub(super) fn hang_up() -> Act {
    Act::Last(Vec::new())
}

/// Stops when dropped.
pub(super) struct Stub {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    script: Vec<Act>,
    turn: AtomicUsize,
    requests: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

impl Stub {
    /// The last act of the script is repeated.
    pub(super) fn start(script: impl Into<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, script.into())
    }

    fn on(listener: TcpListener, script: Vec<Act>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            turn: AtomicUsize::new(0),
            requests: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        let accept = std::thread::spawn(move || {
            let mut threads = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if server.stopped.load(Ordering::SeqCst) {
                    break;
                }
                server.connections.fetch_add(1, Ordering::SeqCst);
                server.open.lock().unwrap().push(stream.try_clone().unwrap());
                let server = Arc::clone(&server);
                threads.push(std::thread::spawn(move || server.serve(stream)));
            }
            drop(listener);
            for stream in server.open.lock().unwrap().iter() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
        Self { address, shared, threads: vec![accept] }
    }

    /// What was asked so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections there have been.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Stop, and start again on the same port.
    pub(super) fn restart(self, script: impl Into<Vec<Act>>) -> Self {
        let address = self.address;
        drop(self);
        Self::on(TcpListener::bind(address).unwrap(), script.into())
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    /// Requests are small and come in one piece.
    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = [0; 20_000];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            self.requests.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            let turn = self.turn.fetch_add(1, Ordering::SeqCst).min(self.script.len() - 1);
            let more = match &self.script[turn] {
                Act::Reply(bytes) => stream.write_all(bytes).is_ok(),
                Act::Last(bytes) => stream.write_all(bytes).is_err(),
                Act::Endless(bytes) => {
                    while stream.write_all(bytes).is_ok() {}
                    false
                }
                Act::Silence => true,
            };
            if !more {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
}
