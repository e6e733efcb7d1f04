//! The cell of the commands that play sessions without a socket: `postern test` on many cases, and `postern replay` on
//! the record of what a server has just decided. They have one thread, so that CPU time is what they take when nobody
//! else wants the processor.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use super::cells::Bench;
use super::load::Kind;
use super::meter::cpu_of_the_ended;
use super::peers::{Who, policy};
use super::spell::Length;
use super::table::Figure;

/// Cases of the policy test.
const CASES: usize = 20_000;

impl Bench {
    /// Decisions and cases a second of CPU time, one process each.
    pub fn tools(&mut self, who: Who) -> Result<(), String> {
        let peer = self.site.start_with(who, &policy(self.site.table()), false)?;
        let time = if self.quick { 2000 } else { 10_000 };
        self.under_load(who, &peer, (Kind::Reject, 50), Length::ms(0, time))?;
        // what is decided is written within a moment
        std::thread::sleep(Duration::from_millis(500));
        let configuration = peer.directory().join("etc");
        let (told, cpu) = output(Command::new(self.site.postern()).arg("replay").arg(&configuration))?;
        let count = told.split_once(" decisions").and_then(|(count, _)| count.parse::<f64>().ok());
        let count = count.ok_or_else(|| format!("replay says {told}"))?;
        self.table.add(Figure::ReplayRate, who, count / cpu);

        let file = peer.directory().join("cases.toml");
        std::fs::write(&file, cases()).map_err(|e| e.to_string())?;
        let (told, cpu) =
            output(Command::new(self.site.postern()).arg("test").arg("-c").arg(&configuration).arg(&file))?;
        if !told.starts_with(&format!("{CASES} passed, 0 failed")) {
            return Err(format!("test says {told}"));
        }
        self.table.add(Figure::CaseRate, who, CASES as f64 / cpu);
        Ok(())
    }
}

/// What it prints, and its CPU seconds, start and reading included.
fn output(command: &mut Command) -> Result<(String, f64), String> {
    let before = cpu_of_the_ended();
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match String::from_utf8(output.stdout) {
        Ok(text) if output.status.success() => Ok((text, cpu_of_the_ended() - before)),
        _ => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Half of them are refused for the recipient, half for the client.
fn cases() -> String {
    let mut text =
        "dns = [\"@bl 127.9.9.9 bl2.test A 127.0.0.2\", \"relay.test A 192.0.2.25\", \"s.sender.test A 192.0.2.25\"]\n\
        [defaults]\nhelo = \"h.sender.test\"\n"
            .to_owned();
    for number in 0..CASES {
        let (client, recipient, restriction) = match number % 2 {
            0 => ("127.1.0.1", "foreign.test", "reject_unauth_destination"),
            _ => ("127.9.9.9", "relay.test", "reject_rbl_client"),
        };
        let _ = write!(
            text,
            "[[case]]\nname = \"{number}\"\nclient = \"{client}\"\nsender = \"a{number}@s.sender.test\"\n\
             recipient = \"u{number}@{recipient}\"\nexpect = \"reject\"\n             restriction = \"{restriction}\"\n"
        );
    }
    text
}
