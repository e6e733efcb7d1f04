//! What differs between any two runs is taken out before comparing: queue ids, dates, client ports, versions, TLS
//! details. Nothing else is. And of the log, only the lines about clients and decisions are compared.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex_lite::Regex;

const QUEUE_ID: &str = "[0-9A-Za-z]{6,20}";
const DAY: &str = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
const MONTH: &str = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of our own")
}

/// Before the version number, which needs a look around it, and after.
static FIRST: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    vec![
        (regex(&format!(r"(queued as |\bid ){QUEUE_ID}")), "${1}QID"),
        (regex(&format!(r"<\d{{14}}\.{QUEUE_ID}@")), "<DATE.QID@"),
        // the boundary of a report, and what it says of the message it is about
        (regex(&format!(r#"(boundary="|^--){QUEUE_ID}\.\d{{10}}/"#)), "${1}QID.TIME/"),
        (regex(&format!(r"(X-Postfix-Queue-ID: ){QUEUE_ID}")), "${1}QID"),
        (
            regex(&format!(
                r"{DAY}, {{1,2}}\d{{1,2}} {MONTH} \d{{4}} \d\d:\d\d:\d\d [-+]\d{{4}}(?: \([A-Z+\-0-9]+\))?"
            )),
            "DATE",
        ),
        (regex(&format!(r"{MONTH} [ \d]\d \d\d:\d\d:\d\d")), "DATE"),
    ]
});
static VERSION: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[23]\.\d{1,2}(?:\.\d{1,2}|-\d{8})\b"));
static STATUS: LazyLock<Regex> = LazyLock::new(|| regex(r"\d\.\d\.\d$"));
static LAST: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"(\]:)(?:[3-9]\d{4}|[12]\d{4})\b", "${1}PORT"),
        (r"^(warning: )[0-9A-Za-z]{6,20}(: milter )", "${1}QID${2}"),
        (r"( PORT=)\d+", "${1}PORT"),
        (r"(PREGREET \d+ after )[\d.]+", "${1}T"),
        (r"(does not resolve to address [\d.a-f:]+[\da-f]): .*", "${1}"),
        (r"(HANGUP after )[\d.]+", "${1}T"),
        (r"(from \[[\d.a-f:]+\]:PORT after )\d", "${1}"),
        (r"(TLS connection (?:established|reused) from \S+ )TLSv.*", "${1}TLS"),
        (r"using TLSv[\d.]+ with cipher .*", "using TLS"),
        (r"^\s+key-exchange .*|^\s+server-signature .*|^\s+client-signature .*", "\t(TLS)"),
    ]
    .into_iter()
    .map(|(pattern, replacement)| (regex(pattern), replacement))
    .collect()
});
static MACROS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    vec![
        (regex(&format!(r"\bi={QUEUE_ID}")), "i=QID"),
        (regex(r"(\{(?:client|daemon)_port\}=)\d+"), "${1}PORT"),
        (regex(r"\b(v=\w+ )\d[\w.-]*"), "${1}VERSION"),
        (regex(r"(\{cipher\w*\}=)[^,]*"), "${1}CIPHER"),
    ]
});
static LOG_LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?:^|\s)(?:[\w.-]+/)*([\w-]+)\[\d+\]: (.*)$"));
static LOG_QUEUE_ID: LazyLock<Regex> = LazyLock::new(|| regex(&format!("^{QUEUE_ID}: ")));
static KEEP: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"^(?:(QID|NOQUEUE): (reject|reject_warning|hold|discard|filter|redirect|prepend|warn|warning|info|bcc|delay|replace|",
        r"strip|client=|milter-|proxy-|permit)",
        r"|(connect|disconnect) from |((QID|NOQUEUE): )?(lost connection|timeout|too many errors) after",
        r"|improper command pipelining|(CONNECT|DISCONNECT|PREGREET|DNSBL|HANGUP|PASS|ALLOWLISTED|DENYLISTED|WHITELISTED",
        r"|BLACKLISTED|BARE NEWLINE|COMMAND|NON-SMTP|WHITELIST|ALLOWLIST)\b|(DATA|BDAT) without valid RCPT|bare <LF>",
        r"|warning: (non-SMTP command|Connection \w+ limit exceeded|Message delivery request rate|Recipient address rate",
        r"|New TLS session rate|AUTH command rate|\S+ SASL \S+ authentication|\S+: SASL|\S+: RBL lookup error",
        r"|hostname \S+ does not resolve|Illegal address syntax|restriction|unknown smtpd restriction",
        r"|support for restriction \S+ has been removed",
        r"|problem talking to server|milter |connect to Milter |process_milter|\S+: milter)|fatal: in parameter)",
    ))
});
static ENDED: LazyLock<Regex> = LazyLock::new(|| regex(r"\]: (?:disconnect from|DISCONNECT \[)"));

/// Words at the head of a log line that look like a queue id and are none.
const NO_QUEUE_ID: [&str; 6] = ["NOQUEUE", "warning", "fatal", "error", "panic", "statistics"];

/// One line with everything taken out that differs between runs.
pub fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, replacement) in FIRST.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text = without_versions(&text);
    for (pattern, replacement) in LAST.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text
}

/// A Postfix version, followed by space, `)` or nothing; an enhanced status code such as 2.1.0 is none.
fn without_versions(text: &str) -> String {
    let mut out = String::new();
    let mut copied = 0;
    for found in VERSION.find_iter(text) {
        let follows = text[found.end()..].chars().next().is_none_or(|c| c.is_whitespace() || c == ')');
        if follows && !STATUS.is_match(&text[..found.end()]) {
            out += &text[copied..found.start()];
            out += "VERSION";
            copied = found.end();
        }
    }
    out + &text[copied..]
}

/// What a Milter was told: queue ids, ports and versions stand alone in the values of macros.
pub fn normal_milter(text: &str) -> String {
    let mut text = normal(text);
    for (pattern, replacement) in MACROS.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text
}

/// Normalised log lines of the kinds compared, grouped by program.
pub fn log_section(text: &str) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let Some(found) = LOG_LINE.captures(line) else { continue };
        let mut message = normal(&found[2]);
        if !NO_QUEUE_ID.iter().any(|word| message.starts_with(word)) {
            message = LOG_QUEUE_ID.replace(&message, "QID: ").into_owned();
        }
        if KEEP.is_match(&message) {
            groups.entry(found[1].to_owned()).or_default().push(message);
        }
    }
    let lines =
        groups.into_iter().flat_map(|(program, messages)| messages.into_iter().map(move |m| format!("{program}: {m}")));
    lines.collect()
}

/// Connections that overlap: in which order the lines of several come that begin and end them is left to chance (the
/// program may still be looking up a name when another connection is through), so those stand first and last.
pub fn without_overlap(lines: &mut [String]) {
    let place = |line: &String| match line.split_once(": ") {
        Some((_, text)) if text.starts_with("connect from ") => (0, line.clone()),
        Some((_, text)) if text.starts_with("disconnect from ") => (2, line.clone()),
        _ => (1, String::new()),
    };
    for group in lines.chunk_by_mut(|a, b| a.split(": ").next() == b.split(": ").next()) {
        group.sort_by_cached_key(place);
    }
}

/// How many connections the log says have ended.
pub fn ended_connections(log: &str) -> usize {
    ENDED.find_iter(log).count()
}

/// Bytes as text; what is not UTF-8 shows as `\xNN`.
pub fn text_of(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out += chunk.valid();
        out.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (raw, want) in [
            ("250 2.0.0 Ok: queued as 4XyZab12cdz", "250 2.0.0 Ok: queued as QID"),
            ("\tby mail (Postfix) with ESMTP id A1B2C3D4E;", "\tby mail (Postfix) with ESMTP id QID;"),
            ("for <u@x>; Sun, 22 Nov 2026 12:25:17 +0000 (UTC)", "for <u@x>; DATE"),
            ("Message-Id: <20261122122517.A1B2C3D4E@x>", "Message-Id: <DATE.QID@x>"),
            ("220 mail ESMTP Postfix (3.12.1)", "220 mail ESMTP Postfix (VERSION)"),
            ("mail_version=3.12-20260101", "mail_version=VERSION"),
            ("250 2.1.0 Ok", "250 2.1.0 Ok"),
            ("550 2.1.10 x", "550 VERSION x"),
            ("at 3.7.11.4 there", "at 3.7.11.4 there"),
            ("CONNECT from [192.0.2.1]:45678 to [127.0.0.1]:2500", "CONNECT from [192.0.2.1]:PORT to [127.0.0.1]:2500"),
            ("warning: ABCDEF1: milter configuration error", "warning: QID: milter configuration error"),
            ("PREGREET 11 after 0.05 from [192.0.2.1]:45678", "PREGREET 11 after T from [192.0.2.1]:PORT"),
            (
                "Anonymous TLS connection established from x[1.2.3.4]: TLSv1.3 with",
                "Anonymous TLS connection established from x[1.2.3.4]: TLS",
            ),
        ] {
            assert_eq!(normal(raw), want);
        }
    }

    #[test]
    fn macros() {
        for (raw, want) in [
            (
                "MACROS CONNECT j=h, v=Postfix 3.12.0, _=c [1.2.3.4]",
                "MACROS CONNECT j=h, v=Postfix VERSION, _=c [1.2.3.4]",
            ),
            ("MACROS MAIL i=4XyZab12cdz, {client_port}=4711", "MACROS MAIL i=QID, {client_port}=PORT"),
            ("HEADER Subject|one", "HEADER Subject|one"),
        ] {
            assert_eq!(normal_milter(raw), want);
        }
    }

    #[test]
    fn log() {
        let log = "Nov 22 12:00:00 h postfix/smtpd[12]: connect from a[192.0.2.1]\n\
            Nov 22 12:00:00 h postfix/qmgr[13]: ABCDEF1: removed\n\
            Nov 22 12:00:00 h postfix/submission/smtpd[12]: ABCDEF1: client=a[192.0.2.1]\n\
            Nov 22 12:00:00 h postfix/cleanup[14]: ABCDEF1: hold: header x\n\
            Nov 22 12:00:00 h postfix/smtpd[12]: warning: restriction x\n\
            Nov 22 12:00:00 h postfix/smtpd[12]: disconnect from a[192.0.2.1] quit=1\n";
        let want = [
            "cleanup: QID: hold: header x",
            "smtpd: connect from a[192.0.2.1]",
            "smtpd: QID: client=a[192.0.2.1]",
            "smtpd: warning: restriction x",
            "smtpd: disconnect from a[192.0.2.1] quit=1",
        ];
        assert_eq!(log_section(log), want);
        assert_eq!(ended_connections(log), 1);
    }

    #[test]
    fn overlap() {
        let mut lines = [
            "cleanup: b",
            "smtpd: connect from c",
            "smtpd: disconnect from c x=2",
            "smtpd: z",
            "smtpd: a",
            "smtpd: disconnect from c x=1",
            "smtpd: connect from b",
        ]
        .map(str::to_owned);
        without_overlap(&mut lines);
        let want = [
            "cleanup: b",
            "smtpd: connect from b",
            "smtpd: connect from c",
            "smtpd: z",
            "smtpd: a",
            "smtpd: disconnect from c x=1",
            "smtpd: disconnect from c x=2",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn odd_bytes() {
        assert_eq!(text_of(b"a\xffb\xc3\xa9"), "a\\xffb\u{e9}");
    }
}
