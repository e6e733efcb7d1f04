//! The facts of a session from a line of the mail log.

use super::Inquiry;

/// Take a `reject`, `permit`, `warn`… or `client=` line apart.
///
/// # Errors
/// What the line lacks.
pub fn from_log_line(line: &str) -> Result<Inquiry, String> {
    let help = "it should be a line such as\n  \
        NOQUEUE: reject: RCPT from NAME[ADDRESS]: 554 5.7.1 …; from=<…> to=<…> proto=ESMTP helo=<…>";
    let client = line.split_once(" from ").map(|(_, rest)| rest).or_else(|| Some(line.split_once("client=")?.1));
    let client = client.ok_or_else(|| format!("this log line names no client; {help}"))?;
    let (name, rest) = client.split_once('[').ok_or_else(|| format!("this log line names no client; {help}"))?;
    let (address, rest) = rest.split_once(']').ok_or_else(|| format!("this log line names no client; {help}"))?;
    let address = address.parse().map_err(|_| format!("\"{address}\" is not an address; {help}"))?;
    let in_brackets = |key: &str| {
        let (_, value) = rest.rsplit_once(key)?;
        Some(value.split_once('>')?.0.to_owned())
    };
    let word = |key: &str| {
        let (_, value) = rest.split_once(key)?;
        Some(value.split([',', ' ', ';']).next().unwrap_or_default().to_owned())
    };
    Ok(Inquiry {
        address: Some(address),
        name: Some(name.trim().to_owned()),
        helo: in_brackets(" helo=<"),
        plain_smtp: word(" proto=").is_some_and(|protocol| protocol == "SMTP"),
        sender: in_brackets(" from=<").unwrap_or_default(),
        recipients: in_brackets(" to=<").into_iter().collect(),
        login: word("sasl_username=").or_else(|| in_brackets(" sasl_username=<")),
        ..Inquiry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_lines_apart() {
        let line = "Nov 22 12:00:00 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from client.example.net[192.0.2.10]: \
                    554 5.7.1 <u@example.org>: Relay access denied; from=<a@b.example> to=<u@example.org> proto=ESMTP \
                    helo=<client.example.net>";
        let found = from_log_line(line).unwrap();
        assert_eq!(found.address, Some([192, 0, 2, 10].into()));
        assert_eq!(
            (found.name.as_deref(), found.helo.as_deref()),
            (Some("client.example.net"), Some("client.example.net"))
        );
        assert_eq!(
            (found.sender.as_str(), found.recipients.as_slice()),
            ("a@b.example", ["u@example.org".to_owned()].as_slice())
        );
        assert!(!found.plain_smtp);
        let found = from_log_line("4F: client=unknown[2001:db8::1], sasl_method=PLAIN, sasl_username=joe").unwrap();
        assert_eq!((found.address, found.login.as_deref()), (Some("2001:db8::1".parse().unwrap()), Some("joe")));
        for bad in ["", "connect from nobody", "x from a[b]: 1"] {
            assert!(from_log_line(bad).is_err(), "{bad}");
        }
    }
}
