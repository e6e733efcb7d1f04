//! `master.cf`: the services, with their `-o` overrides.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Span};
use crate::list::group_end;
use crate::logical::{LogicalLine, is_space, logical_lines, trim};
use crate::main_cf::split_name_value;

/// How clients reach a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// TCP: the name is `port`, `host:port` or `[v6]:port`.
    Inet,
    /// UNIX-domain stream socket.
    Unix,
    /// UNIX-domain datagram socket.
    UnixDgram,
    /// Named pipe.
    Fifo,
    /// Socket through which connections are passed on.
    Pass,
}

impl ServiceType {
    /// The word in the second field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Unix => "unix",
            Self::UnixDgram => "unix-dgram",
            Self::Fifo => "fifo",
            Self::Pass => "pass",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Inet, Self::Unix, Self::UnixDgram, Self::Fifo, Self::Pass].into_iter().find(|t| t.as_str() == text)
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The wakeup field: how often, and whether only once the service has been used (`?`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// Seconds between wake-ups.
    pub seconds: u32,
    /// `?`: only if the service is in use.
    pub if_used: bool,
}

/// One `-o name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Name of the parameter.
    pub name: String,
    /// Value, not expanded.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// One entry. `None` in a field is `-`, the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, for `inet` the address to listen on.
    pub name: String,
    /// How clients reach it.
    pub kind: ServiceType,
    /// Is access restricted to the mail system? Default yes.
    pub private: Option<bool>,
    /// Does it run without root privileges? Default yes.
    pub unprivileged: Option<bool>,
    /// Does it run chrooted? Default no.
    pub chroot: Option<bool>,
    /// Wake-up interval; default never.
    pub wakeup: Option<Wakeup>,
    /// Most processes at once; 0 is no limit; default `$default_process_limit`.
    pub maxproc: Option<u32>,
    /// Name of the program.
    pub command: String,
    /// Arguments that are not options, such as pipe(8) attributes.
    pub args: Vec<String>,
    /// `-o name=value` in order; the last of a name wins.
    pub overrides: Vec<Override>,
    /// How many `-v`.
    pub verbose: u32,
    /// `-D`: run under a debugger.
    pub debug: bool,
    /// All words after the command, options included, outer braces stripped.
    pub argv: Vec<String>,
    /// The eight fields as written; the last is the command alone.
    pub fields: [String; 8],
    /// Where the entry starts.
    pub span: Span,
}

impl Service {
    /// Overrides in the form that [`crate::Parameters::with_overrides`] takes, with `service_name` first.
    pub fn parameter_overrides(&self) -> Vec<(String, String, Span)> {
        let mut all = vec![("service_name".to_owned(), self.name.clone(), self.span.clone())];
        all.extend(self.overrides.iter().map(|o| (o.name.clone(), o.value.clone(), o.span.clone())));
        all
    }
}

/// What `master.cf` says.
#[derive(Clone, Debug, Default)]
pub struct MasterCf {
    file: String,
    services: Vec<Service>,
    diagnostics: Vec<Diagnostic>,
}

impl MasterCf {
    /// Reads the text of a file; problems come with the place. Entries in error are left out.
    pub fn parse(file: &str, text: &str) -> (Self, Vec<Diagnostic>) {
        let mut master = Self { file: file.to_owned(), ..Self::default() };
        let path: Arc<str> = file.into();
        let mut seen: HashMap<(String, ServiceType), u32> = HashMap::new();
        for line in logical_lines(text) {
            let span = Span::new(path.clone(), line.line);
            let mut notes = Vec::new();
            match parse_service(&line.text, &span, &mut notes) {
                Ok(mut service) => {
                    place_overrides(&mut service, &line);
                    if let Some(first) = seen.insert((service.name.clone(), service.kind), line.line) {
                        notes.push(
                            Diagnostic::warning(
                                "duplicate-service",
                                format!("duplicate master.cf entry for service \"{}\" ({first})", service.name),
                            )
                            .help("the last entry counts; remove the other"),
                        );
                    }
                    master.services.push(service);
                }
                Err(problem) => notes.push(problem),
            }
            master.diagnostics.extend(notes.into_iter().map(|d| d.at(Some(span.clone()))));
        }
        let diagnostics = master.diagnostics.clone();
        (master, diagnostics)
    }

    /// Path of the file as given to [`MasterCf::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All entries in the order of the file.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The entries that count: the last of each name and type, in the order of the file.
    pub fn effective(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().enumerate().filter_map(|(index, service)| {
            let later = &self.services[index + 1..];
            (!later.iter().any(|other| other.name == service.name && other.kind == service.kind)).then_some(service)
        })
    }

    /// The entry that counts for a name and type.
    pub fn find(&self, name: &str, kind: ServiceType) -> Option<&Service> {
        self.services.iter().rev().find(|service| service.name == name && service.kind == kind)
    }

    /// What was wrong when the text was read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// Finds the place of each `-o` setting in its entry.
fn place_overrides(service: &mut Service, line: &LogicalLine) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut from = 0;
    for setting in &mut service.overrides {
        let Some(start) = find_setting(&line.text, from, &setting.name) else { continue };
        let Some(&(joint, physical)) = line.joints.iter().rev().find(|(offset, _)| *offset <= start) else { continue };
        let end = line.joints.iter().map(|(offset, _)| *offset).find(|offset| *offset > start);
        let rest = &line.text[start..end.unwrap_or(line.text.len())];
        let long = rest.find(&setting.value).filter(|_| !setting.value.is_empty()).map(|at| at + setting.value.len());
        let width = rest[..long.unwrap_or(setting.name.len())].chars().count();
        from = start + setting.name.len();
        setting.span = Span {
            line: physical,
            column: number(line.text[joint..start].chars().count() + 1),
            width: number(width),
            ..setting.span.clone()
        };
    }
}

/// Where `name=` or `name =` stands by itself.
fn find_setting(text: &str, from: usize, name: &str) -> Option<usize> {
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(name) {
        let start = at + found;
        let rest = &text[start + name.len()..];
        let before = text[..start].chars().next_back();
        if rest.trim_start_matches(is_space).starts_with('=')
            && before.is_none_or(|c| is_space(c) || c == '{' || c == 'o')
        {
            return Some(start);
        }
        at = start + name.len().max(1);
    }
    None
}

/// Names of the fields, as `postconf -F` spells them.
pub(crate) const FIELD_NAMES: [&str; 8] =
    ["service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"];

fn parse_service(line: &str, span: &Span, notes: &mut Vec<Diagnostic>) -> Result<Service, Diagnostic> {
    if line.starts_with(is_space) {
        return Err(Diagnostic::warning(
            "leading-whitespace",
            format!("logical line must not start with whitespace: \"{}\"", line.chars().take(60).collect::<String>()),
        )
        .help("start the entry in the first column; the line is ignored"));
    }
    let words = words(line, notes);
    let mut fields: [String; 8] = Default::default();
    if words.len() < fields.len() {
        return Err(Diagnostic::error("bad-field-count", "bad field count")
            .help("write: service type private unprivileged chroot wakeup process_limit command [arguments]"));
    }
    for (field, word) in fields.iter_mut().zip(&words) {
        field.clone_from(word);
    }
    let invalid = |index: usize, help: &str| {
        Diagnostic::error(
            "bad-master-field",
            format!("invalid {} field \"{}\" in \"{line}\"", FIELD_NAMES[index], fields[index]),
        )
        .help(help.to_owned())
    };
    let kind = ServiceType::parse(&fields[1])
        .ok_or_else(|| invalid(1, "the type is one of inet, unix, unix-dgram, fifo, pass"))?;
    let flag = |index: usize| match fields[index].as_str() {
        "-" => Ok(None),
        "y" => Ok(Some(true)),
        "n" => Ok(Some(false)),
        _ => Err(invalid(index, "write y, n or -")),
    };
    let (private, unprivileged, chroot) = (flag(2)?, flag(3)?, flag(4)?);
    let wakeup = parse_wakeup(&fields[5]).ok_or_else(|| invalid(5, "write seconds, seconds?, or -"))?;
    let maxproc = parse_dash_number(&fields[6]).ok_or_else(|| invalid(6, "write a number or -"))?;
    if fields[7].is_empty() {
        return Err(invalid(7, "write the name of a program"));
    }
    let mut service = Service {
        name: fields[0].clone(),
        kind,
        private,
        unprivileged,
        chroot,
        wakeup,
        maxproc,
        command: fields[7].clone(),
        args: Vec::new(),
        overrides: Vec::new(),
        verbose: 0,
        debug: false,
        argv: Vec::new(),
        fields,
        span: span.clone(),
    };
    read_arguments(&mut service, &words[8..], notes);
    Ok(service)
}

fn parse_dash_number(text: &str) -> Option<Option<u32>> {
    if text == "-" {
        return Some(None);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok().map(Some) } else { None }
}

fn parse_wakeup(text: &str) -> Option<Option<Wakeup>> {
    let (number, if_used) = text.strip_suffix('?').map_or((text, false), |number| (number, true));
    parse_dash_number(number).and_then(|seconds| match seconds {
        Some(seconds) => Some(Some(Wakeup { seconds, if_used })),
        None if if_used => None,
        None => Some(None),
    })
}

/// Blanks separate words; braces protect.
fn words(line: &str, notes: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let mut depth = 0usize;
        let end = rest
            .char_indices()
            .find(|&(_, c)| {
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && is_space(c)
            })
            .map_or(rest.len(), |(offset, _)| offset);
        if depth > 0 && end == rest.len() {
            notes.push(
                Diagnostic::error("unbalanced-braces", format!("missing '}}' in \"{rest}\""))
                    .help("close the group with '}'"),
            );
        }
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

/// Strips the braces of `{ … }` and the blanks next to them.
fn strip_braces(word: &str, notes: &mut Vec<Diagnostic>) -> String {
    if !word.starts_with('{') {
        return word.to_owned();
    }
    match group_end(word) {
        Some(end) => {
            if end < word.len() {
                notes.push(
                    Diagnostic::error("text-after-brace", format!("syntax error after '}}' in \"{word}\""))
                        .help("put a blank after '}'"),
                );
            }
            trim(&word[1..end - 1]).to_owned()
        }
        None => trim(&word[1..]).to_owned(),
    }
}

fn read_arguments(service: &mut Service, words: &[String], notes: &mut Vec<Diagnostic>) {
    let mut options = true;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !options || !word.starts_with('-') || word == "-" {
            options = false;
            let argument = strip_braces(word, notes);
            service.argv.push(argument.clone());
            service.args.push(argument);
            continue;
        }
        service.argv.push(word.clone());
        if word == "--" {
            options = false;
        } else if word == "-o" {
            let Some(setting) = words.next() else {
                notes.push(bad_override("", "missing name=value after -o"));
                continue;
            };
            add_override(service, setting, notes);
        } else if let Some(setting) = word.strip_prefix("-o") {
            service.argv.pop();
            service.argv.push("-o".to_owned());
            add_override(service, setting, notes);
        } else {
            service.verbose += u32::try_from(word.matches('v').count()).unwrap_or(0);
            service.debug |= word.contains('D');
            // These take a value, which is not an argument.
            if matches!(word.as_str(), "-i" | "-m" | "-n" | "-s" | "-t")
                && let Some(value) = words.next()
            {
                service.argv.push(strip_braces(value, notes));
            }
        }
    }
}

fn add_override(service: &mut Service, setting: &str, notes: &mut Vec<Diagnostic>) {
    let grouped = setting.starts_with('{');
    let text = strip_braces(setting, notes);
    match split_name_value(&text) {
        Ok((name, value)) => {
            service.argv.push(format!("{name}={value}"));
            service.overrides.push(Override { name, value, span: service.span.clone() });
        }
        Err(problem) => {
            service.argv.push(text);
            notes.push(if grouped { problem } else { bad_override(setting, &problem.message) });
        }
    }
}

fn bad_override(setting: &str, why: &str) -> Diagnostic {
    Diagnostic::error(
        "bad-override",
        if why.contains(setting) { why.to_owned() } else { format!("{why}: \"{setting}\"") },
    )
    .help("write -o name=value without blanks, or -o { name = value }")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (Option<Service>, Vec<String>) {
        let (master, problems) = MasterCf::parse("master.cf", text);
        (master.services.into_iter().next(), problems.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn all_fields() {
        let (service, problems) =
            one("[::1]:25 inet n - y 60? 10 smtpd -v -o a=b\n  # c\n -o { c = d e } -vD\n -o { f = {g} } x {y z} -o\n");
        let service = service.expect("service");
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            (service.name.as_str(), service.kind, service.command.as_str()),
            ("[::1]:25", ServiceType::Inet, "smtpd")
        );
        assert_eq!((service.private, service.unprivileged, service.chroot), (Some(false), None, Some(true)));
        assert_eq!(service.wakeup, Some(Wakeup { seconds: 60, if_used: true }));
        assert_eq!((service.maxproc, service.verbose, service.debug), (Some(10), 2, true));
        let overrides: Vec<_> = service.overrides.iter().map(|o| (o.name.as_str(), o.value.as_str())).collect();
        assert_eq!(overrides, [("a", "b"), ("c", "d e"), ("f", "{g}")]);
        assert_eq!(service.args, ["x", "y z", "-o"]);
        assert_eq!(service.argv, ["-v", "-o", "a=b", "-o", "c=d e", "-vD", "-o", "f={g}", "x", "y z", "-o"]);
    }

    #[test]
    fn mistakes() {
        for (text, message) in [
            ("smtp inet n - n - -", "bad field count"),
            ("smtp inex n - n - - smtpd", "invalid type field \"inex\" in \"smtp inex n - n - - smtpd\""),
            ("smtp inet q - n - - smtpd", "invalid private field \"q\" in \"smtp inet q - n - - smtpd\""),
            ("smtp inet n - n x - smtpd", "invalid wakeup field \"x\" in \"smtp inet n - n x - smtpd\""),
            ("smtp inet n - n - -1 smtpd", "invalid process_limit field \"-1\" in \"smtp inet n - n - -1 smtpd\""),
            (
                " smtp inet n - n - 1 smtpd",
                "logical line must not start with whitespace: \" smtp inet n - n - 1 smtpd\"",
            ),
            ("smtp inet n - n - 1 smtpd -o {a=1", "missing '}' in \"{a=1\""),
            ("smtp inet n - n - 1 smtpd -o {a=1}x", "syntax error after '}' in \"{a=1}x\""),
            ("smtp inet n - n - 1 smtpd -o { foo }", "missing '=' after attribute name: \"foo\""),
            ("smtp inet n - n - 1 smtpd -o foo", "missing '=' after attribute name: \"foo\""),
            ("smtp inet n - n - 1 smtpd -o", "missing name=value after -o"),
            ("a unix n - n - 1 x\na unix n - n - 1 y", "duplicate master.cf entry for service \"a\" (1)"),
        ] {
            assert_eq!(one(text).1, [message], "{text}");
        }
    }

    #[test]
    fn settings_have_their_own_places() {
        let text = "smtp inet n - n - - smtpd -o a=b\n  # c\n   -o { ab = c d }\n\t-oa=e -o x=\n";
        let (master, _) = MasterCf::parse("m", text);
        let places: Vec<_> = master.services()[0]
            .overrides
            .iter()
            .map(|o| (o.name.as_str(), o.span.line, o.span.column, o.span.width))
            .collect();
        assert_eq!(places, [("a", 1, 30, 3), ("ab", 3, 9, 8), ("a", 4, 4, 3), ("x", 4, 11, 1)]);
    }

    #[test]
    fn the_last_duplicate_counts() {
        let (master, _) =
            MasterCf::parse("m", "a unix n - n - 1 x\nb unix n - n - 1 y\na unix n - n - 1 z\na inet n - n - 1 w\n");
        let commands: Vec<_> = master.effective().map(|s| s.command.as_str()).collect();
        assert_eq!(commands, ["y", "z", "w"]);
        assert_eq!(master.find("a", ServiceType::Unix).map(|s| s.command.as_str()), Some("z"));
    }
}
