//! Odd input: cut anywhere, broken, endless.

use super::*;

/// A small generator of reproducible numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }
}

const PIECES: [&[u8]; 24] = [
    b"\n",
    b"\n\n",
    b" ",
    b"\t",
    b":",
    b"--a",
    b"--a--",
    b"--b\n",
    b"X-Foo: bar\n",
    b"Received: x\n",
    b"\x00",
    b"\xff\xfe",
    b"Content-Type: multipart/mixed; boundary=a\n",
    b"Content-Type: multipart/mixed; boundary=\"b\n",
    b"\r",
    b"Content-Type: message/rfc822\n",
    b"info",
    b"ignore",
    b"replace\n",
    b"Content-Transfer-Encoding: base64\n",
    b"From: a <b>, (c\n",
    b"Subject: 0123456789012345678901234567890123456789\n",
    b"To",
    b"-",
];

#[test]
fn the_cut_of_chunks_makes_no_difference_and_garbage_does_no_harm() {
    let rules =
        [(4, "info", "INFO"), (4, "ignore", "IGNORE"), (4, "replace", "REPLACE x"), (1, "X-Foo", "PREPEND A: b")];
    let mut dice = Dice(7);
    for round in 0..400 {
        let text: Vec<u8> = (0..dice.roll(60)).flat_map(|_| PIECES[dice.roll(PIECES.len())].iter().copied()).collect();
        let base = if round % 2 == 0 { checked() } else { plain() };
        let config =
            CleanupConfig { line_length_limit: 16, header_size_limit: 64, strict_8bitmime: round % 3 == 0, ..base };
        let context = MessageContext {
            rewrite: if round % 5 == 0 { RewriteContext::Local } else { RewriteContext::Remote },
            ..context()
        };
        let mut tables = Rules(rules.to_vec());
        let whole = run_with(config.clone(), context.clone(), &mut tables, &[&text]);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        let single = run_with(config.clone(), context.clone(), &mut tables, &bytes);
        assert_eq!(
            (&whole.out, &whole.finished),
            (&single.out, &single.finished),
            "{:?}",
            String::from_utf8_lossy(&text)
        );
        let cut = dice.roll(text.len() + 1);
        let halves = run_with(config, context, &mut tables, &[&text[..cut], &text[cut..]]);
        assert_eq!((&whole.out, &whole.finished), (&halves.out, &halves.finished));
    }
}

#[test]
fn memory_stays_bounded() {
    let mut cleanup = Cleanup::new(Arc::new(checked()), context());
    let mut out = Vec::new();
    cleanup.feed(b"X-Long: ", &mut NoTables, &mut out);
    for _ in 0..800 {
        cleanup.feed(&[b'x'; 65_536], &mut NoTables, &mut out);
    }
    assert!(cleanup.header.capacity() < 300_000 && cleanup.line.capacity() < 10_000 && out.is_empty());
    let finished = cleanup.finish(&mut NoTables, &mut out);
    assert_eq!((out.len(), finished.verdict), (102_401, Verdict::Accept));

    let mut cleanup = Cleanup::new(Arc::new(checked()), context());
    for _ in 0..1_000_000 {
        out.clear();
        cleanup.feed(b"X-Many: headers\n", &mut NoTables, &mut out);
    }
    assert!(cleanup.header.capacity() < 1000 && cleanup.log.is_empty());
    cleanup.feed(b"Message-Id: <1>\n\n", &mut NoTables, &mut out);
    assert_eq!(cleanup.take_log().len(), 1);
    assert_eq!(cleanup.finish(&mut NoTables, &mut out).log.len(), 0);
}
