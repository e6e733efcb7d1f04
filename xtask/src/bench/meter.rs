//! What a server uses: CPU time and memory of a process and all its descendants, from /proc.

use std::collections::HashMap;
use std::fs;

struct Stat {
    parent: u32,
    /// User and system time, also of children that were waited for.
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // the name in parentheses may hold anything
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|f| f.parse::<u64>().unwrap_or(0)).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

/// The process and its descendants.
fn members(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in pids.filter_map(|p| Some((p, stat(p)?))) {
        children.entry(stat.parent).or_default().push(pid);
    }
    let (mut found, mut todo) = (Vec::new(), vec![root]);
    while let Some(pid) = todo.pop() {
        found.push(pid);
        todo.extend(children.get(&pid).into_iter().flatten());
    }
    found
}

/// CPU seconds used so far.
pub fn cpu_seconds(root: u32) -> f64 {
    let ticks: u64 = members(root).into_iter().filter_map(stat).map(|s| s.ticks).sum();
    // USER_HZ is 100 on every Linux that Rust runs on
    ticks as f64 / 100.0
}

/// CPU seconds that the threads of one process have used so far, to the nanosecond; its children's not.
pub fn thread_seconds(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    spent.sum::<u64>() as f64 / 1e9
}

/// Memory of its own, KiB: shared pages are divided among those who share them.
pub fn memory_kib(root: u32) -> u64 {
    let rollups = members(root).into_iter().filter_map(|p| fs::read_to_string(format!("/proc/{p}/smaps_rollup")).ok());
    let pss = |text: &String| {
        text.lines().find_map(|l| l.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok())
    };
    rollups.filter_map(|t| pss(&t)).sum()
}

/// Threads of all its processes.
pub fn threads(root: u32) -> usize {
    let count = |pid| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    members(root).into_iter().map(count).sum()
}

/// CPU seconds of all child processes that have ended.
pub fn cpu_of_the_ended() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0.0 };
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let me = std::process::id();
        assert!(members(me).contains(&me));
        assert!(memory_kib(me) > 100);
        assert!(threads(me) > 0);
        let begin = cpu_seconds(me);
        let mut n = 0u64;
        while cpu_seconds(me) < begin + 0.02 {
            n = std::hint::black_box(n + 1);
        }
        assert!(thread_seconds(me) >= 0.02);
    }

    #[test]
    fn odd_names() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 0 0 0 0 0 10 20 5 6 20 0";
        let stat = parse(text).expect("a stat line");
        assert_eq!((stat.parent, stat.ticks), (3, 41));
    }
}
