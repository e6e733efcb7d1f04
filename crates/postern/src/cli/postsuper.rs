//! `postern postsuper`: postsuper(1).

use super::{getopt, postqueue};
use crate::queue_control::{Access, Deed, Problem, QUEUES, Queues, Request};
use queue::QueueId;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Hold, release, requeue or delete mail in the queue, with postsuper(1)'s options and output.

Usage: postern postsuper [-c DIR] [-d ID] [-h ID] [-H ID] [-r ID] [QUEUE...]

  -d ID      delete                          -h ID      put on hold
  -H ID      release from hold               -r ID      requeue: new id and age, aliases expanded anew
  -p -s -S   nothing to do: the spool checks itself when it is opened

ID is a queue id, ALL, or - for ids from standard input. QUEUE is hold, incoming, active or deferred:
only mail that is there. It works with and without a running server.

  postern postqueue -p -c /etc/postfix
  postern postsuper -c /etc/postfix -H ALL
  postern postsuper -c /etc/postfix -d ALL hold";

const USAGE: &str = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-h queue_id (hold)] \
[-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] \
[-S (redundant structure fix)] [-v (verbose)] [queue...]";

/// The deeds in their order, and what is said of them in the end.
const DEEDS: [(char, Deed, &str); 4] = [
    ('d', Deed::Delete, "Deleted"),
    ('h', Deed::Hold, "Placed on hold"),
    ('H', Deed::Release, "Released from hold"),
    ('r', Deed::Requeue, "Requeued"),
];
/// Directories of Postfix's that have no mail here.
const EMPTY: [&str; 6] = ["maildrop", "bounce", "defer", "trace", "flush", "corrupt"];

/// Run it with these arguments.
pub fn run(arguments: &[String]) -> ExitCode {
    if arguments.first().is_some_and(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments).and_then(|options| options.run()) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("postsuper: fatal: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A message, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    deed: Deed,
    /// What is said of it in the end.
    name: &'static str,
    /// All of them, if there are none.
    ids: Vec<QueueId>,
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    directory: Option<PathBuf>,
    tasks: Vec<Task>,
    queues: Queues,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (options, rest) = getopt::parse(arguments, "c:d:e:f:h:H:pr:sSv").map_err(|misuse| {
            eprintln!("postsuper: {misuse}");
            USAGE.to_owned()
        })?;
        let mut directory = None;
        for (letter, value) in &options {
            match letter {
                'c' => directory = Some(PathBuf::from(value)),
                'e' | 'f' => {
                    return Err(format!(
                        "-{letter}: forced expiration is not supported: delete with -d, or let maximal_queue_lifetime pass"
                    ));
                }
                _ => {}
            }
        }
        let queues = queues_of(&rest)?;
        let mut tasks = Vec::new();
        for (letter, deed, name) in DEEDS {
            let mine = options.iter().filter(|(known, _)| *known == letter).map(|(_, value)| value.as_str());
            let ids: Vec<&str> = mine.collect();
            if !ids.is_empty() {
                tasks.extend(Task::of(deed, name, &ids)?);
            }
        }
        Ok(Self { directory, tasks, queues })
    }

    fn run(&self) -> Result<ExitCode, String> {
        if self.tasks.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let (parameters, is_default) = postqueue::settings(self.directory.clone())?;
        let mut queue = Access::open(&parameters, is_default).map_err(|Problem(text)| text)?;
        let mut code = ExitCode::SUCCESS;
        for task in &self.tasks {
            if !task.run(&mut queue, self.queues).map_err(|Problem(text)| text)? {
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

impl Task {
    fn of(deed: Deed, name: &'static str, given: &[&str]) -> Result<Option<Self>, String> {
        let mut ids = Vec::new();
        for word in given {
            match *word {
                "ALL" => return Ok(Some(Self { deed, name, ids: Vec::new() })),
                "-" => {
                    for line in std::io::stdin().lines() {
                        push_id(&mut ids, line.map_err(|error| error.to_string())?.trim());
                    }
                }
                word => push_id(&mut ids, word),
            }
        }
        if ids.is_empty() {
            eprintln!("postsuper: {name}: 0 messages");
            return Ok(None);
        }
        Ok(Some(Self { deed, name, ids }))
    }

    /// Does it and says so. Did all go well?
    fn run(&self, queue: &mut Access, queues: Queues) -> Result<bool, Problem> {
        let (mut count, mut is_good) = (0, true);
        let (is_all, deed) = (self.ids.is_empty(), self.deed);
        let mut each = |line: &str| match line.split_once(' ') {
            Some(("done", id)) => {
                count += 1;
                if !is_all {
                    eprintln!("postsuper: {id}: {}", deed.done());
                }
            }
            Some(("failed", why)) => {
                is_good = false;
                let (id, why) = why.split_once(' ').unwrap_or((why, ""));
                eprintln!("postsuper: warning: {id}: not {}: {why}", deed.done());
            }
            _ => {}
        };
        let ids: Vec<Option<QueueId>> = match is_all {
            true => vec![None],
            false => self.ids.iter().copied().map(Some).collect(),
        };
        for id in ids {
            queue.ask(Request::Do(deed, id, queues), &mut each)?;
        }
        // What is said to be done outlives a crash.
        queue.ask(Request::Commit, &mut |_| {})?;
        let plural = if count == 1 { "" } else { "s" };
        eprintln!("postsuper: {}: {count} message{plural}", self.name);
        Ok(is_good)
    }
}

fn push_id(ids: &mut Vec<QueueId>, word: &str) {
    match word.parse() {
        Ok(id) => ids.push(id),
        Err(_) => eprintln!("postsuper: warning: invalid mail queue id: {word}"),
    }
}

fn queues_of(names: &[String]) -> Result<Queues, String> {
    if names.is_empty() {
        return Ok(Queues::ALL);
    }
    let mut queues = Vec::new();
    for name in names {
        match QUEUES.into_iter().find(|queue| queue.name() == name) {
            Some(queue) => queues.push(queue),
            None if EMPTY.contains(&name.as_str()) => {}
            None => return Err(format!("invalid directory name: {name}")),
        }
    }
    Ok(Queues::of(&queues))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue_control::Queue;

    fn parse(line: &str) -> Result<(Vec<String>, Queues), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let options = Options::parse(&words)?;
        let shown = options.tasks.iter().map(|task| format!("{} {:?}", task.name, task.ids));
        Ok((shown.collect(), options.queues))
    }

    #[test]
    fn tasks_and_queues() {
        for (line, tasks, queues) in [
            ("-H ALL", vec!["Released from hold []"], Queues::ALL),
            (
                "-c /x -hABC -d A1 -d B2",
                vec!["Deleted [QueueId(A1), QueueId(B2)]", "Placed on hold [QueueId(ABC)]"],
                Queues::ALL,
            ),
            ("-d ALL hold maildrop", vec!["Deleted []"], Queues::of(&[Queue::Hold])),
            (
                "-d all deferred incoming",
                vec!["Deleted [QueueId(all)]"],
                Queues::of(&[Queue::Deferred, Queue::Incoming]),
            ),
            // a typing mistake must not become ALL
            ("-d bad/id", vec![], Queues::ALL),
            ("-psv", vec![], Queues::ALL),
        ] {
            let tasks: Vec<String> = tasks.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(line), Ok((tasks, queues)), "{line}");
        }
        assert_eq!(parse("-d ALL nosuch"), Err("invalid directory name: nosuch".to_owned()));
        assert_eq!(parse("-x"), Err(USAGE.to_owned()));
        assert!(parse("-e ALL").is_err_and(|text| text.contains("delete with -d")));
    }
}
