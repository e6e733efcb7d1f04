//! The command lines of postmap(1) and postalias(1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// postmap(1).
    Postmap,
    /// postalias(1).
    Postalias,
}

impl Tool {
    /// Its name, as it stands in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postmap => "postmap",
            Self::Postalias => "postalias",
        }
    }

    fn letters(self) -> &'static str {
        match self {
            Self::Postmap => "bfFhijmnNoprsuUvw",
            Self::Postalias => "Nfijnoprsuvw",
        }
    }

    /// How it is used.
    pub fn usage(self) -> String {
        let (name, letters) = (self.name(), self.letters());
        format!("usage: {name} [-{letters}] [-c config_dir] [-d key] [-q key] [map_type:]file...")
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Make tables from their sources (or, with `-i`, add to them from standard input).
    #[default]
    Create,
    /// `-q key`.
    Query(Vec<u8>),
    /// `-d key`.
    Delete(Vec<u8>),
    /// `-s`.
    List,
}

/// What to do with keys that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// Keep the old value, and say so.
    #[default]
    Warn,
    /// `-r`.
    Replace,
    /// `-w`.
    Ignore,
}

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is to be done.
    pub action: Action,
    /// `-r`, `-w`.
    pub duplicates: Duplicates,
    /// `-i`: add to what is there.
    pub incremental: bool,
    /// Not `-f`: fold the case of keys.
    pub fold: bool,
    /// `-F`: values are files.
    pub files: bool,
    /// `-j`: JSON lines.
    pub json: bool,
    /// Keys without a NUL behind them are tried (`-n`: only they).
    pub without_nul: bool,
    /// Keys with a NUL are tried (`-N`: only they).
    pub with_nul: bool,
    /// Not `-o`: run as the owner of the source.
    pub as_owner: bool,
    /// Not `-p`: take over the source's permissions.
    pub save_mode: bool,
    /// Not `-u`: texts must be UTF-8, if `smtputf8_enable` says so.
    pub utf8: bool,
    /// `-U`: even with `-b` and `-h`.
    pub force_utf8: bool,
    /// `-h`: header lines are keys.
    pub headers: bool,
    /// `-b`: body lines are keys.
    pub body: bool,
    /// `-m`: MIME parts are parsed.
    pub mime: bool,
    /// `-c`.
    pub config_dir: Option<OsString>,
    /// The tables, `[type:]file`.
    pub tables: Vec<OsString>,
}

/// Why a command line can't be used: a line of its own, if any, and the text after `fatal: `.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse {
    /// As getopt(3) says it, without the command's name.
    pub detail: Option<String>,
    /// After `fatal: `.
    pub fatal: String,
}

impl Options {
    fn new() -> Self {
        Self {
            action: Action::Create,
            duplicates: Duplicates::Warn,
            incremental: false,
            fold: true,
            files: false,
            json: false,
            without_nul: true,
            with_nul: true,
            as_owner: true,
            save_mode: true,
            utf8: true,
            force_utf8: false,
            headers: false,
            body: false,
            mime: false,
            config_dir: None,
            tables: Vec::new(),
        }
    }

    /// Read a command line, without the command's name. Options end at the first table, as in Postfix.
    pub fn parse(tool: Tool, arguments: &[OsString]) -> Result<Self, Misuse> {
        let mut options = Self::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.as_slice().first().map(|argument| argument.as_bytes()) {
            if argument == b"--" {
                rest.next();
                break;
            }
            let [b'-', letters @ ..] = argument else { break };
            if letters.is_empty() {
                break;
            }
            rest.next();
            options.letters(tool, letters, &mut rest)?;
        }
        options.tables = rest.cloned().collect();
        Ok(options)
    }

    fn letters(
        &mut self,
        tool: Tool,
        mut letters: &[u8],
        rest: &mut std::slice::Iter<'_, OsString>,
    ) -> Result<(), Misuse> {
        let misuse = |detail: String| Misuse { detail: Some(detail), fatal: tool.usage() };
        while let [letter, after @ ..] = letters {
            let shown = char::from(*letter);
            letters = after;
            if matches!(letter, b'c' | b'd' | b'q') {
                let value = match after {
                    [] => rest.next().map(|next| next.as_bytes().to_vec()),
                    after => Some(after.to_vec()),
                };
                let value = value.ok_or_else(|| misuse(format!("option requires an argument -- '{shown}'")))?;
                return self.valued(*letter, value);
            }
            if !tool.letters().contains(shown) {
                return Err(misuse(format!("invalid option -- '{shown}'")));
            }
            self.letter(*letter)?;
        }
        Ok(())
    }

    fn valued(&mut self, letter: u8, value: Vec<u8>) -> Result<(), Misuse> {
        match letter {
            b'c' => self.config_dir = Some(OsString::from_vec(value)),
            b'd' => self.act(Action::Delete(value))?,
            _ => self.act(Action::Query(value))?,
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Misuse> {
        if self.action != Action::Create {
            return Err(Misuse { detail: None, fatal: "specify only one of -s -q or -d".to_owned() });
        }
        self.action = action;
        Ok(())
    }

    fn letter(&mut self, letter: u8) -> Result<(), Misuse> {
        match letter {
            b'b' => self.body = true,
            b'f' => self.fold = false,
            b'F' => self.files = true,
            b'h' => self.headers = true,
            b'i' => self.incremental = true,
            b'j' => self.json = true,
            b'm' => self.mime = true,
            b'n' => (self.without_nul, self.with_nul) = (true, false),
            b'N' => (self.without_nul, self.with_nul) = (false, true),
            b'o' => self.as_owner = false,
            b'p' => self.save_mode = false,
            b'r' => self.duplicates = Duplicates::Replace,
            b's' if matches!(self.action, Action::Query(_) | Action::Delete(_)) => {
                return Err(Misuse { detail: None, fatal: "specify only one of -s or -q or -d".to_owned() });
            }
            b's' => self.action = Action::List,
            b'u' => self.utf8 = false,
            b'U' => self.force_utf8 = true,
            b'w' => self.duplicates = Duplicates::Ignore,
            // -v: there is nothing more to say.
            _ => {}
        }
        Ok(())
    }

    /// What can't be together, or is missing: the text after `fatal: `. main.cf has been read before.
    pub fn check(&self, tool: Tool) -> Result<(), String> {
        if (self.headers || self.body || self.mime) && !self.reads_keys() {
            return Err("specify -b -h or -m only with \"-q -\"".to_owned());
        }
        if self.tables.is_empty() {
            return Err(tool.usage());
        }
        Ok(())
    }

    /// `-q -`?
    pub fn reads_keys(&self) -> bool {
        self.action == Action::Query(b"-".to_vec())
    }
}

/// A table's type, if it is given, and its name.
pub fn split_table(table: &OsStr) -> (Option<String>, String) {
    // A name that isn't UTF-8 can't be a table's; the open that follows says so.
    let table = table.to_string_lossy();
    match table.split_once(':') {
        Some((kind, name)) => (Some(kind.to_owned()), name.to_owned()),
        None => (None, table.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tool: Tool, line: &str) -> Result<Options, Misuse> {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
        let options = Options::parse(tool, &words)?;
        options.check(tool).map(|()| options).map_err(|fatal| Misuse { detail: None, fatal })
    }

    #[test]
    fn letters_together_and_apart() {
        let options = parse(Tool::Postmap, "-fnjqk hash:t -s").unwrap();
        assert_eq!(options.action, Action::Query(b"k".to_vec()));
        assert_eq!((options.fold, options.without_nul, options.with_nul, options.json), (false, true, false, true));
        assert_eq!(options.tables, ["hash:t", "-s"]);
        let options = parse(Tool::Postmap, "-rw -Nn -c dir -d - -- -x").unwrap();
        assert_eq!((options.action, options.duplicates), (Action::Delete(b"-".to_vec()), Duplicates::Ignore));
        assert_eq!((options.with_nul, options.config_dir), (false, Some("dir".into())));
        assert_eq!(options.tables, ["-x"]);
    }

    #[test]
    fn misuse_is_told_as_postfix_tells_it() {
        let usage = "usage: postmap [-bfFhijmnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";
        let aliases = "usage: postalias [-Nfijnoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";
        for (tool, line, detail, fatal) in [
            (Tool::Postmap, "", None, usage),
            (Tool::Postmap, "-Zx t", Some("invalid option -- 'Z'"), usage),
            (Tool::Postmap, "-q", Some("option requires an argument -- 'q'"), usage),
            (Tool::Postmap, "-q k", None, usage),
            (Tool::Postmap, "-q k -d l t", None, "specify only one of -s -q or -d"),
            (Tool::Postmap, "-sq", Some("option requires an argument -- 'q'"), usage),
            (Tool::Postmap, "-s -q k t", None, "specify only one of -s -q or -d"),
            (Tool::Postmap, "-d k -s t", None, "specify only one of -s or -q or -d"),
            (Tool::Postmap, "-hq k t", None, "specify -b -h or -m only with \"-q -\""),
            (Tool::Postmap, "-m t", None, "specify -b -h or -m only with \"-q -\""),
            (Tool::Postalias, "-h t", Some("invalid option -- 'h'"), aliases),
        ] {
            let misuse = Misuse { detail: detail.map(str::to_owned), fatal: fatal.to_owned() };
            assert_eq!(parse(tool, line), Err(misuse), "{line}");
        }
    }

    #[test]
    fn tables_have_types() {
        for (table, kind, name) in
            [("hash:/x", Some("hash"), "/x"), ("/x", None, "/x"), (":x", Some(""), "x"), ("a:b:c", Some("a"), "b:c")]
        {
            assert_eq!(split_table(OsStr::new(table)), (kind.map(str::to_owned), name.to_owned()));
        }
    }
}
