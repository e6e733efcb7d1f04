//! Macros: which of them go with which event, and values for those that have none.

use super::protocol::Event;
use policy::Settings;
use std::collections::BTreeMap;

/// A list of macros is in force at one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `milter_connect_macros`.
    Connect,
    /// `milter_helo_macros`.
    Helo,
    /// `milter_mail_macros`.
    Mail,
    /// `milter_rcpt_macros`.
    Rcpt,
    /// `milter_data_macros`.
    Data,
    /// `milter_end_of_data_macros`, also for the body.
    EndOfData,
    /// `milter_end_of_header_macros`, also for each header.
    EndOfHeader,
    /// `milter_unknown_command_macros`.
    Unknown,
}

impl Stage {
    const PARAMETERS: [&'static str; 8] = [
        "milter_connect_macros",
        "milter_helo_macros",
        "milter_mail_macros",
        "milter_rcpt_macros",
        "milter_data_macros",
        "milter_end_of_data_macros",
        "milter_end_of_header_macros",
        "milter_unknown_command_macros",
    ];

    /// The stage of an event.
    pub fn of(event: Event) -> Self {
        match event {
            Event::Connect => Self::Connect,
            Event::Helo => Self::Helo,
            Event::Mail => Self::Mail,
            Event::Rcpt => Self::Rcpt,
            Event::Data => Self::Data,
            Event::Unknown => Self::Unknown,
            Event::Header | Event::EndOfHeader => Self::EndOfHeader,
            Event::Body | Event::EndOfMessage => Self::EndOfData,
        }
    }

    /// Its number in the lists of filters, which is its place here.
    fn number(self) -> usize {
        self as usize
    }
}

/// Lists of names, with braces where they are longer than a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Macros {
    lists: [Vec<String>; 8],
    defaults: BTreeMap<String, String>,
}

impl Macros {
    /// From the parameters; what makes no sense among `milter_macro_defaults` is an error.
    pub fn compile(settings: &dyn Settings) -> Result<Self, String> {
        let lists = Stage::PARAMETERS.map(|name| words(&settings.get(name)));
        let mut defaults = BTreeMap::new();
        for element in elements(&settings.get("milter_macro_defaults")) {
            let inner = element.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let text = inner.filter(|inner| inner.contains('=')).unwrap_or(&element).trim();
            let (name, value) = text
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| format!("milter_macro_defaults: missing '=' after \"{text}\""))?;
            defaults.insert(braced(name.trim()), value.trim().to_owned());
        }
        Ok(Self { lists, defaults })
    }

    /// The names at a stage.
    pub fn names(&self, stage: Stage) -> &[String] {
        &self.lists[stage.number()]
    }

    /// The default of a macro.
    pub fn default_of(&self, name: &str) -> Option<&str> {
        self.defaults.get(&braced(name)).map(String::as_str)
    }
}

/// A filter's own lists, by stage, as it asked for them at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnLists(BTreeMap<u32, Vec<String>>);

impl OwnLists {
    /// Enter one; false when there is no such stage.
    pub fn set(&mut self, stage: u32, names: &[u8]) -> bool {
        let known = stage <= Stage::EndOfHeader as u32;
        if known {
            self.0.insert(stage, words(&String::from_utf8_lossy(names)));
        }
        known
    }

    pub fn get(&self, stage: Stage) -> Option<&[String]> {
        let number = u32::try_from(stage.number()).unwrap_or(u32::MAX);
        self.0.get(&number).map(Vec::as_slice)
    }
}

/// Elements separated by commas and blanks, but not within braces.
fn elements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ' ' | '\t' | '\r' | '\n' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    found.retain(|element| !element.is_empty());
    found
}

fn words(text: &str) -> Vec<String> {
    text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).map(braced).collect()
}

/// One letter stands alone, all else is in braces.
fn braced(name: &str) -> String {
    if name.chars().count() == 1 || name.starts_with('{') { name.to_owned() } else { format!("{{{name}}}") }
}
