//! The way to the queue: over a running server's socket, or by opening the spool while nobody else has it.

use super::{NAME, Request, Steward};
use crate::clock;
use crate::daemon::{mail_log, privileges, server};
use crate::maillog::LogWriter;
use config::Parameters;
use queue::{QueueIdSource, Spool, SpoolError, SpoolOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// A server that is just starting has the spool for so long before it listens.
const START: u32 = 50;

/// Why the queue can't be reached, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(pub String);

/// The queue, as it can be reached.
pub enum Access {
    /// There has never been any mail.
    Nothing,
    /// A server runs.
    Running(BufReader<UnixStream>),
    /// No server runs; the log, if there is one, is written out when this goes.
    Stopped(Box<Steward>, Option<LogWriter>),
}

fn denied(path: &Path, owner: &str) -> Problem {
    Problem(format!("{}: Permission denied: use of this command is reserved for root and {owner}", path.display()))
}

impl Access {
    /// Finds the server of a configuration, or opens its spool.
    ///
    /// # Errors
    /// Neither can be had.
    pub fn open(parameters: &Parameters, is_default: bool) -> Result<Self, Problem> {
        let directory = server::spool_directory_of(parameters);
        let owner = parameters.get("mail_owner");
        for _ in 0..START {
            match connect(&directory.join(NAME)) {
                Ok(stream) => return Ok(Self::Running(BufReader::new(stream))),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(denied(&directory.join(NAME), &owner));
                }
                Err(_) if !directory.exists() => return Ok(Self::Nothing),
                Err(_) => {}
            }
            match open_spool(parameters, &directory, is_default) {
                Ok(stopped) => return Ok(stopped),
                Err(OpenError::Locked) => sleep(Duration::from_millis(100)),
                Err(OpenError::Denied) => return Err(denied(&directory, &owner)),
                Err(OpenError::Other(text)) => return Err(Problem(text)),
            }
        }
        let path = directory.join(NAME);
        Err(Problem(format!(
            "another process has the spool {}, and nobody answers at {}: see the mail log of the server, or restart it",
            directory.display(),
            path.display()
        )))
    }

    /// Does nobody deliver?
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Nothing | Self::Stopped(..))
    }

    /// Asks for something, and hands on the lines of the answer.
    ///
    /// # Errors
    /// It can't be done, or the server is gone.
    pub fn ask(&mut self, request: Request, each: &mut dyn FnMut(&str)) -> Result<(), Problem> {
        match self {
            Self::Nothing => Ok(()),
            Self::Stopped(steward, _) => {
                let mut tell = |line: &str| {
                    each(line);
                    Ok(())
                };
                steward.perform(request, &mut tell).map_err(Problem)
            }
            Self::Running(stream) => converse(stream, request, each).unwrap_or_else(|error| {
                let text =
                    format!("the server broke off ({error}): see its mail log, and look again with postqueue -p");
                Err(Problem(text))
            }),
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn converse(
    stream: &mut BufReader<UnixStream>,
    request: Request,
    each: &mut dyn FnMut(&str),
) -> io::Result<Result<(), Problem>> {
    // The server closes what has been idle: its error is the answer then.
    writeln!(stream.get_mut(), "{request}")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end_matches('\n') {
            "end" => return Ok(Ok(())),
            text => match text.strip_prefix("error ") {
                Some(problem) => return Ok(Err(Problem(problem.to_owned()))),
                None => each(text),
            },
        }
    }
}

enum OpenError {
    Locked,
    Denied,
    Other(String),
}

/// Opens the spool as the user that the server would be.
fn open_spool(parameters: &Parameters, directory: &Path, is_default: bool) -> Result<Access, OpenError> {
    let other = |error: anyhow::Error| OpenError::Other(format!("{error:#}"));
    if !is_default && let Some(owner) = privileges::owner(&parameters.get("mail_owner")).map_err(other)? {
        owner.become_for_good().map_err(other)?;
    }
    let (spool, recovery) = Spool::open(directory, SpoolOptions::default()).map_err(|error| match error {
        SpoolError::Locked(_) => OpenError::Locked,
        SpoolError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => OpenError::Denied,
        error => OpenError::Other(error.to_string()),
    })?;
    let (log, writer) = mail_log::of_command(parameters).unzip();
    for problem in &recovery.problems {
        eprintln!("postsuper: warning: {problem}");
    }
    let now = i64::try_from(clock::unix_micros()).unwrap_or(0);
    let parameters = parameters.clone();
    let steward = Steward {
        spool,
        ids: Arc::new(QueueIdSource::new(now)),
        delivery: None,
        logins: None,
        parameters: Box::new(move || parameters.clone()),
        log,
    };
    Ok(Access::Stopped(Box::new(steward), writer))
}
