//! Random uses of postmap(1) and postalias(1): sources with all that can be wrong in them, tables of all types that
//! need no server, and options in all combinations.
//!
//! Not generated, because the answers are known to differ (docs/differences.md, or Postfix 3.12 beside the installed
//! 3.7.11): `-j` and `-v`; `-F` on sources of pattern tables; `dbm`, `sdbm`, `internal`, `proxy` and types with servers;
//! `-u` and `smtputf8_enable = no` with tables that aren't compiled and hold more than ASCII; `-n`
//! and `-N` for members of compounds; folders and foreign files in the place of tables.

use super::command::{Case, File};
use super::dice::Dice;
use super::postmap_texts::{ODD_LINES, key, keys, rules, some_keys, source};

/// Compiled types.
const COMPILED: &[&str] = &["hash", "btree", "lmdb", "cdb"];

/// A case of its own for every number.
pub fn case(seed: u64, number: u64) -> Case {
    let mut dice = Dice::new(seed ^ 0x706f_7374_6d61, number);
    let mut case = Case::default();
    let sort = dice.below(10);
    let utf8 = if dice.percent(8) && !(4..=6).contains(&sort) { "no" } else { "yes" };
    let kind = dice.pick(&["hash", "btree", "lmdb"]);
    case.file(
        "main.cf",
        format!("compatibility_level = 3.6\nsmtputf8_enable = {utf8}\ndefault_database_type = {kind}\n"),
    );
    match sort {
        0..=3 => compiled(&mut dice, &mut case),
        4..=6 => queried(&mut dice, &mut case),
        7 => message(&mut dice, &mut case),
        8 => aliases(&mut dice, &mut case),
        _ => misused(&mut dice, &mut case),
    }
    case
}

/// Options that may come with anything, each now and then.
fn options(dice: &mut Dice, of: &[&str]) -> Vec<String> {
    let mut options: Vec<String> = of.iter().filter(|_| dice.percent(12)).map(|letter| format!("-{letter}")).collect();
    if options.len() > 1 && dice.percent(50) {
        let letters: String = options.iter().map(|option| &option[1..]).collect();
        options = vec![format!("-{letters}")];
    }
    options
}

fn arguments(options: Vec<String>, rest: &[&[u8]]) -> Vec<Vec<u8>> {
    options.into_iter().map(String::into_bytes).chain(rest.iter().map(|word| word.to_vec())).collect()
}

/// Tables that are made, asked, changed and listed.
fn compiled(dice: &mut Dice, case: &mut Case) {
    let kind = dice.pick(COMPILED).to_owned();
    let table = if dice.percent(10) && kind != "cdb" { "t".to_owned() } else { format!("{kind}:t") };
    let unnamed = table == "t";
    let table = table.as_bytes();
    let files = dice.percent(8);
    let size = if dice.percent(10) { 900 } else { 25 };
    let text = if files { file_source(dice, case) } else { source(dice, size) };
    let mode = *dice.some(&[0o644, 0o600, 0o640, 0o664, 0o604, 0o400], 1, 1).first().unwrap_or(&0o644);
    case.files.push(File { name: "t".to_owned(), text, mode });
    let mut making = options(dice, &["f", "n", "N", "u", "r", "w", "o", "p"]);
    let asking: Vec<String> = ["-f", "-u"].iter().map(|o| (*o).to_owned()).filter(|o| making.contains(o)).collect();
    if files {
        making.push("-F".to_owned());
    }
    // A replaced value may move to another page of its bucket.
    let mut changed = making.iter().any(|option| option.contains('r'));
    case.step("postmap", arguments(making, &[table]));
    for _ in 0..dice.range(1, 5) {
        let mut more = if dice.percent(80) { asking.clone() } else { options(dice, &["f", "n", "N", "u"]) };
        if files && dice.percent(80) {
            more.push("-F".to_owned());
        }
        match dice.below(10) {
            0 if dice.percent(20) => drop(case.step("postmap", arguments(more, &[b"-q", b"", table]))),
            0..=1 => drop(case.step("postmap", arguments(more, &[b"-q", &key(dice), table]))),
            2..=4 => {
                let keys = keys(dice);
                case.step("postmap", arguments(more, &[b"-q", b"-", table])).input = keys;
            }
            5 => {
                changed = true;
                case.step("postmap", arguments(more, &[b"-d", &key(dice), table]));
            }
            6 => {
                changed = true;
                // A run that fails changes nothing here.
                let keys = some_keys(dice, b"x");
                case.step("postmap", arguments(more, &[b"-d", b"-", table])).input = keys;
            }
            7 => {
                changed = true;
                more.extend(options(dice, &["r", "w", "i"]));
                let text = source(dice, 12);
                case.step("postmap", arguments(more, &[b"-i", table])).input = text;
            }
            _ => {
                let step = case.step("postmap", arguments(more, &[b"-s", table]));
                step.unordered = changed && (kind == "hash" || unnamed);
            }
        }
    }
    let step = case.step("postmap", arguments(Vec::new(), &[b"-s", table]));
    step.unordered = changed && (kind == "hash" || unnamed);
}

/// Values that name files.
fn file_source(dice: &mut Dice, case: &mut Case) -> Vec<u8> {
    for name in ["f1", "f2", "f3"] {
        let text = dice.pick(&[&b"one\n"[..], b"", b"two\nlines", b"\xff\x00\xfe"]).to_vec();
        case.file(name, text);
    }
    let mut text = String::new();
    for number in 0..dice.range(1, 8) {
        text.push_str(&format!(
            "k{number} {}\n",
            dice.pick(&["f1", "f2", "f3", "f1, f2", "f1 f3,f2", "nosuch", "f1,nosuch"])
        ));
    }
    text.into_bytes()
}

/// A reference to a table that can be asked.
fn reference(dice: &mut Dice, case: &mut Case, depth: usize) -> String {
    let number = case.files.len();
    match dice.below(if depth > 0 { 14 } else { 17 }) {
        0..=2 => {
            let kind = dice.pick(COMPILED).to_owned();
            case.file(&format!("t{number}"), source(dice, 12));
            case.step("postmap", [format!("{kind}:t{number}")]);
            format!("{kind}:t{number}")
        }
        3 => {
            // With one good line: a text without any is taken for another kind of file.
            case.file(&format!("t{number}"), [b"good line\n", &source(dice, 12)[..]].concat());
            format!("texthash:t{number}")
        }
        4..=6 => {
            let kind = dice.pick(&["regexp", "pcre", "cidr"]).to_owned();
            let text = rules(dice, &kind);
            case.file(&format!("t{number}"), text);
            format!("{kind}:t{number}")
        }
        7 => dice
            .pick(&[
                "regexp:{{/a(.)?/ <$1>}, {/./ any}}",
                "pcre:{ {/(k)ey/i $1} }",
                "cidr:{{1.2.3.4 x}}",
                "regexp:{/a/ b}",
                "pcre:{{/a/ b}",
                "cidr:{ {10.0.0.0/8 y} , {1.2.3.4/8 z} }",
            ])
            .to_owned(),
        8..=9 => dice
            .pick(&["static:x", "static:{ a b }", "static:{a", "static:caf\u{e9}", "static:a", "static:key", "static:"])
            .to_owned(),
        10 => dice
            .pick(&[
                "inline:{a=b}",
                "inline:{A=1, { key = two words } }",
                "inline:{a=b, a=c}",
                "inline:{ {a}}",
                "inline:x",
                "inline:{}",
                "inline:{caf\u{c9}=y}",
                "inline:{{b = }}",
                "inline:{a = b}",
            ])
            .to_owned(),
        11 => dice
            .pick(&[
                "environ:x",
                "fail:x",
                "randmap:{x}",
                "randmap:{}",
                "unix:passwd.byname",
                "unix:group.byname",
                "unix:foo",
            ])
            .to_owned(),
        12 => dice
            .pick(&[
                "hash:nosuch",
                "btree:nosuch",
                "lmdb:nosuch",
                "cdb:nosuch",
                "texthash:nosuch",
                "regexp:nosuch",
                "pcre:nosuch",
                "cidr:nosuch",
                "nosuch:x",
                ":x",
                "t",
                "x y:z",
            ])
            .to_owned(),
        13 => format!("{}:{}", dice.pick(COMPILED), dice.pick(&["", "./nosuch", "/nosuch/x", "a b"])),
        _ => {
            let members: Vec<String> = (0..dice.range(1, 3)).map(|_| reference(dice, case, depth + 1)).collect();
            let kind = dice.pick(&["unionmap", "pipemap"]);
            format!("{kind}:{{{}}}", members.join(dice.pick(&[",", ", ", " "])))
        }
    }
}

fn queried(dice: &mut Dice, case: &mut Case) {
    let tables: Vec<String> = (0..dice.range(1, 3)).map(|_| reference(dice, case, 0)).collect();
    let plain = tables.iter().any(|table| table.contains("texthash:") || table.contains("inline:"));
    let compound = tables.iter().any(|table| table.contains("map:{"));
    for _ in 0..dice.range(1, 3) {
        let mut more = options(dice, if plain { &["f", "o"] } else { &["f", "u", "o", "U", "i"] });
        if !compound {
            more.extend(options(dice, &["n", "N"]));
        }
        let tables: Vec<&[u8]> = tables.iter().map(String::as_bytes).collect();
        match dice.below(10) {
            0..=3 => drop(case.step("postmap", arguments(more, &[&[&b"-q"[..], &key(dice)], &tables[..]].concat()))),
            4..=7 => {
                let keys = some_keys(dice, b"x");
                case.step("postmap", arguments(more, &[&[&b"-q"[..], b"-"], &tables[..]].concat())).input = keys;
            }
            8 => {
                // Some tables have an order of their own there.
                let step = case.step("postmap", arguments(more, &[&[&b"-s"[..]], &tables[..]].concat()));
                step.unordered = plain;
            }
            _ => drop(case.step("postmap", arguments(more, &[&[&b"-d"[..], &key(dice)], &tables[..]].concat()))),
        }
    }
}

fn message(dice: &mut Dice, case: &mut Case) {
    const LINES: &[&str] = &[
        "From: a@b",
        "Subject: x",
        "  folded",
        "\tfolded",
        "To : c",
        "MIME-Version: 1.0",
        "no header",
        "",
        "",
        "body",
        "Content-Type: multipart/mixed; boundary=BB",
        "Content-Type: multipart/mixed; boundary=\"C C\"",
        "--BB",
        "--BB",
        "--BB--",
        "--C C",
        "--C C--",
        "Content-Type: message/rfc822",
        "Content-Type: text/plain",
        "A:",
        ": b",
        "Content-Transfer-Encoding: base64",
        "caf\u{e9}: \u{e9}",
        "X: \u{e9}",
        ".",
        "From x",
        "Content-Type: message/partial",
        "content-type: multipart/digest; boundary=BB",
    ];
    let mut text = Vec::new();
    for _ in 0..dice.range(0, 25) {
        match dice.below(25) {
            0 => text.extend_from_slice(b"x\xe9: \xe9"),
            1 => text.extend_from_slice(b"b: \xe9\r"),
            _ => text.extend_from_slice(dice.pick(LINES).as_bytes()),
        }
        text.push(b'\n');
    }
    if dice.percent(10) {
        text.extend_from_slice(b"end");
    }
    let mut more: Vec<String> = vec![dice.pick(&["-h", "-b", "-hb", "-hm", "-bm", "-hbm", "-m"]).to_owned()];
    more.extend(options(dice, &["u", "U", "f"]));
    let table = match dice.below(4) {
        0 => "regexp:{{/(.*)/ <$1>}}".to_owned(),
        1 => "pcre:{{/^(.)/ <$1>}}".to_owned(),
        2 => "static:x".to_owned(),
        _ => {
            let text = rules(dice, "regexp");
            case.file("t", text);
            "regexp:t".to_owned()
        }
    };
    case.step("postmap", arguments(more, &[b"-q", b"-", table.as_bytes()])).input = text;
}

fn aliases(dice: &mut Dice, case: &mut Case) {
    const NAMES: &[&str] =
        &["a", "Root", "b.c", "postmaster", "x-y", "list+", "a/b", "caf\u{e9}", "a@b", "a,b", "a", "d"];
    const QUOTED: &[&str] = &["\"q r\"", "a b", "\"x\"", "(c) d", "a\\ b", "\"c@d\""];
    const PIECES: &[&str] = &[
        "a",
        "b@c",
        ",",
        ", ",
        "\"q r\"",
        "|\"cmd x\"",
        "\"|cmd a\"",
        ":include:/x",
        "/file/x",
        "(c)",
        "<d@e>",
        ";",
        " ",
        ":",
        "[1.2.3.4]",
        "\\",
        "\"",
        "(",
        "x.y",
        "!",
        "%",
        "caf\u{e9}",
        "\t",
        "\u{1}",
        "@",
        "[",
        ")",
        "#",
    ];
    let quotes = dice.percent(25);
    let mut text = Vec::new();
    for _ in 0..dice.range(0, 15) {
        match dice.below(12) {
            0 => text.extend_from_slice(dice.pick(ODD_LINES).as_bytes()),
            1 => text.extend_from_slice(b"z\xe9: y"),
            _ => {
                let name = if quotes && dice.percent(40) { dice.pick(QUOTED) } else { dice.pick(NAMES) };
                let value: String = (0..dice.range(0, 6)).map(|_| dice.pick(PIECES)).collect();
                text.extend(format!("{name}:{}{value}", dice.pick(&[" ", "", "\t"])).bytes());
            }
        }
        text.push(b'\n');
    }
    // Names with blanks come by accident in odd lines, too.
    let odd = quotes || ODD_LINES.iter().any(|line| !line.is_empty() && contains(&text, line.as_bytes()));
    case.file("t", text);
    let kind = dice.pick(COMPILED);
    let table = format!("{kind}:t");
    let table = table.as_bytes();
    let more = options(dice, &["f", "n", "N", "u", "r", "w", "o", "p"]);
    let mut changed = more.iter().any(|option| option.contains('r'));
    case.step("postalias", arguments(more, &[table]));
    for _ in 0..dice.range(0, 3) {
        match dice.below(4) {
            0 => drop(case.step("postalias", arguments(Vec::new(), &[b"-q", dice.pick(NAMES).as_bytes(), table]))),
            1 => {
                case.step("postalias", arguments(Vec::new(), &[b"-q", b"-", table])).input =
                    NAMES.join("\n").into_bytes()
            }
            2 => {
                changed = true;
                case.step("postalias", arguments(Vec::new(), &[b"-i", table])).input = b"new: entry\na: x\n".to_vec();
            }
            _ => {
                changed = true;
                case.step("postalias", arguments(Vec::new(), &[b"-d", dice.pick(NAMES).as_bytes(), table]));
            }
        }
    }
    let step = case.step("postalias", arguments(Vec::new(), &[b"-s", table]));
    step.unordered = odd || (changed && kind == "hash");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Command lines of any sort.
fn misused(dice: &mut Dice, case: &mut Case) {
    case.file("t", source(dice, 5));
    let tool = if dice.percent(30) { "postalias" } else { "postmap" };
    const PARTS: &[&str] = &[
        "-b",
        "-f",
        "-h",
        "-i",
        "-m",
        "-n",
        "-N",
        "-o",
        "-p",
        "-r",
        "-s",
        "-u",
        "-w",
        "-q",
        "-d",
        "-",
        "--",
        "a",
        "-qa",
        "-da",
        "-q-",
        "-c.",
        "-c",
        "-cnosuch",
        "-Z",
        "-x",
        "-sq",
        "-iq",
        "hash:t",
        "btree:t",
        "cdb:t",
        "lmdb:t",
        "regexp:t",
        "static:x",
        "hash:nosuch",
        "t",
        "fail:t",
        "texthash:t",
        "environ:t",
        "tcp:t",
        "foo:t",
        "unix:t",
        "inline:t",
        "proxy:hash:t",
        "mysql:t",
    ];
    let mut words: Vec<&str> = (0..dice.range(0, 4)).map(|_| dice.pick(PARTS)).collect();
    if dice.percent(80) {
        words.push(dice.pick(&["hash:t", "btree:t", "cdb:t", "lmdb:t"]));
    }
    // Asking an unreachable server takes its time.
    let asks = |word: &&str| word.starts_with("-q") || word.starts_with("-d") || word.contains('s');
    if words.iter().any(asks) {
        words.retain(|word| !word.starts_with("tcp:") && !word.starts_with("mysql:") && !word.starts_with("proxy:"));
    }
    let input = keys(dice);
    let step = case.step(tool, words);
    step.input = input;
    step.unordered = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_case() {
        assert_eq!(case(1, 5), case(1, 5));
        assert_ne!(case(1, 5), case(1, 6));
        assert_ne!(case(1, 5), case(2, 5));
    }

    #[test]
    fn everything_is_tried() {
        let text: String = (0..600).map(|n| case(1, n)).map(|case| case.script(99)).collect();
        let letters = ["-f", "-n", "-N", "-u", "-r", "-w", "-o", "-p", "-F", "-i", "-s", "-q", "-d", "-hb", "-U"];
        let kinds =
            ["regexp:", "pcre:", "cidr:", "texthash:", "unionmap:", "pipemap:", "environ:", "unix:", "randmap:"];
        for part in letters.iter().chain(&kinds).chain(COMPILED).chain(&["postalias", "\\xe9", "inline:", "fail:"]) {
            assert!(text.contains(part), "{part}");
        }
    }
}
