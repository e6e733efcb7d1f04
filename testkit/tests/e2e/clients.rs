//! Mail from the clients that people use arrives, in a Maildir and at the next hop.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use testkit::tools::{find, is_root, skipped};
use testkit::{Program, wait_until};

use crate::server::Server;

/// The recipients of each check: one with a Maildir, one behind the next hop.
const RECIPIENTS: [&str; 2] = ["user@example.com", "user@relay.example"];

/// Postfix's smtp-sink as the next hop, writing each message to a file.
pub struct SmtpSink {
    _program: Program,
    /// Its files.
    pub dump: std::path::PathBuf,
}

impl SmtpSink {
    /// Starts it at the server's next hop; `None` if it is not installed.
    pub fn start(server: &Server) -> Option<Self> {
        let path = find("smtp-sink")?;
        let dump = server.dir.path().join("dump");
        fs::create_dir(&dump).expect("a directory");
        let mut command = Command::new(path);
        if is_root() {
            assert!(Command::new("chown").arg("nobody").arg(&dump).status().is_ok_and(|s| s.success()));
            command.args(["-u", "nobody"]);
        }
        command.arg("-d").arg(dump.join("%H%M%S.")).arg(format!("127.0.0.1:{}", server.next_hop)).arg("100");
        let mut program = Program::start(&mut command, &server.dir.path().join("sink.out")).expect("smtp-sink");
        program.wait_listening(&[server.next_hop], Duration::from_secs(10)).unwrap_or_else(|e| panic!("{e}"));
        Some(Self { _program: program, dump })
    }

    fn messages(&self) -> Vec<String> {
        let files = fs::read_dir(&self.dump).into_iter().flatten().flatten();
        files.map(|f| String::from_utf8_lossy(&fs::read(f.path()).unwrap_or_default()).into_owned()).collect()
    }
}

/// Sends with `command` (made for a server and a recipient) and looks for `subject` in both places.
fn arrives(tool: &str, package: &str, mark: &str, count: usize, command: impl Fn(&Server, &str) -> Command) {
    if find(tool).is_none() {
        return skipped(&format!("sending with {tool}"), &format!("package {package} is missing"));
    }
    let server = Server::start("");
    let sink = SmtpSink::start(&server);
    for recipient in RECIPIENTS {
        let output = command(&server, recipient).output().expect("the client runs");
        assert!(output.status.success(), "{tool} for {recipient}: {}\n{}", shown(&output), server.tail());
    }
    let mail = server.wait_mail("user", count);
    assert!(mail.iter().all(|m| m.contains(mark)), "{mail:?}");
    let Some(sink) = sink else { return skipped("delivery to smtp-sink", "package postfix is missing") };
    let whole = |m: &String| m.contains(mark);
    wait_until(Duration::from_secs(15), || sink.messages().iter().filter(|m| whole(m)).count() >= count);
    assert_eq!(sink.messages().iter().filter(|m| whole(m)).count(), count, "at smtp-sink; log:\n{}", server.tail());
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn program(name: &str) -> Command {
    Command::new(find(name).expect("looked for before"))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn swaks() {
    arrives("swaks", "swaks", "Subject: by swaks", 1, |server, to| {
        let mut command = program("swaks");
        command.args(["--server", "127.0.0.1", "--port", &server.port.to_string(), "--ehlo", "client.example.net"]);
        command.args(["--from", "a@example.org", "--to", to, "--header", "Subject: by swaks", "--body", "hello"]);
        command
    });
}

#[test]
#[ignore = "run by cargo xtask test"]
fn smtp_source() {
    arrives("smtp-source", "postfix", "a@example.org", 40, |server, to| {
        let mut command = program("smtp-source");
        command.args(["-s", "5", "-m", "40", "-l", "2000", "-f", "a@example.org", "-t", to]);
        command.args(["-M", "client.example.net", &format!("127.0.0.1:{}", server.port)]);
        command
    });
}

#[test]
#[ignore = "run by cargo xtask test"]
fn smtplib() {
    const SCRIPT: &str = "import smtplib, sys
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as server:
    server.sendmail('a@example.org', [sys.argv[2]], 'Subject: by smtplib\\n\\n.dot\\nhello\\n')
";
    arrives("python3", "python3", "Subject: by smtplib", 1, |server, to| {
        let mut command = program("python3");
        command.args(["-c", SCRIPT, &server.port.to_string(), to]);
        command
    });
}

#[test]
#[ignore = "run by cargo xtask test"]
fn curl() {
    arrives("curl", "curl", "Subject: by curl", 1, |server, to| {
        let message: &Path = &server.dir.path().join("message");
        fs::write(message, "Subject: by curl\r\n\r\nhello\r\n").expect("a file");
        let mut command = program("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--mail-from",
            "a@example.org",
            "--mail-rcpt",
            to,
        ]);
        command.arg("--upload-file").arg(message).arg(format!("smtp://127.0.0.1:{}/client.example.net", server.port));
        command
    });
}

#[test]
#[ignore = "run by cargo xtask test"]
fn relaying_is_refused() {
    let server = Server::start("");
    let mut dialog = server.dialog();
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    for to in ["user@elsewhere.example", "user%elsewhere.example@example.com", "@example.com:user@elsewhere.example"] {
        let reply = dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply");
        assert!(reply.starts_with("454 4.7.1 <") && reply.ends_with("Relay access denied"), "{to}: {reply}");
    }
    assert_eq!(dialog.command("DATA").expect("a reply"), "554 5.5.1 Error: no valid recipients");
    server.wait_log(
        "Relay access denied; from=<a@example.org> to=<user@elsewhere.example> proto=ESMTP helo=<client.example.net>",
    );
}
