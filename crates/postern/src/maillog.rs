//! The mail log: Postfix's line format to a file, to standard error or to syslog (postlogd(8), syslog(3)).
//!
//! Lines of all threads go into one buffer in the order of their events; a writer thread empties it in batches, so
//! no session waits for the disk.

use crate::clock;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines beyond this many bytes waiting are dropped and counted: a stuck log must not take the memory.
const BACKLOG_LIMIT: usize = 64 << 20;
/// How long the writer gathers after a line came.
const GATHER: Duration = Duration::from_millis(4);
/// mail.info, as syslog(3) numbers it: facility 2, severity 6.
const MAIL_INFO: u8 = 2 << 3 | 6;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// Standard output (`maillog_file = /dev/stdout`).
    Stdout,
    /// A file, appended to and reopened at each reload.
    File(PathBuf),
    /// The syslog socket.
    Syslog,
}

enum Sink {
    Stderr,
    Stdout,
    File(File),
    Syslog(UnixDatagram),
}

impl Sink {
    fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::Stderr => Self::Stderr,
            Target::Stdout => Self::Stdout,
            Target::File(path) => Self::File(OpenOptions::new().create(true).append(true).mode(0o600).open(path)?),
            Target::Syslog => {
                let socket = UnixDatagram::unbound()?;
                socket.connect("/dev/log")?;
                Self::Syslog(socket)
            }
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(lines),
            Self::Stdout => io::stdout().write_all(lines).and_then(|()| io::stdout().flush()),
            Self::File(file) => file.write_all(lines),
            Self::Syslog(socket) => {
                let mut packet = Vec::with_capacity(512);
                for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                    packet.clear();
                    let _ = write!(packet, "<{MAIL_INFO}>");
                    packet.extend_from_slice(&without_host(line));
                    socket.send(&packet)?;
                }
                Ok(())
            }
        }
    }
}

/// syslogd wants `Mmm dd hh:mm:ss tag: text`: the host name, word four, is its own business.
fn without_host(line: &[u8]) -> Vec<u8> {
    let stamp = line.get(..16).unwrap_or(line);
    let rest = line.get(16..).unwrap_or_default();
    let tag = memchr::memchr(b' ', rest).map_or(rest, |at| &rest[at + 1..]);
    [stamp, tag].concat()
}

struct Shared {
    buffer: Mutex<Vec<u8>>,
    wake: Condvar,
    idle: AtomicBool,
    stop: AtomicBool,
    dropped: AtomicU64,
    sink: Mutex<Sink>,
    stamp: Mutex<(u64, String)>,
    host: String,
    pid: u32,
}

/// A handle to the log; clones share it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

/// Ends the writer thread when the program ends.
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Open the log and start its writer.
    ///
    /// # Errors
    /// The file can't be opened, or nobody listens at `/dev/log`.
    pub fn open(target: &Target, host: &str) -> io::Result<(Self, LogWriter)> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            wake: Condvar::new(),
            idle: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            sink: Mutex::new(Sink::open(target)?),
            stamp: Mutex::default(),
            host: host.to_owned(),
            pid: std::process::id(),
        });
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("maillog".into()).spawn(move || mine.run())?;
        Ok((Self { shared: Arc::clone(&shared) }, LogWriter { shared, thread: Some(thread) }))
    }

    /// Make an empty log file that only its owner can read.
    ///
    /// # Errors
    /// It can't be made.
    pub fn create(path: &Path) -> io::Result<()> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
    }

    /// Reopen (after a log rotation, or elsewhere after a reload).
    ///
    /// # Errors
    /// As [`Log::open`]; the old target stays then.
    pub fn reopen(&self, target: &Target) -> io::Result<()> {
        let sink = Sink::open(target)?;
        self.flush();
        *lock(&self.shared.sink) = sink;
        Ok(())
    }

    /// One line from `tag` (`postfix/smtpd`): `TIME HOST TAG[PID]: TEXT`.
    pub fn line(&self, tag: &str, text: &str) {
        let shared = &*self.shared;
        let now = clock::unix_seconds();
        let mut buffer = lock(&shared.buffer);
        if buffer.len() > BACKLOG_LIMIT {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        {
            let mut stamp = lock(&shared.stamp);
            if stamp.0 != now {
                *stamp = (now, clock::local_stamp(now));
            }
            buffer.extend_from_slice(stamp.1.as_bytes());
        }
        let _ = write!(buffer, " {} {tag}[{}]: ", shared.host, shared.pid);
        push_printable(&mut buffer, text);
        buffer.push(b'\n');
        drop(buffer);
        if shared.idle.swap(false, Ordering::AcqRel) {
            shared.wake.notify_one();
        }
    }

    /// A warning from `tag`.
    pub fn warning(&self, tag: &str, text: &str) {
        self.line(tag, &format!("warning: {text}"));
    }

    /// Write out what is buffered, now.
    pub fn flush(&self) {
        self.shared.write_out();
    }
}

/// Control characters become `?`, as Postfix's log does; everything else passes.
fn push_printable(buffer: &mut Vec<u8>, text: &str) {
    let start = buffer.len();
    buffer.extend_from_slice(text.as_bytes());
    for byte in &mut buffer[start..] {
        if *byte < b' ' || *byte == 0x7f {
            *byte = b'?';
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            {
                let mut buffer = lock(&self.buffer);
                while buffer.is_empty() && !self.stop.load(Ordering::Acquire) {
                    self.idle.store(true, Ordering::Release);
                    let waited = self.wake.wait_timeout(buffer, Duration::from_secs(1));
                    buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            std::thread::sleep(GATHER);
            self.write_out();
        }
        self.write_out();
    }

    fn write_out(&self) {
        // The sink is taken first, so that two writers can't swap batches.
        let mut sink = lock(&self.sink);
        let lines = std::mem::take(&mut *lock(&self.buffer));
        if lines.is_empty() {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let failed = sink.write(&lines).is_err();
        if failed || dropped > 0 {
            eprintln!("postern: mail log: {dropped} lines dropped{}", if failed { ", write failed" } else { "" });
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// Where `maillog_file` and `maillog_file_prefixes` send the log.
///
/// # Errors
/// The path isn't below an allowed prefix.
pub fn target(maillog_file: &str, prefixes: &str) -> Result<Target, String> {
    match maillog_file {
        "" => Ok(Target::Syslog),
        "/dev/stdout" => Ok(Target::Stdout),
        "/dev/stderr" => Ok(Target::Stderr),
        path => {
            let mut allowed = prefixes.split([',', ' ', '\t', '\n']).filter(|p| !p.is_empty());
            if Path::new(path).is_absolute() && allowed.any(|prefix| path.starts_with(prefix)) {
                Ok(Target::File(path.into()))
            } else {
                Err(format!("maillog_file {path} is not below one of maillog_file_prefixes ({prefixes})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_postfix_form_and_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maillog");
        let (log, writer) = Log::open(&Target::File(path.clone()), "mail").unwrap();
        log.line("postfix/smtpd", "connect from a[192.0.2.1]");
        log.warning("postfix/smtpd", "odd\r\nbytes");
        drop(writer);
        let text = std::fs::read_to_string(&path).unwrap();
        let pid = std::process::id();
        let lines: Vec<&str> = text.lines().map(|l| &l[16..]).collect();
        assert_eq!(
            lines,
            [
                format!("mail postfix/smtpd[{pid}]: connect from a[192.0.2.1]"),
                format!("mail postfix/smtpd[{pid}]: warning: odd??bytes")
            ]
        );
        assert_eq!(text.as_bytes()[3], b' ');
    }

    #[test]
    fn targets() {
        assert_eq!(target("", "/var"), Ok(Target::Syslog));
        assert_eq!(target("/dev/stdout", "/var"), Ok(Target::Stdout));
        assert_eq!(target("/var/log/maillog", "/var, /dev/stdout"), Ok(Target::File("/var/log/maillog".into())));
        assert!(target("/etc/x", "/var").is_err());
        assert!(target("log", "l").is_err());
    }

    #[test]
    fn syslog_lines_lose_their_host() {
        let line = b"Nov 22 12:00:00 mail postfix/smtpd[1]: text here";
        assert_eq!(without_host(line), b"Nov 22 12:00:00 postfix/smtpd[1]: text here");
    }
}
