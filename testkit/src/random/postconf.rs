//! Random uses of postconf(1): main.cf and master.cf files with all that can be wrong in them, shown and edited.
//!
//! Not generated, because Postfix 3.12 differs from the installed 3.7.11 there: `-j` and `-q`, lists of all parameters
//! or types, parameters that came, went or got another default since, functions in expansions, and warnings about
//! deprecated names.

use super::command::Case;
use super::dice::Dice;

/// Parameters that 3.7 and 3.12 have in common, with the same defaults.
const NAMES: &[&str] = &[
    "myorigin",
    "mydestination",
    "mynetworks",
    "relayhost",
    "relay_domains",
    "message_size_limit",
    "mailbox_size_limit",
    "queue_run_delay",
    "smtpd_banner",
    "smtpd_client_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_restriction_classes",
    "smtpd_helo_required",
    "virtual_alias_maps",
    "virtual_alias_domains",
    "canonical_maps",
    "transport_maps",
    "notify_classes",
    "default_rbl_reply",
    "smtpd_timeout",
    "maximal_queue_lifetime",
    "recipient_delimiter",
    "local_recipient_maps",
    "smtpd_sender_login_maps",
    "header_checks",
    "disable_vrfy_command",
    "bounce_template_file",
];

const OTHERS: &[&str] = &[
    "foo",
    "bar",
    "my_class",
    "other_class",
    "x_server_host",
    "x_search_base",
    "x_dbname",
    "slow_destination_concurrency_limit",
    "slow_initial_destination_concurrency",
    "pipe_time_limit",
    "nosuch",
    "_",
    "a1",
];

const VALUES: &[&str] = &[
    "yes",
    "no",
    "1024",
    "30s",
    "example.com",
    "$myorigin",
    "${foo}",
    "$(bar)",
    "$foo, $bar",
    "${foo?x}",
    "${foo:y}",
    "${foo?{a}:{b}}",
    "${{$foo} == {x} ? {same} : {other}}",
    "$nosuch",
    "$$literal",
    "hash:/etc/postfix/t",
    "ldap:x",
    "proxy:mysql:x, hash:y",
    "my_class, permit",
    "permit_mynetworks, reject_unauth_destination",
    "check_client_access hash:/x, check_sender_access { inline:{ a=b } }",
    "a b c",
    "a,b,  c",
    "",
    "my_class other_class",
    "$",
    "${unclosed",
    "$.x",
    "caf\u{e9}",
    "\"quoted\"",
    "a = b",
    "word word word word word word word word word word word word word word word word word word word",
];

const SERVICES: &[&str] = &[
    "smtp inet n - y - - smtpd",
    "smtp      inet  n       -       n       -       -       smtpd",
    "submission inet n - n - - smtpd",
    "127.0.0.1:10025 inet n - n - 10 smtpd -v",
    "pickup unix n - n 60 1 pickup",
    "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 300? 1 qmgr",
    "slow unix - - n - 1 smtp",
    "relay unix - - n - - smtp",
    "maildrop unix - n n - - pipe",
    "policy unix - n n - 0 spawn",
    "[::1]:25 inet n - n - - smtpd",
    "smtp unix - - n - - smtp",
];

const OPTIONS: &[&str] = &[
    "-o smtpd_banner=x",
    "-o { smtpd_banner = a b }",
    "-o mynetworks=$foo",
    "-o foo=1",
    "-o bar=$foo",
    "-v",
    "-o syslog_name=postfix/$service_name",
    "-o smtpd_recipient_restrictions=my_class,reject",
    "-o my_class=permit",
    "-o smtpd_restriction_classes=my_class",
    "-o content_filter=",
    "-o nothing",
    "flags=R user=x argv=/bin/true ${sender} $recipient",
    "{ two words }",
    "-o relayhost={x}",
    "-D",
];

/// A case of its own for every number.
pub fn case(seed: u64, number: u64) -> Case {
    let mut dice = Dice::new(seed ^ 0x706f_7374_636f_6e66, number);
    let mut case = Case::default();
    let main = main_cf(&mut dice);
    case.file("main.cf", main);
    let master = master_cf(&mut dice);
    case.file("master.cf", master);
    for _ in 0..dice.range(1, 4) {
        let words = match dice.below(10) {
            0..=4 => show_main(&mut dice),
            5..=7 => show_master(&mut dice),
            8 => edit(&mut dice),
            _ => misuse(&mut dice),
        };
        case.step("postconf", words);
    }
    case
}

fn name(dice: &mut Dice) -> String {
    (if dice.percent(70) { dice.pick(NAMES) } else { dice.pick(OTHERS) }).to_owned()
}

/// A definition; parameters of users don't refer to others, which could be in circles.
fn setting(dice: &mut Dice, equals: &str, wild: bool) -> String {
    let name = name(dice);
    let value = loop {
        let value = value(dice, wild);
        if !OTHERS.contains(&name.as_str()) || !value.contains('$') {
            break value;
        }
    };
    format!("{name}{equals}{value}")
}

fn value(dice: &mut Dice, wild: bool) -> String {
    // Broken macros end everything, so they come seldom.
    loop {
        let value = dice.pick(VALUES);
        let broken = matches!(value, "$" | "${unclosed" | "$.x");
        if !broken || (wild && dice.percent(20)) {
            return value.to_owned();
        }
    }
}

fn main_cf(dice: &mut Dice) -> String {
    let mut text = String::from("compatibility_level = 3.6\n");
    let wild = dice.percent(10);
    for _ in 0..dice.range(0, 12) {
        match dice.below(16) {
            0 => text.push_str(dice.pick(&["# comment\n", "\n", "  # indented comment\n", "   \n", "#\n"])),
            1 => text.push_str(&format!("{}\n", setting(dice, "=", wild))),
            2 => text.push_str(&format!("{},\n  more\n", setting(dice, " = ", wild))),
            3 => text.push_str(&format!("{}\n", setting(dice, " =\n# between\n\n\t", wild))),
            4 => text.push_str(&format!("{}  \n", setting(dice, "   =   ", wild))),
            5 if wild => text.push_str(dice.pick(&["no equals\n", "= x\n", "two words = x\n", "a.b = c\n"])),
            6 => text.push_str(&format!("{}\r\n", setting(dice, " = ", wild))),
            _ => text.push_str(&format!("{}\n", setting(dice, " = ", wild))),
        }
    }
    if dice.percent(3) {
        text.insert_str(0, " leading = x\n");
    }
    text
}

fn master_cf(dice: &mut Dice) -> String {
    let mut text = String::new();
    let wild = dice.percent(8);
    for service in dice.some(SERVICES, 0, 6) {
        text.push_str(service);
        for _ in 0..dice.below(4) {
            let option = dice.pick(OPTIONS);
            if option == "-o nothing" && !wild {
                continue;
            }
            text.push_str(dice.pick(&[" ", "\n  ", "\n\t", "\n# c\n  "]));
            text.push_str(option);
        }
        text.push('\n');
        match dice.below(10) {
            0 => text.push_str("# comment\n"),
            1 => text.push('\n'),
            2 if wild => text.push_str(dice.pick(&[
                "bad inet n - n\n",
                "x inet z - n - - smtpd\n",
                "x foo n - n - - smtpd\n",
                "x unix n - n x 0 y\n",
                "x inet n - n - - smtpd { open\n",
                "x inet n - n - - smtpd -o {a b}\n",
            ])),
            _ => {}
        }
    }
    text
}

/// Letters together or apart.
fn letters(dice: &mut Dice, of: &[&str]) -> Vec<String> {
    let letters: Vec<&str> = of.iter().filter(|_| dice.percent(30)).copied().collect();
    if dice.percent(50) || letters.is_empty() {
        return letters.iter().map(|letter| format!("-{letter}")).collect();
    }
    vec![format!("-{}", letters.concat())]
}

fn show_main(dice: &mut Dice) -> Vec<String> {
    let mut words = letters(dice, &["x", "f", "h", "H"]);
    if dice.percent(20) {
        words.extend(["-o".to_owned(), setting(dice, "=", false)]);
    }
    match dice.below(10) {
        0..=4 => {
            words.push("-n".to_owned());
            if dice.percent(30) {
                words.extend([
                    "-C".to_owned(),
                    dice.pick(&["builtin", "service", "user", "all", "user,service"]).to_owned(),
                ]);
            }
        }
        5 => words.extend(["-C".to_owned(), dice.pick(&["user", "service"]).to_owned()]),
        6 => {
            words.push("-d".to_owned());
            words.extend((0..dice.range(1, 4)).map(|_| name(dice)));
        }
        _ => words.extend((0..dice.range(1, 5)).map(|_| name(dice))),
    }
    words
}

fn entry(dice: &mut Dice, parts: usize) -> String {
    let service =
        dice.pick(&["smtp", "submission", "pickup", "slow", "*", "maildrop", "nosuch", "127.0.0.1:10025", "policy"]);
    let mut text = service.to_owned();
    for part in 1..parts {
        let more = match part {
            1 => dice.pick(&["inet", "unix", "*", "fifo"]).to_owned(),
            _ => dice
                .pick(&[
                    "chroot",
                    "command",
                    "*",
                    "smtpd_banner",
                    "foo",
                    "process_limit",
                    "private",
                    "bogus",
                    "mynetworks",
                ])
                .to_owned(),
        };
        text.push('/');
        text.push_str(&more);
    }
    text
}

fn show_master(dice: &mut Dice) -> Vec<String> {
    let mode = dice.pick(&["M", "F", "P"]).to_owned();
    let mut words = letters(dice, &["x", "f", "o"]);
    words.retain(|word| !word.contains('o'));
    if mode != "M" {
        words.extend(letters(dice, &["h", "H"]));
    }
    words.push(format!("-{mode}"));
    let most = if mode == "M" { 2 } else { 3 };
    for _ in 0..dice.below(3) {
        let parts = dice.range(1, most);
        words.push(entry(dice, parts));
    }
    words
}

fn edit(dice: &mut Dice) -> Vec<String> {
    match dice.below(8) {
        0..=2 => {
            let mut words = if dice.percent(50) { vec!["-e".to_owned()] } else { Vec::new() };
            words.extend(
                (0..dice.range(1, 3))
                    .map(|_| format!("{}{}{}", name(dice), dice.pick(&["=", " = "]), value(dice, false))),
            );
            words
        }
        3 => ["-#".to_owned(), dice.pick(NAMES).to_owned(), dice.pick(OTHERS).to_owned()].into(),
        4 => ["-X".to_owned(), dice.pick(NAMES).to_owned(), dice.pick(OTHERS).to_owned()].into(),
        5 => {
            let mut words: Vec<String> = dice
                .pick(&["-M# ", "-MX ", "-M -e "])
                .split(' ')
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect();
            let edits = words.len() == 2;
            let of = entry(dice, 2);
            words.push(if edits { format!("{of}={}", dice.pick(SERVICES)) } else { of });
            words
        }
        6 => {
            let field = dice.pick(&["chroot", "process_limit", "private", "wakeup", "command", "bogus"]);
            let new = dice.pick(&["n", "y", "-", "10", "z", "smtpd -v"]);
            ["-F".to_owned(), format!("{}/{field}={new}", entry(dice, 2))].into()
        }
        _ if dice.percent(50) => {
            ["-P".to_owned(), format!("{}/{}={}", entry(dice, 2), name(dice), dice.pick(&["x", "$foo", "", "a b"]))]
                .into()
        }
        _ => ["-PX".to_owned(), format!("{}/{}", entry(dice, 2), name(dice))].into(),
    }
}

fn misuse(dice: &mut Dice) -> Vec<String> {
    const PARTS: &[&str] = &[
        "-n",
        "-d",
        "-h",
        "-H",
        "-x",
        "-f",
        "-M",
        "-F",
        "-P",
        "-e",
        "-#",
        "-X",
        "-C",
        "user",
        "-c",
        ".",
        "-Z",
        "-nd",
        "-hH",
        "-MF",
        "foo",
        "foo=bar",
        "=x",
        "-c.",
        "-cnosuch",
        "-ox=y",
        "myorigin",
        "smtp/inet",
        "-Mn",
        "--",
        "-C foo",
    ];
    let mut words: Vec<String> = (0..dice.range(1, 4)).map(|_| dice.pick(PARTS).to_owned()).collect();
    // One that names a file that isn't there, or an edit of another kind, may be refused for either.
    if words.iter().any(|word| word.contains('=')) {
        words.retain(|word| !matches!(word.as_str(), "-cnosuch" | "-M" | "-F" | "-P" | "-MF"));
    }
    words.dedup();
    if words.iter().any(|word| word == "-#" || word == "-X") {
        // Postfix crashes when a name comes twice.
        words.sort();
        words.dedup();
    }
    // All parameters of two versions can't be compared.
    let narrows = |at: usize| {
        let word = words[at].as_str();
        let is_value = at > 0 && words[at - 1] == "-c";
        !word.starts_with('-') && word != "user" && word != "." && !is_value
            || matches!(word, "-M" | "-F" | "-P" | "-n" | "-Mn")
    };
    if !(0..words.len()).any(narrows) {
        if words.last().is_some_and(|last| last == "-c") {
            words.push(".".to_owned());
        }
        words.push("relayhost".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_case() {
        assert_eq!(case(1, 5), case(1, 5));
        assert_ne!(case(1, 5), case(1, 6));
    }

    #[test]
    fn everything_is_tried() {
        let text: String = (0..400).map(|n| case(1, n)).map(|case| case.script(99)).collect();
        for part in ["-n", "-d", "-x", "-f", "-M", "-F", "-P", "-e", "-X", "-MX", "-C", "-PX", "myorigin", "leading"] {
            assert!(text.contains(part), "{part}");
        }
    }
}
