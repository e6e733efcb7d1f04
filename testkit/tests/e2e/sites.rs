//! Whole sites as postmasters wrote them: `tests/sites/NAME` has main.cf, master.cf and tables, a DNS zone, and in `mail`
//! who sends what to whom and the answer.
//!
//! The networks of the documentation stand for networks of this machine, so that clients can really come from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::ports::free_port;
use testkit::tools::{find, mail_owner, skipped};
use testkit::{Dialog, FixtureDns, Program, wait_until};

use crate::clients::SmtpSink;
use crate::senders::{Letter, send};
use crate::server::{Server, give_away, postern};

/// Networks of the documentation, and what they are on this machine.
const NETWORKS: [(&str, &str); 4] =
    [("192.0.2", "127.0.2"), ("198.51.100", "127.51.100"), ("203.0.113", "127.0.113"), ("198.18", "127.18")];

/// A text of a site, for this machine.
fn localized(text: &str, etc: &Path) -> String {
    let text = text.replace("/etc/postfix", &etc.display().to_string());
    // 203.0 stands for 203.0.113 in a table of partial addresses
    let text = text.replace("\n203.0 ", "\n127.0 ");
    NETWORKS.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

fn files(site: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sites").join(site)
}

/// Starts the program with a site's files.
fn serve(site: &str) -> Server {
    let dir = testkit::temp_dir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    for name in ["etc", "spool", "lib", "mail", "log"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    give_away(&[&at("spool"), &at("lib"), &at("mail"), &at("log")]);
    let (port, next_hop) = (free_port(), free_port());
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for file in fs::read_dir(files(site)).expect("a site").map(|f| f.expect("a file").path()) {
        let text = localized(&read(&file), &at("etc"));
        fs::write(at("etc").join(file.file_name().expect("a name")), text).expect("a file");
    }
    let dns = FixtureDns::start(&read(&at("etc/zone"))).expect("DNS");
    let own = settings_of_this_machine(dir.path(), next_hop, &dns.server());
    fs::write(at("etc/main.cf"), read(&at("etc/main.cf")) + &own).expect("main.cf");
    let service = read(&at("etc/master.cf")).replace("smtp      inet", &format!("127.0.0.1:{port} inet"));
    fs::write(at("etc/master.cf"), service).expect("master.cf");
    let mut program = Program::serve(&postern(), &at("etc")).expect("the program starts");
    program.wait_listening(&[port], Duration::from_secs(20)).unwrap_or_else(|e| panic!("{e}"));
    Server { dir, port, next_hop, program, dns }
}

/// What goes to the end of main.cf: directories, DNS, and the next hop for all mail that leaves.
fn settings_of_this_machine(dir: &Path, next_hop: u16, dns: &str) -> String {
    let dir = dir.display();
    let mut text = format!(
        "\nqueue_directory = {dir}/spool\ndata_directory = {dir}/lib\nmail_spool_directory = {dir}/mail/\n\
         virtual_mailbox_base = {dir}/mail/\nmaillog_file = {dir}/log/maillog\nmaillog_file_prefixes = /\n\
         inet_protocols = ipv4\npostern_dns_servers = {dns}\n"
    );
    text += &mail_owner().map_or_else(String::new, |name| format!("mail_owner = {name}\n"));
    text + &format!("relay_transport = smtp:[127.0.0.1]:{next_hop}\ndefault_transport = smtp:[127.0.0.1]:{next_hop}\n")
}

/// A line of `mail` with the answer below it.
struct Case {
    letter: Letter,
    client: String,
    answer: String,
}

fn cases(site: &str) -> Vec<Case> {
    let path = files(site).join("mail");
    let text = localized(&fs::read_to_string(&path).expect("mail"), Path::new("/etc/postfix"));
    let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let case = |(number, pair): (usize, &[&str])| {
        let words: Vec<&str> = pair[0].split_whitespace().collect();
        let [program, client, helo, from, to] = words[..] else { panic!("{}: {:?}", path.display(), pair[0]) };
        let address = client.split(['[', ']']).nth(1).expect("name[address]");
        let [from, to] = [from, to].map(|a| if a == "<>" { "" } else { a }.to_owned());
        let subject = format!("{site}-{number:02}.");
        let letter = Letter { program: program.into(), address: address.into(), helo: helo.into(), from, to, subject };
        Case { letter, client: client.to_owned(), answer: pair[1].trim().to_owned() }
    };
    lines.chunks_exact(2).enumerate().map(case).collect()
}

/// The files below a directory that have `text`.
fn with_text(dir: &Path, text: &str) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let count = |path: PathBuf| {
        if path.is_dir() {
            return with_text(&path, text);
        }
        usize::from(String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(text))
    };
    entries.map(count).sum()
}

impl Case {
    /// Does this mail leave the site?
    fn leaves(&self) -> bool {
        !["example.com", "lists.example.com", "example.net"].iter().any(|d| self.letter.to.ends_with(&format!("@{d}")))
    }

    /// What must be in the log; `id` is the message's.
    fn log_lines(&self, id: Option<&str>) -> Vec<String> {
        let Letter { helo, from, to, .. } = &self.letter;
        let client = &self.client;
        match id {
            None => vec![format!(
                "NOQUEUE: reject: RCPT from {client}: {}; from=<{from}> to=<{to}> proto=ESMTP helo=<{helo}>",
                self.answer
            )],
            Some(id) => {
                vec![
                    format!("{id}: client={client}"),
                    format!("{id}: from=<{from}>, size="),
                    format!("{id}: to=<{to}>"),
                ]
            }
        }
    }

    /// Accepted mail is in one place, refused mail nowhere.
    fn check_place(&self, server: &Server, sink: &SmtpSink) {
        let places = || {
            [
                with_text(&server.dir.path().join("mail"), &self.letter.subject),
                with_text(&sink.dump, &self.letter.subject),
            ]
        };
        let want = match (self.answer.as_str(), self.leaves()) {
            ("250", true) => [0, 1],
            ("250", false) => [1, 0],
            _ => [0, 0],
        };
        wait_until(Duration::from_secs(15), || places() == want);
        assert_eq!(places(), want, "{}: copies in Maildirs and at the next hop\n{}", self.letter, server.tail());
    }
}

/// Sends all mail of a site, and looks at the answers, the log and the mailboxes.
fn check(site: &str) {
    let server = serve(site);
    let Some(sink) = SmtpSink::start(&server) else {
        return skipped(&format!("the site {site}"), "package postfix is missing: no smtp-sink");
    };
    let mut cases = cases(site);
    assert!(cases.iter().filter(|c| c.answer != "250").count() >= 5, "{site}: too few refusals");
    assert!(cases.iter().any(|c| c.answer.ends_with("Relay access denied")), "{site}: no relay refusal");
    for program in ["swaks", "smtplib", "curl", "smtp-source"] {
        assert!(cases.iter().any(|c| c.letter.program == program), "{site}: nothing sent with {program}");
        if find(if program == "smtplib" { "python3" } else { program }).is_none() {
            skipped(&format!("the mail that {program} sends to the site {site}"), "it is not installed");
            cases.retain(|c| c.letter.program != program);
        }
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = send(&case.letter, server.port);
        let (right, id) = match answer.strip_prefix("250 2.0.0 Ok: queued as ") {
            Some(id) => (case.answer == "250", Some(id)),
            // smtp-source says nothing if all is well
            None if answer == "sent" => (case.answer == "250", None),
            None => (case.answer == answer, None),
        };
        if !right {
            wrong.push(format!("{}\n    got  {answer}\n    want {}", case.letter, case.answer));
            continue;
        }
        if answer != "sent" {
            case.log_lines(id).iter().for_each(|line| server.wait_log(line));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), server.tail());
    cases.iter().for_each(|case| case.check_place(&server, &sink));
    let accepted = cases.iter().filter(|c| c.answer == "250").count();
    assert!(wait_until(Duration::from_secs(15), || server.log().matches("status=sent").count() == accepted));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn wiki() {
    check("wiki");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn readme() {
    check("readme");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn readme_open() {
    check("readme-open");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn readme_fixed() {
    check("readme-fixed");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn era210() {
    check("era210");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn readme_data_restrictions() {
    let server = serve("readme");
    let mut dialog = server.dialog();
    for command in ["MAIL FROM:<>", "RCPT TO:<info@example.com>", "RCPT TO:<sales@example.com>"] {
        assert!(dialog.command(command).expect("a reply").starts_with("250 "), "{command}");
    }
    let reply = dialog.command("DATA").expect("a reply");
    assert_eq!(reply, "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce");
    server.wait_log("reject: DATA from localhost[127.0.0.1]: 550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce; from=<> proto=ESMTP helo=<client.example.net>");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn readme_early_talkers() {
    let server = serve("readme");
    let mut dialog = Dialog::connect_from([127, 51, 100, 7], server.port).expect("a connection");
    dialog.reply().expect("a greeting");
    for command in ["EHLO mx.customer.example", "MAIL FROM:<anna@customer.example>", "RCPT TO:<info@example.com>"] {
        assert!(dialog.command(command).expect("a reply").starts_with("250"), "{command}");
    }
    dialog.send(b"DATA\r\nSubject: too early\r\n\r\nhello\r\n.\r\n").expect("sent");
    let text = "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining";
    assert_eq!(dialog.reply().expect("a reply"), text);
    server.wait_log(&format!(
        "reject: DATA from mx.customer.example[127.51.100.7]: {text}; \
         from=<anna@customer.example> to=<info@example.com> proto=ESMTP helo=<mx.customer.example>"
    ));
    assert_eq!(server.maildir("info"), Vec::<String>::new());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn era210_pipelining() {
    let server = serve("era210");
    // after HELO nobody has offered PIPELINING; smtpd_forbid_unauth_pipelining comes before the list
    let mut dialog = Dialog::connect_from([127, 51, 100, 7], server.port).expect("a connection");
    dialog.reply().expect("a greeting");
    assert_eq!(dialog.command("HELO mx.customer.example").expect("a reply"), "250 mail.example.com");
    dialog.send(b"MAIL FROM:<anna@customer.example>\r\nRCPT TO:<info@example.com>\r\nDATA\r\n").expect("sent");
    assert_eq!(dialog.reply().expect("a reply"), "554 5.5.0 Error: SMTP protocol synchronization");
    assert_eq!(dialog.rest().expect("the end"), "");
    server.wait_log("improper command pipelining after MAIL from mx.customer.example[127.51.100.7]");
}
