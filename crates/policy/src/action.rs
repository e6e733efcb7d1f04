//! access(5) actions: what a table value, or the answer of a policy service, means for the restriction that got it.

use crate::context::Context;
use crate::decision::{Effect, LogEntry};
use crate::ledger::Suspend;
use crate::refusal::{Refusal, Status};
use crate::restriction::{List, Origin, Words, parse};
use crate::step::{Guard, Permit, Step};
use crate::subject::Subject;
use config::Places;
use smtp::server::Moment;
use std::sync::Arc;

/// What a table or a policy service said.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The table or service, as written.
    pub source: Arc<str>,
    /// The key that was found.
    pub key: Arc<str>,
    /// The action.
    pub value: Arc<str>,
    /// It is the default action of a policy service that failed.
    pub is_default: bool,
}

impl Entry {
    fn origin(&self) -> Origin {
        let value = self.value.trim().into();
        if self.is_default { Origin::DefaultAction(value) } else { Origin::Entry(value) }
    }
}

/// An entry on its way to a step.
struct Action<'a> {
    entry: &'a Entry,
    value: &'a str,
    word: &'a str,
    text: &'a str,
    subject: Subject,
    guard: Guard,
}

/// What an entry comes to.
pub(crate) fn interpret(
    context: &mut Context<'_, '_>,
    entry: &Entry,
    subject: Subject,
    guard: Guard,
) -> Result<Step, Suspend> {
    let value = entry.value.trim();
    let cut = value.find([' ', '\t']).unwrap_or(value.len());
    let action = Action { entry, value, word: &value[..cut], text: value[cut..].trim_start(), subject, guard };
    let word = action.word.to_ascii_uppercase();
    match word.as_str() {
        "REJECT" => action.refuse(context, context.plan.codes.access_reject, "Access denied").map(Step::Reject),
        "DEFER" => action.refuse(context, context.plan.codes.access_defer, "Access denied").map(Step::Reject),
        "DEFER_IF_PERMIT" => {
            action.refuse(context, context.plan.codes.access_defer, "Service unavailable").map(Step::DeferIfPermit)
        }
        "DEFER_IF_REJECT" => {
            action.refuse(context, context.plan.codes.access_defer, "Service unavailable").map(Step::DeferIfReject)
        }
        "OK" | "RELAY" => action.permit(context, action.word),
        _ if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => action.permit(context, action.word),
        "DUNNO" => Ok(Step::Dunno),
        "HANGUP" => {
            action.log(context, "hangup")?;
            Ok(Step::HangUp)
        }
        "FILTER" | "HOLD" | "DISCARD" | "REDIRECT" | "BCC" | "PREPEND" => action.effect(context, &word),
        "INFO" | "WARN" => {
            let word = if word == "INFO" { "info" } else { "warn" };
            context.log.push(LogEntry::Event { word, text: action.text.to_owned() });
            Ok(Step::Dunno)
        }
        _ => match reply_code(action.word) {
            Some(code) => action.refuse(context, code, "Access denied").map(Step::Reject),
            None => action.list(context),
        },
    }
}

/// `4NN` or `5NN`.
fn reply_code(word: &str) -> Option<u16> {
    let digits = word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit());
    if digits { word.parse().ok().filter(|code| (400..600).contains(code)) } else { None }
}

/// The warnings about an OK where none may be.
pub(crate) fn ok_forbidden(restriction: &str, name: &str) -> [String; 3] {
    [
        format!("restriction {restriction} returns OK for {name}"),
        "this is not allowed for security reasons".into(),
        "use DUNNO instead of OK if you want to make an exception".into(),
    ]
}

impl Action<'_> {
    fn refuse(&self, context: &mut Context<'_, '_>, code: u16, default: &str) -> Result<Refusal, Suspend> {
        let (status, text) = Status::split(self.text);
        let given = status.unwrap_or(Status::new(7, 1));
        let fitted = fit(context, given, code, self.subject);
        let text = if text.is_empty() { default } else { text };
        context.refusal(self.subject, code, (fitted.subject, fitted.detail), text)
    }

    fn permit(&self, context: &mut Context<'_, '_>, action: &str) -> Result<Step, Suspend> {
        let action = action.to_owned();
        let permit =
            Permit { action, subject: self.subject, table: Some(self.entry.source.clone()), defer_if_reject: None };
        match &self.guard {
            Guard::OkIgnored => {
                context.log_permit(&permit)?;
                return Ok(Step::Dunno);
            }
            Guard::OkForbidden(restriction, name) => {
                context.log_permit(&permit)?;
                for text in ok_forbidden(restriction, name) {
                    context.warning(text);
                }
                return Ok(Step::Abort(Refusal::server_error()));
            }
            Guard::None => {}
        }
        Ok(Step::Permit(permit))
    }

    /// `<name>: CLASS TEXT` under the action's word.
    fn log(&self, context: &mut Context<'_, '_>, word: &'static str) -> Result<(), Suspend> {
        let name = context.subject_name(self.subject)?;
        let class = self.subject.class();
        let text = match word {
            "hold" | "discard" | "hangup" if !self.text.is_empty() => format!("<{name}>: {class} {}", self.text),
            "hold" | "discard" | "hangup" => {
                format!("<{name}>: {class} triggers {} action", self.word.to_ascii_uppercase())
            }
            _ => format!("<{name}>: {class} triggers {} {}", self.word.to_ascii_uppercase(), self.text),
        };
        context.log.push(LogEntry::Event { word, text });
        Ok(())
    }

    fn effect(&self, context: &mut Context<'_, '_>, word: &str) -> Result<Step, Suspend> {
        if !self.is_possible(context, word) {
            return Ok(Step::Dunno);
        }
        if let Some(warning) = self.fault(context, word) {
            context.warning(warning);
            return Ok(Step::Dunno);
        }
        let text = self.text.to_owned();
        match word {
            "HOLD" => {
                if !context.held {
                    self.log(context, "hold")?;
                }
                context.effects.push(Effect::Hold);
            }
            "DISCARD" => {
                self.log(context, "discard")?;
                context.effects.push(Effect::Discard);
                let action = self.word.to_owned();
                let permit = Permit {
                    action,
                    subject: self.subject,
                    table: Some(self.entry.source.clone()),
                    defer_if_reject: None,
                };
                return Ok(Step::Discard(permit));
            }
            "FILTER" => {
                self.log(context, "filter")?;
                context.effects.push(Effect::Filter(text));
            }
            "REDIRECT" => {
                self.log(context, "redirect")?;
                context.effects.push(Effect::Redirect(text));
            }
            "BCC" => {
                self.log(context, "bcc")?;
                context.effects.push(Effect::Bcc(text));
            }
            _ => context.effects.push(Effect::Prepend(text)),
        }
        Ok(Step::Dunno)
    }

    /// May the action be used here at all?
    fn is_possible(&self, context: &mut Context<'_, '_>, word: &str) -> bool {
        let table = &self.entry.source;
        let delegates = word != "PREPEND";
        let warning = if delegates && context.plan.proxy_filter {
            format!("access table {table}: with smtpd_proxy_filter specified, action {word} is unavailable")
        } else if delegates && context.moment == Moment::Etrn {
            format!("access table {table}: action {word} is unavailable in smtpd_etrn_restrictions")
        } else if context.facts.sender.is_none() && !context.eager {
            format!(
                "access table {table}: with smtpd_delay_reject=no, action {word} is always skipped in Client host or \
                 Helo command restrictions"
            )
        } else {
            return true;
        };
        context.warning(warning);
        false
    }

    /// What is wrong with the action's argument.
    fn fault(&self, context: &Context<'_, '_>, word: &str) -> Option<String> {
        let Self { entry: Entry { source: table, key, .. }, text, .. } = self;
        match word {
            "FILTER" if text.is_empty() => {
                Some(format!("access table {table} entry \"{key}\" has FILTER entry without value"))
            }
            "FILTER" if !text.contains(':') => {
                Some(format!("access table {table} entry \"{key}\" requires transport:destination"))
            }
            "REDIRECT" | "BCC" if !text.contains('@') => {
                Some(format!("access table {table} entry \"{key}\" requires user@domain target"))
            }
            "PREPEND" if context.moment == Moment::EndOfData => {
                Some(format!("access table {table}: action PREPEND must be used before smtpd_end_of_data_restrictions"))
            }
            "PREPEND" if !is_header(text) => {
                Some(format!("access table {table} entry \"{key}\" requires header: text"))
            }
            _ => None,
        }
    }

    /// The value is a list of restrictions.
    fn list(&self, context: &mut Context<'_, '_>) -> Result<Step, Suspend> {
        let table = &self.entry.source;
        if self.value.contains(':') {
            context.warning(format!("access table {table} has entry with lookup table: {}", self.value));
            context.warning("do not specify lookup tables inside SMTPD access maps");
            context.warning("define a restriction class and specify its name instead.");
            return Ok(Step::Abort(Refusal::server_error()));
        }
        let mut words =
            Words { classes: &context.plan.class_names, tables: None, services: None, places: Places::default() };
        let items = parse(self.value, &mut words);
        if items.is_empty() {
            context.warning(format!("access table {table} entry {} has empty value", self.value));
            // It permits all the same; the log of permits has nothing of it.
            return self.permit(context, "");
        }
        let list = Arc::new(List { name: table.clone(), items, origin: self.entry.origin() });
        Ok(Step::Enter(list, self.subject, self.guard.clone()))
    }
}

/// The status as it may be said of this subject; a change is logged.
pub(crate) fn fit(context: &mut Context<'_, '_>, given: Status, code: u16, subject: Subject) -> Status {
    let fitted = given.fitted(subject);
    if fitted != given {
        let class = code / 100;
        let text = format!("mapping DSN status {class}.{given} into {} status {class}.{fitted}", subject.class());
        context.log.push(LogEntry::Plain(text));
    }
    fitted
}

/// `Name: text`.
fn is_header(text: &str) -> bool {
    let Some((name, _)) = text.split_once(':') else { return false };
    let name = name.trim_end_matches([' ', '\t']);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}
