//! The socket of a running server: one client at a time, each with little time.

use super::Steward;
use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The socket's name, in the directory of the spool.
pub const NAME: &str = "control";
/// Who says nothing, or reads nothing, for so long has to come again.
const IDLE: Duration = Duration::from_secs(10);
/// No request is longer.
const LINE: u64 = 1024;

/// The listening socket; nobody is served yet.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in the directory of the spool, which must be ours (locked).
    ///
    /// # Errors
    /// The system refuses.
    pub fn bind(spool: &Path) -> io::Result<Self> {
        let path = spool.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // There must be no moment in which others could connect.
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path);
        nix::sys::stat::umask(before);
        Ok(Self { listener: listener?, path })
    }

    /// Where it is, for the end.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until the program ends.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn serve(self, steward: Steward) -> io::Result<()> {
        let body = move || {
            loop {
                match self.listener.accept() {
                    // A client that is gone, or was too slow, asks again.
                    Ok((stream, _)) => drop(answer(&stream, &steward)),
                    // Out of files, most likely.
                    Err(_) => sleep(Duration::from_millis(100)),
                }
            }
        };
        std::thread::Builder::new().name("queue-control".into()).spawn(body).map(drop)
    }
}

fn answer(stream: &UnixStream, steward: &Steward) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let (mut reader, mut writer) = (BufReader::new(stream), BufWriter::new(stream));
    loop {
        let mut line = String::new();
        if reader.by_ref().take(LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut tell = |text: &str| writeln!(writer, "{text}").map_err(|error| error.to_string());
        let done = line.trim_end().parse().and_then(|request| steward.perform(request, &mut tell));
        match done {
            Ok(()) => writeln!(writer, "end")?,
            Err(problem) => writeln!(writer, "error {}", problem.replace('\n', " "))?,
        }
        writer.flush()?;
    }
}
