//! Random access tables, of every type that both programs have.

use super::dice::Dice;
use super::draft::Draft;
use super::known;
use super::words::{self, DOMAINS, HELOS};

const CLIENT_KEYS: &[&str] = &[
    "client.example.net",
    "example.net",
    "net",
    ".example.net",
    ".net",
    "unknown",
    "192.0.2.10",
    "192.0.2.11",
    "192.0.2",
    "192.0",
    "192",
    "192.0.2.",
    "forged.example",
    "fwtemp.example",
    "ok.example",
    "example",
    ".example",
    "198.51.100.7",
    "198.51.100",
    "127.0.0.1",
    "localhost",
    "2001:db8::10",
    "2001:db8:",
    "2001:db8",
    "2001",
    "2001:db8::",
    "six.ok.example",
    "bad_name.example",
];

const SERVER_KEYS: &[&str] = &[
    "192.0.2.30",
    "192.0.2",
    "192.0.2.31",
    "127.0.0.1",
    "127",
    "mx.mxonly.example",
    "mxonly.example",
    "lo.example",
    "ns.bad.example",
    "203.0.113",
    "203.0.113.53",
    "example",
    ".example",
    "bad.example",
    "ns.ok.example",
    ".ok.example",
    "192.0.2.7",
    "192.0.2.35",
    "2001:db8::30",
    "2001:db8:",
    "2001",
    "mail.example.com",
    "primary.example",
    "192.0.2.1",
    "temphost.example",
    "mx.example.net",
    "com",
    "192.0.2.38",
];

/// A key that could be looked up by this restriction.
fn key(dice: &mut Dice, draft: &Draft, restriction: &str) -> String {
    let server = ["_a_access", "_mx_access", "_ns_access"].iter().any(|end| restriction.ends_with(end));
    if server && dice.percent(85) {
        return dice.pick(SERVER_KEYS).to_owned();
    }
    if restriction.contains("client") {
        return dice.pick(CLIENT_KEYS).to_owned();
    }
    if restriction.contains("helo") {
        return match dice.below(4) {
            0 => {
                dice.pick(&["example", "net", "ok.example", ".example", ".example.net", "192.0.2", "db8::1"]).to_owned()
            }
            _ => dice.pick(HELOS).replace(' ', ""),
        };
    }
    if restriction.contains("etrn") {
        return dice.pick(&["ok.example", "relay.example", "example", ".example", "[192.0.2.7]"]).to_owned();
    }
    if restriction.contains("sasl") {
        return dice.pick(&["joe", "sue", "user@ok.example", "JOE"]).to_owned();
    }
    mail_key(dice, draft)
}

fn mail_key(dice: &mut Dice, draft: &Draft) -> String {
    let domain = dice.pick(DOMAINS);
    let local = match dice.below(4) {
        0 if draft.cases > 0 => format!("c{}", dice.below(draft.cases)),
        _ => dice
            .pick(&["user", "user", "user+ext", "postmaster", "user-ext", "owner-x", "\"user\"", "us\\er"])
            .to_owned(),
    };
    match dice.below(14) {
        0..4 => domain.to_owned(),
        4..7 => format!("{local}@{domain}"),
        7..9 => format!("{local}@"),
        9 => dice.pick(&["example", "com", ".example", ".ok.example", ".com"]).to_owned(),
        10 => dice.pick(&["<>", "nullsender", "@"]).to_owned(),
        11 => dice
            .pick(&["münchen.example", "xn--mnchen-3ya.example", "exämple.com", "faß.example", "ok.example"])
            .to_owned(),
        12 => dice.pick(&["192.0.2", "[192.0.2", "[192.0.2.7]", "user%ok.example@example.com"]).to_owned(),
        _ => {
            dice.pick(&["user@ok.example", "user+ext@ok.example", "user@example.com", "user@relay.example"]).to_owned()
        }
    }
}

const PATTERNS: &[&str] = &[
    "example",
    "ok",
    "@",
    "^192",
    "^user",
    "^user@",
    "unknown",
    "\\.example$",
    "^(.*)@(.*)$",
    "^([a-z]+)\\+",
    "[[:upper:]]",
    "^[^@]*$",
    "(ok|relay)\\.example",
    ".",
    "^$",
    "^(x)?(.*)$",
    "^2001:",
];

/// One to five `key value` pairs with different keys.
fn entries(dice: &mut Dice, draft: &Draft, restriction: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for _ in 0..dice.range(1, 5) {
        let key = key(dice, draft, restriction);
        if !entries.iter().any(|(k, _)| k.eq_ignore_ascii_case(&key)) {
            entries.push((key, words::action(dice)));
        }
    }
    entries
}

fn inline(dice: &mut Dice, draft: &Draft, restriction: &str) -> String {
    let usable = |(key, _): &(String, String)| !key.contains(['=', ',', '"', '\\']);
    let entries: Vec<_> = entries(dice, draft, restriction).into_iter().filter(usable).collect();
    let shown: Vec<String> = entries.iter().map(|(k, v)| format!("{{{k} = {v}}}")).collect();
    format!("inline:{{ {} }}", if shown.is_empty() { "x=y".to_owned() } else { shown.join(" ") })
}

/// The rules of a `regexp:` or `pcre:` table.
fn pattern_rules(dice: &mut Dice) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for _ in 0..dice.range(1, 5) {
        let pattern = dice.pick(PATTERNS);
        let not = if dice.percent(15) { "!" } else { "" };
        let flags = dice.pick(&["", "", "", "i"]);
        if dice.percent(15) {
            text += &format!("if {not}/{pattern}/{flags}\n");
            depth += 1;
            continue;
        }
        let groups = if not.is_empty() { pattern.matches('(').count() } else { 0 };
        let action = match dice.below(4) {
            0 if groups > 0 => format!("REJECT group $1 ${{{groups}}}"),
            1 => "REJECT costs $$5".to_owned(),
            _ => words::action(dice),
        };
        text += &format!("{not}/{pattern}/{flags} {action}\n");
        if depth > 0 && dice.percent(40) {
            text += "endif\n";
            depth -= 1;
        }
    }
    text + &"endif\n".repeat(depth)
}

const NETS: &[&str] = &[
    "192.0.2.0/24",
    "192.0.2.10",
    "192.0.2.8/29",
    "127.0.0.0/8",
    "0.0.0.0/0",
    "198.51.100.0/25",
    "2001:db8::/32",
    "::/0",
    "2001:db8::10",
    "203.0.113.0/24",
];

fn cidr_rules(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..dice.range(1, 4) {
        let not = if dice.percent(15) { "!" } else { "" };
        let net = dice.pick(NETS);
        if dice.percent(10) {
            text += &format!("if {not}{net}\n{} {}\nendif\n", dice.pick(NETS), words::action(dice));
        } else {
            text += &format!("{not}{net} {}\n", words::action(dice));
        }
    }
    text
}

/// `text` as rules in braces, for main.cf.
fn braced(rules: &str) -> String {
    let rules: Vec<String> = rules.lines().map(|r| format!("{{{}}}", r.replace('$', "$$"))).collect();
    format!("{{ {} }}", rules.join(" "))
}

fn lines(entries: &[(String, String)]) -> String {
    entries.iter().map(|(k, v)| format!("{} {v}\n", k.replace(' ', ""))).collect()
}

/// A table for this restriction; what it needs besides goes into the draft.
pub fn table(dice: &mut Dice, draft: &mut Draft, restriction: &str) -> String {
    match dice.below(100) {
        0..22 => format!("static:{{{}}}", words::action(dice)),
        22..60 => inline(dice, draft, restriction),
        60..68 => {
            let rules = pattern_rules(dice);
            // the braces of ${1} are not for main.cf
            let kind = dice.pick(&["pcre", "regexp"]);
            match draft.table_name().filter(|_| dice.percent(50) || rules.contains(['{', '}'])) {
                Some(name) => {
                    draft.block(&format!("file {name}"), &rules);
                    format!("{kind}:/etc/postfix/{name}")
                }
                None => format!("{kind}:{}", braced(&rules.replace("${", "$").replace('}', ""))),
            }
        }
        68..76 => format!("cidr:{}", braced(&cidr_rules(dice))),
        76..78 => "fail:broken".to_owned(),
        78..82 => {
            let (one, two) = (inline(dice, draft, restriction), inline(dice, draft, restriction));
            format!("unionmap:{{ {one}, {two} }}")
        }
        82..84 => {
            let one = inline(dice, draft, restriction);
            format!("pipemap:{{ {one}, static:{{{}}} }}", words::action(dice))
        }
        84..85 => "randmap:{DUNNO}".to_owned(),
        85..87 => "unix:passwd.byname".to_owned(),
        87..90 => server_table(dice, draft, restriction),
        _ => match draft.table_name() {
            None => inline(dice, draft, restriction),
            Some(name) => {
                let kind = dice.pick(&["hash", "texthash", "lmdb", "cdb", "btree"]);
                let heading = if kind == "texthash" { format!("file {name}") } else { format!("map {kind} {name}") };
                draft.block(&heading, &lines(&entries(dice, draft, restriction)));
                format!("{kind}:/etc/postfix/{name}")
            }
        },
    }
}

/// A `tcp:` or `socketmap:` table.
fn server_table(dice: &mut Dice, draft: &mut Draft, restriction: &str) -> String {
    let kinds: Vec<&str> = ["tcp", "socketmap"].into_iter().filter(|kind| !known::avoided(kind)).collect();
    let Some(kind) = kinds.get(dice.below(kinds.len())) else { return inline(dice, draft, restriction) };
    let Some(name) = draft.table_name() else { return inline(dice, draft, restriction) };
    let port = 10050 + name.bytes().last().map_or(0, u16::from);
    let socketmap = *kind == "socketmap";
    let mut rules = String::new();
    for (key, value) in entries(dice, draft, restriction) {
        let reply = match dice.below(10) {
            0 if socketmap => "TEMP not now".to_owned(),
            0 => "400 not now".to_owned(),
            _ if socketmap => format!("OK {value}"),
            _ => format!("200 {}", value.replace('%', "%25").replace(' ', "%20")),
        };
        let key = key.replace(' ', "");
        rules += &if socketmap { format!("acc {key} => {reply}\n") } else { format!("{key} => {reply}\n") };
    }
    draft.block(&format!("{} 127.0.0.1:{port}", if socketmap { "socketmap" } else { "tcptable" }), &rules);
    if socketmap { format!("socketmap:inet:127.0.0.1:{port}:acc") } else { format!("tcp:127.0.0.1:{port}") }
}
