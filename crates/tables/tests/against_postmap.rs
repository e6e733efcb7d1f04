//! The same tables read by Postfix's own postmap(1) and by this crate: same values, same misses, same warnings.
//!
//! Needs `postmap` (and, a type at a time, what `postconf -m` lists); without it the tests say so and pass.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tables::{OpenOptions, Opened, open};

/// Is the type there? Says so if it isn't.
fn has(kind: &str) -> bool {
    let types = Command::new("postconf").arg("-m").output();
    let found = types.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).lines().any(|line| line == kind));
    if !found {
        eprintln!("SKIPPED: postmap with {kind}: is not installed; nothing was compared");
    }
    found
}

/// More rounds by `POSTMAP_ROUNDS=10` (times as many).
fn rounds(usual: usize) -> usize {
    usual * std::env::var("POSTMAP_ROUNDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// So many words run together.
    fn words(&mut self, list: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(list)).collect()
    }
}

/// `postmap -q -`: what it found, and its warnings.
fn postmap(spec: &str, keys: &[String]) -> (BTreeMap<String, String>, Vec<String>) {
    let mut child = Command::new("postmap")
        .args(["-q", "-", spec])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let found = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!errors.contains("fatal:"), "{spec}: {errors}");
    (found, errors.lines().map(|line| line.strip_prefix("postmap: warning: ").unwrap_or(line).to_owned()).collect())
}

/// Compile a table.
fn compile(kind: &str, path: &Path) {
    let out = Command::new("postmap").args(["-o", &format!("{kind}:{}", path.display())]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn ours(opened: &Opened, keys: &[String]) -> BTreeMap<String, String> {
    let get = |key: &String| Some((key.clone(), opened.table.get(key).unwrap()?.to_string()));
    keys.iter().filter_map(get).collect()
}

fn load(spec: &str) -> Opened {
    open(spec, &OpenOptions::new("/")).unwrap_or_else(|errors| panic!("{spec}: {errors:?}"))
}

fn messages(opened: &Opened) -> Vec<String> {
    opened.warnings.iter().map(|warning| warning.message.clone()).collect()
}

/// Keys of a kind that `postmap -q -` can take: a line without tabs.
fn askable(keys: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut keys: Vec<String> = keys.into_iter().filter(|key| !key.contains(['\t', '\n', '\0'])).collect();
    keys.retain(|key| !key.is_empty());
    keys.sort();
    keys.dedup();
    keys
}

const TEXT_PIECES: &[&str] = &[
    "a",
    "b",
    "A",
    "Bc",
    "@",
    ".",
    "\u{e9}",
    "\u{c9}",
    "\u{df}",
    " ",
    "  ",
    "\t",
    "\"",
    "\\",
    "\\\"",
    ":",
    "#",
    "\n",
    "\n",
    "\n ",
    "\r",
    "\u{b}",
    "\u{c}",
    "x y",
    "\0",
    "\n#c\n",
    "\n\n",
    "key value\n",
    "\u{a0}",
];

/// Everything that could be a key of a text.
fn keys_of(text: &str) -> Vec<String> {
    let mut keys = vec!["a".to_owned(), "key".to_owned(), "A".to_owned(), "KEY".to_owned()];
    for line in text.split(['\n', '\0']) {
        for (at, _) in line.char_indices().skip(1).take(40) {
            keys.push(line[..at].to_owned());
        }
        keys.push(line.to_owned());
    }
    askable(keys)
}

#[test]
fn odd_texts() {
    if !has("texthash") || !has("hash") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let compiled = dir.path().join("compiled");
    let mut rng = Rng(11);
    let mut hits = 0;
    for round in 0..rounds(60) {
        let text = rng.words(TEXT_PIECES, 60);
        let keys = keys_of(&text);
        let path = dir.path().join(format!("t{round}"));
        fs::write(&path, &text).unwrap();
        // postmap waits a second for a texthash file that has only just changed.
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        fs::File::options().append(true).open(&path).unwrap().set_modified(past).unwrap();
        let spec = format!("texthash:{}", path.display());
        let (found, warnings) = postmap(&spec, &keys);
        let Ok(opened) = open(&spec, &OpenOptions::new("/")) else {
            assert!(found.is_empty(), "refused: {text:?}");
            continue;
        };
        assert_eq!(ours(&opened, &keys), found, "{text:?}");
        // postmap opens a texthash table anew for each key.
        let messages = messages(&opened);
        let times = if messages.is_empty() { 1 } else { warnings.len() / messages.len() };
        // Behind a NUL postmap still sees that the line was longer.
        let warnings: Vec<_> = warnings.iter().map(|text| text.replace("...\"", "\"")).collect();
        let messages: Vec<_> = messages.iter().map(|text| text.replace("...\"", "\"")).collect();
        assert_eq!(vec![messages; times].concat(), warnings, "{text:?}");
        hits += found.len();
        // The same as hash: from the text, and from what postmap makes of it.
        let hash = format!("hash:{}", path.display());
        assert_eq!(ours(&load(&hash), &keys), found, "{text:?}");
        fs::write(&compiled, &text).unwrap();
        compile("hash", &compiled);
        fs::remove_file(&compiled).unwrap();
        assert_eq!(ours(&load(&format!("hash:{}", compiled.display())), &keys), found, "{text:?}");
    }
    assert!(hits > 50, "{hits} hits");
}

#[test]
fn compiled_tables() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("EXAMPLE.com OK\n\"quo ted\"@example.com  v v \nUPP\u{c9}R x\na b\n a b\n");
    for number in 0..20_000 {
        text.push_str(&format!("user{number}@example.com REJECT number {number}\n"));
    }
    for number in 0..200 {
        text.push_str(&format!("long{number} {}\n", format!("{number} ").repeat(10 + 53 * number)));
    }
    let long = format!("{}@example.com", "k".repeat(400));
    text.push_str(&format!("{long} long key\n"));
    let mut keys: Vec<String> = (0..20_100).step_by(7).map(|number| format!("user{number}@example.com")).collect();
    keys.extend((0..210).map(|number| format!("LONG{number}")));
    keys.extend(
        ["example.com", "Example.Com", "\"quo ted\"@example.com", "upp\u{e9}r", "a", "b", "no"].map(str::to_owned),
    );
    keys.push(long);
    for kind in ["hash", "btree", "lmdb", "cdb"] {
        if !has(kind) {
            continue;
        }
        let path = dir.path().join(kind);
        fs::write(&path, &text).unwrap();
        compile(kind, &path);
        fs::remove_file(&path).unwrap();
        let spec = format!("{kind}:{}", path.display());
        let (found, _) = postmap(&spec, &keys);
        assert!(found.len() > 3000);
        let opened = load(&spec);
        assert_eq!(ours(&opened, &keys), found, "{kind}");
        assert!(messages(&opened).is_empty(), "{:?}", messages(&opened));
    }
}

/// Made by `postmap -N` (with NUL) and `-n` (without), and unfolded.
#[test]
fn with_and_without_nul() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["hash", "btree", "lmdb", "cdb"].into_iter().filter(|kind| has(kind)) {
        for flag in ["-n", "-N", "-f"] {
            let path = dir.path().join(format!("{kind}{flag}"));
            fs::write(&path, "a 1\nB 2\n").unwrap();
            let spec = format!("{kind}:{}", path.display());
            assert!(Command::new("postmap").args([flag, &spec]).status().unwrap().success());
            fs::remove_file(&path).unwrap();
            let keys = ["a", "A", "b", "B", "c"].map(str::to_owned);
            assert_eq!(ours(&load(&spec), &keys), postmap(&spec, &keys).0, "{spec}");
        }
    }
}

/// Every cut of a compiled table is an error, or (where only unused bytes are gone) a table; never a panic.
#[test]
fn cut_files() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, suffix) in [("hash", "db"), ("btree", "db"), ("lmdb", "lmdb"), ("cdb", "cdb")] {
        if !has(kind) {
            continue;
        }
        let path = dir.path().join(kind);
        fs::write(&path, (0..500).map(|n| format!("key{n} value {n}\n")).collect::<String>()).unwrap();
        compile(kind, &path);
        fs::remove_file(&path).unwrap();
        let file = path.with_extension(suffix);
        let whole = fs::read(&file).unwrap();
        let mut errors = 0;
        for part in 0..40 {
            fs::write(&file, &whole[..whole.len() * part / 40]).unwrap();
            errors += usize::from(open(&format!("{kind}:{}", path.display()), &OpenOptions::new("/")).is_err());
        }
        assert!(errors > 20, "{kind}: only {errors} errors");
    }
}

const REGEXP_LINES: &[&str] = &[
    "/",
    "!",
    "! ",
    "if /",
    "if !/",
    "IF/",
    "endif\n",
    "endif\n",
    "EndIf x\n",
    "a",
    "b",
    "(a)",
    "(b|bc)",
    "[ab]+",
    "^",
    "$",
    ".*",
    "\\/",
    "\\.",
    "(",
    "[",
    "a{2}",
    "/ ",
    "/i ",
    "/x ",
    "/m ",
    "/q ",
    "/im\t",
    "/ $1\n",
    "/ ${2}\n",
    "/ $(1)x$$\n",
    "/ r\n",
    "/ s t\n",
    "/\n",
    "\n",
    "\n ",
    "$3",
    "${",
    "#",
    "|",
    "/ one\n",
    "/ two\n",
    "/^a/ A\n",
    "/b$/ B $0\n",
    "!/c/ no c\n",
];

fn rules(kind: &str, seed: u64, pieces: &[&str], words: &[&str], extra: &str) {
    if !has(kind) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(seed);
    let mut hits = 0;
    for round in 0..rounds(80) {
        let text = rng.words(pieces, 50) + extra;
        let path = dir.path().join(format!("t{round}"));
        fs::write(&path, &text).unwrap();
        let keys = askable((0..40).map(|_| rng.words(words, 5)));
        let spec = format!("{kind}:{}", path.display());
        let (found, warnings) = postmap(&spec, &keys);
        let opened = load(&spec);
        // The obsolete form /pattern1/!/pattern2/ of regexp tables isn't supported.
        if kind == "regexp" && messages(&opened).iter().any(|text| text.contains("option \"!\"")) {
            continue;
        }
        let mut result = ours(&opened, &keys);
        // postmap itself warns of empty results, at each look-up, and prints them.
        let at_lookup =
            |text: &String| text.contains("empty string result") || text.contains("should return NO RESULT");
        let warnings: Vec<_> = warnings.into_iter().filter(|text| !at_lookup(text)).collect();
        result.retain(|key, value| !value.is_empty() || found.contains_key(key));
        assert_eq!(result, found, "{text}");
        // The text after an offset is PCRE2's own and differs between its versions.
        let comparable = |list: Vec<String>| -> Vec<String> {
            list.into_iter()
                .map(|text| text.split_once(" at offset").map_or(text.clone(), |(a, _)| a.to_owned()))
                .collect()
        };
        assert_eq!(comparable(messages(&opened)), comparable(warnings), "{text}");
        hits += found.len();
    }
    assert!(hits > 100, "{kind}: {hits} hits");
}

const WORDS: &[&str] = &["a", "b", "c", "A", "aa", "bc", "/", ".", "x ", "y"];

#[test]
fn odd_regexp_rules() {
    rules("regexp", 3, REGEXP_LINES, WORDS, "\n/^(a)(b|c)?/ <$1$2>\n");
}

#[test]
fn odd_pcre_rules() {
    rules("pcre", 4, REGEXP_LINES, WORDS, "\n/^(a)(b|c)?/ <$1$2>\n");
}

const PCRE_FLAG_LINES: &[&str] = &[
    "/a$/",
    "/^b/",
    "/a.c/",
    "/a+?(.*)/",
    "/(b|c)$/",
    "/^a | $ b/",
    "i",
    "m",
    "s",
    "x",
    "A",
    "E",
    "U",
    "X",
    " r$$\n",
    " one\n",
    " two\n",
];

#[test]
fn pcre_options() {
    rules("pcre", 9, PCRE_FLAG_LINES, WORDS, "\n/^a+(.+)/U u<$1>\n/b/A anch\n");
}

const CIDR_LINES: &[&str] = &[
    "1.2.3.4",
    "1.2.3.0",
    "1.2.0.0",
    "10.0.0.0",
    "0.0.0.0",
    "::",
    "::1",
    "2001:db8::",
    "[",
    "]",
    "[::1]",
    "[1.2.3.4]",
    "/",
    "/24",
    "/16",
    "/8",
    "/0",
    "/32",
    "/33",
    "/64",
    "/x",
    "!",
    "! ",
    "if ",
    "IF !",
    "endif\n",
    "endif\n",
    "ENDIF x\n",
    " r\n",
    " s t\n",
    " one\n",
    "\n",
    "\n",
    "\n ",
    "#",
    "1.2.3.0/24 net\n",
    "!10.0.0.0/8 not ten\n",
    "2001:db8::/32 six\n",
    "if 1.0.0.0/8\n",
    " two\n",
];

const ADDRESSES: &[&str] =
    &["1.2.3.4", "1.2.3.5", "10.1.1.1", "9.9.9.9", "::1", "2001:db8::5", "::", "x", "[::1]", "1.2.3", "0.0.0.0"];

#[test]
fn odd_cidr_rules() {
    rules("cidr", 5, CIDR_LINES, ADDRESSES, "\n1.2.0.0/16 wide\n");
}
