//! The client against scripted servers.

use super::*;
use crate::dns::{Hosts, ResolverConfig};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

const GREETING: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\tdictionary\tactive\nMECH\tANONYMOUS\t\
                        anonymous\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn resolver() -> Arc<Resolver> {
    Resolver::new(ResolverConfig::parse(""), Hosts::parse(""), Arc::default())
}

/// What a connection in turn does: for each request it reads, the answer, `ID` being its number.
type Script = &'static [&'static [(&'static str, &'static str)]];

/// A server in a thread; it returns what it was asked.
fn scripted(greeting: &'static str, script: Script) -> (Arc<AuthService>, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = format!("inet:{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answers in script {
            let (stream, _) = listener.accept().unwrap();
            serve(stream, greeting, answers, &mut asked);
        }
        asked
    });
    (Arc::new(AuthService::new(&path, "smtp", "/queue").unwrap()), thread)
}

fn serve(mut stream: TcpStream, greeting: &str, answers: &[(&str, &str)], asked: &mut Vec<String>) {
    stream.write_all(greeting.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("VERSION\t1\t1"));
    let number: u32 = lines.next().unwrap().strip_prefix("CPID\t").unwrap().parse().unwrap();
    assert!(number >= 1 << 30, "{number} could be another program's");
    for (word, answer) in answers {
        let Some(line) = lines.next() else { return };
        let mut fields = line.split('\t');
        assert_eq!(fields.next(), Some(*word));
        let id = fields.next().unwrap().to_owned();
        asked.push(fields.collect::<Vec<_>>().join(" "));
        stream.write_all(answer.replace("ID", &id).as_bytes()).unwrap();
    }
}

fn attempt<'a>(mechanism: &'a str, response: Option<&'a str>) -> Attempt<'a> {
    Attempt { mechanism, response, local: None, remote: "192.0.2.1".parse().ok(), is_secured: false }
}

#[test]
fn a_login_in_two_steps_on_one_connection() {
    let script: Script = &[&[
        ("AUTH", "FAIL\tID\tuser=u\treason=No\n"),
        ("AUTH", "CONT\tID\tVXNlcg==\n"),
        ("CONT", "OK\t999\tuser=other\nOK\tID\tuser=me\n"),
    ]];
    let (service, thread) = scripted(GREETING, script);
    block_on(async {
        let resolver = resolver();
        let options = SecurityOptions::parse("noanonymous").unwrap();
        assert_eq!(mechanisms(&service, &resolver, options).await.unwrap(), ["PLAIN", "CRAM-MD5"]);
        let (answer, exchange) = Exchange::start(&service, &resolver, attempt("PLAIN", Some("AHU="))).await;
        assert_eq!(answer, AuthAnswer::Failure { username: Some("u".to_owned()), reason: "No".to_owned() });
        assert!(exchange.is_none());
        let (answer, exchange) = Exchange::start(&service, &resolver, attempt("CRAM-MD5", None)).await;
        assert_eq!(answer, AuthAnswer::Challenge("VXNlcg==".to_owned()));
        let answer = exchange.unwrap().go_on("bWU=").await;
        assert_eq!(answer, AuthAnswer::Success { username: "me".to_owned() });
    });
    assert_eq!(
        thread.join().unwrap(),
        ["PLAIN service=smtp nologin rip=192.0.2.1 resp=AHU=", "CRAM-MD5 service=smtp nologin rip=192.0.2.1", "bWU="]
    );
}

#[test]
fn a_lost_connection_is_made_anew() {
    let script: Script = &[&[], &[("AUTH", "OK\tID\tuser=me\n"), ("AUTH", "CONT\tID\t\n")]];
    let (service, thread) = scripted(GREETING, script);
    block_on(async {
        let resolver = resolver();
        mechanisms(&service, &resolver, SecurityOptions::default()).await.unwrap();
        let (answer, _) = Exchange::start(&service, &resolver, attempt("PLAIN", Some("AHU="))).await;
        assert_eq!(answer, AuthAnswer::Success { username: "me".to_owned() });
        let (answer, exchange) = Exchange::start(&service, &resolver, attempt("PLAIN", None)).await;
        assert_eq!(answer, AuthAnswer::Challenge(String::new()));
        // The server is gone by now: nobody is let in for that.
        let answer = exchange.unwrap().go_on("AHU=").await;
        assert_eq!(answer, AuthAnswer::Unavailable { reason: LOST.to_owned() });
        let (answer, _) = Exchange::start(&service, &resolver, attempt("PLAIN", Some("AHU="))).await;
        assert!(matches!(answer, AuthAnswer::Unavailable { .. }), "{answer:?}");
    });
    assert_eq!(thread.join().unwrap().len(), 2);
}

#[test]
fn answers_that_let_nobody_in() {
    for (script, reason) in [
        (&[&[("AUTH", "OK\tID\n")] as &[_]] as Script, "No user name"),
        (&[&[("AUTH", "OK\tID\tuser=\n")]], "No user name"),
        (&[&[("AUTH", "FAIL\tID\n")]], ""),
    ] {
        let (service, thread) = scripted(GREETING, script);
        block_on(async {
            let (answer, _) = Exchange::start(&service, &resolver(), attempt("PLAIN", Some("AHU="))).await;
            assert!(
                matches!(&answer, AuthAnswer::Failure { reason: found, .. } if found == reason),
                "{answer:?}, not {reason}"
            );
        });
        thread.join().unwrap();
    }
    let (service, thread) = scripted(GREETING, &[&[("AUTH", "CONT\tID\tno base64\n")]]);
    block_on(async {
        let (answer, exchange) = Exchange::start(&service, &resolver(), attempt("PLAIN", None)).await;
        assert!(matches!(answer, AuthAnswer::Unavailable { .. }) && exchange.is_none(), "{answer:?}");
    });
    thread.join().unwrap();
}

#[test]
fn servers_that_cannot_be_used() {
    block_on(async {
        let service = Arc::new(AuthService::new("private/none", "smtp", "/nowhere").unwrap());
        let (resolver, options) = (resolver(), SecurityOptions::default());
        let why = mechanisms(&service, &resolver, options).await.unwrap_err();
        assert_eq!(why, "No such file or directory");
        let (answer, _) = Exchange::start(&service, &resolver, attempt("PLAIN", None)).await;
        assert_eq!(answer, AuthAnswer::Unavailable { reason: NOT_CONNECTED.to_owned() });
    });
    let (service, thread) = scripted("VERSION\t2\t0\n", &[&[]]);
    block_on(async {
        let why = mechanisms(&service, &resolver(), SecurityOptions::default()).await.unwrap_err();
        assert_eq!(why, "protocol version mismatch (2 vs. 1)");
    });
    thread.join().unwrap();
}

#[test]
fn places() {
    let at = |path: &str| AuthService::new(path, "smtp", "/queue").map(|service| service.endpoint);
    let inet = |host: &str, port: &str| ServiceEndpoint::Inet { host: host.into(), port: port.into() };
    for (path, endpoint) in [
        ("private/auth", ServiceEndpoint::Unix("/queue/private/auth".into())),
        ("unix:private/auth", ServiceEndpoint::Unix("/queue/private/auth".into())),
        ("/run/auth", ServiceEndpoint::Unix("/run/auth".into())),
        ("inet:127.0.0.1:12345", inet("127.0.0.1", "12345")),
        ("inet:[::1]:12345", inet("::1", "12345")),
        ("inet::12345", inet("localhost", "12345")),
    ] {
        assert_eq!(at(path), Ok(endpoint), "{path}");
    }
    assert_eq!(at(""), Err("smtpd_sasl_path is empty".to_owned()));
    assert_eq!(at("inet:host:"), Err("smtpd_sasl_path = inet:host:: no port".to_owned()));
}
