//! A policy service (SMTPD_POLICY_README).

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Address, HANG, Reader, Server, Writer, glob, rules, serve};

/// The attributes of one request.
pub type Request = BTreeMap<String, String>;

/// Rules are `attr=glob attr=glob => action`; the first match answers, else DUNNO. Special actions: `!close` hangs up,
/// `!hang` never answers, `!raw TEXT` (with `\n`) is sent in place of `action=...`.
#[derive(Debug)]
pub struct Policy {
    requests: Arc<Mutex<Vec<Request>>>,
    _server: Server,
}

impl Policy {
    /// Starts one.
    pub fn start(address: &Address, text: &str) -> io::Result<Self> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, script) = (requests.clone(), rules(text));
        let _server = serve(address, move |reader, writer| converse(reader, writer, &script, &seen))?;
        Ok(Self { requests, _server })
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn converse(
    mut reader: Reader,
    mut writer: Writer,
    script: &[(String, String)],
    seen: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let (mut request, mut line) = (Request::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
        line.clear();
        if !text.is_empty() {
            let (key, value) = text.split_once('=').unwrap_or((&text, ""));
            request.insert(key.to_owned(), value.to_owned());
            continue;
        }
        let action = decide(script, &request);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut request));
        match action {
            "!close" => return Ok(()),
            "!hang" => std::thread::sleep(HANG),
            _ => match action.strip_prefix("!raw ") {
                Some(raw) => writer.write_all(raw.replace("\\n", "\n").as_bytes())?,
                None => writer.write_all(format!("action={action}\n\n").as_bytes())?,
            },
        }
    }
    Ok(())
}

fn decide<'s>(script: &'s [(String, String)], request: &Request) -> &'s str {
    let attribute = |key: &str| request.get(key).map_or("", String::as_str);
    let holds =
        |left: &str| left.split_whitespace().filter_map(|t| t.split_once('=')).all(|(k, v)| glob(v, attribute(k)));
    script.iter().find(|(left, _)| holds(left)).map_or("DUNNO", |(_, action)| action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    #[test]
    fn answers_by_rule() {
        let address = Address::Inet(([127, 0, 0, 1], crate::ports::free_port()).into());
        let policy = Policy::start(
            &address,
            "sender=bad@* recipient=*@example.com => REJECT no\nsender=raw => !raw a\\nb\nsender=x => !close",
        )
        .expect("policy");
        let Address::Inet(at) = address else { unreachable!() };
        let mut stream = TcpStream::connect(at).expect("connect");
        for (request, want) in [
            ("sender=bad@example.org\nrecipient=u@example.com\n\n", "action=REJECT no\n\n"),
            ("sender=bad@example.org\nrecipient=u@example.net\n\n", "action=DUNNO\n\n"),
            ("sender=raw\n\n", "a\nb"),
            ("sender=x\n\n", ""),
        ] {
            stream.write_all(request.as_bytes()).expect("write");
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got).expect("read");
            assert_eq!(String::from_utf8_lossy(&got), want);
        }
        assert_eq!(stream.read(&mut [0]).expect("closed"), 0);
        assert_eq!(policy.requests()[0]["recipient"], "u@example.com");
        assert_eq!(policy.requests().len(), 4);
    }
}
