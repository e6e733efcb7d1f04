//! Which of our own mail is looked at, by whom, and what becomes of it.

use super::*;
use config::{HostFacts, MainCf};
use queue::Envelope;

fn settings(text: &str) -> (InternalMailSettings, Vec<String>) {
    let main = MainCf::parse("main.cf", &format!("myhostname = mail.example.com\n{text}")).0;
    let mut problems = Vec::new();
    let parameters = Parameters::new(Arc::new(main), HostFacts::default());
    let settings = InternalMailSettings::compile(&parameters, &mut problems);
    (settings, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn classes_and_filters() {
    let (none, problems) = settings("");
    assert!(none.milters.is_none() && problems.is_empty());
    for (value, bounce, notify) in
        [("", false, false), ("bounce", true, false), ("notify", false, true), ("notify, bounce", true, true)]
    {
        let (settings, problems) = settings(&format!("internal_mail_filter_classes = {value}\n"));
        assert_eq!((settings.inspects(MailClass::Bounce), settings.inspects(MailClass::Notify)), (bounce, notify));
        assert!(problems.is_empty(), "{value}: {problems:?}");
    }
    for (text, want) in [
        ("internal_mail_filter_classes = BOUNCE\n", "internal_mail_filter_classes: unknown class: BOUNCE"),
        ("internal_mail_filter_classes = bounce, verify\n", "internal_mail_filter_classes: unknown class: verify"),
        ("non_smtpd_milters = nonsense\n", "non_smtpd_milters: Milter service needs transport:endpoint"),
    ] {
        let (_, problems) = settings(text);
        assert!(problems.len() == 1 && problems[0].contains(want), "{text}: {problems:?}");
    }
}

#[test]
fn the_client_that_never_was() {
    let (settings, _) = settings("non_smtpd_milters = inet:h:1\nmilter_macro_v = Postfix 3.12\n");
    let id = "4CB7D3FC43".parse().unwrap();
    let pretence = Pretence::new(&settings, &Envelope::new(id, 0, "two words@example.com"), id);
    assert_eq!(pretence.origin(), "localhost[127.0.0.1]");
    for (name, want) in [
        ("i", Some("4CB7D3FC43")),
        ("j", Some("mail.example.com")),
        ("v", Some("Postfix 3.12")),
        ("_", Some("localhost [127.0.0.1]")),
        ("{daemon_name}", Some("mail.example.com")),
        ("{daemon_addr}", Some("127.0.0.1")),
        ("{daemon_port}", Some("0")),
        ("{client_name}", Some("localhost")),
        ("{client_addr}", Some("127.0.0.1")),
        ("{client_port}", Some("0")),
        ("{client_connections}", None),
        ("{client_resolve}", None),
        ("{mail_addr}", None),
        ("{tls_version}", None),
        ("{auth_type}", None),
    ] {
        assert_eq!(pretence.value(name).as_deref(), want, "{name}");
    }
}
