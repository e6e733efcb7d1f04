//! Why a policy decides as it does: a session that is only rehearsed, told with every restriction, question and answer.
//!
//! The session and the evaluation are the ones that serve; only who answers the questions differs ([`world`]).

mod advice;
mod entry;
mod logline;
mod print;
mod story;
mod world;

pub use entry::place as entry_place;
pub use logline::from_log_line;
pub use print::Style;
pub use story::{Asked, CheckStory, DecisionStory, Exchange, StepStory, Story, Unknown, answered, asked, place};
pub use world::{Fixed, Live, alternatives};

use crate::daemon::site::{Service, Site};
use crate::rehearsal::{Rehearsal, Setting, Stuck, on_the_wire};
use policy::{Answer, Certificate, PeerName, PeerStatus, Question, Sasl, Tls, World};
use std::net::IpAddr;
use std::sync::Arc;
use story::Teller;

/// A session to explain.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its name, taken as verified; otherwise it is looked up.
    pub name: Option<String>,
    /// The name that its address has in DNS, where that is another.
    pub reverse: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// HELO or EHLO argument.
    pub helo: Option<String>,
    /// It says HELO.
    pub plain_smtp: bool,
    /// Envelope sender.
    pub sender: String,
    /// Recipients.
    pub recipients: Vec<String>,
    /// It has logged in as.
    pub login: Option<String>,
    /// It talks TLS.
    pub tls: bool,
    /// It has shown a certificate with this fingerprint, be it of the certificate or of its key.
    pub certificate: Option<String>,
    /// Somebody we trust has issued that.
    pub trusted: bool,
    /// `SIZE=`.
    pub size: Option<u64>,
    /// The message, lines ended by LF; empty: a short one.
    pub message: Vec<u8>,
}

impl Inquiry {
    /// The message as SMTP has it: CRLF, and a second dot where a line begins with one.
    fn content(&self) -> Vec<u8> {
        let message = if self.message.is_empty() { b"Subject: explained\n\n".as_slice() } else { &self.message };
        on_the_wire(message)
    }
}

/// So long a reply is waited for (error delays, `sleep`), in rehearsed milliseconds.
const PATIENCE: u64 = 3_600_000;

/// Rehearse the session and tell what happened and why.
///
/// # Errors
/// When a question has no answer in this world.
pub fn tell(site: &Site, service: &Arc<Service>, inquiry: &Inquiry, world: &mut dyn World) -> Result<Story, Stuck> {
    let names = names(inquiry, world);
    let mut teller = Teller::new(site, service, inquiry, &names);
    let setting = Setting {
        service: Arc::clone(service),
        address: inquiry.address,
        port: inquiry.port.unwrap_or(40_000),
        names,
        server_address: Some([127, 0, 0, 1].into()),
        server_port: service.name.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(25),
        login: inquiry.login.as_ref().map(|name| Sasl {
            method: "PLAIN".to_owned(),
            username: name.clone(),
            sender: String::new(),
        }),
        tls: tls(inquiry),
        epoch: crate::clock::unix_seconds(),
        localtime: |_| String::new(),
        keep: true,
        cleanup: true,
        signers: Vec::new(),
    };
    let mut rehearsal = Rehearsal::begin(setting, Borrowed(world))?;
    teller.heard("connect", &mut rehearsal);
    let mut accepted = false;
    for command in commands(service, inquiry) {
        if rehearsal.closed {
            break;
        }
        let is_refused = |story: &Story| story.exchanges.last().is_some_and(|e| !e.is_accepted());
        say(&mut rehearsal, &command)?;
        teller.heard(&command, &mut rehearsal);
        if command.starts_with("RCPT") {
            accepted |= !is_refused(teller.story());
        } else if is_refused(teller.story()) {
            break;
        }
    }
    if accepted && !rehearsal.closed {
        say(&mut rehearsal, "DATA")?;
        teller.heard("DATA", &mut rehearsal);
        if teller.story().exchanges.last().is_some_and(|e| e.reply.iter().any(|line| line.starts_with("354"))) {
            rehearsal.send(&inquiry.content())?;
            wait(&mut rehearsal)?;
            teller.heard("end of data", &mut rehearsal);
        }
    }
    Ok(teller.finish(&mut rehearsal))
}

fn commands(service: &Service, inquiry: &Inquiry) -> Vec<String> {
    let greeting = inquiry.helo.iter().map(|helo| match inquiry.plain_smtp {
        true => format!("HELO {helo}"),
        false => format!("EHLO {helo}"),
    });
    let size = inquiry.size.map_or_else(String::new, |size| format!(" SIZE={size}"));
    let plain = inquiry.sender.is_ascii() && inquiry.recipients.iter().all(|recipient| recipient.is_ascii());
    let wide = if !plain && service.offers_smtputf8() { " SMTPUTF8" } else { "" };
    let mail = format!("MAIL FROM:<{}>{size}{wide}", inquiry.sender);
    let recipients = inquiry.recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>"));
    greeting.chain([mail]).chain(recipients).collect()
}

fn say<W: World>(rehearsal: &mut Rehearsal<W>, text: &str) -> Result<(), Stuck> {
    rehearsal.send(format!("{text}\r\n").as_bytes())?;
    wait(rehearsal)
}

/// Until there is a reply.
fn wait<W: World>(rehearsal: &mut Rehearsal<W>) -> Result<(), Stuck> {
    let mut waited = 0;
    while rehearsal.replies.is_empty() && !rehearsal.closed && waited < PATIENCE {
        rehearsal.pass(1000)?;
        waited += 1000;
    }
    Ok(())
}

fn tls(inquiry: &Inquiry) -> Option<Tls> {
    let certificate = inquiry.certificate.as_ref().map(|fingerprint| Certificate {
        subject_cn: String::new(),
        issuer_cn: String::new(),
        fingerprint: fingerprint.to_uppercase(),
        public_key_fingerprint: fingerprint.to_uppercase(),
        is_trusted: inquiry.trusted,
    });
    (inquiry.tls || certificate.is_some()).then(|| Tls {
        protocol: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        bits: 256,
        certificate,
        ..Tls::default()
    })
}

fn names(inquiry: &Inquiry, world: &mut dyn World) -> PeerName {
    if let (None, Some(reverse)) = (&inquiry.name, &inquiry.reverse) {
        // A name that nothing verifies.
        let unknown = PeerName::unknown(PeerStatus::Forged);
        return PeerName { reverse: reverse.as_str().into(), reverse_status: PeerStatus::Ok, ..unknown };
    }
    if let Some(name) = &inquiry.name {
        let reverse = inquiry.reverse.as_ref().map(|reverse| Arc::from(reverse.as_str()));
        let name: Arc<str> = name.as_str().into();
        let (name_status, reverse_status) = match &*name {
            "unknown" => return PeerName::unknown(PeerStatus::Permanent),
            _ => (PeerStatus::Ok, PeerStatus::Ok),
        };
        return PeerName { reverse: reverse.unwrap_or_else(|| name.clone()), name, name_status, reverse_status };
    }
    match inquiry.address.and_then(|address| world.answer(&Question::PeerName(address))) {
        Some(Answer::PeerName(names)) => names,
        _ => PeerName::unknown(PeerStatus::Permanent),
    }
}

/// A world that somebody else keeps.
struct Borrowed<'a>(&'a mut dyn World);

impl World for Borrowed<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        self.0.answer(question)
    }
}
