//! Delivered mail as text: one block for each sink, sender and content, with the recipients merged.

use std::sync::LazyLock;

use regex_lite::Regex;

use super::normal::{normal, text_of};
use crate::peer::Message;

static SIZE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" SIZE=\d+").expect("a pattern of our own"));

/// Text without the SIZE parameter of MAIL.
pub fn without_size(text: &str) -> String {
    SIZE.replace_all(text, "").into_owned()
}

/// The `mail` section for (address of the sink, message) pairs; `restore` maps paths and ports back.
pub fn mail_section(messages: &[(String, Message)], restore: impl Fn(&str) -> String) -> Vec<String> {
    let mut merged: Vec<(&str, String, String, Vec<String>)> = Vec::new();
    for (address, message) in messages {
        let (sender, content) = (without_size(&message.sender), content(&message.content, &restore));
        let known = merged.iter_mut().find(|(a, s, c, _)| a == address && *s == sender && *c == content);
        match known {
            Some((.., recipients)) => recipients.extend(message.recipients.iter().cloned()),
            None => merged.push((address, sender, content, message.recipients.clone())),
        }
    }
    let mut blocks: Vec<Vec<String>> = Vec::new();
    for (address, sender, content, mut recipients) in merged {
        recipients.sort();
        let mut block = vec![format!("sink {address}"), format!("MAIL {sender}")];
        block.extend(recipients.iter().map(|r| format!("RCPT {r}")));
        block.extend(content.trim_end_matches('\n').split('\n').map(|line| format!("  {line}")));
        blocks.push(block);
    }
    blocks.sort();
    blocks.into_iter().flat_map(|block| std::iter::once("-- message".to_owned()).chain(block)).collect()
}

fn content(bytes: &[u8], restore: impl Fn(&str) -> String) -> String {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let head = joined_numbers(&restore(&text_of(&bytes[..split.unwrap_or(bytes.len())])));
    let mut out = head.split("\r\n").map(normal).collect::<Vec<_>>().join("\n");
    if let Some(at) = split {
        out += "\n\n";
        let body = text_of(&bytes[at + 4..]);
        // A delivery report tells ids and dates of another message.
        match head.contains("report-type=delivery-status") {
            true => out += &body.split("\r\n").map(normal).collect::<Vec<_>>().join("\n"),
            false => out += &body,
        }
    }
    out.replace("\r\n", "\n")
}

/// `1, 2` becomes `1,2`: some versions write lists of numbers so, and some so.
fn joined_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(", ") {
        let digits = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let between = digits(rest[..at].chars().last()) && digits(rest[at + 2..].chars().next());
        out += &rest[..at];
        out += if between { "," } else { ", " };
        rest = &rest[at + 2..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_and_sorted() {
        let message = |to: &str, content: &str| Message {
            sender: "FROM:<a@b> SIZE=12".into(),
            recipients: vec![format!("TO:<{to}>")],
            content: content.replace('\n', "\r\n").into_bytes(),
        };
        let mail = [
            ("2526".to_owned(), message("z@b", "A: 1, 2, x\n\nbody\n")),
            ("2525".to_owned(), message("v@b", "B: 1\n\n1, 2\n")),
            ("2525".to_owned(), message("u@b", "B: 1\n\n1, 2\n")),
        ];
        let want = "-- message\nsink 2525\nMAIL FROM:<a@b>\nRCPT TO:<u@b>\nRCPT TO:<v@b>\n  B: 1\n  \n  1, 2\n\
            -- message\nsink 2526\nMAIL FROM:<a@b>\nRCPT TO:<z@b>\n  A: 1,2, x\n  \n  body";
        assert_eq!(mail_section(&mail, str::to_owned).join("\n"), want);
    }
}
