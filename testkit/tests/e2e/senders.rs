//! Programs that people send mail with, and what the server answered them.

use std::fmt;
use std::process::{Command, Stdio};

use testkit::tools::find;

/// A message to send.
pub struct Letter {
    /// swaks, smtplib, curl or smtp-source.
    pub program: String,
    /// The client's address. smtp-source can't choose one.
    pub address: String,
    /// What it says at HELO.
    pub helo: String,
    /// The envelope sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The subject, by which the message is known again.
    pub subject: String,
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, address, helo, from, to, subject } = self;
        write!(f, "{subject} {program} {address} {helo} <{from}> <{to}>")
    }
}

/// Prints the first refusal, or the answer to the message.
const SMTPLIB: &str = "import smtplib, sys
port, address, helo, sender, recipient, subject = sys.argv[1:]
def said(reply):
    print(reply[0], reply[1].decode().replace('\\n', ' '))
    sys.exit(0)
with smtplib.SMTP('127.0.0.1', int(port), local_hostname=helo, source_address=(address, 0)) as server:
    for step in (server.ehlo, lambda: server.mail(sender), lambda: server.rcpt(recipient)):
        reply = step()
        if reply[0] >= 400:
            said(reply)
    said(server.data('Subject: ' + subject + '\\n\\nhello\\n'))
";

/// Sends a message; the first refusal, or the answer to the message, or `sent` by a program that does not show it.
pub fn send(letter: &Letter, port: u16) -> String {
    let mut command = match letter.program.as_str() {
        "swaks" => swaks(letter, port),
        "smtplib" => smtplib(letter, port),
        "curl" => curl(letter, port),
        "smtp-source" => smtp_source(letter, port),
        other => panic!("{other}: not a program that sends mail"),
    };
    let output = command.stdin(Stdio::null()).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if letter.program == "smtp-source" {
        return if output.status.success() { "sent".to_owned() } else { text };
    }
    let said = |line: &str| {
        let line = ["<** ", "<-  ", "< "].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line).trim_end();
        let code = line.get(..4).filter(|c| c[..3].bytes().all(|b| b.is_ascii_digit()) && c.ends_with(' '))?;
        (code.starts_with(['4', '5']) || line.contains("queued as")).then(|| line.to_owned())
    };
    text.lines().find_map(said).unwrap_or(text)
}

fn program(name: &str) -> Command {
    Command::new(find(name).expect("looked for before"))
}

fn swaks(letter: &Letter, port: u16) -> Command {
    let Letter { address, helo, from, to, subject, .. } = letter;
    let from = if from.is_empty() { "<>" } else { from };
    let mut command = program("swaks");
    command.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--local-interface", address, "--ehlo", helo]);
    command.args(["--from", from, "--to", to, "--header", &format!("Subject: {subject}"), "--body", "hello"]);
    command
}

fn smtplib(letter: &Letter, port: u16) -> Command {
    let Letter { address, helo, from, to, subject, .. } = letter;
    let mut command = program("python3");
    command.args(["-c", SMTPLIB, &port.to_string(), address, helo, from, to, subject]);
    command
}

fn curl(letter: &Letter, port: u16) -> Command {
    let Letter { address, helo, from, to, subject, .. } = letter;
    let mut command = program("curl");
    command.args(["--silent", "--verbose", "--max-time", "30", "--interface", address, "--mail-from", from]);
    command.args(["--mail-rcpt", to, "--header", &format!("Subject: {subject}"), "--form", "=hello"]);
    command.arg(format!("smtp://127.0.0.1:{port}/{helo}"));
    command
}

fn smtp_source(letter: &Letter, port: u16) -> Command {
    let Letter { helo, from, to, subject, .. } = letter;
    let mut command = program("smtp-source");
    command.args(["-M", helo, "-f", from, "-t", to, "-S", subject, &format!("127.0.0.1:{port}")]);
    command
}
