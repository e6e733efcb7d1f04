//! The rules of a regexp or pcre table, compiled, and how they are run.

use super::Source;
use super::filter::{Filter, Found, Needs};
use super::rule::{self, Pattern, Rule};
use super::template::{Bad, Part, Template};
use crate::contents::{Content, Contents, KeyForm, matches_all};
use crate::lines::{Warnings, printable};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{Log, LookupError, Table};
use std::cell::Cell;
use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;

/// A key as the engines want it.
pub(super) struct Key<'k> {
    /// Its bytes.
    pub(super) text: &'k [u8],
    /// The same, ended by a NUL.
    pub(super) c: &'k CStr,
}

/// A flag letter, as an engine sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// Switched over.
    Known,
    /// Without effect, with a warning.
    Obsolete,
    /// Not one of its letters.
    Unknown,
}

/// A regular expression engine.
pub(super) trait Engine: Sized + Send + Sync + 'static {
    /// The table type, as it stands in warnings.
    const NAME: &'static str;
    /// How its warnings end when a delimiter is missing.
    const UNCLOSED: &'static str;
    /// How it spells a group number that can't be.
    const RANGE: &'static str;
    /// Its options.
    type Flags: Default;

    /// Switch an option over.
    fn toggle(flags: &mut Self::Flags, letter: u8) -> Flag;
    /// Compile; the error is Postfix's text after `line N: `.
    fn compile(expression: &str, flags: &Self::Flags) -> Result<Self, String>;
    /// What a key must contain for a good expression to match.
    fn needs(expression: &str, flags: &Self::Flags) -> Needs;
    /// How many groups the expression has.
    fn groups(&self) -> usize;
    /// Does it match? The error is the engine's text.
    fn is_match(&self, key: &Key<'_>) -> Result<bool, String>;
    /// Where the groups 1.. matched, after `is_match` said yes.
    fn captures(&self, key: &Key<'_>) -> Result<Vec<Option<Range<usize>>>, String>;
}

struct Step<E> {
    line: u32,
    /// The expression as written.
    expression: Box<str>,
    /// It has flags that change what its characters mean.
    flagged: bool,
    /// The `if` around it.
    within: Option<u32>,
    negated: bool,
    engine: E,
    action: Action,
}

enum Action {
    /// Where to go on when the condition doesn't hold: behind the matching endif.
    If(usize),
    Result(Template),
}

/// A table of rules.
struct Program<E> {
    steps: Vec<Step<E>>,
    /// Leaves out steps that can't match, in a large table.
    filter: Option<Filter>,
    spec: Box<str>,
    name: Box<str>,
    log: Option<Log>,
}

/// Open a regexp or pcre table.
pub(super) fn open<E: Engine>(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let mut source = Source::open(spec, options)?;
    let table = program::<E>(spec, options, &mut source)?;
    Ok(Opened { table: Arc::new(table), warnings: source.warnings.finish(), files: source.files })
}

fn program<E: Engine>(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    source: &mut Source,
) -> Result<Program<E>, OpenFailure> {
    let numbered = options.numbered;
    let mut compiler = Compiler::<E> { steps: Vec::new(), needs: Vec::new(), open: Vec::new(), numbered };
    source.each_line(|line, text, warnings| compiler.line(line, text, warnings))?;
    let (steps, needs) = compiler.finish(&mut source.warnings);
    let name = source.warnings.file().as_ref().into();
    Ok(Program { steps, filter: Filter::new(&needs), spec: spec.spec.into(), name, log: options.log.clone() })
}

struct Compiler<E> {
    steps: Vec<Step<E>>,
    /// What each step needs to match.
    needs: Vec<Needs>,
    /// The steps of the `if`s that wait for their endif.
    open: Vec<usize>,
    /// The numbers of lines stand for the results.
    numbered: bool,
}

/// Add a warning that names the map and the line.
fn warn<E: Engine>(warnings: &mut Warnings, line: u32, text: &str) {
    let name = E::NAME;
    warnings.add(line, "table-rule", "", |file| format!("{name} map {file}, line {line}: {text}"));
}

impl<E: Engine> Compiler<E> {
    fn line(&mut self, line: u32, text: &str, warnings: &mut Warnings) {
        match rule::parse(text, E::UNCLOSED) {
            Ok(Rule::Match(pattern, result)) => self.add_match(line, &pattern, result, warnings),
            Ok(Rule::If(pattern, extra)) => self.add_if(line, &pattern, extra, warnings),
            Ok(Rule::EndIf(extra)) => self.end_if(line, extra, warnings),
            Err(text) => warn::<E>(warnings, line, &text),
        }
    }

    fn add_match(&mut self, line: u32, pattern: &Pattern<'_>, result: &str, warnings: &mut Warnings) {
        let Some(flags) = flags::<E>(line, pattern.flags, warnings) else { return };
        if result.is_empty() {
            warn::<E>(warnings, line, "no replacement text: using empty string");
        }
        let template = match Template::parse(result, E::RANGE) {
            Ok(template) => template,
            Err(Bad(texts)) => return bad_template::<E>(line, texts, warnings),
        };
        if pattern.negated && template.highest() > 0 {
            let text = "$number found in negative match replacement text: skipping this rule";
            return warn::<E>(warnings, line, text);
        }
        match E::compile(pattern.expression, &flags) {
            Ok(engine) if template.highest() > engine.groups() => {
                let number = template.highest();
                let text = format!("out of range replacement index \"{number}\": skipping this rule");
                warn::<E>(warnings, line, &text);
            }
            Ok(engine) => {
                let template = if self.numbered { Template::Fixed(line.to_string().into()) } else { template };
                self.push(line, pattern, &flags, engine, Action::Result(template));
            }
            Err(text) => warn::<E>(warnings, line, &text),
        }
    }

    fn add_if(&mut self, line: u32, pattern: &Pattern<'_>, extra: &str, warnings: &mut Warnings) {
        let Some(flags) = flags::<E>(line, pattern.flags, warnings) else { return };
        if !extra.is_empty() {
            warn::<E>(warnings, line, &format!("ignoring extra text after IF statement: \"{extra}\""));
            warn::<E>(warnings, line, "do not prepend whitespace to statements between IF and ENDIF");
        }
        match E::compile(pattern.expression, &flags) {
            Ok(engine) => {
                let at = self.steps.len();
                self.push(line, pattern, &flags, engine, Action::If(usize::MAX));
                self.open.push(at);
            }
            Err(text) => warn::<E>(warnings, line, &text),
        }
    }

    fn push(&mut self, line: u32, pattern: &Pattern<'_>, flags: &E::Flags, engine: E, action: Action) {
        // A rule with `!` must be tried: what doesn't match holds, but not what fails.
        self.needs.push(if pattern.negated { Needs::default() } else { E::needs(pattern.expression, flags) });
        let within = self.open.last().and_then(|&at| u32::try_from(at).ok());
        let (expression, flagged) = (pattern.expression.into(), pattern.flags.contains(['x', 'm', 's', 'A', 'U', 'X']));
        self.steps.push(Step { line, expression, flagged, within, negated: pattern.negated, engine, action });
    }

    fn end_if(&mut self, line: u32, extra: &str, warnings: &mut Warnings) {
        let Some(start) = self.open.pop() else {
            return warn::<E>(warnings, line, "ignoring ENDIF without matching IF");
        };
        if !extra.is_empty() {
            warn::<E>(warnings, line, "ignoring extra text after ENDIF");
        }
        self.steps[start].action = Action::If(self.steps.len());
    }

    /// An `if` without its endif reaches to the end.
    fn finish(mut self, warnings: &mut Warnings) -> (Vec<Step<E>>, Vec<Needs>) {
        for &start in self.open.iter().rev() {
            let line = self.steps[start].line;
            warn::<E>(warnings, line, "IF has no matching ENDIF");
        }
        self.steps.shrink_to_fit();
        (self.steps, self.needs)
    }
}

fn flags<E: Engine>(line: u32, letters: &str, warnings: &mut Warnings) -> Option<E::Flags> {
    let mut flags = E::Flags::default();
    for letter in letters.chars() {
        match E::toggle(&mut flags, u8::try_from(letter).unwrap_or(0)) {
            Flag::Known => {}
            Flag::Obsolete => {
                warn::<E>(warnings, line, &format!("ignoring obsolete regexp option \"{letter}\""));
            }
            Flag::Unknown => {
                warn::<E>(warnings, line, &format!("unknown regexp option \"{letter}\": skipping this rule"));
                return None;
            }
        }
    }
    Some(flags)
}

fn bad_template<E: Engine>(line: u32, texts: Vec<String>, warnings: &mut Warnings) {
    for text in texts {
        match text.strip_prefix(": ") {
            Some(text) => warn::<E>(warnings, line, text),
            None => warnings.add(line, "table-rule", "write a literal dollar sign as $$", |_| text),
        }
    }
}

impl<E: Engine> Program<E> {
    /// Does a step's pattern hold? A failed match is a warning, and no match with or without `!`.
    fn holds(&self, step: &Step<E>, key: &Key<'_>) -> bool {
        match step.engine.is_match(key) {
            Ok(matched) => matched != step.negated,
            Err(text) => {
                self.warn(step.line, &text);
                false
            }
        }
    }

    fn warn(&self, line: u32, text: &str) {
        if let Some(log) = &self.log {
            log(&format!("{} map {}, line {line}: {text}", E::NAME, self.name));
        }
    }

    fn result(&self, step: &Step<E>, template: &Template, key: &Key<'_>) -> Result<Answer, LookupError> {
        let parts = match template {
            Template::Fixed(text) => return Ok(Answer::Text(text.clone())),
            Template::Parts(parts) => parts,
        };
        let groups = step
            .engine
            .captures(key)
            .map_err(|text| LookupError::new(format!("{} map {}, line {}: {text}", E::NAME, self.name, step.line)))?;
        let mut result = Vec::new();
        for part in parts {
            match part {
                Part::Literal(text) => result.extend_from_slice(text.as_bytes()),
                Part::Group(number) => {
                    let place = groups.get(number - 1).cloned().flatten();
                    result.extend_from_slice(place.and_then(|place| key.text.get(place)).unwrap_or_default());
                }
            }
        }
        Ok(Answer::Bytes(result))
    }
}

/// A result: as it stands in the table, or put together.
enum Answer {
    Text(Arc<str>),
    Bytes(Vec<u8>),
}

impl<E: Engine> Program<E> {
    /// The step to try next, from `at` on.
    fn next(&self, mut at: usize, found: &Found) -> Option<usize> {
        let Some(filter) = &self.filter else { return (at < self.steps.len()).then_some(at) };
        loop {
            let next = filter.next(at, found)?;
            match self.left_out(at, next) {
                Some(end) => at = end,
                None => return Some(next),
            }
        }
    }

    /// The end of the outermost `if` around a step that is at or behind `at`: the filter has left it out, so it doesn't hold.
    fn left_out(&self, at: usize, step: usize) -> Option<usize> {
        let around = |step: usize| self.steps.get(step)?.within.map(|within| within as usize);
        let ifs = std::iter::successors(around(step), |&step| around(step));
        match self.steps[ifs.take_while(|&step| step >= at).last()?].action {
            Action::If(end) => Some(end),
            Action::Result(_) => None,
        }
    }

    fn run(&self, key: &Key<'_>, found: &Found) -> Result<Option<Answer>, LookupError> {
        let mut at = 0;
        while let Some(next) = self.next(at, found) {
            let Some(step) = self.steps.get(next) else { break };
            let holds = self.holds(step, key);
            at = match &step.action {
                Action::If(end) if !holds => *end,
                Action::Result(template) if holds => return self.result(step, template, key).map(Some),
                _ => next + 1,
            };
        }
        Ok(None)
    }
}

/// Memory of a look-up, kept for the next one of the thread.
#[derive(Default)]
struct Scratch {
    /// The key with a NUL behind it.
    key: Vec<u8>,
    /// The key in small letters.
    small: Vec<u8>,
    found: Found,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Memory for a longer key is not kept.
const KEPT: usize = 64 << 10;

impl<E: Engine> Program<E> {
    /// The result of the first rule that holds.
    fn first(&self, text: &[u8]) -> Result<Option<Answer>, LookupError> {
        // What follows a NUL can't be seen by C; no key of ours has one.
        let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
        let mut scratch = SCRATCH.take();
        if let Some(filter) = &self.filter {
            scratch.small.clear();
            scratch.small.extend(text.iter().map(u8::to_ascii_lowercase));
            filter.search(&scratch.small, &mut scratch.found);
        }
        scratch.key.clear();
        scratch.key.extend_from_slice(text);
        scratch.key.push(0);
        let result = match CStr::from_bytes_with_nul(&scratch.key) {
            Ok(c) => self.run(&Key { text, c }, &scratch.found),
            Err(_) => Ok(None),
        };
        if scratch.key.capacity() <= KEPT {
            SCRATCH.set(scratch);
        }
        result
    }
}

impl<E: Engine> Table for Program<E> {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        match self.first(key.as_bytes())? {
            None => Ok(None),
            Some(Answer::Text(text)) => Ok(Some(text)),
            // The engines work on bytes: a group may end inside a character.
            Some(Answer::Bytes(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.into())),
                Err(error) => Err(LookupError::new(format!(
                    "{}: key \"{key}\": non-UTF-8 value \"{}\": malformed UTF-8 or invalid codepoint",
                    self.spec,
                    printable(error.as_bytes())
                ))),
            },
        }
    }

    fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(self.first(key)?.map(|answer| match answer {
            Answer::Text(text) => text.as_bytes().to_vec(),
            Answer::Bytes(bytes) => bytes,
        }))
    }

    fn contents(&self) -> Contents {
        let mut found = Vec::new();
        for step in &self.steps {
            let Action::Result(template) = &step.action else { continue };
            let every = !step.negated && !step.flagged && step.within.is_none() && matches_all(&step.expression);
            let key = match every {
                true => KeyForm::Every,
                false => KeyForm::Pattern { expression: step.expression.as_ref().into(), negated: step.negated },
            };
            found.push(match template {
                Template::Fixed(value) => Content::new(key, value.clone()),
                Template::Parts(parts) => {
                    let literal = |part: Option<&Part>| match part {
                        Some(Part::Literal(text)) => text.as_ref().into(),
                        _ => "".into(),
                    };
                    Content { key, value: literal(parts.first()), end: Some(literal(parts.last())) }
                }
            });
            if every {
                break;
            }
        }
        Some(found)
    }

    fn is_pattern(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "filter/agreement_tests.rs"]
mod agreement;
