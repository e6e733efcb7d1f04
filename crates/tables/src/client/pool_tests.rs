use super::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

thread_local! {
    /// A clock for each test.
    static PASSED: AtomicU64 = const { AtomicU64::new(0) };
    static START: Instant = Instant::now();
}

fn now() -> Instant {
    START.with(|start| *start) + Duration::from_secs(PASSED.with(|passed| passed.load(Ordering::Relaxed)))
}

fn pass(seconds: u64) {
    PASSED.with(|passed| passed.fetch_add(seconds, Ordering::Relaxed));
}

/// A server that does what it is told, one thing a connection.
#[derive(Default)]
struct Server {
    name: &'static str,
    script: Mutex<VecDeque<Act>>,
    connected: AtomicUsize,
    open: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// No connection.
    Refuse,
    /// Nothing happens for so many seconds, then it fails.
    Hang(u64),
    /// The connection breaks at the first question.
    Break,
    /// Answers, but hangs up after the first.
    Once,
}

struct Wire {
    server: Arc<Server>,
    act: Option<Act>,
    stale: bool,
}

impl Connection for Wire {
    type Server = Arc<Server>;

    fn connect(server: &Arc<Server>, _deadline: Instant) -> Result<Self, String> {
        server.connected.fetch_add(1, Ordering::Relaxed);
        let act = server.script.lock().unwrap().pop_front();
        match act {
            Some(Act::Refuse) => return Err(format!("{}: refused", server.name)),
            Some(Act::Hang(seconds)) => {
                pass(seconds);
                return Err(format!("{}: timed out", server.name));
            }
            _ => {}
        }
        server.open.fetch_add(1, Ordering::Relaxed);
        Ok(Self { server: server.clone(), act, stale: false })
    }

    fn is_stale(&mut self) -> bool {
        self.stale
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn question(wire: &mut Wire, _until: Instant) -> Result<&'static str, Failure> {
    match wire.act {
        Some(Act::Break) => Err(Failure::Broken(format!("{}: broken", wire.server.name))),
        Some(Act::Once) => {
            wire.act = Some(Act::Break);
            Ok(wire.server.name)
        }
        _ => Ok(wire.server.name),
    }
}

const LIMITS: Limits = Limits {
    connections: 2,
    timeout: Duration::from_secs(100),
    idle: Duration::from_secs(10),
    lifetime: Duration::from_secs(30),
    rest: Rest::AsLongAsItTook(Duration::from_secs(20)),
};

fn server(name: &'static str, script: &[Act]) -> Arc<Server> {
    Arc::new(Server { name, script: Mutex::new(script.iter().copied().collect()), ..Server::default() })
}

/// A pool for servers with the ranks 0, 1, …
fn pool(servers: &[&Arc<Server>], limits: Limits) -> Pool<Wire> {
    let ranked = servers.iter().enumerate().map(|(rank, server)| Ranked { rank, server: Arc::clone(server) });
    Pool { clock: now, ..Pool::new(ranked.collect(), limits) }
}

fn connected(server: &Server) -> usize {
    server.connected.load(Ordering::Relaxed)
}

#[test]
fn a_connection_is_used_again_until_it_was_idle_too_long_or_is_too_old() {
    let a = server("a", &[]);
    let pool = pool(&[&a], LIMITS);
    for (seconds, connections) in [(0, 1), (9, 1), (9, 1), (9, 1), (2, 1), (1, 2), (9, 2), (10, 3)] {
        pass(seconds);
        assert_eq!(pool.ask(question), Ok("a"));
        assert_eq!(connected(&a), connections, "after {seconds} s");
        assert_eq!(a.open.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_connection_that_died_while_idle_is_replaced() {
    let a = server("a", &[Act::Once]);
    let pool = pool(&[&a], LIMITS);
    assert_eq!(pool.ask(question), Ok("a"));
    assert_eq!(pool.ask(question), Ok("a"), "it broke, and a new one was made");
    assert_eq!(connected(&a), 2);
    pool.lock().idle[0].connection.stale = true;
    assert_eq!(pool.ask(question), Ok("a"), "the server had hung up");
    assert_eq!(connected(&a), 3);
}

#[test]
fn replaced_only_once() {
    let a = server("a", &[Act::Once, Act::Break]);
    let pool = pool(&[&a], LIMITS);
    assert_eq!(pool.ask(question), Ok("a"));
    assert_eq!(pool.ask(question), Err("a: broken".to_owned()));
    assert_eq!((connected(&a), a.open.load(Ordering::Relaxed)), (2, 0));
}

#[test]
fn a_refused_connection_is_tried_again_at_once() {
    let a = server("a", &[Act::Refuse, Act::Refuse]);
    let pool = pool(&[&a], LIMITS);
    assert_eq!(pool.ask(question), Err("a: refused".to_owned()));
    assert_eq!(pool.ask(question), Err("a: refused".to_owned()));
    assert_eq!(pool.ask(question), Ok("a"));
}

#[test]
fn a_server_that_took_long_to_fail_is_left_alone_as_long() {
    let a = server("a", &[Act::Hang(15), Act::Hang(100)]);
    let pool = pool(&[&a], LIMITS);
    let timed_out = Err("a: timed out".to_owned());
    assert_eq!(pool.ask(question), timed_out);
    pass(14);
    assert_eq!((pool.ask(question), connected(&a)), (timed_out.clone(), 1), "at once");
    pass(1);
    assert_eq!((pool.ask(question), connected(&a)), (timed_out.clone(), 2), "tried again");
    pass(19);
    assert_eq!((pool.ask(question), connected(&a)), (timed_out, 2), "20 s at most");
    pass(1);
    assert_eq!(pool.ask(question), Ok("a"));
}

#[test]
fn a_retry_interval_counts_from_the_failure() {
    let a = server("a", &[Act::Refuse]);
    let pool = pool(&[&a], Limits { rest: Rest::For(Duration::from_secs(60)), ..LIMITS });
    for (seconds, result) in [(0, Err("a: refused".to_owned())), (59, Err("a: refused".to_owned())), (1, Ok("a"))] {
        pass(seconds);
        assert_eq!(pool.ask(question), result);
    }
}

#[test]
fn the_next_server_stands_in() {
    let (a, b) = (server("a", &[Act::Break]), server("b", &[]));
    let pool = pool(&[&a, &b], Limits { rest: Rest::For(Duration::from_secs(60)), ..LIMITS });
    assert_eq!(pool.ask(question), Ok("b"));
    pass(9);
    assert_eq!(pool.ask(question), Ok("b"), "on the connection there is");
    assert_eq!((connected(&a), connected(&b)), (1, 1));
    pass(60);
    assert_eq!(pool.ask(question), Ok("a"), "it is the first, and was left alone long enough");
}

#[test]
fn when_all_fail_the_last_error_is_told() {
    let (a, b) = (server("a", &[Act::Break]), server("b", &[Act::Refuse]));
    let pool = pool(&[&a, &b], LIMITS);
    assert_eq!(pool.ask(question), Err("b: refused".to_owned()));
    assert_eq!(pool.lock().busy, 0);
}

#[test]
fn a_hanging_server_leaves_time_for_the_next() {
    let (a, b) = (server("a", &[]), server("b", &[]));
    let pool = pool(&[&a, &b], LIMITS);
    let mut shares = Vec::new();
    let result = pool.ask(|wire: &mut Wire, until: Instant| {
        shares.push(until.duration_since(now()).as_secs());
        pass(50);
        Err::<(), _>(Failure::Broken(format!("{}: timed out", wire.server.name)))
    });
    assert_eq!((result, shares), (Err("b: timed out".to_owned()), vec![50, 50]));
}

#[test]
fn a_silent_server_is_blamed_on_an_idle_connection_too() {
    let a = server("a", &[]);
    let pool = pool(&[&a], LIMITS);
    assert_eq!(pool.ask(question), Ok("a"));
    let silent = |_: &mut Wire, _| {
        pass(100);
        Err::<(), _>(Failure::Broken("silence".to_owned()))
    };
    assert_eq!(pool.ask(silent), Err("silence".to_owned()));
    assert_eq!((pool.ask(question), connected(&a)), (Err("silence".to_owned()), 1), "left alone");
}

#[test]
fn an_error_answer_keeps_the_connection() {
    let a = server("a", &[]);
    let pool = pool(&[&a], LIMITS);
    let refused = |_: &mut Wire, _| Err::<(), _>(Failure::Refused("no such table".to_owned()));
    assert_eq!(pool.ask(refused), Err("no such table".to_owned()));
    assert_eq!(pool.ask(question), Ok("a"));
    assert_eq!(connected(&a), 1);
}

#[test]
fn no_more_connections_than_allowed() {
    let a = server("a", &[]);
    let pool = pool(&[&a], Limits { timeout: Duration::ZERO, ..LIMITS });
    let result = pool.ask(|_, _| {
        Ok(pool.ask(|_, _| {
            let third = pool.ask(question);
            assert_eq!(third, Err("all 2 connections are in use".to_owned()));
            Ok(())
        }))
    });
    assert_eq!(result, Ok(Ok(())));
    let state = pool.lock();
    assert_eq!((connected(&a), state.busy, state.idle.len()), (2, 0, 2));
}

#[test]
fn idle_connections_make_room_for_another_server() {
    let (a, b) = (server("a", &[]), server("b", &[]));
    let pool = pool(&[&a, &b], Limits { connections: 1, ..LIMITS });
    assert_eq!(pool.ask(question), Ok("a"));
    pool.lock().failures[0] = None;
    let mut visit = Visit { deadline: now(), tried: vec![true, false], fresh_only: false, error: None };
    assert!(matches!(pool.choose(&mut visit), Choice::Connect { server: 1, .. }));
    assert_eq!(a.open.load(Ordering::Relaxed), 0);
}

#[test]
fn one_look_up_tries_a_server_that_had_failed() {
    let a = server("a", &[Act::Refuse]);
    let pool = pool(&[&a], Limits { rest: Rest::For(Duration::from_secs(60)), ..LIMITS });
    let visit = |deadline| Visit { deadline, tried: vec![false], fresh_only: false, error: None };
    assert!(pool.ask(question).is_err());
    pass(60);
    assert!(matches!(pool.choose(&mut visit(now() + LIMITS.timeout)), Choice::Connect { .. }));
    let mut other = visit(now() + Duration::from_millis(1));
    assert!(matches!(pool.choose(&mut other), Choice::Wait), "the first will soon know");
    pass(1);
    let mut other = visit(now() + LIMITS.timeout);
    assert!(matches!(pool.choose(&mut other), Choice::GiveUp(text) if text == "a: refused"), "not so soon");
}

#[test]
fn a_server_that_failed_at_once_is_tried_by_all() {
    let a = server("a", &[Act::Refuse]);
    let pool = pool(&[&a], LIMITS);
    assert!(pool.ask(question).is_err());
    assert_eq!(pool.ask(|_, _| Ok(pool.ask(question))), Ok(Ok("a")));
}

#[test]
fn a_panic_gives_the_place_back() {
    let a = server("a", &[]);
    let pool = pool(&[&a], Limits { connections: 1, ..LIMITS });
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.ask(|_, _| -> Result<(), Failure> { std::panic::resume_unwind(Box::new("asked for")) })
    }));
    assert!(panic.is_err());
    assert_eq!(pool.ask(question), Ok("a"));
}

#[test]
fn threads_share_a_few_connections() {
    let a = server("a", &[]);
    let ranked = vec![Ranked { rank: 0, server: a.clone() }];
    let pool: Pool<Wire> = Pool::new(ranked, LIMITS);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let result = pool.ask(|wire, until| {
                        most.fetch_max(wire.server.open.load(Ordering::Relaxed), Ordering::Relaxed);
                        question(wire, until)
                    });
                    assert_eq!(result, Ok("a"));
                }
            });
        }
    });
    assert!((1..=2).contains(&most.load(Ordering::Relaxed)), "{most:?}");
    assert!(connected(&a) <= 2);
}

#[test]
fn equals_take_turns_by_chance() {
    let (a, b) = (server("a", &[]), server("b", &[]));
    let ranked = [&a, &b].map(|server| Ranked { rank: 0, server: Arc::clone(server) });
    let pool: Pool<Wire> = Pool::new(ranked.into(), Limits { idle: Duration::ZERO, ..LIMITS });
    for _ in 0..64 {
        pool.ask(question).unwrap();
    }
    assert!(connected(&a) > 0 && connected(&b) > 0);
}
