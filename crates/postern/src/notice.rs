//! Notices to the postmaster with the transcript of a session that went wrong (`notify_classes`).

use crate::clock;
use queue::QueueId;
use smtp::server::Notice;
use std::fmt::Write;

/// Text is folded at this width.
const WIDTH: usize = 78;
/// What is left of a folded line begins so far to the right.
const INDENT: usize = 4;

/// What a notice is made of.
pub struct Letter<'a> {
    /// Its queue id.
    pub id: QueueId,
    /// `enable_long_queue_ids`.
    pub long_id: bool,
    /// Now.
    pub unix: u64,
    /// `myhostname`.
    pub host: &'a str,
    /// `mail_name`.
    pub mail_name: &'a str,
    /// Whom it is for, as its header says.
    pub to: &'a str,
}

impl Letter<'_> {
    /// Its Message-Id.
    pub fn message_id(&self) -> String {
        match self.long_id {
            true => format!("<{}@{}>", self.id, self.host),
            false => format!("<{}.{}@{}>", message::utc_digits(self.unix), self.id, self.host),
        }
    }

    /// About a client's session with us.
    pub fn about_client(&self, client: &str, notice: &Notice) -> String {
        let mut text = self.header("SMTP server", &format!("errors from {client}"));
        transcript(&mut text, &notice.transcript);
        text.push('\n');
        if let Some(reason) = notice.reason {
            let _ = writeln!(text, "Session aborted, reason: {reason}");
        }
        text.push_str(END);
        text
    }

    /// About our session with a server.
    pub fn about_server(&self, protocol: &str, server: &str, said: &str) -> String {
        let mut text = self.header(&format!("{protocol} client"), &format!("errors from {server}"));
        let _ = write!(text, "Unexpected response from {server}.\n\n");
        transcript(&mut text, said);
        text.push_str(END);
        text
    }

    /// About a login that somebody else seems to use, and whose mail is held, or refused.
    pub fn about_login(&self, login: &str, sign: &str, until: u64, is_refused: bool) -> String {
        let mut text = self.header("SMTP server", &format!("login {login} looks taken over"));
        let until = clock::mail_date(until);
        let (fate, remedy) = match is_refused {
            true => ("refused with a temporary error", ""),
            false => (
                "accepted and put on hold",
                "\n\nWhat is held: postqueue -p. Free it: postsuper -H. Delete it: postsuper -d.",
            ),
        };
        let _ = writeln!(
            text,
            "Login {login}: {sign}.\n\nWhat it sends is {fate}, until {until}.\n\n\
             If that is not its owner, change the password. If it is, add the login to\n\
             postern_sasl_takeover_exceptions, or set higher limits.{remedy}"
        );
        text.push_str(END);
        text
    }

    fn header(&self, program: &str, subject: &str) -> String {
        let Self { id, host, mail_name, to, .. } = self;
        let date = clock::mail_date(self.unix);
        format!(
            "Received: by {host} ({mail_name})\n\tid {id}; {date}\nDate: {date}\n\
             From: Mail Delivery System <MAILER-DAEMON@{host}>\nTo: Postmaster <{to}>\n\
             Subject: {mail_name} {program}: {subject}\nMessage-Id: {}\n\n",
            self.message_id()
        )
    }
}

const END: &str = "\nFor other details, see the local mail logfile\n";

fn transcript(text: &mut String, lines: &str) {
    text.push_str("Transcript of session follows.\n\n");
    for line in lines.lines() {
        fold(text, line);
    }
}

/// A line of a transcript, folded at blanks.
fn fold(out: &mut String, line: &str) {
    let mut rest = line;
    let mut room = WIDTH;
    let mut indent = 0;
    loop {
        let end = match rest.len() <= room {
            true => rest.len(),
            // A word that is too long by itself stays whole.
            false => {
                let last = rest.bytes().take(room + 1).rposition(|b| b == b' ').filter(|at| *at > 0);
                last.or_else(|| rest.find(' ')).unwrap_or(rest.len())
            }
        };
        let _ = writeln!(out, " {:indent$}{}", "", rest[..end].trim_end());
        rest = rest[end..].trim_start();
        if rest.is_empty() {
            return;
        }
        (indent, room) = (INDENT, WIDTH - INDENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_is_told() {
        let id = "03E479942E7".parse().unwrap();
        let letter = Letter {
            id,
            long_id: false,
            unix: 1_795_372_645,
            host: "mail.example.com",
            mail_name: "Postfix",
            to: "errors@note.example",
        };
        let said = "In:  220 sink ESMTP\nOut: EHLO mail.example.com\nIn:  500 5.5.2 what\n";
        let text = letter.about_server("LMTP", "127.0.0.1[127.0.0.1]:2692", said);
        let date = clock::mail_date(1_795_372_645);
        let want = format!(
            "Received: by mail.example.com (Postfix)\n\tid 03E479942E7; {date}\nDate: {date}\n\
             From: Mail Delivery System <MAILER-DAEMON@mail.example.com>\nTo: Postmaster <errors@note.example>\n\
             Subject: Postfix LMTP client: errors from 127.0.0.1[127.0.0.1]:2692\n\
             Message-Id: <20261122183725.03E479942E7@mail.example.com>\n\n\
             Unexpected response from 127.0.0.1[127.0.0.1]:2692.\n\nTranscript of session follows.\n\n \
             In:  220 sink ESMTP\n Out: EHLO mail.example.com\n In:  500 5.5.2 what\n\n\
             For other details, see the local mail logfile\n"
        );
        assert_eq!(text, want);
    }

    #[test]
    fn long_lines_are_folded_where_postfix_folds_them() {
        for (line, expected) in [
            ("In:  QUIT", " In:  QUIT\n"),
            (
                "Out: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table",
                " Out: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown\n     in local recipient \
                 table\n",
            ),
            (
                "Out: 554-5.7.1 <rej@example.com>: Recipient address rejected: this text is somewhat longer than a line so \
                 that it has to be folded somewhere in the middle of it",
                " Out: 554-5.7.1 <rej@example.com>: Recipient address rejected: this text is\n     somewhat longer than a \
                 line so that it has to be folded somewhere in the\n     middle of it\n",
            ),
            (
                "In:  NOOP ?? aaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccccccccc \
                 dddddddddddddddddddddd",
                " In:  NOOP ?? aaaaaaaaaaaaaaaaaaaaaaaa\n     bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb \
                 ccccccccccccccccccccccc\n     dddddddddddddddddddddd\n",
            ),
        ] {
            let mut out = String::new();
            fold(&mut out, line);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        fold(&mut out, &format!("{} {}", "é".repeat(90), "x".repeat(90)));
        assert_eq!(out, format!(" {}\n     {}\n", "é".repeat(90), "x".repeat(90)));
    }
}
