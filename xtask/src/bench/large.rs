//! The cells of large tables: look-ups, header checks, access maps.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use testkit::tools::find;

use super::cells::Bench;
use super::corpus::Corpus;
use super::load::{Generator, Kind};
use super::meter::cpu_seconds;
use super::peers::{Peer, Who, policy};
use super::spell::load;
use super::table::Figure;
use crate::project;

/// Tables that are asked, and how many keys Postfix gets; postern gets [`OURS`].
const LOOKUPS: [(Corpus, u32); 10] = [
    (Corpus::Pcre(10), 200_000),
    (Corpus::Pcre(100), 100_000),
    (Corpus::Pcre(1000), 20_000),
    (Corpus::Pcre(10_000), 2000),
    (Corpus::Regexp(10), 100_000),
    (Corpus::Regexp(100), 20_000),
    (Corpus::Regexp(1000), 2000),
    (Corpus::Regexp(10_000), 300),
    (Corpus::Cidr(1_000_000), 500),
    (Corpus::Texthash(1_000_000), 10_000_000),
];

/// Look-ups of postern: enough to stand out from the loading.
const OURS: u32 = 1_000_000;
/// The same for tables that take long to load.
const OURS_LARGE: u32 = 10_000_000;

impl Bench {
    /// CPU time of look-ups by one process that gets its keys on standard input, and of loading the table.
    pub fn lookups(&mut self) -> Result<(), String> {
        let directory = testkit::temp_dir().map_err(|e| format!("no temporary directory: {e}"))?;
        let ours = self.asker()?;
        let postmap = find("postmap").filter(|_| self.who.contains(&Who::Postfix));
        let main_cf = directory.path().join("main.cf");
        let text =
            "compatibility_level = 3.6\nmeta_directory = /etc/postfix\nmail_owner = postfix\nsetgid_group = postdrop\n";
        std::fs::write(&main_cf, text).map_err(|e| format!("{}: {e}", main_cf.display()))?;
        for (corpus, keys) in LOOKUPS {
            let spec = corpus.write(directory.path())?;
            let part = if self.quick { 4 } else { 1 };
            let mut run = |who, command: &[&str], keys: u32| -> Result<(), String> {
                let load = cpu(command, &spec, "no-such-key\n", directory.path())?;
                let all = cpu(command, &spec, &corpus.keys(keys / part), directory.path())?;
                self.table.add(Figure::Load(corpus), who, load * 1e3);
                self.table.add(Figure::Lookup(corpus), who, (all - load) * 1e6 / f64::from(keys / part));
                Ok(())
            };
            let ours_keys = if corpus.describe().1 > 100_000 { OURS_LARGE } else { OURS };
            run(Who::Postern, &ours.iter().map(String::as_str).collect::<Vec<_>>(), ours_keys)?;
            if let Some(postmap) = &postmap {
                let (postmap, directory) = (postmap.display().to_string(), directory.path().display().to_string());
                run(Who::Postfix, &[&postmap, "-c", &directory, "-q", "-"], keys)?;
            }
        }
        Ok(())
    }

    /// What asks postern's tables: `postern postmap` if it's there, else an example program of the tables.
    fn asker(&self) -> Result<Vec<String>, String> {
        let postern = self.site.postern().display().to_string();
        let probe = Command::new(&postern).args(["postmap", "-q", "x", "static:x"]).output();
        if probe.is_ok_and(|output| output.stdout == b"x\n") {
            return Ok([&postern, "postmap", "-q", "-"].map(str::to_owned).to_vec());
        }
        println!("look-ups: there is no `postern postmap`, so the example program lookup_speed asks the same tables");
        let built =
            project::cargo(&["build", "--quiet", "--release", "-p", "postern-tables", "--example", "lookup_speed"]);
        let status = { built }.status().map_err(|e| format!("cannot run cargo: {e}"))?;
        let program = project::release_program().with_file_name("examples").join("lookup_speed");
        match status.success() {
            true => Ok(vec![program.display().to_string(), "query".to_owned()]),
            false => Err("the build of lookup_speed failed".to_owned()),
        }
    }

    /// Messages through `header_checks` with 10 and 10,000 patterns.
    pub fn headers(&mut self, who: Who) -> Result<(), String> {
        for (patterns, figure) in [(10, Figure::HeadersFew), (10_000, Figure::HeadersMany)] {
            let spec = Corpus::Pcre(patterns).write(self.site.directory())?;
            let text = format!("{}header_checks = {spec}\n", policy(self.site.table()));
            let peer = self.site.start_with(who, &text, false)?;
            let count = if who == Who::Postfix { 600 } else { 10_000 };
            self.sessions(who, &peer, (Kind::Accept, 50), count, figure)?;
        }
        Ok(())
    }

    /// Refused sessions with `check_client_access cidr:` of a million lines and `check_sender_access pcre:` of 10,000
    /// patterns.
    pub fn access(&mut self, who: Who) -> Result<(), String> {
        let networks = Corpus::Cidr(1_000_000).write(self.site.directory())?;
        let patterns = Corpus::Pcre(10_000).write(self.site.directory())?;
        let text = format!("{}smtpd_client_restrictions = check_client_access {networks}\n", policy(&patterns));
        let peer = self.site.start_with(who, &text, false)?;
        self.table.add(Figure::AccessStart, who, peer.start.as_secs_f64());
        let count = if who == Who::Postfix { 200 } else { 20_000 };
        // Each of Postfix's processes has tables of its own, so they should be few.
        self.sessions(who, &peer, (Kind::Reject, 2), count, Figure::AccessCpu)
    }

    /// So many sessions, some at a time, after others that make all processes read their tables.
    fn sessions(
        &mut self,
        who: Who,
        peer: &Peer,
        (kind, at_a_time): (Kind, usize),
        count: u64,
        figure: Figure,
    ) -> Result<(), String> {
        let load = load(kind, peer.port, at_a_time);
        let count = if self.quick { count / 2 } else { count };
        let mut generator = Generator::new(load).map_err(|e| e.to_string())?;
        generator.run_count(4 * at_a_time as u64).map_err(|e| e.to_string())?;
        let before = cpu_seconds(peer.pid());
        generator.run_count(count).map_err(|e| e.to_string())?;
        let cpu = cpu_seconds(peer.pid()) - before;
        self.errors(who, &generator.outcome.clone())?;
        self.table.add(figure, who, cpu * 1e6 / count as f64);
        Ok(())
    }
}

/// User and system time of a command that gets these keys, in seconds.
fn cpu(command: &[&str], spec: &str, keys: &str, directory: &Path) -> Result<f64, String> {
    let used = || -> Result<i64, String> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|e| e.to_string())?;
        Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
    };
    let path = directory.join("keys");
    let mut file = std::fs::File::create(&path).map_err(|e| e.to_string())?;
    file.write_all(keys.as_bytes()).map_err(|e| e.to_string())?;
    let input = std::fs::File::open(&path).map_err(|e| e.to_string())?;
    let before = used()?;
    let mut asker = Command::new(command.first().ok_or("no command")?);
    asker.args(&command[1..]).arg(spec).stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = asker.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.stderr.is_empty() {
        true => Ok((used()? - before) as f64 / 1e6),
        false => Err(format!("{command:?} {spec}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
