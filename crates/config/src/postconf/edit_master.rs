//! Editing `master.cf`.

use super::edit::{Edit, Edited, is_comment, last_requests, push_line};
use super::master_show::entry_text;
use super::options::Mode;
use crate::logical::is_space;
use crate::master_cf::{FIELD_NAMES, MasterCf, Service};

/// Changes the text of a `master.cf`; names are `service/type` (`-M`), `service/type/field` (`-F`) or
/// `service/type/parameter` (`-P`), where `*` fits any service or type. The error is the text after
/// `postconf: fatal: `.
pub fn edit_master(file: &str, text: &str, mode: Mode, edits: &[Edit]) -> Result<Edited, String> {
    if mode == Mode::MasterEntries { edit_entries(text, edits) } else { edit_parts(file, text, mode, edits) }
}

/// A request cut at its slashes.
struct Request<'a> {
    edit: &'a Edit,
    parts: Vec<&'a str>,
    found: bool,
}

impl<'a> Request<'a> {
    fn new(edit: &'a Edit, parts: usize, usage: &str) -> Result<Self, String> {
        let cut: Vec<&str> = edit.name().split('/').collect();
        if cut.len() != parts || cut.iter().any(|part| part.is_empty()) {
            return Err(usage.to_owned());
        }
        Ok(Self { edit, parts: cut, found: false })
    }

    fn fits(&self, service: &str, kind: &str) -> bool {
        let fits = |part: &str, text: &str| part == "*" || part == text;
        fits(self.parts[0], service) && fits(self.parts[1], kind)
    }

    fn shown(&self) -> String {
        match self.edit {
            Edit::Set(name, value) => format!("{name}={value}"),
            other => other.name().to_owned(),
        }
    }
}

/// Service name and type of a line that starts an entry.
fn head(line: &str) -> (&str, &str) {
    let mut words = line.split(is_space).filter(|word| !word.is_empty());
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

fn edit_entries(text: &str, edits: &[Edit]) -> Result<Edited, String> {
    let mut edited = Edited::default();
    let mut unsaid = Vec::new();
    let wanted = last_requests(edits, &mut unsaid, |edit| edit.name().to_owned());
    let usage = "-Me, -MX or -M# requires service_name/type";
    let mut requests: Vec<Request<'_>> =
        wanted.into_iter().map(|edit| Request::new(edit, 2, usage)).collect::<Result<_, _>>()?;
    let replacements: Vec<Option<Service>> = requests.iter().map(new_entry).collect::<Result<_, _>>()?;
    let mut current: Option<usize> = None;
    for line in text.split_terminator('\n') {
        if is_comment(line) {
            push_line(&mut edited.text, "", line);
            continue;
        }
        let continued = line.starts_with(is_space);
        if !continued {
            let (service, kind) = head(line);
            // An entry that a new one would be a twin of gives way to it, too.
            let is_new = |new: &Option<Service>| {
                new.as_ref().is_some_and(|new| new.name == service && new.kind.as_str() == kind)
            };
            let mut both = requests.iter().zip(&replacements);
            current = both.position(|(request, new)| request.fits(service, kind) || is_new(new));
        }
        let Some(index) = current else {
            push_line(&mut edited.text, "", line);
            continue;
        };
        let first = !std::mem::replace(&mut requests[index].found, true);
        match (requests[index].edit, &replacements[index]) {
            (_, Some(new)) if first => edited.text.push_str(&entry(new)),
            (Edit::CommentOut(_), _) => push_line(&mut edited.text, "#", line),
            _ => {}
        }
    }
    for (request, replacement) in requests.iter().zip(replacements) {
        if let (false, Some(new)) = (request.found, replacement) {
            edited.text.push_str(&entry(&new));
        }
    }
    Ok(edited)
}

/// The entry that a request puts in.
fn new_entry(request: &Request<'_>) -> Result<Option<Service>, String> {
    let Edit::Set(_, value) = request.edit else { return Ok(None) };
    let (master, problems) = MasterCf::parse("master.cf", value);
    if let Some(problem) = problems.iter().find(|problem| problem.is_error()) {
        return Err(if problem.code == "bad-field-count" {
            format!("bad field count: \"{}\"", request.shown())
        } else {
            problem.message.clone()
        });
    }
    match master.services().first() {
        Some(service) => Ok(Some(service.clone())),
        None => Err(format!("bad field count: \"{}\"", request.shown())),
    }
}

fn entry(service: &Service) -> String {
    let mut out = String::new();
    entry_text(&service.fields, &service.argv, true, &mut out);
    out
}

/// `-F` and `-P`: an entry that is changed is written anew, behind the comments in it and after it.
fn edit_parts(file: &str, text: &str, mode: Mode, edits: &[Edit]) -> Result<Edited, String> {
    let usage = match mode {
        Mode::MasterFields => "-Fe or -FX requires service_name/type/field_name",
        _ => "-Pe or -PX requires service_name/type/parameter",
    };
    let mut requests: Vec<Request<'_>> =
        edits.iter().map(|edit| Request::new(edit, 3, usage)).collect::<Result<_, _>>()?;
    for request in &requests {
        check_part(request, mode)?;
    }
    let mut edited = Edited::default();
    let mut block: Vec<&str> = Vec::new();
    // entries are counted here, not lines, as in Postfix
    let mut number = 1;
    let place = |number: usize, problem: String| format!("file {file}: line {number}: {problem}");
    for line in text.split_terminator('\n') {
        if !is_comment(line) && !line.starts_with(is_space) && block.iter().any(|line| !is_comment(line)) {
            edit_block(&block, mode, &mut requests, &mut edited.text)?.map_err(|problem| place(number, problem))?;
            number += 1;
            block.clear();
        }
        block.push(line);
    }
    edit_block(&block, mode, &mut requests, &mut edited.text)?.map_err(|problem| place(number, problem))?;
    for request in requests.iter().filter(|request| !request.found) {
        edited.warnings.push(format!("unmatched service_name/type: \"{}\"", request.shown()));
    }
    Ok(edited)
}

fn check_part(request: &Request<'_>, mode: Mode) -> Result<(), String> {
    let part = request.parts[2];
    if mode == Mode::MasterFields {
        if !FIELD_NAMES.contains(&part) {
            return Err(format!("invalid service attribute name: \"{part}\""));
        }
        return match request.edit {
            Edit::Set(_, value) if part != "command" && value.contains(is_space) => {
                Err("-Fe does not accept whitespace in non-command field".to_owned())
            }
            _ => Ok(()),
        };
    }
    if part == "*" {
        return Err("-Pe does not accept wild-card parameter name".to_owned());
    }
    match request.edit {
        Edit::Set(_, value) if value.contains(is_space) => {
            Err("-Pe does not accept whitespace in parameter value".to_owned())
        }
        _ => Ok(()),
    }
}

/// One entry with the comments around it. The inner error is about the entry, the outer one about a request.
fn edit_block(
    block: &[&str],
    mode: Mode,
    requests: &mut [Request<'_>],
    out: &mut String,
) -> Result<Result<(), String>, String> {
    let logical: String = block.iter().filter(|line| !is_comment(line)).copied().collect();
    let (service, kind) = head(&logical);
    if logical.is_empty() || !requests.iter().any(|request| request.fits(service, kind)) {
        block.iter().for_each(|line| push_line(out, "", line));
        return Ok(Ok(()));
    }
    let (master, problems) = MasterCf::parse("master.cf", &logical);
    let Some(service) = master.services().first() else {
        return Ok(Err(problems.first().map(|problem| problem.message.clone()).unwrap_or_default()));
    };
    let mut service = service.clone();
    let (name, kind) = (service.name.clone(), service.kind.as_str());
    for request in requests.iter_mut().filter(|request| request.fits(&name, kind)) {
        request.found = true;
        match mode {
            Mode::MasterFields => set_field(&mut service, request)?,
            _ => set_parameter(&mut service, request),
        }
    }
    block.iter().filter(|line| is_comment(line)).for_each(|line| push_line(out, "", line));
    out.push_str(&entry(&service));
    Ok(Ok(()))
}

fn set_field(service: &mut Service, request: &Request<'_>) -> Result<(), String> {
    let Edit::Set(_, value) = request.edit else { return Ok(()) };
    let Some(index) = FIELD_NAMES.iter().position(|field| *field == request.parts[2]) else { return Ok(()) };
    let mut fields = service.fields.clone();
    fields[index].clone_from(value);
    let (master, problems) = MasterCf::parse("master.cf", &fields.join(" "));
    let invalid = || format!("invalid {} field \"{value}\" in \"{value}\"", FIELD_NAMES[index]);
    if value.is_empty() {
        return Err(invalid());
    }
    let Some(parsed) = master.services().first().filter(|_| !problems.iter().any(|p| p.is_error())) else {
        return Err(invalid());
    };
    service.fields.clone_from(&parsed.fields);
    if index == 7 {
        service.argv.clone_from(&parsed.argv);
    }
    Ok(())
}

/// Where the options in an argument list end.
fn options_end(argv: &[String]) -> usize {
    let mut index = 0;
    while index < argv.len() && argv[index].starts_with('-') && argv[index] != "--" {
        index += if argv[index] == "-o" { 2 } else { 1 };
    }
    index.min(argv.len())
}

fn set_parameter(service: &mut Service, request: &Request<'_>) {
    let name = request.parts[2];
    let is_it = |text: &str| text.split_once('=').is_some_and(|(n, _)| n == name);
    let mut end = options_end(&service.argv);
    match request.edit {
        Edit::Set(_, value) => {
            let setting = format!("{name}={value}");
            let places: Vec<usize> =
                (1..end).filter(|&i| service.argv[i - 1] == "-o" && is_it(&service.argv[i])).collect();
            if places.is_empty() {
                service.argv.splice(end..end, ["-o".to_owned(), setting]);
            } else {
                places.into_iter().for_each(|index| service.argv[index].clone_from(&setting));
            }
        }
        _ => {
            while let Some(index) = (1..end).find(|&i| service.argv[i - 1] == "-o" && is_it(&service.argv[i])) {
                service.argv.drain(index - 1..=index);
                end -= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    const TEXT: &str = "# head\nsmtp inet n - n - - smtpd\n   -o relayhost=x\n# mid\n   -o myorigin=y -v\n\npickup unix n - n 60 1 pickup\n# c1\nsmtp unix - - n - - smtp\n# tail\n";

    fn edit(args: &[&str]) -> Result<Edited, String> {
        let options = Options::parse(args).map_err(|misuse| misuse.lines().join("\n"))?;
        edit_master("master.cf", TEXT, options.mode, &options.edits()?)
    }

    #[test]
    fn entries() {
        for (args, from, to) in [
            (
                &["-M", "pickup/unix=pickup unix y - n 30 1 pickup -v"][..],
                "pickup unix n - n 60 1 pickup\n",
                "pickup     unix  y       -       n       30      1       pickup -v\n",
            ),
            (&["-MX", "smtp/unix"], "smtp unix - - n - - smtp\n", ""),
            (
                &["-M#", "smtp/inet"],
                "smtp inet n - n - - smtpd\n   -o relayhost=x\n# mid\n   -o myorigin=y -v\n",
                "#smtp inet n - n - - smtpd\n#   -o relayhost=x\n# mid\n#   -o myorigin=y -v\n",
            ),
            (
                &["-M", "-e", "new/inet=new inet n - n - - smtpd -o {relayhost = a b}"],
                "# tail\n",
                "# tail\nnew        inet  n       -       n       -       -       smtpd\n    -o {relayhost=a b}\n",
            ),
        ] {
            assert_eq!(edit(args).map(|edited| edited.text), Ok(TEXT.replace(from, to)), "{args:?}");
        }
    }

    #[test]
    fn fields_and_parameters() {
        let old = "# head\nsmtp inet n - n - - smtpd\n   -o relayhost=x\n# mid\n   -o myorigin=y -v\n\n";
        for (args, new) in [
            (
                &["-F", "smtp/inet/chroot=y"][..],
                "# head\n# mid\n\nsmtp       inet  n       -       y       -       -       smtpd\n    -o relayhost=x\n    -o myorigin=y\n    -v\n",
            ),
            (
                &["-F", "smtp/inet/command=smtpd -v"],
                "# head\n# mid\n\nsmtp       inet  n       -       n       -       -       smtpd -v\n",
            ),
            (
                &["-P", "smtp/inet/mynetworks=z"],
                "# head\n# mid\n\nsmtp       inet  n       -       n       -       -       smtpd\n    -o relayhost=x\n    -o myorigin=y\n    -v\n    -o mynetworks=z\n",
            ),
            (
                &["-PX", "smtp/inet/relayhost"],
                "# head\n# mid\n\nsmtp       inet  n       -       n       -       -       smtpd\n    -o myorigin=y\n    -v\n",
            ),
        ] {
            assert_eq!(edit(args).map(|edited| edited.text), Ok(TEXT.replace(old, new)), "{args:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (args, message) in [
            (&["-MX", "smtp"][..], "-Me, -MX or -M# requires service_name/type"),
            (&["-M", "pickup/unix=bad"], "bad field count: \"pickup/unix=bad\""),
            (&["-F", "smtp/inet/foo=x"], "invalid service attribute name: \"foo\""),
            (&["-F", "smtp/inet/chroot=zz"], "invalid chroot field \"zz\" in \"zz\""),
            (&["-P", "smtp/inet/relayhost=a b"], "-Pe does not accept whitespace in parameter value"),
            (&["-PX", "smtp/inet/*"], "-Pe does not accept wild-card parameter name"),
        ] {
            assert_eq!(edit(args), Err(message.to_owned()), "{args:?}");
        }
        let warning = "unmatched service_name/type: \"nosuch/inet/chroot=y\"".to_owned();
        assert_eq!(
            edit(&["-F", "nosuch/inet/chroot=y"]),
            Ok(Edited { text: TEXT.to_owned(), warnings: vec![warning] })
        );
    }
}
