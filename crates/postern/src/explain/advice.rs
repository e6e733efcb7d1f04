//! A few words on why a restriction came to what it came to, and what would change a refusal.

use super::{CheckStory, Inquiry, StepStory};
use policy::{Facts, PeerName};

/// Why, where that isn't plain from questions and answers.
pub fn why(restriction: &str, outcome: &str, facts: &Facts, names: &PeerName) -> Option<String> {
    let word = restriction.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let address = facts.client.address.map_or_else(|| "the client".to_owned(), |address| address.to_string());
    let recipient = facts.recipient.as_deref().unwrap_or("<>");
    let domain = |address: &str| address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, d)| d.to_owned());
    let quiet = outcome == "no opinion";
    Some(match (word.as_str(), quiet) {
        ("permit_mynetworks", true) => format!("{address} is not in mynetworks"),
        ("permit_mynetworks", false) => format!("{address} is in mynetworks"),
        ("permit_sasl_authenticated", true) => "the client has not logged in".to_owned(),
        ("permit_sasl_authenticated", false) => "the client has logged in".to_owned(),
        ("permit_tls_clientcerts" | "permit_tls_all_clientcerts", true) => "no client certificate".to_owned(),
        ("reject_unauth_destination" | "defer_unauth_destination", true) => {
            format!("{} is a domain that we receive or relay mail for", domain(recipient))
        }
        ("reject_unauth_destination" | "defer_unauth_destination", false) => format!(
            "{} is not in mydestination, virtual_alias_domains, virtual_mailbox_domains or relay_domains",
            domain(recipient)
        ),
        ("permit_auth_destination", true) => format!("{} is none of our domains", domain(recipient)),
        ("reject_unknown_client_hostname", true) => format!("its name is {}", names.name),
        ("reject_dmarc_fail" | "check_dmarc_access", true) if facts.message.is_none() => {
            "there is no message to look at here".to_owned()
        }
        ("reject_unauth_pipelining", true) => "the client waited for its turn".to_owned(),
        ("smtpd_reject_unlisted_recipient", true) => "the address exists, or its domain lists no recipients".to_owned(),
        _ => return None,
    })
}

/// What would change a refusal by header_checks or body_checks.
pub fn of_content(check: &CheckStory) -> Vec<String> {
    if check.action.starts_with("failed: ") {
        return vec!["a table could not be read: the warning in the log names it".to_owned()];
    }
    vec![
        "a rule with DUNNO before the one that matched lets such a line pass".to_owned(),
        "WARN in place of REJECT shows what the rule would refuse".to_owned(),
        "these checks see mail of everybody: a submission service is excepted with -o receive_override_options=no_header_body_checks".to_owned(),
    ]
}

/// Lists answer with addresses in 127.0.0.0/8. Another answer is of somebody else: the list is gone, or the resolver lies.
fn stray_answer(step: &StepStory) -> Option<String> {
    let answers = step.asked.iter().filter(|asked| asked.found && asked.question.starts_with("DNS A "));
    let stray = answers.flat_map(|asked| asked.answer.split(", ")).find(|address| !address.starts_with("127."))?;
    let (word, list) = step.restriction.split_once(' ')?;
    let list = list.split('=').next().unwrap_or(list);
    Some(format!(
        "{stray} is not the answer of a blocklist (127.0.0.0/8): {list} is gone, or the resolver lies; take it out, or ask for its own answers: {word} {list}=127.0.0.[2..11]"
    ))
}

/// What would change a refusal: the questions that postmasters ask most.
pub fn what_would_change(step: &StepStory, inquiry: &Inquiry, verdict: &str) -> Vec<String> {
    let word = step.restriction.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let recipient = inquiry.recipients.first().map_or("", |recipient| recipient.as_str());
    let domain = recipient.rsplit_once('@').map_or(recipient, |(_, domain)| domain);
    let client = inquiry.address.map_or_else(|| "the client".to_owned(), |address| address.to_string());
    let texts: Vec<String> = if verdict.contains("4.3.5") {
        vec!["the configuration or a policy service is broken: the log line before the refusal says what".to_owned()]
    } else if verdict.contains("4.3.0") {
        vec!["a table could not be read: the answers above and the warning in the log name it".to_owned()]
    } else {
        match word.as_str() {
            "reject_unauth_destination" | "defer_unauth_destination" | "check_relay_domains" => vec![
                format!(
                    "if {domain} is yours: add it to mydestination, virtual_alias_domains, virtual_mailbox_domains or relay_domains"
                ),
                format!("if {client} is yours: add it to mynetworks, and have permit_mynetworks before {word}"),
                "if it is a user of yours: let them log in (AUTH), and have permit_sasl_authenticated before it"
                    .to_owned(),
            ],
            "smtpd_reject_unlisted_recipient" | "reject_unlisted_recipient" | "check_recipient_maps" => vec![
                format!("if {recipient} should exist: add it to the table that the look-ups above went to"),
                "if the next hop knows the recipients: set the table's parameter (relay_recipient_maps, …) to nothing"
                    .to_owned(),
            ],
            "reject_rbl_client"
            | "reject_rbl"
            | "reject_rhsbl_client"
            | "reject_rhsbl_helo"
            | "reject_rhsbl_sender"
            | "reject_rhsbl_recipient"
            | "reject_rhsbl_reverse_client" => stray_answer(step)
                .into_iter()
                .chain([
                "the owner of the address can ask the list to take it off (the reply's text says where)".to_owned(),
                format!(
                    "to let this one in: check_client_access with an entry \"{client} OK\" before it, in this list, and not before the relay check"
                ),
                "to see what else it would refuse: warn_if_reject before it".to_owned(),
            ]).collect(),
            "reject_unknown_client_hostname" | "reject_unknown_client" => vec![
                format!("the owner of {client} can give it a name in DNS that leads back to it"),
                "reject_unknown_reverse_client_hostname asks for less: any name".to_owned(),
            ],
            "reject_unknown_reverse_client_hostname" => {
                vec![format!("the owner of {client} can give it a name in DNS")]
            }
            "reject_invalid_helo_hostname"
            | "reject_non_fqdn_helo_hostname"
            | "reject_unknown_helo_hostname"
            | "reject_invalid_hostname"
            | "reject_non_fqdn_hostname"
            | "reject_unknown_hostname" => vec![
                "the client should say its full host name in EHLO, one that DNS knows".to_owned(),
                "own users' programs say odd names: have permit_mynetworks and permit_sasl_authenticated before it"
                    .to_owned(),
            ],
            "reject_unknown_sender_domain" | "reject_unknown_recipient_domain" | "reject_unknown_address" => vec![
                "the domain needs an MX or address record; a failing DNS server of its owner gives 450, not 550"
                    .to_owned(),
            ],
            "reject_non_fqdn_sender" | "reject_non_fqdn_recipient" => {
                vec!["the address needs a full domain".to_owned()]
            }
            "reject_sender_login_mismatch"
            | "reject_authenticated_sender_login_mismatch"
            | "reject_unauthenticated_sender_login_mismatch"
            | "reject_known_sender_login_mismatch" => {
                vec![format!("smtpd_sender_login_maps should give {} the login that uses it", inquiry.sender)]
            }
            "reject_unlisted_sender" | "smtpd_reject_unlisted_sender" => vec![format!(
                "{} is in a domain of yours, and nobody there has that address: add it to the table that the look-ups above went to",
                inquiry.sender
            )],
            "reject_plaintext_session" => vec!["the client should say STARTTLS first".to_owned()],
            "reject_unauth_pipelining" => {
                vec!["the client sends commands before it is asked to: programs that send mail properly don't".to_owned()]
            }
            "reject_spf_fail" => vec![
                format!(
                    "if {client} is yours, or forwards mail to you: permit it before (permit_mynetworks, check_client_access), and after the relay check"
                ),
                "the domain's owner decides by the TXT record above".to_owned(),
                "check_spf_access with an entry \"fail:DOMAIN DUNNO\" makes exceptions".to_owned(),
            ],
            "reject_dmarc_fail" => vec![
                "the domain's owner decides by the TXT record of _dmarc above; mail of theirs should pass SPF or have a DKIM signature of theirs".to_owned(),
                "mailing lists and forwarders break both: permit those that you trust before it".to_owned(),
                "check_dmarc_access with an entry \"reject:DOMAIN DUNNO\" makes exceptions".to_owned(),
            ],
            "check_policy_service" => vec![
                "a greylisting service answers otherwise some minutes later".to_owned(),
                "the service's own log says why; an entry in its whitelist lets this client in".to_owned(),
            ],
            name if name.starts_with("check_") => {
                vec!["change the entry that was found (above), or have a permit for this client before it".to_owned()]
            }
            "reject" | "defer" => vec!["the list ends here: something before it has to permit".to_owned()],
            _ => Vec::new(),
        }
    };
    texts
}
