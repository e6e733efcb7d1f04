//! `cargo xtask conformance --random-postmap N` and `--random-postconf N`: random uses of Postfix's commands and of
//! ours, in turn, each in a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use testkit::random::{Case, Step, postconf, postmap};
use testkit::tools::find;

use crate::project::{self, number, value};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// postmap(1) and postalias(1).
    Postmap,
    /// postconf(1).
    Postconf,
}

impl Subject {
    /// The subject of an option.
    pub fn of(option: &str) -> Option<Self> {
        match option {
            "--random-postmap" => Some(Self::Postmap),
            "--random-postconf" => Some(Self::Postconf),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postmap => "postmap",
            Self::Postconf => "postconf",
        }
    }

    fn case(self, seed: u64, number: u64) -> Case {
        match self {
            Self::Postmap => postmap::case(seed, number),
            Self::Postconf => postconf::case(seed, number),
        }
    }

    /// Why it can't be compared here, if it can't.
    fn missing(self) -> Option<String> {
        let needed = ["postmap", "postconf", "/usr/lib/postfix/postfix-lmdb.so", "/usr/lib/postfix/postfix-cdb.so"];
        let missing: Vec<&str> = needed.into_iter().filter(|name| find(name).is_none()).collect();
        (!missing.is_empty()).then(|| format!("Postfix is not installed whole: {} missing", missing.join(", ")))
    }
}

/// How many cases, from which seed.
pub struct Amount {
    /// Cases.
    pub count: u64,
    /// The seed.
    pub seed: u64,
    /// The first case's number.
    pub first: u64,
}

/// Runs what the arguments say; is all the same?
pub fn run(subject: Subject, args: &[String]) -> Result<bool, String> {
    let mut amount = Amount { count: 0, seed: 1, first: 0 };
    let (mut program, mut lines) = (None, 24);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--random-postmap" | "--random-postconf" => amount.count = number(&mut args, arg)?,
            "--seed" => amount.seed = number(&mut args, arg)?,
            "--first" => amount.first = number(&mut args, arg)?,
            "--lines" => lines = number(&mut args, arg)?,
            "--postern" => program = Some(PathBuf::from(value(&mut args, arg)?)),
            _ => return Err(format!("conformance --random-{}: unknown option {arg}", subject.name())),
        }
    }
    if let Some(why) = subject.missing() {
        return Err(format!("conformance --random-{}: {why}", subject.name()));
    }
    let program = match program {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => project::build_release()?,
    };
    let (_, failed) = check(subject, &program, &amount, lines)?;
    Ok(failed == 0)
}

/// A small run for `cargo xtask test`: how many passed and failed; `None` when it can't be run here.
pub fn small(subject: Subject, program: &Path, skips: &Path) -> Result<Option<(usize, usize)>, String> {
    if let Some(why) = subject.missing() {
        testkit::tools::skipped_into(Some(skips), &format!("random uses of {}", subject.name()), &why);
        return Ok(None);
    }
    check(subject, program, &Amount { count: 150, seed: 1, first: 0 }, 24).map(Some)
}

fn check(subject: Subject, program: &Path, amount: &Amount, lines: usize) -> Result<(usize, usize), String> {
    let tools = Tools::new(program)?;
    let (next, begin) = (AtomicU64::new(amount.first), Instant::now());
    let end = amount.first + amount.count;
    let tally = Mutex::new((0, 0, None));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    let case = subject.case(amount.seed, number);
                    let difference = tools.difference(&case);
                    let Ok(mut tally) = tally.lock() else { break };
                    match difference {
                        Ok(None) => tally.0 += 1,
                        Ok(Some(text)) => {
                            tally.1 += 1;
                            println!("  FAIL     {}-{}-{number}", subject.name(), amount.seed);
                            text.lines().take(lines).for_each(|line| println!("       {line}"));
                        }
                        Err(error) => tally.2 = Some(error),
                    }
                }
            });
        }
    });
    let (passed, failed, error) = tally.into_inner().unwrap_or_default();
    if let Some(error) = error {
        return Err(error);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{} random uses of {} from seed {} in {seconds:.0} s", passed + failed, subject.name(), amount.seed);
    println!("{passed} passed, {failed} failed");
    Ok((passed, failed))
}

/// Postfix's commands, and ours under their names.
struct Tools {
    ours: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    out: Vec<u8>,
    err: Vec<u8>,
    exit: Option<i32>,
}

/// Where a tool is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Postfix,
    Ours,
}

impl Tools {
    fn new(program: &Path) -> Result<Self, String> {
        let ours = tempfile::tempdir().map_err(|e| e.to_string())?;
        for name in ["postmap", "postalias", "postconf"] {
            symlink(program, ours.path().join(name)).map_err(|e| e.to_string())?;
        }
        Ok(Self { ours })
    }

    fn path(&self, whose: Whose, tool: &str) -> PathBuf {
        match whose {
            Whose::Postfix => find(tool).unwrap_or_else(|| Path::new("/usr/sbin").join(tool)),
            Whose::Ours => self.ours.path().join(tool),
        }
    }

    /// What differs, if anything does.
    fn difference(&self, case: &Case) -> Result<Option<String>, String> {
        let place = tempfile::tempdir().map_err(|e| e.to_string())?;
        let dirs = [place.path().join("postfix"), place.path().join("postern")];
        for dir in &dirs {
            set_up(case, dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        for (at, step) in case.steps.iter().enumerate() {
            let theirs = self.run(Whose::Postfix, step, &dirs[0])?;
            let ours = self.run(Whose::Ours, step, &dirs[1])?;
            if step.tool == "postconf" {
                // What was edited just now would be read again and again.
                dirs.iter().try_for_each(|dir| settle(dir)).map_err(|e| e.to_string())?;
            }
            let (theirs, ours) = (normal(theirs, step), normal(ours, step));
            if theirs != ours {
                let text = format!("{}{}", case.script(at + 1), shown(&theirs, &ours));
                return Ok(Some(text));
            }
            if let Some(text) = self.files_differ(step, &dirs)? {
                return Ok(Some(format!("{}{text}", case.script(at + 1))));
            }
        }
        Ok(None)
    }

    fn run(&self, whose: Whose, step: &Step, dir: &Path) -> Result<Done, String> {
        let path = self.path(whose, step.tool);
        let mut command = Command::new(&path);
        command.current_dir(dir).args(step.arguments.iter().map(|word| OsStr::from_bytes(word)));
        // The name that getopt(3) shows.
        std::os::unix::process::CommandExt::arg0(&mut command, step.tool);
        command.env_clear().env("MAIL_CONFIG", ".").env("PATH", "/usr/sbin:/usr/bin:/bin").env("key", "in environ");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", path.display()))?;
        let stdin = child.stdin.take();
        let input = step.input.clone();
        let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let _ = writer.join();
        Ok(Done { out: output.stdout, err: output.stderr, exit: output.status.code() })
    }

    /// Compares the directories: names, modes, and what the other's tool reads in tables.
    fn files_differ(&self, step: &Step, dirs: &[PathBuf; 2]) -> Result<Option<String>, String> {
        let names = [listing(&dirs[0])?, listing(&dirs[1])?];
        if names[0] != names[1] {
            return Ok(Some(format!("files of Postfix {:?}\nours {:?}\n", names[0], names[1])));
        }
        if step.tool == "postconf" {
            return edited_differ(dirs);
        }
        if step.arguments.iter().any(|word| word.starts_with(b"-q")) {
            return Ok(None);
        }
        for (name, _) in &names[0] {
            let dump = |whose, dir: &Path| self.dump(whose, name, dir);
            let (Some(crossed), Some(other)) = (dump(Whose::Postfix, &dirs[1])?, dump(Whose::Ours, &dirs[0])?) else {
                continue;
            };
            let sorted = |done: Done| normal(done, &Step { unordered: true, ..step.clone() });
            let (crossed, other) = (sorted(crossed), sorted(other));
            if crossed != other {
                return Ok(Some(format!("{name}, read by the other's tool\n{}", shown(&other, &crossed))));
            }
        }
        Ok(None)
    }

    /// A compiled table as a tool lists it.
    fn dump(&self, whose: Whose, name: &str, dir: &Path) -> Result<Option<Done>, String> {
        let Some((table, suffix)) = name.rsplit_once('.') else { return Ok(None) };
        let kinds: &[&str] = match suffix {
            "db" => &["hash", "btree"],
            "lmdb" => &["lmdb"],
            _ => return Ok(None),
        };
        for kind in kinds {
            let mut case = Case::default();
            case.step("postmap", ["-s".to_owned(), format!("{kind}:{table}")]);
            let done = self.run(whose, &case.steps[0], dir)?;
            if done.exit == Some(0) {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }
}

/// Sources are old: Postfix waits for files that were changed this second.
fn set_up(case: &Case, dir: &Path) -> std::io::Result<()> {
    fs::create_dir(dir)?;
    for file in &case.files {
        let path = dir.join(&file.name);
        fs::write(&path, &file.text)?;
        let past = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().append(true).open(&path)?.set_modified(past)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Files of another time are whole.
fn settle(dir: &Path) -> std::io::Result<()> {
    for name in ["main.cf", "master.cf"] {
        let past = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().append(true).open(dir.join(name))?.set_modified(past)?;
        // Postfix leaves this behind when it finds nothing to change.
        let _ = fs::remove_file(dir.join(format!("{name}.tmp")));
    }
    Ok(())
}

fn listing(dir: &Path) -> Result<Vec<(String, u32)>, String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let mode = entry.metadata().map_err(|e| e.to_string())?.permissions().mode() & 0o7777;
        names.push((entry.file_name().to_string_lossy().into_owned(), mode));
    }
    names.sort();
    Ok(names)
}

/// Without what is known to differ: libdb's own messages, option letters that 3.12 added, times, and quotes around
/// names of aliases, which 3.12 keeps.
fn normal(done: Done, step: &Step) -> Done {
    let usage = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        if step.tool == "postalias" && text.contains("\"\"") {
            return text.replace("\"\"", "\"").into_bytes();
        }
        if let Some(end) = text.find("usage: postconf") {
            return [&line[..end], b"\n"].concat();
        }
        if text.contains("fatal: usage: ") { text.replacen('j', "", 1).into_bytes() } else { line.to_vec() }
    };
    let lines =
        |text: &[u8]| -> Vec<Vec<u8>> { text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect() };
    let mut err: Vec<_> =
        lines(&done.err).iter().filter(|line| !line.starts_with(b"BDB")).map(|line| usage(line)).collect();
    if step.tool == "postconf" {
        // Warnings come in the order of hash tables, and end somewhere when a value can't be expanded.
        if err.iter().any(|line| line.ends_with(b"macro processing error\n")) {
            err = vec![b"macro processing error\n".to_vec()];
        }
        err.sort();
    }
    let mut out = lines(&done.out);
    for line in &mut out {
        if line.starts_with(b"YP_LAST_MODIFIED") {
            line.truncate(16);
        }
        if step.tool == "postalias" && step.unordered {
            *line = unquoted(line);
        }
    }
    if step.unordered {
        out.sort();
    }
    Done { out: out.concat(), err: err.concat(), exit: done.exit }
}

fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = text.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// Compares what was edited.
fn edited_differ(dirs: &[PathBuf; 2]) -> Result<Option<String>, String> {
    for name in ["main.cf", "master.cf"] {
        let read = |dir: &PathBuf| fs::read(dir.join(name)).map_err(|e| format!("{name}: {e}"));
        let (mut theirs, mut ours) = (read(&dirs[0])?, read(&dirs[1])?);
        // Several new parameters are added in the order of a hash table.
        if name == "main.cf" {
            (theirs, ours) = (sorted(&theirs), sorted(&ours));
        }
        if theirs != ours {
            let done = |out| Done { out, err: Vec::new(), exit: None };
            return Ok(Some(shown(&done(theirs), &done(ours)).replace("stdout:", &format!("stdout: {name}"))));
        }
    }
    Ok(None)
}

/// A line without the quotes of its key.
fn unquoted(line: &[u8]) -> Vec<u8> {
    let Some(mut rest) = line.strip_prefix(b"\"") else { return line.to_vec() };
    let mut text = Vec::new();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'"' => break,
            b'\\' => {
                if let [escaped, after @ ..] = rest {
                    text.push(*escaped);
                    rest = after;
                }
            }
            byte => text.push(*byte),
        }
    }
    text.extend_from_slice(rest);
    text
}

/// Both, one above the other.
fn shown(theirs: &Done, ours: &Done) -> String {
    let part = |name: &str, theirs: &[u8], ours: &[u8]| {
        if theirs == ours {
            return String::new();
        }
        let lines = |text: &[u8]| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>();
        let (theirs, ours) = (lines(theirs), lines(ours));
        let mut text = format!("{name}:\n");
        let only = |of: &[String], other: &[String], mark: char| -> String {
            of.iter().filter(|line| !other.contains(line)).take(6).map(|line| format!("{mark} {line:?}\n")).collect()
        };
        text.push_str(&only(&theirs, &ours, '-'));
        text.push_str(&only(&ours, &theirs, '+'));
        if text.lines().count() == 1 {
            text.push_str(&format!("in another order or number: {} and {} lines\n", theirs.len(), ours.len()));
        }
        text
    };
    let mut text = part("stdout", &theirs.out, &ours.out) + &part("stderr", &theirs.err, &ours.err);
    if theirs.exit != ours.exit {
        text.push_str(&format!("exit status: {:?} and {:?}\n", theirs.exit, ours.exit));
    }
    text
}
