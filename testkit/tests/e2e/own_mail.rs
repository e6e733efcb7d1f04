//! Mail that postern makes itself, before filters (`non_smtpd_milters`): signed by opendkim, held back while a filter is
//! away or silent, and not filtered again when it is requeued.

use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testkit::peer::{Address, Milter, MilterTraits, Sink};
use testkit::ports::free_port;
use testkit::wait_until;

use crate::milters::{become_stranger, send, start_opendkim};
use crate::server::{Server, postern};

/// Clients may send to the next hop, which knows nobody whose name begins with `bad`.
const RELAYING: &str = "mynetworks = 127.0.0.0/8\ninternal_mail_filter_classes = bounce\n";
const NO_SUCH_USER: &str = "RCPT TO:<bad => 550 5.1.1 no such user\n";
/// Each message gets a header.
const MARK: &str = "EOM => h X-Seen|yes ; c";

/// The server, and a next hop that refuses.
fn start(settings: &str) -> (Server, Sink) {
    let server = Server::start(&format!("{RELAYING}{settings}"));
    let sink = server.sink(NO_SUCH_USER);
    (server, sink)
}

/// Something that can't be delivered; its queue id.
fn bounce(server: &Server) -> String {
    let reply = server.dialog().message("a@example.com", "bad@relay.example", "a subject").expect("a reply");
    reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).trim().to_owned()
}

fn filter(port: u16, rules: &str) -> Milter {
    let at = Address::Inet(([127, 0, 0, 1], port).into());
    Milter::start(&at, MilterTraits::default(), rules).expect("a filter")
}

/// How many messages a filter has seen the end of.
fn seen(filter: &Milter) -> usize {
    filter.told().iter().filter(|line| line.starts_with("EOM")).count()
}

#[test]
#[ignore = "run by cargo xtask test"]
fn opendkim_signs_reports() {
    let dir = testkit::temp_dir().expect("a temporary directory");
    let Some((opendkim, port)) = start_opendkim(dir.path()) else { return };
    let (server, _sink) = start(&format!(
        "smtpd_milters = inet:127.0.0.1:{port}\nnon_smtpd_milters = $smtpd_milters\nmilter_default_action = tempfail
milter_command_timeout = 60s\nsmtpd_authorized_xclient_hosts = 127.0.0.1\n"
    ));
    let id = bounce(&server);
    server.wait_log(&format!(": {id}: sender non-delivery notification: "));
    let report = server.wait_mail("a", 1).remove(0);
    let at = report.find("DKIM-Signature: v=1; a=rsa-sha256;");
    let signed = &report[at.unwrap_or_else(|| panic!("no signature: {report}\n{}", opendkim.output()))..];
    assert!(signed.contains(" d=example.com; s=sel;"), "{signed}");
    assert!(signed.contains("\nSubject: Undelivered Mail Returned to Sender\n"), "{signed}");
    // it holds where somebody else looks at it
    let mut stranger = server.dialog();
    become_stranger(&mut stranger);
    let reply = send(&mut stranger, signed);
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}\n{}", server.tail());
    let checked = server.wait_mail("u", 1).remove(0);
    let results = "Authentication-Results: mail.example.com;\n\tdkim=pass (2048-bit key";
    assert!(checked.contains(results), "{checked}");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_report_waits_for_its_filter() {
    let port = free_port();
    let (server, sink) = start(&format!("non_smtpd_milters = inet:127.0.0.1:{port}\n"));
    let id = bounce(&server);
    server.wait_log(&format!("]: warning: connect to Milter service inet:127.0.0.1:{port}: Connection refused"));
    server.wait_log(
        ": milter-reject: CONNECT from localhost[127.0.0.1]: 4.7.1 Service unavailable - try again later; from=<>",
    );
    server.wait_log(&format!(": {id}: status=deferred (bounce failed)"));
    assert!(server.maildir("a").is_empty(), "{}", server.tail());
    let milter = filter(port, MARK);
    let report = server.wait_mail("a", 1).remove(0);
    assert!(report.contains("\nX-Seen: yes\n"), "{report}");
    server.wait_log(&format!(": {id}: removed"));
    // the message itself wasn't tried again
    let told = sink.dialogue().iter().filter(|line| line.starts_with("RCPT TO:<bad@")).count();
    assert_eq!((told, seen(&milter)), (1, 1), "{}", server.tail());
    // the next report goes by the filter
    server.configure("mynetworks = 127.0.0.0/8\n");
    server.program.signal(Signal::SIGHUP);
    server.wait_log("reload -- ");
    let mut count = 1;
    let goes_by = || {
        bounce(&server);
        count += 1;
        server.wait_mail("a", count).iter().any(|report| !report.contains("\nX-Seen: yes\n"))
    };
    assert!(wait_until(Duration::from_secs(15), goes_by), "{}", server.tail());
}

/// Connections at the same time: now, and at most.
#[derive(Default)]
struct Connections {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A filter that is silent, and counts who waits for it.
fn silent(connections: &Arc<Connections>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let connections = Arc::clone(connections);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let connections = Arc::clone(&connections);
            let now = connections.now.fetch_add(1, Ordering::SeqCst) + 1;
            connections.most.fetch_max(now, Ordering::SeqCst);
            std::thread::spawn(move || {
                // Until the other side has had enough.
                let _ = stream.read_to_end(&mut Vec::new());
                connections.now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    port
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_silent_filter_holds_up_reports_only() {
    let connections = Arc::default();
    let port = silent(&connections);
    let (server, _sink) =
        start(&format!("non_smtpd_milters = {{ inet:127.0.0.1:{port}, connect_timeout=5s }}\nnotify_classes =\n"));
    let mut dialog = server.dialog();
    let begin = Instant::now();
    for _ in 0..150 {
        let reply = dialog.message("a@example.com", "bad@relay.example", "a subject").expect("a reply");
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    server.assert_works();
    let name = format!("warning: milter inet:127.0.0.1:{port}: ");
    server.wait_log(&format!("{name}can't read SMFIC_OPTNEG reply packet header: Connection timed out"));
    let most = connections.most.load(Ordering::SeqCst);
    // A hundred, and those whose end the filter has yet to see.
    assert!((50..=120).contains(&most), "{most} at a time");
    // all are there still, and each report has its turn
    let deferred = || server.log().matches("status=deferred (bounce failed)").count() >= 150;
    assert!(wait_until(Duration::from_secs(30), deferred), "{}", server.tail());
    assert!(server.maildir("a").is_empty());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn what_is_requeued_is_not_filtered_again() {
    let port = free_port();
    let (server, _sink) =
        start(&format!("smtpd_milters = inet:127.0.0.1:{port}\nnon_smtpd_milters = inet:127.0.0.1:{port}\n"));
    let milter = filter(port, "EOM => h X-Seen|yes ; q why ; c");
    let id = bounce(&server);
    server.wait_log(&format!("{id}: milter-hold: END-OF-MESSAGE from localhost[127.0.0.1]: why; from=<a@example.com>"));
    let postsuper = |option: &str| {
        let mut command = Command::new(postern());
        command.args(["postsuper", "-c"]).arg(server.etc()).args([option, "ALL"]);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    assert_eq!(seen(&milter), 1);
    // the message goes on its way without being shown again, and bounces; its report is shown, and held
    postsuper("-r");
    server.wait_log(": milter-hold: END-OF-MESSAGE from localhost[127.0.0.1]: why; from=<>");
    assert_eq!(seen(&milter), 2);
    postsuper("-r");
    let report = server.wait_mail("a", 1).remove(0);
    assert_eq!(report.matches("\nX-Seen: yes\n").count(), 2, "the message's and the report's: {report}");
    assert_eq!(seen(&milter), 2);
}
