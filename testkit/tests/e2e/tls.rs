//! TLS with clients: the handshake, what it changes, who may do what with a certificate, and files that change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::tls::{self, SecureDialog, Visitor, first_certificate};
use testkit::tools::{is_root, skipped};
use testkit::{Dialog, Program, wait_until};

use crate::server::{Server, postern};

const OFFERED: &str = "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = $config_directory/keys.pem\nsmtpd_tls_loglevel = 1\n\
                       smtpd_tls_received_header = yes\n";

/// A server with these keys in `keys.pem`.
fn start(keys: &str, settings: &str) -> Server {
    start_with(&[("keys.pem", keys)], &format!("{OFFERED}{settings}"))
}

fn start_with(files: &[(&str, &str)], settings: &str) -> Server {
    Server::start_by(settings, |dir| {
        for (name, text) in files {
            fs::write(dir.join("etc").join(name), text).expect("a file");
        }
        Program::serve(&postern(), &dir.join("etc")).expect("the program starts")
    })
}

fn secure(server: &Server, visitor: Visitor<'_>) -> SecureDialog {
    SecureDialog::starttls(server.dialog(), visitor).unwrap_or_else(|e| panic!("{e}\n{}", server.tail()))
}

/// MAIL and RCPT; the last reply.
fn recipient(dialog: &mut SecureDialog, to: &str) -> String {
    assert!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply").starts_with("250"));
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn mail_comes_in_by_starttls() {
    let server = start(tls::ECDSA, "");
    let mut dialog = secure(&server, Visitor::default());
    assert_eq!(dialog.version(), "TLSv1_3");
    let ehlo = dialog.command("EHLO client.example.net").expect("a reply");
    assert!(!ehlo.contains("STARTTLS") && ehlo.ends_with("250 REQUIRETLS"), "{ehlo}");
    assert_eq!(recipient(&mut dialog, "user@example.com"), "250 2.1.5 Ok");
    assert!(dialog.command("DATA").expect("a reply").starts_with("354"));
    // More than any buffer on the way holds.
    let body = format!("{}\r\n", "x".repeat(998)).repeat(2000);
    dialog.send(format!("Subject: secret\r\n\r\n{body}.\r\n").as_bytes()).expect("taken");
    assert!(dialog.reply().expect("a reply").starts_with("250 2.0.0 Ok: queued as "), "{}", server.tail());
    let mail = server.wait_mail("user", 1).remove(0);
    assert!(mail.len() > 1_990_000, "{}", mail.len());
    let header = "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n\
                  \t key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256)\n\
                  \t(No client certificate requested)\n\
                  \tby mail.example.com (Postfix) with ESMTPS id ";
    assert!(mail.contains(header), "{}", &mail[..1000]);
    server.wait_log(
        "Anonymous TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \
         (256/256 bits) key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256",
    );
}

#[test]
#[ignore = "run by cargo xtask test"]
fn openssl_talks_to_it() {
    let server = start(tls::RSA, "");
    let openssl = |version: &str| {
        let mut client = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-starttls",
                "smtp",
                version,
                "-connect",
                &format!("127.0.0.1:{}", server.port),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = client.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, b"QUIT\r\n")?;
        client.wait_with_output()
    };
    for (version, cipher) in [
        ("-tls1_2", "TLSv1.2 with cipher ECDHE-RSA-"),
        ("-tls1_3", "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "),
    ] {
        let Ok(output) = openssl(version) else { return skipped("openssl s_client", "there is no openssl program") };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("221 2.0.0 Bye"), "{text}\n{}", server.tail());
        server.wait_log(cipher);
    }
    assert!(server.log().contains("server-signature RSA-PSS (2048 bits) server-digest SHA512"), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_largest_curve_on_both_sides() {
    let server = start(tls::P521, "smtpd_tls_ask_ccert = yes\n");
    let mut dialog = secure(&server, Visitor { certificate: Some(tls::P521), ..Visitor::default() });
    assert_eq!(dialog.command("NOOP").expect("a reply"), "250 2.0.0 Ok");
    server.wait_log(
        "Untrusted TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \
         (256/256 bits) key-exchange X25519 server-signature ECDSA (secp521r1) server-digest SHA512 client-signature \
         ECDSA (secp521r1) client-digest SHA512",
    );
}

/// The order of a client decides, the log has OpenSSL's names.
#[test]
#[ignore = "run by cargo xtask test"]
fn key_exchanges_as_openssl_calls_them() {
    let server = start(tls::ECDSA, "");
    for (groups, logged) in [
        ("X25519:P-256", "key-exchange X25519 server-signature"),
        ("P-256", "key-exchange ECDHE (prime256v1) server-signature"),
        ("P-384", "key-exchange ECDHE (secp384r1) server-signature"),
        ("P-521:P-384:X25519", "key-exchange ECDHE (secp384r1) server-signature"),
    ] {
        let before = server.log().matches(logged).count();
        let output = Command::new("openssl")
            .args(["s_client", "-starttls", "smtp", "-tls1_3", "-groups", groups, "-connect"])
            .arg(format!("127.0.0.1:{}", server.port))
            .stdin(Stdio::null())
            .output();
        if output.is_err() {
            return skipped("key exchanges of openssl s_client", "there is no openssl program");
        }
        let logs_it = || server.log().matches(logged).count() > before;
        assert!(testkit::wait_until(std::time::Duration::from_secs(10), logs_it), "{groups}\n{}", server.tail());
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn what_comes_before_the_handshake_is_forgotten() {
    let server = start(tls::ECDSA, "");
    let mut dialog = server.dialog();
    dialog.send(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<user@example.com>\r\n").expect("taken");
    assert_eq!(dialog.reply().expect("a reply"), "220 2.0.0 Ready to start TLS");
    let stream = dialog.stream().try_clone().expect("a socket");
    let mut secured = SecureDialog::over(stream, Visitor::default()).expect("a handshake");
    for (command, reply) in
        [("DATA", "503 5.5.1 Error: need RCPT command"), ("NOOP", "250 2.0.0 Ok"), ("QUIT", "221 2.0.0 Bye")]
    {
        assert_eq!(secured.command(command).expect("a reply"), reply);
    }
    assert_eq!(secured.reply().expect("the end"), "");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn wrapper_mode_begins_with_tls() {
    let server = start(tls::ECDSA, "smtpd_tls_wrappermode = yes\n");
    let mut dialog = SecureDialog::wrapped(server.port, Visitor::default()).expect("a handshake");
    assert_eq!(dialog.reply().expect("a greeting"), "220 mail.example.com ESMTP Postfix");
    assert!(dialog.command("EHLO a").expect("a reply").starts_with("250-"));
    assert_eq!(dialog.command("STARTTLS").expect("a reply"), "554 5.5.1 Error: TLS already active");
    assert_eq!(recipient(&mut dialog, "user@example.com"), "250 2.1.5 Ok");
    // Those that speak before anybody has looked at them, too.
    for _ in 0..20 {
        SecureDialog::wrapped(server.port, Visitor::default()).expect("a handshake");
    }
    let mut plain = Dialog::connect(server.port).expect("a connection");
    plain.send(b"EHLO plain.example\r\n").expect("taken");
    // An alert, which is no text.
    assert!(!plain.rest().expect("the end").contains("220"));
    server.wait_log("SSL_accept error from localhost[127.0.0.1]: -1");
    server.wait_log("lost connection after CONNECT from localhost[127.0.0.1]");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn slow_clients_are_left_behind() {
    let server = start(tls::ECDSA, "smtpd_starttls_timeout = 2s\n");
    let idle: Vec<Dialog> = (0..50)
        .map(|n| {
            let mut dialog = server.dialog();
            assert!(dialog.command("STARTTLS").expect("a reply").starts_with("220"));
            if n % 2 == 0 {
                // The first bytes of a ClientHello that never ends.
                dialog.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").expect("taken");
            }
            dialog
        })
        .collect();
    let mut dialog = secure(&server, Visitor::default());
    assert_eq!(dialog.command("NOOP").expect("a reply"), "250 2.0.0 Ok");
    for mut dialog in idle {
        dialog.rest().expect("the end");
    }
    server.wait_log("SSL_accept error from localhost[127.0.0.1]: Connection timed out");
    assert_eq!(dialog.command("NOOP").expect("a reply"), "250 2.0.0 Ok");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_key_that_suits_the_client_is_used() {
    let server = start(&format!("{}{}{}", tls::RSA, tls::ED25519, tls::ECDSA), "smtpd_tls_protocols = >=TLSv1.2\n");
    for old in [false, true] {
        let dialog = secure(&server, Visitor { old, ..Visitor::default() });
        let shown = dialog.certificate();
        assert!([tls::ECDSA, tls::ED25519].iter().any(|pem| shown == first_certificate(pem)), "old: {old}");
    }
    let openssl = Command::new("openssl")
        .args(["s_client", "-starttls", "smtp", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-connect"])
        .arg(format!("127.0.0.1:{}", server.port))
        .stdin(Stdio::null())
        .output();
    if openssl.is_ok() {
        server.wait_log("TLSv1.2 with cipher ECDHE-RSA-AES128-GCM-SHA256 (128/128 bits)");
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn clients_that_are_too_old_are_told_so() {
    let server = start(tls::ECDSA, "smtpd_tls_protocols = >=TLSv1.3\n");
    let error = SecureDialog::starttls(server.dialog(), Visitor { old: true, ..Visitor::default() }).err();
    assert!(error.is_some_and(|error| error.to_string().contains("ProtocolVersion")), "{}", server.tail());
    server.wait_log("warning: TLS library problem: ");
    server.wait_log("NOQUEUE: lost connection after STARTTLS from localhost[127.0.0.1]");
    secure(&server, Visitor::default());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn certificates_open_doors() {
    let settings = "smtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = $config_directory/ca.pem\nsmtpd_tls_chain_files = $config_directory/keys.pem\n\
                    smtpd_tls_security_level = may\nsmtpd_tls_loglevel = 2\n\
                    relay_clientcerts = inline:{{$stranger=known}}\n\
                    smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n";
    let fingerprint = fingerprint(tls::STRANGER);
    let files = [("keys.pem", tls::ECDSA), ("ca.pem", tls::AUTHORITY)];
    let known = format!("{settings}stranger = {fingerprint}\n");
    let nobody = format!("{settings}stranger = 00:11\n");
    let (open, closed) = ("250 2.1.5 Ok", "554 5.7.1 <u@elsewhere.example>: Relay access denied");
    for (settings, certificate, reply, word) in [
        (&nobody, None, closed, "Anonymous"),
        (&nobody, Some(tls::CLIENT), open, "Trusted"),
        (&nobody, Some(tls::STRANGER), closed, "Untrusted"),
        (&known, Some(tls::STRANGER), open, "Untrusted"),
    ] {
        let server = start_with(&files, settings);
        for old in [false, true] {
            let mut dialog = secure(&server, Visitor { certificate, old, ..Visitor::default() });
            assert_eq!(recipient(&mut dialog, "u@elsewhere.example"), reply, "{word}\n{}", server.tail());
        }
        server.wait_log(&format!("{word} TLS connection established from localhost[127.0.0.1]: TLSv1.3"));
        if word == "Untrusted" {
            server
                .wait_log(&format!("subject_CN=stranger.example, issuer=stranger.example, fingerprint={fingerprint}"));
        }
    }
}

/// SHA-256, as Postfix writes it.
fn fingerprint(pem: &str) -> String {
    let hash = rustls::crypto::aws_lc_rs::default_provider()
        .cipher_suites
        .iter()
        .find_map(|suite| match suite.tls13().map(|suite| suite.common.hash_provider) {
            Some(hash) if hash.output_len() == 32 => Some(hash.hash(&first_certificate(pem))),
            _ => None,
        })
        .expect("SHA-256");
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_certificate_may_be_required() {
    let settings = "smtpd_tls_req_ccert = yes\nsmtpd_tls_CAfile = $config_directory/ca.pem\nsmtpd_tls_chain_files = $config_directory/keys.pem\n\
                    smtpd_tls_security_level = encrypt\nsmtpd_tls_loglevel = 1\n";
    let server = start_with(&[("keys.pem", tls::ECDSA), ("ca.pem", tls::AUTHORITY)], settings);
    for (certificate, reply) in [
        (None, "421 4.7.1 mail.example.com Error: No client certificate presented"),
        (Some(tls::STRANGER), "421 4.7.1 mail.example.com Error: Client certificate not trusted"),
        (Some(tls::CLIENT), "250 2.0.0 Ok"),
    ] {
        let mut dialog = secure(&server, Visitor { certificate, ..Visitor::default() });
        assert_eq!(dialog.command("NOOP").expect("a reply"), reply);
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn names_have_their_own_certificates() {
    let files = [("keys.pem", tls::ECDSA), ("other.pem", tls::OTHER), ("renewed.pem", tls::RENEWED)];
    let settings = format!(
        "{OFFERED}tls_server_sni_maps = inline:{{{{other.example=$config_directory/other.pem}},\n  \
         {{.wild.example=$config_directory/renewed.pem}}, {{broken.example=/nowhere.pem}}}}\n"
    );
    let server = start_with(&files, &settings);
    for (name, pem) in [
        (None, tls::ECDSA),
        (Some("other.example"), tls::OTHER),
        (Some("a.wild.example"), tls::RENEWED),
        (Some("wild.example"), tls::ECDSA),
        (Some("broken.example"), tls::ECDSA),
    ] {
        let dialog = secure(&server, Visitor { name, ..Visitor::default() });
        assert!(dialog.certificate() == first_certificate(pem), "{name:?}\n{}", server.tail());
    }
    server.wait_log("TLS connection established from localhost[127.0.0.1] to other.example: TLSv1.3");
    server.wait_log("TLS SNI wild.example from localhost[127.0.0.1] not matched, using default chain");
    server.wait_log("warning: tls_server_sni_maps: broken.example: /nowhere.pem: No such file or directory");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_reload_takes_renewed_certificates() {
    let server = start(tls::ECDSA, "");
    let shown = || secure(&server, Visitor::default()).certificate();
    let reload = |file: &str, times: usize| {
        fs::write(server.etc().join("keys.pem"), file).expect("a file");
        server.program.signal(Signal::SIGHUP);
        let done = || server.log().matches("reload complete").count() == times;
        assert!(wait_until(Duration::from_secs(15), done), "{}", server.tail());
    };
    assert!(shown() == first_certificate(tls::ECDSA));
    let mut old = secure(&server, Visitor::default());
    reload(tls::RENEWED, 1);
    assert!(shown() == first_certificate(tls::RENEWED));
    reload("nonsense", 2);
    assert!(shown() == first_certificate(tls::RENEWED));
    server.wait_log("no private key in it: the certificate that was read before stays in use [tls-stale]");
    server.configure(&OFFERED.replace("keys.pem", "nowhere.pem"));
    server.program.signal(Signal::SIGHUP);
    server.wait_log("reload refused: service 127.0.0.1:");
    assert!(shown() == first_certificate(tls::RENEWED));
    assert_eq!(old.command("NOOP").expect("a reply"), "250 2.0.0 Ok");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn keys_are_read_before_root_is_given_up() {
    if !is_root() {
        return skipped("keys that only root can read", "it takes root to read them");
    }
    let server = Server::start_by(OFFERED, |dir| {
        write_for_root(&dir.join("etc/keys.pem"), tls::ECDSA);
        Program::serve(&postern(), &dir.join("etc")).expect("the program starts")
    });
    let shown = || secure(&server, Visitor::default()).certificate();
    assert!(shown() == first_certificate(tls::ECDSA));
    let keys = server.etc().join("keys.pem");
    write_for_root(&keys, tls::RENEWED);
    server.program.signal(Signal::SIGHUP);
    server.wait_log("Permission denied: the certificate that was read before stays in use [tls-stale]");
    server.wait_log("reload complete");
    assert!(shown() == first_certificate(tls::ECDSA));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).expect("permissions");
    server.program.signal(Signal::SIGHUP);
    assert!(wait_until(Duration::from_secs(15), || shown() == first_certificate(tls::RENEWED)), "{}", server.tail());
}

fn write_for_root(path: &Path, text: &str) {
    fs::write(path, "").expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
    fs::write(path, text).expect("a file");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn without_a_usable_key_there_is_no_tls() {
    for (keys, why) in [
        (tls::AUTHORITY.to_owned(), "a certificate before any key: the key comes first"),
        (
            tls::ECDSA.split_inclusive("-----END PRIVATE KEY-----\n").next().expect("a key").to_owned()
                + tls::AUTHORITY,
            "not the key of the certificate in ",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned() + tls::AUTHORITY,
            "not an RSA key",
        ),
        (tls::CLIENT.split("-----BEGIN CERT").next().expect("a key").to_owned(), "no certificate in it"),
    ] {
        let server = start(&keys, "");
        let mut dialog = server.dialog();
        let reply = dialog.command("STARTTLS").expect("a reply");
        assert_eq!(reply, "454 4.7.0 TLS not available due to local problem");
        server.wait_log(why);
        assert!(!server.log().contains("PRIVATE KEY") && !server.log().contains("AAAA"), "{}", server.tail());
        assert_eq!(dialog.command("NOOP").expect("a reply"), "250 2.0.0 Ok");
    }
}
