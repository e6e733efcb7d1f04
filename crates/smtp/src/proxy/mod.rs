//! What passes between us and a before-queue filter (SMTPD_PROXY_README): its replies as they come in, the XFORWARD
//! commands, command lines on their way through. Content goes out through [`ContentEncoder`].
//!
//! Decides what a reply is and what of it a client may see; connecting, sending and waiting are the program's work.

mod reply;
mod xforward;

pub use crate::client::ContentEncoder;
pub use reply::{Piece, ProxyReply, ProxyReplyReader};
pub use xforward::{ForwardedClient, XforwardNames};

/// A client's command line on its way to the next hop: what could end the line there is made harmless, and REQUIRETLS is
/// left out of MAIL (it goes on as a header).
pub fn command_line(line: &str, without_requiretls: bool) -> String {
    let mut text = line.replace(|c: char| c.is_ascii_control(), "?");
    if without_requiretls {
        // Only the word itself, and nothing inside the address.
        let options = text.rfind('>').map_or(0, |end| end + 1);
        let words: Vec<&str> =
            text[options..].split(' ').filter(|word| !word.eq_ignore_ascii_case("REQUIRETLS")).collect();
        let kept = words.join(" ");
        text.truncate(options);
        text.push_str(&kept);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn lines_pass_as_they_are_but_for_what_is_not_for_the_next_hop() {
        for (line, tls, want) in [
            ("MAIL FROM:<a@b> SIZE=5  BODY=8BITMIME", false, "MAIL FROM:<a@b> SIZE=5  BODY=8BITMIME"),
            ("MAIL FROM:<a@b> requiretls SIZE=5", true, "MAIL FROM:<a@b> SIZE=5"),
            ("MAIL FROM:<a@b> REQUIRETLS", true, "MAIL FROM:<a@b>"),
            ("MAIL FROM: a@b REQUIRETLS", true, "MAIL FROM: a@b"),
            ("MAIL FROM:<\" REQUIRETLS \"@b>", true, "MAIL FROM:<\" REQUIRETLS \"@b>"),
            ("RCPT TO:<\"a\rRSET\"@b>", false, "RCPT TO:<\"a?RSET\"@b>"),
        ] {
            assert_eq!(command_line(line, tls), want, "{line}");
        }
    }
}
