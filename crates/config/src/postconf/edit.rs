//! Editing as a change of text: comments and order stay.

use super::options::Options;
use crate::logical::{is_space, trim};
use crate::main_cf::split_name_value;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `-e name=value`: replaces the definition, or appends one.
    Set(String, String),
    /// `-# name`: makes a comment of the definition.
    CommentOut(String),
    /// `-X name`: drops the definition.
    Remove(String),
}

impl Edit {
    /// What is changed: a parameter, `service/type`, `service/type/field` or `service/type/parameter`.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::CommentOut(name) | Self::Remove(name) => name,
        }
    }
}

/// A changed text, and what to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The whole new text of the file.
    pub text: String,
    /// Texts after `postconf: warning: `.
    pub warnings: Vec<String>,
}

impl Options {
    /// The changes that the command line asks for. The error is the text after `postconf: fatal: `.
    pub fn edits(&self) -> Result<Vec<Edit>, String> {
        self.names.iter().map(|name| self.edit(name)).collect()
    }

    fn edit(&self, text: &str) -> Result<Edit, String> {
        if text.contains('\n') {
            return Err("-e, -X, or -# accepts no multi-line input".to_owned());
        }
        if self.remove || self.comment_out {
            if text.contains('=') {
                return Err("-X or -# requires parameter names without value".to_owned());
            }
            let name = trim(text).to_owned();
            return Ok(if self.remove { Edit::Remove(name) } else { Edit::CommentOut(name) });
        }
        let (name, value) = split_name_value(text).map_err(|problem| problem.message)?;
        Ok(Edit::Set(name, value))
    }
}

/// Changes the text of a `main.cf`; `file` is its name for messages.
pub fn edit_main(file: &str, text: &str, edits: &[Edit]) -> Edited {
    let mut edited = Edited::default();
    let wanted = last_requests(edits, &mut edited.warnings, |edit| match edit {
        Edit::Set(name, value) => format!("{name} = {value}"),
        other => other.name().to_owned(),
    });
    let mut found = vec![0usize; wanted.len()];
    let mut current: Option<usize> = None;
    for line in text.split_terminator('\n') {
        if is_comment(line) {
            push_line(&mut edited.text, "", line);
            continue;
        }
        let continued = line.starts_with(is_space);
        if !continued {
            let name = line.split('=').next().map(trim).unwrap_or_default();
            current = wanted.iter().position(|edit| edit.name() == name);
        }
        let Some(index) = current else {
            push_line(&mut edited.text, "", line);
            continue;
        };
        if !continued {
            found[index] += 1;
            if found[index] == 2 {
                edited.warnings.push(format!("{file}: multiple entries for \"{}\"", wanted[index].name()));
            }
        }
        match wanted[index] {
            Edit::Set(name, value) if !continued => push_line(&mut edited.text, "", &format!("{name} = {value}")),
            Edit::CommentOut(_) => push_line(&mut edited.text, "#", line),
            Edit::Set(..) | Edit::Remove(_) => {}
        }
    }
    for (edit, found) in wanted.iter().zip(found) {
        if let (Edit::Set(name, value), 0) = (edit, found) {
            push_line(&mut edited.text, "", &format!("{name} = {value}"));
        }
    }
    edited
}

/// The last request for each name; earlier ones draw a warning.
pub(super) fn last_requests<'a>(
    edits: &'a [Edit],
    warnings: &mut Vec<String>,
    show: impl Fn(&Edit) -> String,
) -> Vec<&'a Edit> {
    let mut wanted: Vec<&Edit> = Vec::new();
    for edit in edits {
        match wanted.iter().position(|earlier| earlier.name() == edit.name()) {
            Some(index) => {
                if matches!(edit, Edit::Set(..)) {
                    warnings.push(format!("ignoring earlier request: '{}'", show(wanted[index])));
                }
                wanted[index] = edit;
            }
            None => wanted.push(edit),
        }
    }
    wanted
}

/// Blank, or a comment?
pub(super) fn is_comment(line: &str) -> bool {
    let text = line.trim_start_matches(is_space);
    text.is_empty() || text.starts_with('#')
}

pub(super) fn push_line(out: &mut String, prefix: &str, line: &str) {
    out.push_str(prefix);
    out.push_str(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# head\nrelayhost = a\n\tb\n# mid\nmyorigin=1\n\nrelayhost = c\nmydestination = x,\n# inner\n   y\n\n# end\n";

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args).map_err(|misuse| misuse.lines().join("\n").replacen("fatal: ", "", 1))
    }

    fn edit(args: &[&str]) -> Result<Edited, String> {
        Ok(edit_main("main.cf", TEXT, &parse(args)?.edits()?))
    }

    #[test]
    fn changes_as_the_real_one_makes_them() {
        let twice = "main.cf: multiple entries for \"relayhost\"".to_owned();
        for (args, text, warnings) in [
            (
                &["mydestination=z", "mynetworks = a  b "][..],
                "# head\nrelayhost = a\n\tb\n# mid\nmyorigin=1\n\nrelayhost = c\nmydestination = z\n# inner\n\n# end\nmynetworks = a  b\n",
                vec![],
            ),
            (
                &["-e", "relayhost=1", "relayhost="],
                "# head\nrelayhost = \n# mid\nmyorigin=1\n\nrelayhost = \nmydestination = x,\n# inner\n   y\n\n# end\n",
                vec!["ignoring earlier request: 'relayhost = 1'".to_owned(), twice.clone()],
            ),
            (
                &["-#", "relayhost", "mydestination"],
                "# head\n#relayhost = a\n#\tb\n# mid\nmyorigin=1\n\n#relayhost = c\n#mydestination = x,\n# inner\n#   y\n\n# end\n",
                vec![twice.clone()],
            ),
            (
                &["-X", "relayhost", "nosuch"],
                "# head\n# mid\nmyorigin=1\n\nmydestination = x,\n# inner\n   y\n\n# end\n",
                vec![twice],
            ),
        ] {
            assert_eq!(edit(args), Ok(Edited { text: text.to_owned(), warnings }), "{args:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (args, message) in [
            (&["-e", "nothing"][..], "missing '=' after attribute name: \"nothing\""),
            (&["=x"], "missing attribute name: \"=x\""),
            (&["a=b\nc"], "-e, -X, or -# accepts no multi-line input"),
            (&["-#", "x=y"], "specify one of -e -#"),
            (&["-X", "x=y"], "specify one of -e -X"),
            (&["-X", "x", "x=y"], "-X or -# requires parameter names without value"),
            (&["-X"], "missing service argument"),
            (&["-X", "-x", "a"], "specify one of -x -X"),
            (&["-d", "-o", "a=b"], "specify one of -d -o"),
            (&["-h", "-H", "-e", "a=b"], "specify one of -e -h -H"),
            (&["-M", "-Hn"], "with option -M, do not specify -H -n"),
            (&["-m", "-n"], "with option -m, do not specify -n"),
            (&["-MX", "-o", "a=b", "a/b"], "specify one of -o -X"),
            (&["-nd"], "specify one of -d -n"),
            (&["-hH"], "specify one of -h -H"),
            (&["-MF"], "specify one of -F -M"),
            (&["-Mn"], "with option -M, do not specify -n"),
            (&["-P#", "a/b/c"], "with option -P, do not specify -#"),
            (&["-C", "foo"], "unknown -C option value \"foo\" in \"foo\""),
            (&["-o", "foo"], "invalid parameter override: foo: missing '=' after attribute name"),
        ] {
            assert_eq!(edit(args), Err(message.to_owned()), "{args:?}");
        }
    }
}
