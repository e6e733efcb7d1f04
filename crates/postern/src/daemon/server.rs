//! The running server: start in the right order, reload on SIGHUP, drain on SIGTERM.

use super::privileges::{self, Owner};
use super::signals::Signals;
use super::site::{self, Site, Source};
use super::{listen, logins, mail_log, statistics};
use crate::anvil::Anvil;
use crate::clock;
use crate::deliver::{self, DeliverHandle};
use crate::dns::{Hosts, Learnt, Resolver, ResolverConfig};
use crate::driver::{self, RecentlyKnown, Worker};
use crate::gateway::GatewayWatch;
use crate::lint;
use crate::maillog::{Log, Target};
use crate::memory::{self, Tide};
use crate::queue_control::{self, Control, Logins, Steward};
use crate::record::{self, Recorder};
use crate::replay::{Shadow, report_path};
use crate::sasl::failures::Failures;
use crate::sasl::takeover::Takeover;
use crate::verify::{self, Verifier};
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use config::{Diagnostic, Parameters, Severity};
use queue::{QueueIdSource, Spool, SpoolOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Sessions get so long to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);
/// Tables are looked after this often.
const TABLE_CHECK: Duration = Duration::from_secs(1);
/// How often an event loop looks whether memory is to be given back.
const MEMORY_CHECK: Duration = Duration::from_secs(1);
/// Our own directory below `queue_directory`: a Postfix queue beside it stays untouched.
const SPOOL: &str = "postern";
/// The master's own log tag.
const TAG: &str = "postfix/postern";

/// Below this directory the spool and the process id are kept.
pub fn spool_directory(site: &Site) -> PathBuf {
    spool_directory_of(&site.parameters)
}

/// The same of parameters alone.
pub fn spool_directory_of(parameters: &Parameters) -> PathBuf {
    let queue = PathBuf::from(parameters.get("queue_directory"));
    std::path::absolute(&queue).unwrap_or(queue).join(SPOOL)
}

/// The listeners of each service, one set an event loop.
type Listeners = Vec<(Arc<str>, TcpListener)>;

/// Serve until a signal ends it.
///
/// # Errors
/// Whatever keeps the server from starting, with what to do about it.
pub fn serve(source: Source, shadow: Option<&Path>) -> Result<ExitCode> {
    let (site, problems) = lint::load(&source);
    report(&problems);
    let Some(site) = site else {
        bail!("the configuration has errors (see above): not started");
    };
    let shadow = shadow.map(load_shadow).transpose()?;
    privileges::raise_file_limit();
    // Before anybody can know that we are there: a signal must never find the default action.
    let signals = Signals::install()?;
    let workers = worker_count(&site);
    let listeners = bind_all(&site, workers)?;
    // The default configuration keeps its data where it was started, which another user could not reach.
    let owner = match source {
        Source::Default => None,
        Source::Directory(_) => privileges::owner(&site.parameters.get("mail_owner"))?,
    };
    let target = mail_log::target(&site.parameters)?;
    prepare(&site, &target, owner.as_ref())?;
    if let Some(owner) = &owner {
        owner.become_for_good()?;
    }
    let confined = privileges::confine(&writable(&site, &target)).unwrap_or("refused by this kernel");
    // Threads from here on: they inherit what was given up above.
    let spool_dir = spool_directory(&site);
    let (spool, recovery) = Spool::open(&spool_dir, SpoolOptions::default())
        .with_context(|| format!("opening the spool {}", spool_dir.display()))?;
    let control = Control::bind(&spool_dir);
    let (log, log_writer) = mail_log::open(&target)?;
    let _ = site.table_log.set(log.clone());
    std::fs::write(spool_dir.join("pid"), format!("{}\n", std::process::id())).context("writing the process id")?;
    log.line(
        TAG,
        &format!("daemon started -- version {}, configuration {}", env!("CARGO_PKG_VERSION"), describe(&source)),
    );
    if owner.is_some() {
        log.line(TAG, &format!("running as {}, file system confinement {confined}", site.parameters.get("mail_owner")));
    }
    for problem in problems.iter().filter(|_| !matches!(target, Target::Stderr)) {
        log.line(TAG, &one_line(problem));
    }
    if matches!(source, Source::Default) {
        eprint!("{}", super::welcome::text(&site));
    }
    logins::keep_secret(&site, &log);
    let server = Server::start(source, site, shadow, spool, recovery, log, listeners)?;
    server.answer_postmaster(control);
    let code = server.run(signals);
    drop(log_writer);
    Ok(code)
}

/// The configuration that decides along.
fn load_shadow(directory: &Path) -> Result<Site> {
    let (site, problems) = site::load(&Source::new(Some(directory)));
    report(&problems);
    site.with_context(|| {
        format!("the shadow configuration in {} has errors (see above): not started", directory.display())
    })
}

/// Print what a configuration has wrong.
pub fn report(problems: &[Diagnostic]) {
    for problem in problems {
        eprintln!("{problem}");
    }
}

/// A problem as the log has it: `warning: FILE:LINE: what is wrong [code]; help: remedy`.
fn one_line(problem: &Diagnostic) -> String {
    let word = match problem.severity {
        Severity::Note => "",
        Severity::Warning => "warning: ",
        Severity::Error => "error: ",
    };
    let place = problem.span.as_ref().map(|span| format!("{span}: ")).unwrap_or_default();
    let help = problem.help.as_ref().map(|help| format!("; help: {help}")).unwrap_or_default();
    format!("{word}{place}{} [{}]{help}", problem.message, problem.code)
}

fn describe(source: &Source) -> String {
    match source {
        Source::Directory(dir) => dir.display().to_string(),
        Source::Default => "(default)".to_owned(),
    }
}

fn worker_count(site: &Site) -> usize {
    let wanted = usize::try_from(site.parameters.int("postern_workers")).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if wanted == 0 { cores } else { wanted }.clamp(1, 64)
}

fn bind_all(site: &Site, workers: usize) -> Result<Vec<Listeners>> {
    let mut loops: Vec<Listeners> = (0..workers).map(|_| Vec::new()).collect();
    for service in &site.services {
        let mut bound = 0;
        for address in listen::endpoints(&service.name, &site.interfaces)? {
            let listeners = listen::bind(address, workers)?;
            bound += listeners.len();
            for (loop_listeners, listener) in loops.iter_mut().zip(listeners) {
                loop_listeners.push((Arc::clone(&service.name), listener));
            }
        }
        if bound == 0 {
            bail!("service {}: none of its addresses can be listened on", service.name);
        }
    }
    Ok(loops)
}

/// Directories and files that must exist, and be ours once we are nobody special.
fn prepare(site: &Site, target: &Target, owner: Option<&Owner>) -> Result<()> {
    let queue = site.path("queue_directory");
    std::fs::create_dir_all(&queue).with_context(|| format!("creating queue_directory {}", queue.display()))?;
    let mut directories = vec![spool_directory(site), site.path("data_directory")];
    directories.extend(deliver::maildir_roots(&site.parameters));
    for directory in &directories {
        match owner {
            Some(owner) if directory.starts_with(&queue) || !directory.exists() => owner.adopt(directory)?,
            Some(_) => {}
            None => std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?,
        }
    }
    if let (Target::File(path), Some(owner)) = (target, owner) {
        Log::create(path).with_context(|| format!("creating the mail log {}", path.display()))?;
        owner.adopt_file(path)?;
    }
    Ok(())
}

/// Where the server may write, for Landlock.
fn writable(site: &Site, target: &Target) -> Vec<PathBuf> {
    let mut paths = vec![site.path("queue_directory"), site.path("data_directory"), "/dev/null".into()];
    if let Target::File(path) = target {
        paths.extend(path.parent().map(Path::to_owned));
    }
    paths.extend(deliver::maildir_roots(&site.parameters));
    paths.extend(verify::directory(&verify::Settings::of(&site.parameters)));
    paths
}

fn dns_config(site: &Site) -> ResolverConfig {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let options = std::env::var("RES_OPTIONS").unwrap_or_default();
    let system = ResolverConfig::parse(&text).with_options(&options);
    let list = site.parameters.get("postern_dns_servers");
    if list.trim().is_empty() {
        return system;
    }
    // Checked with the rest of the configuration.
    ResolverConfig::from_list(&list, system.clone()).unwrap_or(system)
}

/// A DNS client for the event loop that calls this.
pub fn resolver(site: &Site, learnt: &Arc<Learnt>) -> Arc<Resolver> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    Resolver::new(dns_config(site), Hosts::parse(&hosts), Arc::clone(learnt))
}

struct Server {
    source: Source,
    site: Arc<ArcSwap<Site>>,
    log: Log,
    deliver: DeliverHandle,
    verifier: Arc<Verifier>,
    spool: Spool,
    ids: Arc<QueueIdSource>,
    learnt: Arc<Learnt>,
    anvil: Arc<Anvil>,
    gateways: Arc<GatewayWatch>,
    failures: Arc<Failures>,
    takeover: Arc<Takeover>,
    recorder: Option<(Recorder, JoinHandle<()>)>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(
        source: Source,
        site: Site,
        shadow: Option<Site>,
        spool: Spool,
        recovery: queue::Recovery,
        log: Log,
        listeners: Vec<Listeners>,
    ) -> Result<Self> {
        let site = Arc::new(ArcSwap::from_pointee(site));
        let now = i64::try_from(clock::unix_micros()).unwrap_or(0);
        let ids = Arc::new(QueueIdSource::new(now));
        let learnt = Arc::new(Learnt::default());
        let verifier = Verifier::new(verify::Settings::of(&site.load().parameters), log.clone());
        let deliver = super::delivery::start(&site, &learnt, &spool, recovery, &ids, &log, &verifier)?;
        let (stop, stopping) = watch::channel(false);
        let shadow = shadow.and_then(|site2| {
            let _ = site2.table_log.set(log.clone());
            Shadow::new(Arc::new(site2), log.clone(), report_path(&site.load()))
        });
        let watchers = shadow.into_iter().map(|shadow| Box::new(shadow) as Box<dyn record::Watcher>).collect();
        let recorder = Recorder::start(record::Settings::of(&site.load()), watchers, log.clone())
            .context("starting the decision record")?;
        let anvil = Arc::new(Anvil::new(statistics::rate_time_unit(&site.load())));
        let failures = logins::start(&site, &log)?;
        let mut server = Self {
            source,
            site,
            log,
            deliver,
            verifier,
            spool,
            ids,
            learnt,
            anvil,
            gateways: Arc::new(GatewayWatch::new(lint::networks::default_gateway())),
            failures,
            takeover: Arc::default(),
            recorder,
            stop,
            threads: Vec::new(),
        };
        for (number, mine) in listeners.into_iter().enumerate() {
            server.start_worker(number, mine, stopping.clone())?;
        }
        server.watch_tables()?;
        Ok(server)
    }

    fn start_worker(&mut self, number: usize, listeners: Listeners, stopping: watch::Receiver<bool>) -> Result<()> {
        let (site, log, spool) = (Arc::clone(&self.site), self.log.clone(), self.spool.clone());
        let (ids, deliver, learnt) = (Arc::clone(&self.ids), self.deliver.clone(), Arc::clone(&self.learnt));
        let recorder = self.recorder.as_ref().map(|(recorder, _)| recorder.clone());
        let (anvil, failures) = (Arc::clone(&self.anvil), Arc::clone(&self.failures));
        let (verifier, gateways) = (Arc::clone(&self.verifier), Arc::clone(&self.gateways));
        let takeover = Arc::clone(&self.takeover);
        let runtime = event_loop()?;
        let thread = std::thread::Builder::new().name(format!("smtpd-{number}")).spawn(move || {
            runtime.block_on(async move {
                let resolver = resolver(&site.load(), &learnt);
                let worker = Arc::new(Worker {
                    site,
                    resolver,
                    log,
                    spool,
                    ids,
                    deliver,
                    verifier,
                    nothing_ahead: RecentlyKnown::default(),
                    anvil,
                    gateways,
                    failures,
                    takeover,
                    recorder,
                    stopping: stopping.clone(),
                });
                let loops: Vec<_> = listeners
                    .into_iter()
                    .map(|(service, listener)| {
                        tokio::spawn(driver::accept_loop(Arc::clone(&worker), listener, service))
                    })
                    .collect();
                tokio::spawn(watch_memory(Arc::downgrade(&worker)));
                if number == 0 {
                    tokio::spawn(statistics::tell(Arc::downgrade(&worker)));
                    tokio::spawn(verify::tend(Arc::downgrade(&worker.verifier)));
                }
                for accepting in loops {
                    // An accept loop that panicked has stopped accepting, too.
                    let _ = accepting.await;
                }
                // Every conversation holds the worker: when only we do, all are gone.
                let end = Instant::now() + DRAIN;
                while Arc::strong_count(&worker) > 1 && Instant::now() < end {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Changed tables are read again, without a command and without a session noticing.
    fn watch_tables(&self) -> Result<()> {
        let (site, log) = (Arc::clone(&self.site), self.log.clone());
        std::thread::Builder::new().name("tables".into()).spawn(move || {
            loop {
                std::thread::sleep(TABLE_CHECK);
                for problem in site.load_full().tables.refresh() {
                    let text = one_line(&problem);
                    log.line(TAG, &text);
                }
            }
        })?;
        Ok(())
    }

    /// postqueue(1), postsuper(1) and `postern logins` come to this socket. Mail flows without it, too.
    fn answer_postmaster(&self, control: std::io::Result<Control>) {
        let site = Arc::clone(&self.site);
        let steward = Steward {
            spool: self.spool.clone(),
            ids: Arc::clone(&self.ids),
            delivery: Some(self.deliver.clone()),
            logins: Some(Logins { takeover: Arc::clone(&self.takeover), failures: Arc::clone(&self.failures) }),
            parameters: Box::new(move || site.load().parameters.clone()),
            log: Some(self.log.clone()),
        };
        if let Err(error) = control.and_then(|control| control.serve(steward)) {
            let directory = spool_directory(&self.site.load());
            let path = directory.join(queue_control::NAME);
            let text = format!("postqueue and postsuper will not find this server: {}: {error}", path.display());
            self.log.warning(TAG, &text);
        }
    }

    fn run(mut self, signals: Signals) -> ExitCode {
        signals.serve(|| self.reload());
        // The receivers are the event loops; those that are gone need not be told.
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        if let Some((recorder, thread)) = self.recorder.take() {
            recorder.stop();
            let _ = thread.join();
        }
        statistics::log(&self.anvil, &self.site.load(), &self.log);
        logins::keep_known(&self.failures, &self.site.load(), &self.log);
        self.deliver.drain(DRAIN);
        if let Err(error) = self.spool.sync() {
            self.log.warning(TAG, &format!("spool: {error}"));
        }
        // Best effort: a stale process id does no harm, the spool's lock decides.
        for name in ["pid", queue_control::NAME] {
            let _ = std::fs::remove_file(spool_directory(&self.site.load()).join(name));
        }
        self.log.line(TAG, "terminating");
        self.log.flush();
        ExitCode::SUCCESS
    }

    /// Read everything anew; switch in one step, or stay with what works.
    fn reload(&self) {
        self.log.line(TAG, &format!("reload -- configuration {}", describe(&self.source)));
        let (site, problems) = lint::load(&self.source);
        for problem in &problems {
            self.log.line(TAG, &one_line(problem));
        }
        let Some(new) = site else {
            self.log.line(TAG, "reload refused: the configuration has errors; the old one stays in use");
            return;
        };
        if let Some(service) = without_tls(&self.site.load(), &new) {
            let text = format!("reload refused: service {service} would lose TLS; the old configuration stays in use");
            self.log.line(TAG, &text);
            return;
        }
        for service in &new.services {
            if self.site.load().service(&service.name).is_none() {
                self.log.warning(TAG, &format!("service {} listens after a restart only", service.name));
            }
        }
        if let Err(error) = mail_log::target(&new.parameters).and_then(|target| Ok(self.log.reopen(&target)?)) {
            self.log.warning(TAG, &format!("mail log not reopened: {error:#}"));
        }
        let _ = new.table_log.set(self.log.clone());
        logins::keep_secret(&new, &self.log);
        self.anvil.set_unit(statistics::rate_time_unit(&new));
        self.site.store(Arc::new(new));
        super::delivery::reload(&self.deliver, &self.site);
        self.verifier.reload(verify::Settings::of(&self.site.load().parameters));
        self.log.line(TAG, "reload complete");
    }
}

/// A service that has TLS now, and should have it afterwards but could not.
fn without_tls(old: &Site, new: &Site) -> Option<Arc<str>> {
    let loses = |service: &Arc<site::Service>| {
        let had = old.service(&service.name).is_some_and(|service| service.tls.is_some());
        had && service.session.smtpd_use_tls && service.tls.is_none()
    };
    new.services.iter().find(|service| loses(service)).map(|service| Arc::clone(&service.name))
}

/// Give memory back when the sessions that used it are gone.
async fn watch_memory(worker: std::sync::Weak<Worker>) {
    let mut tide = Tide::default();
    loop {
        tokio::time::sleep(MEMORY_CHECK).await;
        // Each session holds the worker.
        let sessions = worker.strong_count();
        if sessions == 0 {
            return;
        }
        if tide.is_out(sessions) {
            memory::give_back();
        }
    }
}

/// The loop of one thread.
pub(super) fn event_loop() -> Result<Runtime> {
    Builder::new_current_thread()
        .max_blocking_threads(crate::lookup::POOL)
        .enable_all()
        .build()
        .context("starting an event loop")
}
