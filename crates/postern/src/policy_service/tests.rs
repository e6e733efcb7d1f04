use super::Asked;
use crate::dns::{Hosts, Resolver, ResolverConfig};
use policy::{BreakerLimits, PolicyService, ServiceEndpoint};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The services are scripted: what each connection in turn answers to each request; then it is closed.
type Script = &'static [&'static [&'static str]];

const REQUEST: &str = "request=smtpd_access_policy\n\n";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn resolver() -> Arc<Resolver> {
    Resolver::new(ResolverConfig::parse(""), Hosts::parse("127.0.0.1 policy.example"), Arc::default())
}

fn service(endpoint: ServiceEndpoint, name: &str) -> PolicyService {
    PolicyService {
        name: name.into(),
        endpoint,
        default_action: "DUNNO".into(),
        policy_context: "".into(),
        timeout: Duration::from_secs(5),
        max_idle: Duration::from_secs(300),
        max_ttl: Duration::from_secs(1000),
        request_limit: 0,
        retry_delay: Duration::ZERO,
        try_limit: 2,
        breaker: None,
    }
}

async fn ask(service: &Arc<PolicyService>, request: &str, resolver: &Arc<Resolver>) -> Result<Arc<str>, Arc<str>> {
    super::ask(service, request, resolver).await.action
}

fn at(address: SocketAddr) -> PolicyService {
    let endpoint = ServiceEndpoint::Inet { host: "policy.example".into(), port: address.port().to_string().into() };
    service(endpoint, "inet:policy")
}

/// A service with a script; the channel tells the number of each connection that gets a request.
async fn scripted(script: Script) -> (PolicyService, mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = at(listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for (number, answers) in script.iter().enumerate() {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, answers, number, tell.clone()));
        }
    });
    (service, told)
}

async fn serve(mut stream: TcpStream, answers: &[&str], number: usize, tell: mpsc::UnboundedSender<usize>) {
    let mut bytes = vec![0; REQUEST.len()];
    for answer in answers {
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        assert_eq!(bytes, REQUEST.as_bytes());
        tell.send(number).unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        if answer.is_empty() {
            return;
        }
    }
    // Keep it open: the client decides when to leave.
    let _ = stream.read_exact(&mut bytes).await;
}

fn told(told: &mut mpsc::UnboundedReceiver<usize>) -> Vec<usize> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

#[test]
fn a_connection_is_used_again() {
    block_on(async {
        let (service, mut seen) = scripted(&[&["action=DUNNO\n\n", "x=1\naction=REJECT a=b\naction=OK\n\n"]]).await;
        let (service, resolver) = (Arc::new(service), resolver());
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("DUNNO".into()));
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("REJECT a=b".into()));
        assert_eq!(told(&mut seen), [0, 0]);
    });
}

#[test]
fn limits_end_a_connection() {
    block_on(async {
        let cases: [fn(&mut PolicyService); 3] = [
            |service| service.request_limit = 1,
            |service| service.max_ttl = Duration::ZERO,
            |service| service.max_idle = Duration::ZERO,
        ];
        for limit in cases {
            let (mut service, mut seen) = scripted(&[&["action=A\n\n", "action=C\n\n"], &["action=B\n\n"]]).await;
            limit(&mut service);
            let (service, resolver) = (Arc::new(service), resolver());
            assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("A".into()));
            assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("B".into()));
            assert_eq!(told(&mut seen), [0, 1]);
        }
    });
}

#[test]
fn words_nobody_asked_for_end_a_connection() {
    block_on(async {
        let (service, mut seen) = scripted(&[&["action=A\n\naction=OK\n\n"], &["action=B\n\n"]]).await;
        let (service, resolver) = (Arc::new(service), resolver());
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("A".into()));
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("B".into()));
        assert_eq!(told(&mut seen), [0, 1]);
    });
}

#[test]
fn a_closed_connection_costs_no_try() {
    block_on(async {
        let (mut service, mut seen) = scripted(&[&["action=A\n\n", ""], &["action=B\n\n"]]).await;
        service.try_limit = 1;
        let (service, resolver) = (Arc::new(service), resolver());
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("A".into()));
        assert_eq!(ask(&service, REQUEST, &resolver).await, Ok("B".into()));
        assert_eq!(told(&mut seen), [0, 0, 1]);
    });
}

#[test]
fn failures_are_tried_again_and_told_in_postfix_words() {
    let problem = "problem talking to server policy: Application error";
    let missing = "missing attribute action in input from policy";
    let cases: [(Script, Result<&str, String>); 6] = [
        (&[&[""], &["action=OK\n\n"]], Ok("OK")),
        (&[&[""], &[""]], Err(problem.into())),
        (&[&["foo=bar\n\n"], &["\n"]], Err(format!("{missing}\n{missing}\n{problem}"))),
        (&[&["junk\n\n"], &["action=DUNNO\n\n"]], Ok("DUNNO")),
        (&[&["action =OK\n\n"], &["Action=OK\n\n"]], Err(format!("{missing}\n{missing}\n{problem}"))),
        (&[&["action=\n\n"]], Ok("")),
    ];
    block_on(async {
        for (script, expected) in cases {
            let (service, _seen) = scripted(script).await;
            let answer = ask(&Arc::new(service), REQUEST, &resolver()).await;
            assert_eq!(answer.as_deref().map_err(|why| why.to_string()), expected, "{script:?}");
        }
    });
}

#[test]
fn unfinished_and_endless_answers_are_failures() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut service = at(listener.local_addr().unwrap());
        service.try_limit = 1;
        tokio::spawn(async move {
            for answer in [b"action=OK\n".to_vec(), vec![b'a'; 100_000], b"action=REJECT \xff\n\n".to_vec()] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; REQUEST.len()];
                stream.read_exact(&mut bytes).await.unwrap();
                // The client hangs up when it has seen enough.
                let _ = stream.write_all(&answer).await;
            }
        });
        let (service, resolver) = (Arc::new(service), resolver());
        for warning in [
            "premature end-of-input on policy while reading input attribute name",
            "reply of more than 65536 bytes from policy",
            "malformed UTF-8 in policy server policy response: \"REJECT \\xff\"",
        ] {
            let why = ask(&service, REQUEST, &resolver).await.unwrap_err();
            assert_eq!(why.lines().next(), Some(warning));
        }
    });
}

#[test]
fn silence_is_a_time_out() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut service = at(listener.local_addr().unwrap());
        service.timeout = Duration::from_millis(20);
        let why = ask(&Arc::new(service), REQUEST, &resolver()).await.unwrap_err();
        let line = "problem talking to server policy: Connection timed out";
        assert_eq!(&*why, format!("{line}\n{line}"));
    });
}

#[test]
fn nobody_there() {
    block_on(async {
        let missing = Path::new("/nonexistent/policy");
        let service = service(ServiceEndpoint::Unix(missing.to_str().unwrap().into()), "unix:private/nosock");
        let why = ask(&Arc::new(service), REQUEST, &resolver()).await.unwrap_err();
        let connect = "connect to private/nosock: No such file or directory";
        let problem = "problem talking to server private/nosock: No such file or directory";
        assert_eq!(&*why, format!("{connect}\n{connect}\n{problem}"));

        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let why = ask(&Arc::new(at(closed)), REQUEST, &resolver()).await.unwrap_err();
        let (connect, problem) =
            ("connect to policy: Connection refused", "problem talking to server policy: Connection refused");
        assert_eq!(&*why, format!("{connect}\n{problem}\n{connect}\n{problem}"));
    });
}

#[test]
fn a_try_that_failed_is_logged_even_if_the_next_one_helps() {
    block_on(async {
        let (service, _seen) = scripted(&[&["foo=bar\n\n"], &["action=OK\n\n"]]).await;
        let asked = super::ask(&Arc::new(service), REQUEST, &resolver()).await;
        let notices = vec!["warning: missing attribute action in input from policy".to_owned()];
        assert_eq!(asked, Asked { action: Ok("OK".into()), notices });
    });
}

#[test]
fn a_service_that_keeps_failing_is_left_alone() {
    block_on(async {
        let (mut service, mut seen) = scripted(&[&[""], &[""], &[""], &[""], &[""]]).await;
        service.breaker = Some(BreakerLimits { failures: 2, pause: Duration::from_secs(60) });
        let (service, resolver) = (Arc::new(service), resolver());
        let ask = async || super::ask(&service, REQUEST, &resolver).await;
        let problem: Arc<str> = "problem talking to server policy: Application error".into();
        assert_eq!(ask().await, Asked { action: Err(problem.clone()), notices: vec![] });
        let opened = "warning: policy service inet:policy: 2 failures in a row: until it answers again its default \
                      action counts: DUNNO";
        assert_eq!(ask().await, Asked { action: Err(problem), notices: vec![opened.into()] });
        assert_eq!(ask().await, Asked { action: Err(PolicyService::PASSED_OVER.into()), notices: vec![] });
        assert_eq!(told(&mut seen), [0, 1, 2, 3]);
    });
}

#[test]
fn a_service_that_answers_a_probe_is_asked_again() {
    block_on(async {
        let script: Script = &[&[""], &[""], &["action=OK\n\n", "action=DUNNO\n\n"]];
        let (mut service, mut seen) = scripted(script).await;
        service.try_limit = 1;
        service.breaker = Some(BreakerLimits { failures: 1, pause: Duration::from_millis(1) });
        let (service, resolver) = (Arc::new(service), resolver());
        let ask = async || super::ask(&service, REQUEST, &resolver).await;
        assert_eq!(ask().await.notices.len(), 1);
        let mut asked = ask().await;
        while asked.action.is_err() {
            assert_eq!(asked.notices, [""; 0]);
            tokio::task::yield_now().await;
            asked = ask().await;
        }
        let closed = "policy service inet:policy: answers again, after 0 s";
        assert_eq!(asked, Asked { action: Ok("OK".into()), notices: vec![closed.into()] });
        assert_eq!(ask().await, Asked { action: Ok("DUNNO".into()), notices: vec![] });
        // Each probe was one try.
        assert_eq!(told(&mut seen), [0, 1, 2, 2]);
    });
}

#[test]
fn those_who_wait_for_a_silent_service_go_when_it_is_given_up() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut service = at(listener.local_addr().unwrap());
        service.timeout = Duration::from_millis(200);
        service.breaker = Some(BreakerLimits { failures: 3, pause: Duration::from_secs(60) });
        let (service, resolver) = (Arc::new(service), resolver());
        // More than there are connections; nobody is tried twice.
        let everybody = (0..150).map(|_| super::ask(&service, REQUEST, &resolver));
        let asked = futures_util::future::join_all(everybody).await;
        assert!(asked.iter().all(|it| it.action == Err(PolicyService::PASSED_OVER.into())), "{asked:?}");
        let notices: Vec<&String> = asked.iter().flat_map(|it| &it.notices).collect();
        let count = |text: &str| notices.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("3 failures in a row"), 1);
        let slow = count("warning: problem talking to server policy: Connection timed out");
        assert!((super::CONNECTION_LIMIT..=150).contains(&slow), "{slow}");
    });
}
