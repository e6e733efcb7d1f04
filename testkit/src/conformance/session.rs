//! The `[session]` language: lines to send, and `@` directives.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::{Client, Origin, Transcript};
use super::place::Place;
use super::scenario::{Block, PORT};

/// Who the client is unless a session says otherwise.
const CLIENT: &str = "192.0.2.10";

/// Runs a session; what happens is added to `out`. Returns the number of connections made, or what is wrong with the
/// scenario.
pub fn run_session(
    block: &Block,
    place: &Place,
    certificates: &Path,
    deadline: Instant,
    out: &mut Transcript,
) -> Result<usize, String> {
    let name = block.args.iter().find(|a| !a.contains('=')).map_or("", String::as_str);
    let source = block.option("from").unwrap_or(CLIENT);
    let port = block.option("port").map_or(Ok(PORT), str::parse).map_err(|_| "bad port=".to_owned())?;
    let shown = if port == PORT { String::new() } else { format!(" port {port}") };
    out.push(format!("== session {name} from {source}{shown}"));
    let restore = |text: &str| place.restore(text);
    let patience = block.option("patience").and_then(|p| p.parse().ok()).unwrap_or(15.0);
    let mut session = Session {
        clients: BTreeMap::new(),
        current: String::new(),
        source: source.to_owned(),
        timing: block.has("timing"),
        patience: Duration::from_secs_f64(patience),
        port,
        real_port: place.port(port),
        certificates,
        deadline,
        restore: &restore,
    };
    if !block.has("noconnect") {
        session.connect("", source, !block.has("nogreet"), out)?;
    }
    let lines = expand(&block.text);
    let mut lines: VecDeque<String> =
        lines.into_iter().filter(|l| !l.starts_with('#')).skip_while(|l| l.trim().is_empty()).collect();
    while let Some(line) = lines.pop_front() {
        session.step(&line, &mut lines, out).map_err(|e| format!("{e}: {line}"))?;
    }
    for client in session.clients.values_mut() {
        client.finish(out);
    }
    Ok(session.clients.len())
}

struct Session<'p> {
    clients: BTreeMap<String, Client<'p>>,
    current: String,
    source: String,
    timing: bool,
    patience: Duration,
    port: u16,
    real_port: u16,
    certificates: &'p Path,
    deadline: Instant,
    restore: &'p dyn Fn(&str) -> String,
}

impl Session<'_> {
    fn connect(&mut self, key: &str, source: &str, greet: bool, out: &mut Transcript) -> Result<(), String> {
        let source: IpAddr = source.parse().map_err(|_| format!("bad address {source}"))?;
        let origin = Origin { source, named_port: self.port, real_port: self.real_port };
        let label = if key.is_empty() { String::new() } else { format!("{key} ") };
        let mut client = Client::connect(origin, label, self.timing, self.deadline, self.certificates, self.restore);
        if greet {
            client.greeting(out, self.patience);
        }
        self.clients.insert(key.to_owned(), client);
        self.current = key.to_owned();
        Ok(())
    }

    fn step(&mut self, line: &str, lines: &mut VecDeque<String>, out: &mut Transcript) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words.get(i).and_then(|w| w.parse::<f64>().ok()).ok_or("a number is missing");
        match words[0] {
            "@connect" => {
                let key = words.get(1).ok_or("a name is missing")?;
                let source = words.get(2).map_or_else(|| self.source.clone(), |s| s.to_string());
                return self.connect(key, &source, !words.contains(&"nogreet"), out);
            }
            "@use" => {
                let key = words.get(1).filter(|k| **k != "-").copied().unwrap_or("");
                self.current = key.to_owned();
                return self.clients.contains_key(key).then_some(()).ok_or_else(|| "no such connection".to_owned());
            }
            "@sleep" => {
                std::thread::sleep(
                    Duration::from_secs_f64(number(1)?).min(self.deadline.saturating_duration_since(Instant::now())),
                );
                return Ok(());
            }
            _ => {}
        }
        let client = self.clients.get_mut(&self.current).ok_or("no connection")?;
        if client.closed {
            if line == "<<<" {
                while lines.pop_front().is_some_and(|l| l != ">>>") {}
            } else if !line.is_empty() {
                client.say(out, &format!("C: <not sent> {line}"));
            }
            return Ok(());
        }
        let rest = line.splitn(3, ' ').nth(2).unwrap_or("");
        match words[0] {
            "@raw" => {
                let length = rest.chars().count();
                let shown: String = rest.chars().take(200).collect();
                client.say(
                    out,
                    &if length < 200 {
                        format!("C: raw {rest}")
                    } else {
                        format!("C: raw {shown}... ({length} characters)")
                    },
                );
                client.send(out, &unescape(rest), number(1)? as usize);
            }
            "@fill" => {
                let size = number(1)? as usize;
                client.say(out, &format!("C: {rest} <padded to {size} octets>"));
                let mut data = rest.as_bytes().to_vec();
                data.resize(size.max(data.len()), b'x');
                client.send(out, &[&data, &b"\r\n"[..]].concat(), 1);
            }
            "@read" => (0..number(1)? as usize).for_each(|_| client.reply(out)),
            "@closed" => client.expect_close(out, Duration::from_secs_f64(number(1)?)),
            "@quit!" => {
                client.say(out, "C: <close>");
                client.close();
            }
            "@starttls" => client.starttls(out, words[1..] == ["cert"]),
            "<<<" if line == "<<<" => {
                let mut body = Vec::new();
                while let Some(line) = lines.pop_front().filter(|l| l != ">>>") {
                    body.push(line);
                }
                client.body(out, &body);
            }
            "|" => {
                let mut group = vec![line.to_owned()];
                while lines.front().is_some_and(|l| l.starts_with("| ")) {
                    group.extend(lines.pop_front());
                }
                group.iter().for_each(|l| client.say(out, &format!("C| {}", &l[2..])));
                let data: String = group.iter().map(|l| format!("{}\r\n", &l[2..])).collect();
                client.send(out, data.as_bytes(), group.len());
            }
            _ if !line.is_empty() => {
                client.say(out, &format!("C: {line}"));
                client.send(out, format!("{line}\r\n").as_bytes(), 1);
            }
            _ => {}
        }
        Ok(())
    }
}

/// `@mail`, `@send` and `@repeat` as the lines they stand for.
fn expand(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with("@mail ") || line.starts_with("@send ") {
            out.push(format!("MAIL FROM:<{}>", words.get(1).map_or("", |w| w.trim_matches(['<', '>']))));
            out.extend(words.iter().skip(2).map(|w| format!("RCPT TO:<{w}>")));
            let tail: &[&str] =
                if words[0] == "@mail" { &["RSET"] } else { &["DATA", "<<<", "Subject: test", "", "body", ">>>"] };
            out.extend(tail.iter().map(|l| l.to_string()));
        } else if let Some((count, text)) = line.strip_prefix("@repeat ").and_then(|r| r.split_once(' ')) {
            out.extend((1..=count.parse().unwrap_or(0)).map(|i: u32| text.replace("%d", &i.to_string())));
        } else {
            out.push(line.to_owned());
        }
    }
    out
}

/// `"text with \r\n, \xNN and octal escapes"` as bytes.
fn unescape(text: &str) -> Vec<u8> {
    let text = text.trim();
    crate::peer::unescape(text.get(1..text.len().saturating_sub(1)).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros() {
        let want = ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<e@f>", "RSET", "NOOP 1", "NOOP 2", "@sleep 1"];
        assert_eq!(expand("@mail a@b c@d e@f\n@repeat 2 NOOP %d\n@sleep 1\n"), want);
        assert_eq!(expand("@send <> c@d")[..3], ["MAIL FROM:<>", "RCPT TO:<c@d>", "DATA"]);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#""a\r\n\x00\0\101\\\"é""#), b"a\r\n\0\0A\\\"\xe9");
        assert_eq!(unescape("\""), b"");
    }
}
