//! The same bytes give the same replies, however they are cut; nothing panics, nothing grows without bound.

use super::*;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    }
}

const PIECES: &[&str] = &[
    "EHLO c\r\n",
    "HELO c\n",
    "MAIL FROM:<a@example.org>\r\n",
    "MAIL FROM:<> SIZE=5\r\n",
    "RCPT TO:<u@example.com>\r\n",
    "RCPT TO:<bad@example.com>\r\n",
    "RCPT TO:\"a b\"@c, <d>\r\n",
    "DATA\r\n",
    "text\r\n",
    "text\n",
    ".\r\n",
    ".\n",
    "..\r\n",
    "From me\r\n",
    " x\r\n",
    "\r",
    "\n",
    "BDAT 7\r\nSubject",
    "BDAT 3 LAST\r\n\r\nx",
    "BDAT 0 LAST\r\n",
    "BDAT 9999 LAST\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "VRFY <u>\r\n",
    "ETRN relay.example\r\n",
    "XCLIENT NAME=x ADDR=1.2.3.4\r\n",
    "XFORWARD NAME=x\r\n",
    "FOO\r\n",
    "\0",
    "\"",
    "<",
    "\\",
    "(",
    "[",
    "\u{e9}",
    ":",
    "QUI",
    "\r\n",
    "HELP\r\n",
    "AUTH x\r\n",
];

fn configs() -> [SessionConfig; 3] {
    let base = SessionConfig {
        smtpd_forbid_unauth_pipelining: false,
        smtpd_hard_error_limit: 50,
        smtpd_error_sleep_time: 0,
        message_size_limit: 200,
        line_length_limit: 64,
        smtpd_forbidden_commands: ForbiddenCommands::from_elements(["regexp:{{/^FORBID/ yes}}"]),
        ..config()
    };
    let strict = SessionConfig {
        smtpd_forbid_bare_newline: ForbidBareNewline::Reject,
        smtpd_delay_reject: false,
        finish_replies: true,
        ..base.clone()
    };
    let loose = SessionConfig {
        smtpd_forbid_bare_newline: ForbidBareNewline::No,
        smtpd_command_filter: true,
        smtpd_proxy_filter: true,
        ..base.clone()
    };
    [base, strict, loose]
}

fn run(
    config: &SessionConfig,
    input: &[u8],
    mut cut: impl FnMut() -> usize,
) -> (Vec<String>, Vec<String>, Vec<String>, String) {
    let authorised = Authorised { xclient: true, xforward: true, ..Authorised::default() };
    let mut dialog = Dialog::new(config.clone(), "192.0.2.10", authorised);
    dialog.start();
    let mut rest = input;
    while !rest.is_empty() && !dialog.closed {
        let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
        dialog.send(now);
        rest = later;
        assert!(dialog.session.input.len() <= config.line_length_limit.max(9000) + now.len());
    }
    dialog.session.end_of_input(dialog.now);
    dialog.turn();
    assert!(dialog.closed);
    // Whether pipelining is seen depends on the cuts.
    dialog.logs.retain(|line| !line.starts_with("improper"));
    (dialog.replies.into(), dialog.logs, dialog.messages, dialog.session.statistics())
}

#[test]
fn cuts_make_no_difference() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..1500 {
        let mut input = Vec::new();
        for _ in 0..random.next(40) {
            if random.next(12) == 0 {
                input.push(random.next(256) as u8);
            } else {
                input.extend_from_slice(PIECES[random.next(PIECES.len())].as_bytes());
            }
        }
        for config in &configs() {
            let whole = run(config, &input, || usize::MAX);
            let bytes = run(config, &input, || 1);
            assert_eq!(whole, bytes, "round {round}: {:?}", String::from_utf8_lossy(&input));
            let most = 1 + random.next(20);
            let mut cuts = Random(round + 1);
            let cut = run(config, &input, || 1 + cuts.next(most));
            assert_eq!(whole, cut, "round {round}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

#[test]
fn content_is_handed_out_in_bounded_pieces() {
    let unlimited = SessionConfig { message_size_limit: 0, ..config() };
    let mut session = ServerSession::new(Arc::new(unlimited), None, 0, Authorised::default(), 0);
    session.start(0);
    let mut total = 0;
    let mut feed = |session: &mut ServerSession, bytes: &[u8]| {
        session.receive(0, bytes);
        while let Some(event) = session.poll(0) {
            match event {
                Event::Decide(_) => session.resolve(Verdict::Permit),
                Event::Open => session.opened(Ok("Q".to_owned())),
                Event::Content => {
                    let mut out = Vec::new();
                    session.take_content(&mut out);
                    assert!(out.len() < 40_000, "{}", out.len());
                    total += out.len();
                }
                Event::Commit => session.committed(MessageEnd::Queued),
                _ => {}
            }
        }
    };
    for line in ["MAIL FROM:<a@b>\r\n", "RCPT TO:<a@b>\r\n", "DATA\r\n"] {
        feed(&mut session, line.as_bytes());
    }
    for line in [b"0123456789abcde\r\n".repeat(2000), vec![b'x'; 30_000]] {
        for _ in 0..20 {
            feed(&mut session, &line);
        }
    }
    feed(&mut session, b"\r\n.\r\n");
    assert_eq!(total, 20 * 2000 * 16 + 20 * 30_000 + 1);
}
