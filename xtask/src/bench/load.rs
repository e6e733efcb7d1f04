//! A load client: one thread, one epoll, many SMTP sessions that go step by step. It talks to loopback only and stops by
//! itself.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt::IpBindAddressNoPort,
    sockopt::TcpNoDelay,
};

/// A session without an answer for that long is an error.
const STUCK: Duration = Duration::from_secs(20);

/// User `user`, password `secret`.
const LOGIN: &[u8] = b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n";

/// What each session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EHLO, MAIL, RCPT that is refused, QUIT.
    Reject,
    /// EHLO, MAIL, RCPT, DATA, 1 KiB, QUIT.
    Accept,
    /// EHLO, then nothing.
    Idle,
    /// EHLO, MAIL, RCPT, whose answer doesn't come.
    Waiting,
    /// EHLO, QUIT.
    Hello,
    /// EHLO, AUTH PLAIN, QUIT.
    Login,
}

/// A load.
#[derive(Clone, Debug)]
pub struct Load {
    /// What each session does.
    pub kind: Kind,
    /// The server's port.
    pub port: u16,
    /// The recipient.
    pub recipient: &'static str,
    /// The first of the addresses that clients come from, and how many there are.
    pub sources: (Ipv4Addr, u32),
    /// The number of the first session: addresses and senders follow from it.
    pub first: u64,
    /// Sessions at a time.
    pub at_a_time: usize,
}

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Sessions that went as they should.
    pub sessions: u64,
    /// How often what else happened.
    pub errors: BTreeMap<String, u64>,
    /// How long each session took, microseconds.
    pub session_us: Vec<u32>,
    /// How long each reply to RCPT took, microseconds.
    pub rcpt_us: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
    Quit,
    Held,
}

struct Session {
    stream: TcpStream,
    number: u64,
    state: State,
    begun: Instant,
    asked: Instant,
    input: Vec<u8>,
}

/// Many sessions at once.
pub struct Generator {
    load: Load,
    epoll: Epoll,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    next: u64,
    body: Vec<u8>,
    /// The outcome so far.
    pub outcome: Outcome,
    held: usize,
}

impl Generator {
    /// A generator that has not begun.
    pub fn new(load: Load) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (next, outcome) = (load.first, Outcome::default());
        Ok(Self { load, epoll, sessions: Vec::new(), free: Vec::new(), next, body: body(), outcome, held: 0 })
    }

    /// Keeps the load up for `time`, forgetting what was counted before; `wind_down` lets the last sessions end.
    pub fn run_for(&mut self, time: Duration) -> io::Result<Duration> {
        self.outcome = Outcome::default();
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.fill(u64::MAX)?;
            self.turn(Duration::from_millis(5))?;
        }
        Ok(begin.elapsed())
    }

    /// Opens no more sessions and waits for those that are under way.
    pub fn wind_down(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while self.under_way() > 0 && begin.elapsed() < STUCK {
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Runs exactly `count` sessions.
    pub fn run_count(&mut self, count: u64) -> io::Result<()> {
        let end = self.next + count;
        let begin = Instant::now();
        while (self.next < end || self.under_way() > self.held) && begin.elapsed() < STUCK * 4 {
            self.fill(end)?;
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Sessions that hold still after EHLO, or after RCPT.
    pub fn held(&self) -> usize {
        self.held
    }

    fn under_way(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    fn fill(&mut self, end: u64) -> io::Result<()> {
        while self.under_way() - self.held < self.load.at_a_time && self.next < end {
            self.open()?;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let begun = Instant::now();
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, TcpNoDelay, &true)?;
        setsockopt(&fd, IpBindAddressNoPort, &true)?;
        let (first, count) = self.load.sources;
        let source = Ipv4Addr::from_bits(first.to_bits() + (number % u64::from(count)) as u32);
        use std::os::fd::AsRawFd;
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        let server = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.load.port));
        match connect(fd.as_raw_fd(), &server) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => {}
            Err(error) => {
                self.count_error(format!("connect: {error}"));
                return Ok(());
            }
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, place as u64))?;
        let stream = TcpStream::from(fd);
        self.sessions[place] =
            Some(Session { stream, number, state: State::Greeting, begun, asked: begun, input: Vec::new() });
        Ok(())
    }

    fn count_error(&mut self, what: String) {
        *self.outcome.errors.entry(what).or_default() += 1;
    }

    /// Waits for what the servers say and answers it.
    fn turn(&mut self, limit: Duration) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 128];
        let wait = EpollTimeout::try_from(limit).unwrap_or(EpollTimeout::ZERO);
        let ready = match self.epoll.wait(&mut events, wait) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            self.readable(event.data() as usize);
        }
        if ready == 0 {
            self.drop_stuck();
        }
        Ok(())
    }

    fn drop_stuck(&mut self) {
        for place in 0..self.sessions.len() {
            let stuck = self.sessions[place].as_ref().filter(|s| s.state != State::Held && s.asked.elapsed() > STUCK);
            if let Some(state) = stuck.map(|s| s.state) {
                self.end(place, Err(format!("{state:?}: no answer")));
            }
        }
    }

    fn readable(&mut self, place: usize) {
        let Some(session) = &mut self.sessions[place] else { return };
        let mut chunk = [0; 2048];
        match session.stream.read(&mut chunk) {
            Ok(0) => {
                let state = session.state;
                return self.end(place, Err(format!("{state:?}: closed")));
            }
            Ok(n) => session.input.extend(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(e) => {
                let state = session.state;
                return self.end(place, Err(format!("{state:?}: {}", e.kind())));
            }
        }
        let Some(code) = last_code(&session.input) else { return };
        let answered = session.state;
        session.input.clear();
        if let Some(result) = self.answer(place, answered, code) {
            self.end(place, result);
        }
    }

    /// Takes a reply and sends the next command; `Some` when the session is over.
    fn answer(&mut self, place: usize, state: State, code: u16) -> Option<Result<(), String>> {
        let (kind, recipient) = (self.load.kind, self.load.recipient);
        let session = self.sessions[place].as_mut()?;
        let number = session.number;
        let now = Instant::now();
        let expected = match state {
            State::Greeting => code == 220,
            State::Ehlo | State::Mail | State::Dot => code == 250,
            State::Rcpt => (code == 250) == (kind == Kind::Accept),
            State::Data => code == 354,
            State::Auth => code == 235,
            State::Quit => code == 221,
            State::Held => false,
        };
        if !expected {
            return Some(Err(format!("{state:?}: {code}")));
        }
        if state == State::Rcpt {
            self.outcome.rcpt_us.push((now - session.asked).as_micros() as u32);
        }
        let quit = (State::Quit, b"QUIT\r\n".to_vec());
        let (next, command) = match state {
            State::Greeting => (State::Ehlo, b"EHLO mta.client.test\r\n".to_vec()),
            State::Ehlo if kind == Kind::Idle => {
                session.state = State::Held;
                self.held += 1;
                self.outcome.sessions += 1;
                return None;
            }
            State::Ehlo if kind == Kind::Hello => quit,
            State::Ehlo if kind == Kind::Login => (State::Auth, LOGIN.to_vec()),
            State::Auth => quit,
            State::Ehlo => {
                (State::Mail, format!("MAIL FROM:<u{number}@d{}.sender.test>\r\n", number % 1000).into_bytes())
            }
            State::Mail => (State::Rcpt, format!("RCPT TO:<{recipient}>\r\n").into_bytes()),
            State::Rcpt if kind == Kind::Reject => quit,
            State::Rcpt => (State::Data, b"DATA\r\n".to_vec()),
            State::Data => (State::Dot, self.body.clone()),
            State::Dot => quit,
            State::Quit | State::Held => return Some(Ok(())),
        };
        session.state = next;
        session.asked = now;
        if (kind, next) == (Kind::Waiting, State::Rcpt) {
            session.state = State::Held;
            self.held += 1;
            self.outcome.sessions += 1;
        }
        // commands are small and sockets empty: a write that does not fit is an error of its own
        match session.stream.write_all(&command) {
            Ok(()) => None,
            Err(e) => Some(Err(format!("{next:?}: {}", e.kind()))),
        }
    }

    fn end(&mut self, place: usize, result: Result<(), String>) {
        let Some(session) = self.sessions[place].take() else { return };
        self.free.push(place);
        self.held -= usize::from(session.state == State::Held);
        match result {
            Ok(()) => {
                self.outcome.sessions += 1;
                self.outcome.session_us.push(session.begun.elapsed().as_micros() as u32);
            }
            Err(what) => self.count_error(what),
        }
    }
}

/// The code of the last line when it ends a reply.
fn last_code(input: &[u8]) -> Option<u16> {
    let lines = input.strip_suffix(b"\n")?;
    let last = &lines[lines.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)..];
    if last.len() < 3 || last.get(3) == Some(&b'-') {
        return None;
    }
    std::str::from_utf8(&last[..3]).ok()?.parse().ok()
}

/// A message of 1 KiB with its end.
fn body() -> Vec<u8> {
    let mut body = b"From: Sender <sender@d1.sender.test>\r\nTo: Recipient <u@relay.test>\r\nSubject: load\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <load@client.test>\r\n\r\n"
        .to_vec();
    while body.len() < 1024 - 72 {
        body.extend(b"the quick brown fox jumps over the lazy dog and then does it all again\r\n");
    }
    body.resize(1022, b'x');
    body.extend(b"\r\n.\r\n");
    body
}

/// Where sessions of a load come from, to tell it the addresses that need names.
pub fn addresses((first, count): (Ipv4Addr, u32)) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(move |i| Ipv4Addr::from_bits(first.to_bits() + i))
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::peer::{Address, Sink};

    #[test]
    fn codes() {
        for (input, want) in [
            (&b"250 ok\r\n"[..], Some(250)),
            (b"250-a\r\n250 b\r\n", Some(250)),
            (b"250-a\r\n", None),
            (b"250-a\r\n25", None),
            (b"554 5.7.1 no", None),
            (b"354\r\n", Some(354)),
        ] {
            assert_eq!(last_code(input), want);
        }
    }

    #[test]
    fn loads() {
        let port = testkit::ports::free_port();
        let address = Address::Inet(([127, 0, 0, 1], port).into());
        let sink = Sink::start(&address, &["PIPELINING"], "RCPT TO:<no => 550 no").expect("a sink");
        let load = |kind, recipient| Load {
            kind,
            port,
            recipient,
            sources: (Ipv4Addr::new(127, 1, 0, 1), 4),
            first: 0,
            at_a_time: 3,
        };
        for (kind, recipient) in [(Kind::Reject, "no@relay.test"), (Kind::Accept, "u@relay.test"), (Kind::Idle, "")] {
            let mut generator = Generator::new(load(kind, recipient)).expect("a generator");
            generator.run_count(7).expect("a run");
            assert_eq!((generator.outcome.sessions, &generator.outcome.errors), (7, &BTreeMap::new()), "{kind:?}");
            assert_eq!(generator.held(), if kind == Kind::Idle { 7 } else { 0 });
        }
        assert_eq!(sink.messages().len(), 7);
        assert_eq!(sink.messages()[0].content.len(), 1024);
        let mut wrong = Generator::new(load(Kind::Accept, "no@relay.test")).expect("a generator");
        wrong.run_count(2).expect("a run");
        assert_eq!(wrong.outcome.errors, [("Rcpt: 550".to_owned(), 2)].into());
    }
}
