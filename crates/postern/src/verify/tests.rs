use super::*;
use crate::maillog::{LogWriter, Target};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Where probes of a test go, and what is answered.
struct Bench {
    verifier: Arc<Verifier>,
    probes: mpsc::UnboundedReceiver<Arc<str>>,
    dir: TempDir,
    log: (Log, LogWriter),
}

fn settings(dir: &TempDir) -> Settings {
    Settings {
        map: "lmdb:/v/c".into(),
        path: Some(dir.path().join("c.postern")),
        positive_expire: 1000,
        positive_refresh: 100,
        negative_expire: 500,
        negative_refresh: 50,
        keeps_failures: true,
        answers_early: true,
        cleanup_interval: 1,
        tag: "postfix/verify".into(),
    }
}

impl Bench {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&dir);
        change(&mut settings);
        let log = Log::open(&Target::File(dir.path().join("log")), "mail").unwrap();
        let verifier = Verifier::new(settings, log.0.clone());
        let (send, probes) = mpsc::unbounded_channel();
        verifier.connect(Box::new(move |address| drop(send.send(address))));
        Self { verifier, probes, dir, log }
    }

    fn log(&self) -> Vec<String> {
        self.log.0.flush();
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        text.lines().map(|line| line.split_once("]: ").unwrap().1.to_owned()).collect()
    }

    fn probes(&mut self) -> usize {
        std::iter::from_fn(|| self.probes.try_recv().ok()).count()
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn patience(polls: u32, delay: Duration) -> Patience {
    Patience { polls, delay }
}

fn bad() -> Verification {
    Verification::new(AddressStatus::Undeliverable, "unknown user")
}

#[tokio::test]
async fn a_client_waits_no_longer_than_the_probe_takes() {
    let mut bench = Bench::new(|_| {});
    let address: Arc<str> = "a@d.example".into();
    let begin = Instant::now();
    let (verifier, asked) = (bench.verifier.clone(), address.clone());
    let waits = tokio::spawn(async move { verifier.verify(&asked, patience(3, LONG)).await });
    assert_eq!(bench.probes.recv().await, Some(address.clone()));
    bench.verifier.probed(&address, &bad());
    assert_eq!(waits.await.unwrap(), bad());
    assert!(begin.elapsed() < LONG);
    // Now it is known, and nobody is asked.
    assert_eq!(bench.verifier.known(&address), Some(bad()));
    assert_eq!(bench.verifier.verify(&address, patience(1, LONG)).await, bad());
    assert_eq!(bench.probes(), 0);
    assert!(lock(&bench.verifier.state).waiting.is_empty());
}

#[tokio::test]
async fn a_client_waits_no_longer_than_it_is_let() {
    for (polls, least) in [(1, 0), (2, 1), (3, 2)] {
        let mut bench = Bench::new(|_| {});
        let begin = Instant::now();
        let found = bench.verifier.verify(&"a@d.example".into(), patience(polls, SHORT)).await;
        assert_eq!(found, Verification::in_progress());
        assert!(begin.elapsed() >= SHORT * least && begin.elapsed() < LONG, "{polls}");
        assert_eq!(bench.probes(), 1);
        assert!(lock(&bench.verifier.state).waiting.is_empty());
    }
}

#[tokio::test]
async fn a_result_is_met_at_the_next_look() {
    let mut bench = Bench::new(|settings| settings.answers_early = false);
    let (begin, verifier) = (Instant::now(), bench.verifier.clone());
    let waits = tokio::spawn(async move { verifier.verify(&"a@d.example".into(), patience(3, SHORT)).await });
    let address = bench.probes.recv().await.unwrap();
    bench.verifier.probed(&address, &bad());
    assert_eq!(waits.await.unwrap(), bad());
    assert!(begin.elapsed() >= SHORT);
}

#[tokio::test]
async fn failures_that_are_not_kept_are_probed_at_each_look() {
    let mut bench = Bench::new(|settings| settings.keeps_failures = false);
    let (begin, verifier) = (Instant::now(), bench.verifier.clone());
    let asked = tokio::spawn(async move { verifier.verify(&"a@d.example".into(), patience(3, SHORT)).await });
    for _ in 0..3 {
        let address = bench.probes.recv().await.unwrap();
        bench.verifier.probed(&address, &bad());
    }
    assert_eq!(asked.await.unwrap(), Verification::in_progress());
    assert!(begin.elapsed() >= SHORT * 2);
    assert_eq!(bench.probes(), 0);
}

#[tokio::test]
async fn results_outlive_the_program() {
    let bench = Bench::new(|_| {});
    bench.verifier.probed("a@d.example", &bad());
    let again = Verifier::new(settings(&bench.dir), bench.log.0.clone());
    assert_eq!(again.known("a@d.example"), Some(bad()));
    assert_eq!(on_file(&settings(&bench.dir), "a@d.example"), Some(bad()));
    assert_eq!(on_file(&settings(&bench.dir), "b@d.example"), None);
    // Nobody to send probes yet.
    assert_eq!(again.verify(&"b@d.example".into(), patience(3, LONG)).await, Verification::unavailable());

    again.reload(Settings { negative_refresh: 49, ..settings(&bench.dir) });
    assert_eq!(again.known("a@d.example"), Some(bad()));
    again.reload(Settings { path: None, map: String::new(), ..settings(&bench.dir) });
    assert_eq!(again.known("a@d.example"), None);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn a_cache_that_cannot_be_written_is_kept_in_memory() {
    let bench = Bench::new(|settings| settings.path = Some("/nowhere/at/all".into()));
    for address in ["a@d.example", "b@d.example"] {
        bench.verifier.probed(address, &bad());
        assert_eq!(bench.verifier.known(address), Some(bad()));
    }
    bench.verifier.look_after();
    bench.verifier.look_after();
    assert_eq!(
        bench.log(),
        [
            "warning: address_verify_map /nowhere/at/all: No such file or directory (os error 2): results are kept in \
             memory from now on",
            "cache lmdb:/v/c full cleanup: retained=2 dropped=0 entries"
        ]
    );
}

#[test]
fn cleaning_up_is_logged_where_there_is_anything() {
    let bench = Bench::new(|settings| settings.map.clear());
    bench.verifier.look_after();
    bench.verifier.probed("a@d.example", &bad());
    lock(&bench.verifier.state).swept = 0;
    let old = cache::Entry { status: AddressStatus::Deliverable, probed: 0, updated: 1, text: Arc::default() };
    lock(&bench.verifier.state).cache.load("old@d.example", old);
    bench.verifier.look_after();
    let text = std::fs::read_to_string(bench.dir.path().join("c.postern")).unwrap();
    assert!(text.lines().count() == 2 && text.contains("a@d.example\t2:0:"), "{text}");
    assert_eq!(bench.log(), ["cache internal:verify full cleanup: retained=1 dropped=1 entries"]);
}
