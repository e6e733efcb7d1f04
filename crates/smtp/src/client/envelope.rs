//! MAIL FROM and RCPT TO with the parameters that the server takes.

use super::capabilities::Capabilities;
use super::{Transaction, TransactionRecipient};
use crate::address::quote_local;
use std::fmt::Write;

/// MAIL FROM, and RCPT TO for each recipient.
pub(super) fn commands(transaction: &Transaction, offered: &Capabilities) -> (String, Vec<String>) {
    let mut mail = format!("MAIL FROM:<{}>", quote_local(&transaction.sender));
    if offered.size.is_some() && transaction.size > 0 {
        let _ = write!(mail, " SIZE={}", transaction.size);
    }
    if let Some(body) = transaction.body.keyword().filter(|_| offered.eight_bit_mime) {
        let _ = write!(mail, " BODY={body}");
    }
    if offered.smtputf8 && transaction.smtputf8 {
        mail.push_str(" SMTPUTF8");
    }
    if offered.dsn {
        if let Some(envid) = &transaction.envid {
            let _ = write!(mail, " ENVID={}", xtext(envid));
        }
        if let Some(ret) = transaction.ret {
            let _ = write!(mail, " RET={ret}");
        }
    }
    (mail, transaction.recipients.iter().map(|r| recipient(r, offered)).collect())
}

fn recipient(recipient: &TransactionRecipient, offered: &Capabilities) -> String {
    let mut command = format!("RCPT TO:<{}>", quote_local(&recipient.address));
    if offered.dsn {
        if let Some((kind, address)) = recipient.orcpt.as_deref().and_then(|o| o.split_once(';')) {
            let address = if kind == "utf-8" && !address.is_ascii() { utf8_xtext(address) } else { xtext(address) };
            let _ = write!(command, " ORCPT={kind};{address}");
        }
        if !recipient.notify.is_empty() {
            let _ = write!(command, " NOTIFY={}", recipient.notify);
        }
    }
    command
}

/// utf-8-addr-xtext (RFC 6533 section 3), all that isn't plain as `\x{…}`.
fn utf8_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

/// xtext (RFC 3461 section 4).
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "+{byte:02X}");
        }
    }
    out
}
