//! Whole exchanges, against tables in files.

use super::super::{Attempt, Backend, Exchange};
use super::*;
use crate::dns::{Hosts, Resolver, ResolverConfig};
use aws_lc_rs::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tables::{OpenOptions, TableSet};

/// `secret` for everybody.
const TABLE: &str = "\
argon@example.com {ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU
bcrypt@example.com {BLF-CRYPT}$2y$05$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq
scram@example.com {SCRAM-SHA-256}4096,6bTCNTDTxqzNlCGfT0uizw==,zY1mAUPho7Rjauo5NL/GInZr9FqGLJGatRKqZfviFts=,UUFINpMG8kEr9kcl9IFdgC6dznBOtYiC0urcEBrbY6k=
plain@example.com {PLAIN}secret
yes@example.com {CRYPT}$y$j75$SzUfJ4ZmXaG0vJ6V7cTtb0$00gPLOtwKoLeXn6G7Ckb3t3e9hUdY6lF6PN85.h7779
üv@example.com {BLF-CRYPT}$2b$05$E0/1irCgSOUyLwJIVCh2IOPsoNbxFXDWbpm1.9JbP.HglUhGucL8i
raw@example.com {BLF-CRYPT}$2b$05$E0/1irCgSOUyLwJIVCh2IOWQY11dByfJ/zNN.AxUQTHoqc5dC.vm.
";

struct Bench {
    runtime: tokio::runtime::Runtime,
    world: Answerer,
    backend: Backend,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(specs: [&str; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("passwords"), TABLE).unwrap();
        let (tables, _) = TableSet::open(specs.map(|spec| (spec, true)), OpenOptions::new(dir.path()));
        let map = |table: u32| Map { table, name: specs[table as usize].into() };
        let mut accounts = Accounts::new(vec![map(0)], vec![map(1)], &MECHANISMS);
        accounts.local_domain = "example.com".to_owned();
        let world = Answerer {
            tables: Arc::new(tables),
            resolver: Resolver::new(ResolverConfig::parse(""), Hosts::parse(""), Arc::default()),
            peername_lookup: false,
            log: None,
            verifier: None,
            gateways: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, world, backend: Backend::Builtin(Arc::new(accounts)), _dir: dir }
    }

    fn usual() -> Self {
        Self::new(["texthash:passwords", "inline:{tok=jo@example.com}"])
    }

    fn start(&self, mechanism: &str, response: Option<&str>) -> (AuthAnswer, Option<Exchange>) {
        let response = response.map(encoded);
        let response = response.as_deref();
        let attempt = Attempt { mechanism, response, local: None, remote: None, is_secured: false };
        self.runtime.block_on(self.backend.start(&self.world, attempt))
    }

    fn go_on(&self, exchange: Option<Exchange>, message: &str) -> (AuthAnswer, Option<Exchange>) {
        self.runtime.block_on(exchange.expect("an exchange").go_on(&self.world, &encoded(message)))
    }

    fn plain(&self, message: &str) -> AuthAnswer {
        self.start("PLAIN", Some(message)).0
    }
}

fn encoded(text: &str) -> String {
    String::from_utf8(base64::encode(text.as_bytes())).unwrap()
}

fn welcome(name: &str) -> AuthAnswer {
    AuthAnswer::Success { username: name.to_owned() }
}

fn no(name: &str) -> AuthAnswer {
    refused(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

fn asked(answer: &AuthAnswer) -> String {
    match answer {
        AuthAnswer::Challenge(text) => String::from_utf8(base64::decode(text.as_bytes()).unwrap()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_and_login() {
    let bench = Bench::usual();
    for (message, want) in [
        ("\0argon@example.com\0secret", welcome("argon@example.com")),
        ("\0Bcrypt\0secret", welcome("bcrypt@example.com")),
        ("\0scram\0secret", welcome("scram@example.com")),
        ("scram\0scram@EXAMPLE.com\0secret", welcome("scram@example.com")),
        ("bcrypt\0scram\0secret", no("scram@example.com")),
        ("\0scram\0wrong", no("scram@example.com")),
        ("\0scram\0", no("scram@example.com")),
        ("\0scram\0secret\0", no("scram@example.com")),
        ("\0nobody\0secret", no("nobody@example.com")),
        ("\0\0secret", no("")),
        ("\0scr\nam\0secret", no("")),
        ("\0x[192.0.2.1]: SASL\0secret", no("")),
        ("scram", no("")),
        ("", no("")),
        ("\0plain\0secret", unavailable()),
        ("\0yes\0secret", welcome("yes@example.com")),
        ("\0yes\0wrong", no("yes@example.com")),
    ] {
        assert_eq!(bench.plain(message), want, "{message:?}");
    }
    let (answer, exchange) = bench.start("plain", None);
    assert_eq!(asked(&answer), "");
    assert_eq!(bench.go_on(exchange, "\0scram\0secret").0, welcome("scram@example.com"));
    let (answer, exchange) = bench.start("LOGIN", None);
    assert_eq!(asked(&answer), "Username:");
    let (answer, exchange) = bench.go_on(exchange, "scram");
    assert_eq!(asked(&answer), "Password:");
    assert_eq!(bench.go_on(exchange, "secret").0, welcome("scram@example.com"));
    let (answer, exchange) = bench.start("LOGIN", Some("nobody"));
    assert_eq!(asked(&answer), "Password:");
    assert_eq!(bench.go_on(exchange, "secret").0, no("nobody@example.com"));
    let attempt = Attempt { mechanism: "PLAIN", response: Some("="), local: None, remote: None, is_secured: false };
    assert_eq!(bench.runtime.block_on(bench.backend.start(&bench.world, attempt)).0, no(""));
}

#[test]
fn a_table_that_is_down_refuses_nobody() {
    let bench = Bench::new(["fail:down", "fail:down"]);
    assert_eq!(bench.plain("\0scram\0secret"), unavailable());
    assert_eq!(bench.start("SCRAM-SHA-256", Some("n,,n=scram,r=abc")).0, unavailable());
    assert_eq!(bench.start("OAUTHBEARER", Some("n,,\u{1}auth=Bearer tok\u{1}\u{1}")).0, unavailable());
}

/// Names and passwords that look the same are the same (RFC 4013), whichever was hashed.
#[test]
fn names_and_passwords_are_prepared() {
    let bench = Bench::usual();
    let typed = "\u{2168}\u{a0}u\u{308}";
    for (name, password, want) in [
        ("\u{fc}v", typed, welcome("\u{fc}v@example.com")),
        ("u\u{308}\u{ad}V", typed, welcome("\u{fc}v@example.com")),
        ("\u{fc}v", "IX \u{fc}", welcome("\u{fc}v@example.com")),
        ("\u{fc}v", "IX u", no("\u{fc}v@example.com")),
        ("raw", typed, welcome("raw@example.com")),
        ("raw", "IX \u{fc}", no("raw@example.com")),
        // nothing is left of it, it hides something, or turns the log around
        ("\u{ad}", typed, no("")),
        ("ra\u{7}w", typed, no("")),
        ("ra\u{200e}w", typed, no("")),
        ("\u{ff3b}raw\u{ff3d}", typed, no("")),
    ] {
        assert_eq!(bench.plain(&format!("\0{name}\0{password}")), want, "{name:?} {password:?}");
    }
}

/// What a client says last, for a server's first message.
fn proof(binding: &str, bare: &str, server_first: &str, password: &str) -> String {
    let value = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let mut salted = [0; 32];
    let salt = base64::decode(value("s=").as_bytes()).unwrap();
    let iterations = NonZeroU32::new(value("i=").parse().unwrap()).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let client_key = sign(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let without = format!("c={binding},r={}", value("r="));
    let signature = sign(stored_key.as_ref(), &format!("{bare},{server_first},{without}"));
    let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    format!("{without},p={}", String::from_utf8(base64::encode(&proof)).unwrap())
}

#[test]
fn scram_tells_nobody_who_is_there() {
    let bench = Bench::usual();
    let first = |user: &str| asked(&bench.start("SCRAM-SHA-256", Some(&format!("n,,n={user},r=abc"))).0);
    let salt = |message: &str| message.split_once(",s=").map(|(_, rest)| rest.to_owned()).unwrap();
    // those without keys are like those that don't exist, and like those that do
    for user in ["scram", "nobody", "argon"] {
        let (one, other) = (first(user), first(user));
        assert_eq!(salt(&one), salt(&other), "{user}");
        assert_ne!(one, other, "{user}: a nonce is used once");
        assert!(one.starts_with("r=abc") && one.ends_with(",i=4096") && salt(&one).len() == 31, "{user}: {one}");
    }
    assert_ne!(salt(&first("nobody")), salt(&first("somebody")));
    for (user, password, is_right) in
        [("scram", "secret", true), ("scram", "wrong", false), ("argon", "secret", false), ("nobody", "secret", false)]
    {
        let (answer, exchange) = bench.start("SCRAM-SHA-256", Some(&format!("n,,n={user},r=abc")));
        let last = proof("biws", &format!("n={user},r=abc"), &asked(&answer), password);
        let (answer, exchange) = bench.go_on(exchange, &last);
        if !is_right {
            assert_eq!(answer, no(&format!("{user}@example.com")));
            continue;
        }
        assert!(asked(&answer).starts_with("v="), "{user}");
        assert_eq!(bench.go_on(exchange, "").0, welcome("scram@example.com"));
    }
}

/// A client that could bind to a channel, and sees that we can't, says so; one that insists can't log in.
#[test]
fn scram_without_a_channel() {
    let bench = Bench::usual();
    for (binding, is_right) in [("eSws", true), ("biws", false)] {
        let (answer, exchange) = bench.start("SCRAM-SHA-256", Some("y,,n=scram,r=abc"));
        let last = proof(binding, "n=scram,r=abc", &asked(&answer), "secret");
        let (answer, _) = bench.go_on(exchange, &last);
        assert_eq!(matches!(answer, AuthAnswer::Challenge(_)), is_right, "{binding}");
    }
    let (answer, exchange) = bench.start("SCRAM-SHA-256", Some("p=tls-exporter,,n=scram,r=abc"));
    let reason = "Channel binding is not supported".to_owned();
    assert_eq!(answer, AuthAnswer::Failure { username: None, reason });
    assert!(exchange.is_none());
}

#[test]
fn tokens() {
    let bench = Bench::usual();
    let start = |header: &str, token: &str| {
        bench.start("OAUTHBEARER", Some(&format!("{header}\u{1}auth=Bearer {token}\u{1}\u{1}")))
    };
    assert_eq!(start("n,,", "tok").0, welcome("jo@example.com"));
    assert_eq!(start("n,a=JO,", "tok").0, welcome("jo@example.com"));
    for (header, token, name) in [("n,a=eve,", "tok", "eve@example.com"), ("n,,", "other", "")] {
        let (answer, exchange) = start(header, token);
        assert_eq!(asked(&answer), r#"{"status":"invalid_token"}"#);
        assert_eq!(bench.go_on(exchange, "\u{1}").0, no(name));
    }
    assert_eq!(bench.start("OAUTHBEARER", Some("n,,")).0, no(""));
}

#[test]
fn nobody_is_found_out_by_the_time_it_takes() {
    let bench = Bench::usual();
    let fastest = |message: &str| {
        let once = || {
            let begin = Instant::now();
            assert!(matches!(bench.plain(message), AuthAnswer::Failure { .. }), "{message}");
            begin.elapsed()
        };
        (0..3).map(|_| once()).min().unwrap_or(Duration::MAX)
    };
    // Without a hash it would be a thousandth.
    let wrong = fastest("\0argon\0wrong");
    for other in ["\0nobody\0wrong", "\0scr\nam\0wrong", "argon\0nobody\0wrong"] {
        let time = fastest(other);
        assert!(time * 20 > wrong, "{other:?} takes {time:?}, a wrong password {wrong:?}");
    }
}
