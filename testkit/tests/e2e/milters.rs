//! Milters that do whatever they should not, and one that comes back.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use testkit::Dialog;
use testkit::ports::free_port;

use crate::server::Server;

/// A filter that answers each connection's negotiation well, and then says only this.
fn rude(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut packet = [0; 17];
                let negotiated = stream.read_exact(&mut packet);
                let offer = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\0\0\0";
                if negotiated.is_ok() && stream.write_all(offer).is_ok() && stream.write_all(answer).is_ok() {
                    // An empty answer is silence, as long as the other side waits.
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                }
            });
        }
    });
    port
}

#[test]
#[ignore = "run by cargo xtask test"]
fn rude_filters_hold_nobody() {
    for (answer, warning) in [
        (b"\xff\xff\xff\xff".as_slice(), "unreasonable packet length: 4294967295 > 1048576"),
        (b"\0\0\0\0", "bad packet length: 0"),
        (b"\0\0\0\x01?", "unexpected filter response (unknown filter reply) after event SMFIC_CONNECT"),
        (b"\0\0\0\x05hX\0y\0", "unexpected filter response SMFIR_ADDHEADER after event SMFIC_CONNECT"),
        (b"\0\0\0\x09y250 ok\0\0", "malformed reply: 250 ok"),
        (b"\0\0", "can't read SMFIC_CONNECT reply packet header: Connection timed out"),
        (b"", "can't read SMFIC_CONNECT reply packet header: Connection timed out"),
    ] {
        let port = rude(answer);
        let server = Server::start(&format!(
            "smtpd_milters = inet:127.0.0.1:{port}\nmilter_default_action = tempfail\nmilter_command_timeout = 1s\n"
        ));
        let begin = Instant::now();
        let mut dialog = server.dialog();
        let reply = dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
        assert!(reply.starts_with("451 4."), "{reply}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{warning}");
        server.wait_log(&format!("warning: milter inet:127.0.0.1:{port}: {warning}"));
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_filter_that_comes_back_needs_no_restart() {
    let port = free_port();
    let server = Server::start(&format!("smtpd_milters = inet:127.0.0.1:{port}\n"));
    let mut refused = Dialog::connect(server.port).expect("a connection");
    let greeting = "421 mail.example.com Service unavailable - try again later";
    assert_eq!(refused.reply().expect("a greeting"), greeting);
    server.wait_log(&format!("warning: connect to Milter service inet:127.0.0.1:{port}: Connection refused"));
    // it wants to be told of nothing but the end of the message, and has no objections
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("its port");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut packet = [0; 17];
            let _ = stream.read_exact(&mut packet);
            let _ = stream.write_all(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x0f\xf3\xff\0\0\0\x01c");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    server.assert_works();
}
