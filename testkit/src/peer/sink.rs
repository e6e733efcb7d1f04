//! The next hop: an SMTP server that takes mail and keeps it.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Address, HANG, Reader, Server, Writer, rules, serve};

/// A message that the sink took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What followed `MAIL `.
    pub sender: String,
    /// What followed each accepted `RCPT `.
    pub recipients: Vec<String>,
    /// Header and body with CRLF, dots unstuffed.
    pub content: Vec<u8>,
}

/// Rules are `COMMAND PREFIX => reply`, also `CONNECT => reply` and `EOM => reply`; replies may be `!close` or `!hang`.
#[derive(Debug)]
pub struct Sink {
    state: Arc<State>,
    _server: Server,
}

#[derive(Debug)]
struct State {
    rules: Vec<(String, String)>,
    keywords: Vec<String>,
    messages: Mutex<Vec<Message>>,
    dialogue: Mutex<Vec<String>>,
}

impl Sink {
    /// Starts one that announces `keywords` at EHLO.
    pub fn start(address: &Address, keywords: &[&str], text: &str) -> io::Result<Self> {
        let state = Arc::new(State {
            rules: rules(text).into_iter().map(|(left, right)| (left.to_uppercase(), right)).collect(),
            keywords: keywords.iter().map(|k| k.to_string()).collect(),
            messages: Mutex::default(),
            dialogue: Mutex::default(),
        });
        let served = state.clone();
        let _server = serve(address, move |reader, writer| Conversation { state: &served, reader, writer }.run())?;
        Ok(Self { state, _server })
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<Message> {
        self.state.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many recipients the messages so far have.
    pub fn recipients(&self) -> usize {
        self.state.messages.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|m| m.recipients.len()).sum()
    }

    /// The commands so far, each with the last line of its reply: `COMMAND -> reply`.
    pub fn dialogue(&self) -> Vec<String> {
        self.state.dialogue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Conversation<'s> {
    state: &'s State,
    reader: Reader,
    writer: Writer,
}

impl Conversation<'_> {
    /// What is answered to this.
    fn answer<'a>(&'a self, event: &str, default: &'a str) -> &'a str {
        let upper = event.to_uppercase();
        let rule = self.state.rules.iter().find(|(left, _)| upper.starts_with(left.as_str()));
        rule.map_or(default, |(_, right)| right)
    }

    fn reply(&mut self, event: &str, default: &str) -> io::Result<bool> {
        let text = self.answer(event, default).to_owned();
        let text = text.as_str();
        match text {
            "!hang" => std::thread::sleep(HANG),
            "!close" => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => {}
        }
        let last = text.lines().last().unwrap_or("");
        self.state.dialogue.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{event} -> {last}"));
        self.writer.write_all((text.replace('\n', "\r\n") + "\r\n").as_bytes())?;
        Ok(text.starts_with(['2', '3']))
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        Ok(line)
    }

    fn run(mut self) -> io::Result<()> {
        if !self.reply("CONNECT", "220 sink.example.com ESMTP")? {
            return Ok(());
        }
        let (mut sender, mut recipients) = (String::new(), Vec::new());
        loop {
            let raw = self.line()?;
            if raw.is_empty() {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&raw).trim_end_matches(['\r', '\n']).to_owned();
            let rest = line.get(5..).unwrap_or("").to_owned();
            match line.split(' ').next().unwrap_or("").to_uppercase().as_str() {
                "EHLO" => {
                    let mut words = vec!["sink.example.com".to_owned()];
                    words.extend(self.state.keywords.iter().cloned());
                    let last = words.len() - 1;
                    let lines =
                        words.iter().enumerate().map(|(i, w)| format!("250{}{w}", if i < last { '-' } else { ' ' }));
                    let text = lines.collect::<Vec<_>>().join("\n");
                    self.reply(&line, &text)?;
                }
                "MAIL" => {
                    recipients.clear();
                    sender = if self.reply(&line, "250 2.1.0 Ok")? { rest } else { String::new() };
                }
                "RCPT" => {
                    if self.reply(&line, "250 2.1.5 Ok")? {
                        recipients.push(rest);
                    }
                }
                "DATA" => self.data(&line, &mut sender, &mut recipients)?,
                "QUIT" => return self.reply(&line, "221 2.0.0 Bye").map(drop),
                _ => drop(self.reply(&line, "250 2.0.0 Ok")?),
            }
        }
    }

    fn data(&mut self, line: &str, sender: &mut String, recipients: &mut Vec<String>) -> io::Result<()> {
        let default = if recipients.is_empty() { "554 5.5.1 no valid recipients" } else { "354 go ahead" };
        if !self.reply(line, default)? {
            return Ok(());
        }
        let mut content = Vec::new();
        loop {
            let raw = self.line()?;
            match raw.as_slice() {
                b"" => return Err(io::ErrorKind::UnexpectedEof.into()),
                b".\r\n" => break,
                _ => content.extend(raw.strip_prefix(b".").unwrap_or(&raw)),
            }
        }
        let message = Message { sender: std::mem::take(sender), recipients: std::mem::take(recipients), content };
        let default = "250 2.0.0 Ok: sink";
        if self.answer("EOM", default).starts_with(['2', '3']) {
            // kept before the reply is seen: who reads the reply finds the message here
            self.state.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
        self.reply("EOM", default).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::net::TcpStream;

    #[test]
    fn takes_and_refuses() {
        let address = Address::Inet(([127, 0, 0, 1], crate::ports::free_port()).into());
        let sink = Sink::start(&address, &["8BITMIME", "SIZE 10"], "RCPT TO:<no => 550 no such user").expect("sink");
        let Address::Inet(at) = address else { unreachable!() };
        let mut stream = TcpStream::connect(at).expect("connect");
        let mut reader = BufReader::new(stream.try_clone().expect("clone"));
        let mut talk = |send: &str, lines: usize| {
            stream.write_all(send.as_bytes()).expect("write");
            let mut text = String::new();
            for _ in 0..lines {
                reader.read_line(&mut text).expect("read");
            }
            text
        };
        assert_eq!(talk("", 1), "220 sink.example.com ESMTP\r\n");
        assert_eq!(talk("EHLO c\r\n", 3), "250-sink.example.com\r\n250-8BITMIME\r\n250 SIZE 10\r\n");
        assert_eq!(talk("MAIL FROM:<a@b> SIZE=5\r\n", 1), "250 2.1.0 Ok\r\n");
        assert_eq!(talk("RCPT TO:<no@b>\r\nRCPT TO:<u@b>\r\n", 2), "550 no such user\r\n250 2.1.5 Ok\r\n");
        assert_eq!(talk("DATA\r\n", 1), "354 go ahead\r\n");
        assert_eq!(talk("x\r\n..y\r\n.\r\nQUIT\r\n", 2), "250 2.0.0 Ok: sink\r\n221 2.0.0 Bye\r\n");
        let want = Message {
            sender: "FROM:<a@b> SIZE=5".into(),
            recipients: vec!["TO:<u@b>".into()],
            content: b"x\r\n.y\r\n".to_vec(),
        };
        assert_eq!(sink.messages(), [want]);
        assert_eq!(sink.dialogue()[3], "RCPT TO:<no@b> -> 550 no such user");
    }
}
