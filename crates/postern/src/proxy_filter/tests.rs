//! Next hops that behave, and next hops that don't.

use super::*;
use crate::dns::{Hosts, Resolver, ResolverConfig};
use config::{HostFacts, MainCf};
use queue::{QueueId, Spool, SpoolOptions};
use smtp::proxy::{ForwardedClient, ProxyReply};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is said, then what is waited for.
type Script = &'static [(&'static str, &'static str)];

const HELLO: [(&str, &str); 3] =
    [("220 x\r\n", "EHLO gate\r\n"), ("250 x\r\n", "MAIL FROM:<a@b>\r\n"), ("250 y\r\n", "")];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A next hop for one connection; its task gives all that it heard.
async fn next_hop(script: Script) -> (Arc<ProxyFilter>, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let filter = ProxyFilter {
        name: "filter".into(),
        endpoint: ServiceEndpoint::Inet { host: "127.0.0.1".into(), port: port.to_string().into() },
        timeout: Duration::from_millis(400),
        ehlo: "gate".into(),
        lmtp: false,
        speed_adjust: false,
        slots: Arc::new(Semaphore::new(1)),
    };
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = String::new();
        for (say, until) in HELLO.iter().chain(script) {
            stream.write_all(say.as_bytes()).await.unwrap();
            let from = heard.len();
            while !heard[from..].contains(until) {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer).await {
                    Ok(count @ 1..) => heard.push_str(&String::from_utf8_lossy(&buffer[..count])),
                    _ => return heard,
                }
            }
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        heard + &String::from_utf8_lossy(&rest)
    });
    (Arc::new(filter), task)
}

/// Where warnings are kept.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

async fn open(filter: &Arc<ProxyFilter>) -> (Dialogue, Warnings) {
    let resolver = Resolver::new(ResolverConfig::parse(""), Hosts::parse(""), Arc::default());
    let warnings = Warnings::default();
    let kept = warnings.clone();
    let warn: Warn = Arc::new(move |text: &str| kept.0.lock().unwrap().push(text.to_owned()));
    let client = ForwardedClient::default();
    (Dialogue::open(filter, &resolver, &warn, &client, "MAIL FROM:<a@b>").await.unwrap(), warnings)
}

fn told(reply: Result<ProxyReply, String>) -> Result<String, String> {
    reply.map(|reply| reply.for_client())
}

#[test]
fn a_message_passes_and_the_goodbye_is_said() {
    block_on(async {
        let script: Script = &[
            ("", "RCPT TO:<u@b>\r\n"),
            ("250 u\r\n", "DATA\r\n"),
            ("354 go\r\n", ".\r\n"),
            ("250-a\r\n250 b\r\n", ""),
        ];
        let (filter, hop) = next_hop(script).await;
        let (mut dialogue, warnings) = open(&filter).await;
        assert_eq!(told(dialogue.command("RCPT TO:<u@b>", Want::Ok).await), Ok("250 u".to_owned()));
        dialogue.data().await.unwrap();
        dialogue.content(b"Subject: x\r\n").await.unwrap();
        assert_eq!(told(dialogue.end(b"\r\nbody\r\n.\r\n").await), Ok("250-a\n250 b".to_owned()));
        drop(dialogue);
        let heard = hop.await.unwrap();
        let want = "EHLO gate\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@b>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n";
        assert_eq!((heard.as_str(), warnings.take()), (want, Vec::new()));
    });
}

#[test]
fn what_is_said_before_the_end_never_accepts_a_message() {
    for (early, want) in [
        ("354 go\r\n250 queued\r\n", Err(WRITE_ERROR.to_owned())),
        ("354 go\r\n250-que", Err(WRITE_ERROR.to_owned())),
        ("354 go\r\n552 5.3.4 too big\r\n", Ok("552 5.3.4 too big".to_owned())),
        ("354 go\r\n421 4.3.2 bye\r\n", Ok("421 4.3.2 bye".to_owned())),
    ] {
        block_on(async {
            let script: Script = match early {
                "354 go\r\n250 queued\r\n" => &[("", "DATA\r\n"), ("354 go\r\n250 queued\r\n", "")],
                "354 go\r\n250-que" => &[("", "DATA\r\n"), ("354 go\r\n250-que", "")],
                "354 go\r\n552 5.3.4 too big\r\n" => &[("", "DATA\r\n"), ("354 go\r\n552 5.3.4 too big\r\n", "")],
                _ => &[("", "DATA\r\n"), ("354 go\r\n421 4.3.2 bye\r\n", "")],
            };
            let (filter, hop) = next_hop(script).await;
            let (mut dialogue, warnings) = open(&filter).await;
            dialogue.data().await.unwrap();
            assert_eq!(told(dialogue.end(b"body\r\n.\r\n").await), want, "{early:?}");
            assert_eq!(warnings.take().len(), 1, "{early:?}");
            drop(dialogue);
            // The end of the message was never said, nor a goodbye that could be taken for content.
            assert!(hop.await.unwrap().ends_with("DATA\r\n"), "{early:?}");
        });
    }
}

#[test]
fn a_reply_that_drips_in_is_a_timeout() {
    block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mut filter, _hop) = next_hop(&[]).await;
        let here = Arc::get_mut(&mut filter).unwrap();
        here.endpoint = ServiceEndpoint::Inet { host: "127.0.0.1".into(), port: port.to_string().into() };
        let drips = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(b"220-more\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let resolver = Resolver::new(ResolverConfig::parse(""), Hosts::parse(""), Arc::default());
        let warnings = Warnings::default();
        let kept = warnings.clone();
        let warn: Warn = Arc::new(move |text: &str| kept.0.lock().unwrap().push(text.to_owned()));
        let opened = Dialogue::open(&filter, &resolver, &warn, &ForwardedClient::default(), "MAIL FROM:<>").await;
        assert_eq!(opened.err().as_deref(), Some(WRITE_ERROR));
        assert_eq!(warnings.take(), ["timeout talking to proxy filter"]);
        drips.await.unwrap();
    });
}

#[test]
fn who_comes_later_waits_for_a_connection_but_not_for_ever() {
    block_on(async {
        let (filter, hop) = next_hop(&[]).await;
        let (first, _) = open(&filter).await;
        let resolver = Resolver::new(ResolverConfig::parse(""), Hosts::parse(""), Arc::default());
        let warnings = Warnings::default();
        let kept = warnings.clone();
        let warn: Warn = Arc::new(move |text: &str| kept.0.lock().unwrap().push(text.to_owned()));
        let client = ForwardedClient::default();
        let again = || Dialogue::open(&filter, &resolver, &warn, &client, "MAIL FROM:<a@b>");
        assert_eq!(again().await.err().as_deref(), Some(WRITE_ERROR));
        let busy = "all connections are in use (postern_proxy_filter_connection_limit)";
        assert_eq!(warnings.take(), [format!("connect to proxy filter filter: {busy}")]);
        drop(first);
        hop.await.unwrap();
        // Free again: now it is only that nobody listens any more.
        assert_eq!(again().await.err().as_deref(), Some(WRITE_ERROR));
        assert_eq!(warnings.take(), ["connect to proxy filter filter: Connection refused"]);
    });
}

#[test]
fn what_is_kept_comes_back_whole_from_a_file_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), SpoolOptions::default()).unwrap();
    let line = "x".repeat(1022) + "\r\n";
    block_on(async {
        let script: Script =
            &[("", "RCPT TO:<u@b>\r\n"), ("250 u\r\n", "DATA\r\n"), ("354 go\r\n", "\r\n.\r\n"), ("250 ok\r\n", "")];
        let (filter, hop) = next_hop(script).await;
        let (mut dialogue, _) = open(&filter).await;
        let mut kept = Kept::new("MAIL FROM:<a@b>".to_owned());
        kept.recipient("RCPT TO:<u@b>".to_owned());
        for _ in 0..200 {
            kept.content(line.as_bytes(), &spool, || QueueId::new(false, 1, 1)).unwrap();
        }
        assert!(kept.in_memory() <= queue::INLINE_LIMIT + line.len());
        kept.finish(b".\r\n");
        assert_eq!(std::fs::read_dir(dir.path().join("large")).unwrap().count(), 0);
        assert_eq!(told(kept.tell(&mut dialogue).await), Ok("250 ok".to_owned()));
        drop(dialogue);
        let heard = hop.await.unwrap();
        let content = heard.split_once("DATA\r\n").unwrap().1;
        assert_eq!(content.len(), 200 * 1024 + 3 + "QUIT\r\n".len());
    });
}

#[test]
fn where_a_filter_listens() {
    let inet = |host: &str, port: &str| Ok(ServiceEndpoint::Inet { host: host.into(), port: port.into() });
    let unix = |path: &str| Ok(ServiceEndpoint::Unix(path.into()));
    let no_port = Err("no port, and no service in /etc/services");
    for (text, want) in [
        ("127.0.0.1:10025", inet("127.0.0.1", "10025")),
        ("inet:[::1]:10025", inet("::1", "10025")),
        (":10025", inet("localhost", "10025")),
        ("10025", inet("localhost", "10025")),
        ("filter.example:smtp", inet("filter.example", "smtp")),
        ("unix:private/filter", unix("/queue/private/filter")),
        ("unix:/run/filter", unix("/run/filter")),
        ("unix:", Err("no path")),
        ("127.0.0.1", no_port.clone()),
        ("host:", no_port),
    ] {
        assert_eq!(endpoint(text, "/queue"), want, "{text}");
    }
}

#[test]
fn what_can_not_be_done_is_an_error() {
    for (text, is_there, problem) in [
        ("", false, None),
        ("smtpd_proxy_filter = 127.0.0.1:10025\n", true, None),
        ("smtpd_proxy_filter = 127.0.0.1:10025\nsmtpd_proxy_options = speed_adjust\n", true, None),
        ("smtpd_proxy_filter = 127.0.0.1:10025\nsmtpd_proxy_options = fast\n", true, Some("fast: unknown option")),
        ("smtpd_proxy_filter = lmtp:unix:private/lmtp\n", true, None),
        ("smtpd_proxy_filter = lmtp:localhost\n", false, Some("lmtp:localhost: no port")),
        ("smtpd_proxy_filter = localhost\n", false, Some("smtpd_proxy_filter = localhost: no port")),
    ] {
        let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", text).0), HostFacts::default());
        let mut problems = Vec::new();
        assert_eq!(ProxyFilter::compile(&parameters, &mut problems).is_some(), is_there, "{text}");
        match problem {
            Some(problem) => assert!(problems.len() == 1 && problems[0].to_string().contains(problem), "{problems:?}"),
            None => assert!(problems.is_empty(), "{problems:?}"),
        }
    }
}
