//! Random sessions.

use super::dice::Dice;
use super::draft::Draft;
use super::lists::Shape;
use super::words::{self, CLIENTS, CLIENTS6, DOMAINS, HELOS, LOCALS, UTF8_DOMAINS};

/// `\0user\0pw` in base64.
const LOGINS: &[&str] = &["AGpvZQBwdw==", "AHN1ZQBwdw==", "AHVzZXJAb2suZXhhbXBsZQBwdw==", "AGpvZQB3cm9uZw=="];

const XCLIENTS: &[&str] = &[
    "NAME=ok.example ADDR=192.0.2.30",
    "NAME=[UNAVAILABLE] ADDR=192.0.2.11",
    "NAME=[TEMPUNAVAIL] REVERSE_NAME=forged.example ADDR=192.0.2.13",
    "ADDR=IPV6:2001:db8::b1 NAME=v6.example REVERSE_NAME=v6.example",
    "HELO=nx.example PROTO=SMTP",
    "NAME=client.example.net REVERSE_NAME=[UNAVAILABLE]",
];

/// Adds the sessions.
pub fn add(dice: &mut Dice, draft: &mut Draft, shape: Shape) {
    let mut clients = CLIENTS.to_vec();
    if draft.ipv6 {
        // only these: the others would have another process in Postfix, which says some warnings once a process
        clients = CLIENTS6.to_vec();
    }
    draft.block("sink 2525 ehlo=8BITMIME,SMTPUTF8", "");
    let most = if shape == Shape::Dispatch { 3 } else { 5 };
    for (n, client) in dice.some(&clients, 2, most).iter().enumerate() {
        let mut session = Session { dice, draft, text: String::new() };
        match shape {
            Shape::Dispatch => session.dispatch(),
            Shape::Delayed | Shape::Immediate => session.plain(),
        }
        let text = session.text + "QUIT\n";
        draft.block(&format!("session s{n} from={client}"), &text);
    }
}

struct Session<'d> {
    dice: &'d mut Dice,
    draft: &'d Draft,
    text: String,
}

impl Session<'_> {
    fn line(&mut self, line: &str) {
        self.text += line.trim_end();
        self.text += "\n";
    }

    fn helo(&mut self) {
        let (verb, name) = (self.dice.pick(&["EHLO", "EHLO", "HELO"]), self.dice.pick(HELOS));
        self.line(&format!("{verb} {name}"));
    }

    fn opening(&mut self) {
        if self.dice.percent(88) {
            self.helo();
        }
        if self.draft.get("smtpd_authorized_xclient_hosts").is_some() && self.dice.percent(50) {
            let attributes = self.dice.pick(XCLIENTS);
            self.line(&format!("XCLIENT {attributes}"));
            self.helo();
        }
        if self.draft.login && self.dice.percent(60) {
            let login = self.dice.pick(LOGINS);
            self.line(&format!("AUTH PLAIN {login}"));
        }
    }

    fn mail(&mut self) {
        let sender = if self.dice.percent(14) { String::new() } else { self.address() };
        let options = self.dice.pick(&[
            "",
            "",
            "",
            "",
            "",
            " SIZE=100",
            " SMTPUTF8",
            " SMTPUTF8",
            " BODY=8BITMIME",
            " RET=HDRS ENVID=x",
        ]);
        self.line(&format!("MAIL FROM:<{sender}>{options}"));
    }

    fn address(&mut self) -> String {
        if self.dice.percent(8) {
            let local = if self.dice.percent(30) { "zoë" } else { self.dice.pick(LOCALS) };
            return format!("{local}@{}", self.dice.pick(UTF8_DOMAINS));
        }
        words::address(self.dice)
    }

    fn rcpt(&mut self) {
        let to = match self.dice.below(60) {
            0 => "postmaster".to_owned(),
            1 => String::new(),
            _ => self.address(),
        };
        let options = self.dice.pick(&["", "", "", "", "", "", " NOTIFY=NEVER", " ORCPT=rfc822;x@y.example"]);
        self.line(&format!("RCPT TO:<{to}>{options}"));
    }

    fn end_of_mail(&mut self) {
        match self.dice.below(20) {
            0..9 => self.line("DATA\n<<<\nSubject: t\n\nx\n>>>"),
            9 => self.line("DATA\n<<<\nTo: user@ok.example, joe\nFrom: user\n\n.dot\n>>>"),
            10 => self.line("@raw 1 \"BDAT 14 LAST\\r\\nSubject: x\\r\\n\\r\\n\""),
            11 => self.helo(),
            _ => {}
        }
        self.line("RSET");
    }

    fn etrn(&mut self) {
        let domain = self.dice.pick(&[
            "ok.example",
            "relay.example",
            "nx.example",
            "[192.0.2.7]",
            "bad_name.example",
            "#queue",
            "@ok.example",
        ]);
        self.line(&format!("ETRN {domain}"));
    }

    fn vrfy(&mut self) {
        let address = match self.dice.below(3) {
            0 => format!("<{}>", self.address()),
            // a source route needs its brackets
            _ => self.address(),
        };
        let address = if address.starts_with('@') { format!("<{address}>") } else { address };
        self.line(&format!("VRFY {address}"));
    }

    /// All cases in any order, some a message.
    fn dispatch(&mut self) {
        self.opening();
        let cases: Vec<usize> = (0..self.draft.cases).collect();
        let mut cases = self.dice.some(&cases, cases.len(), cases.len());
        while !cases.is_empty() {
            self.mail();
            for case in cases.split_off(cases.len().saturating_sub(self.dice.range(1, 4))) {
                let domain = match self.dice.below(3) {
                    0 => self.dice.pick(DOMAINS),
                    _ => self.dice.pick(&["example.com", "relay.example", "ok.example"]),
                };
                self.line(&format!("RCPT TO:<c{case}@{domain}>"));
                if self.dice.percent(15) {
                    self.rcpt();
                }
            }
            self.end_of_mail();
            if self.dice.percent(8) {
                self.helo();
            }
        }
    }

    fn plain(&mut self) {
        for round in 0..self.dice.range(1, 3) {
            if round == 0 {
                self.opening();
            } else {
                self.helo();
            }
            for _ in 0..self.dice.range(2, 4) {
                self.mail();
                for _ in 0..self.dice.range(1, 4) {
                    self.rcpt();
                }
                if self.dice.percent(25) {
                    self.vrfy();
                }
                self.end_of_mail();
            }
            if self.dice.percent(35) {
                self.etrn();
            }
        }
    }
}
