//! Running a server program for the length of a test: start it, wait until it listens, stop it by process id. It is killed
//! when the runner is dropped. A program with children is started as a process group, which is killed as a whole; others
//! stay in the group of the test, so that an interrupt at the terminal reaches them too.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{ports, wait_until};

/// A running program, with its standard output and error in a file.
#[derive(Debug)]
pub struct Program {
    child: Child,
    output: PathBuf,
    group: bool,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Starts `command`; what it prints goes to the file `output`.
    pub fn start(command: &mut Command, output: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn()?;
        Ok(Self { child, output: output.to_owned(), group: false, ended: None })
    }

    /// Starts `command`, which will have children, as a process group.
    pub fn start_group(command: &mut Command, output: &Path) -> io::Result<Self> {
        let mut program = Self::start(command.process_group(0), output)?;
        program.group = true;
        Ok(program)
    }

    /// Starts `postern serve --config-dir DIR`, with its output in `DIR/../output`.
    pub fn serve(postern: &Path, config_dir: &Path) -> io::Result<Self> {
        let output = config_dir.parent().unwrap_or(config_dir).join("output");
        Self::start(Command::new(postern).arg("serve").arg("--config-dir").arg(config_dir).env("TZ", "UTC"), &output)
    }

    /// Waits until all `ports` are listened on; `Err` is what the program printed when it ended or didn't get there.
    pub fn wait_listening(&mut self, ports: &[u16], limit: Duration) -> Result<(), String> {
        let mut ended = false;
        let ready = wait_until(limit, || {
            ended = self.has_ended();
            ended || ports.iter().all(|&p| ports::is_listening(p))
        });
        match (ended, ready) {
            (true, _) => Err(format!("the program ended:\n{}", self.output())),
            (false, false) => Err(format!("the program did not listen on {ports:?}:\n{}", self.output())),
            (false, true) => Ok(()),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Has the program ended?
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Sends a signal to the program (not to its children).
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            let _ = nix::sys::signal::kill(Pid::from_raw(self.child.id() as i32), signal);
        }
    }

    /// Waits until the program ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || self.has_ended());
        self.ended
    }

    /// SIGTERM, then up to `limit` for a clean end, then SIGKILL. `None` when it had to be killed.
    pub fn stop(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let status = self.wait(limit);
        self.kill();
        status
    }

    /// SIGKILL to the program and its children, at once.
    pub fn kill(&mut self) {
        if self.group {
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Program) {
        let dir = crate::temp_dir().expect("temp dir");
        let program = Program::start(Command::new("sh").args(["-c", script]), &dir.path().join("out")).expect("sh");
        (dir, program)
    }

    #[test]
    fn stops_and_reports() {
        let (_dir, mut program) = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done");
        assert!(wait_until(Duration::from_secs(5), || program.output() == "up\n"));
        assert_eq!(program.stop(Duration::from_secs(5)).and_then(|s| s.code()), Some(3));
        assert_eq!(program.output(), "up\nbye\n");
    }

    #[test]
    fn a_deaf_program_is_killed() {
        let (_dir, mut program) = shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
        assert!(wait_until(Duration::from_secs(5), || program.output() == "up\n"));
        assert_eq!(program.stop(Duration::from_millis(50)), None);
        assert!(program.has_ended());
    }

    #[test]
    fn a_program_that_ends_did_not_listen() {
        let (_dir, mut program) = shell("echo cannot start; exit 1");
        let error = program.wait_listening(&[ports::free_port()], Duration::from_secs(5));
        assert_eq!(error, Err("the program ended:\ncannot start\n".to_owned()));
    }
}
