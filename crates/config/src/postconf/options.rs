//! The command line of postconf.

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `main.cf` parameters.
    #[default]
    Main,
    /// `-M`: `master.cf` entries.
    MasterEntries,
    /// `-F`: fields of entries.
    MasterFields,
    /// `-P`: `-o` settings of entries.
    MasterParameters,
    /// `-m`: lookup table types.
    TableTypes,
    /// `-l`: mailbox locking methods.
    LockMethods,
    /// `-a`: SASL server types.
    SaslServer,
    /// `-A`: SASL client types.
    SaslClient,
}

/// Classes of parameters, for `-C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    /// Parameters with built-in names.
    pub builtin: bool,
    /// Parameters whose names come from services.
    pub service: bool,
    /// Parameters that `main.cf` invents.
    pub user: bool,
}

impl Default for Classes {
    fn default() -> Self {
        Self { builtin: true, service: true, user: true }
    }
}

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What is asked for.
    pub mode: Mode,
    /// `-n`: only what is set.
    pub explicit_only: bool,
    /// `-d`: defaults.
    pub defaults: bool,
    /// `-h`: values only.
    pub hide_names: bool,
    /// `-H`: names only.
    pub hide_values: bool,
    /// `-x`: expand `$name`.
    pub expand: bool,
    /// `-f`: fold long lines.
    pub fold: bool,
    /// `-j`: JSON lines.
    pub json: bool,
    /// `-q`: no warnings about unused and deprecated names.
    pub quiet: bool,
    /// `-e`: edit (also implied by `name=value`).
    pub edit: bool,
    /// `-#`: comment out.
    pub comment_out: bool,
    /// `-X`: remove.
    pub remove: bool,
    /// `-v`, counted.
    pub verbose: u32,
    /// `-C`.
    pub classes: Classes,
    /// `-o name=value`, in order.
    pub overrides: Vec<(String, String)>,
    /// `-c`.
    pub config_directory: Option<String>,
    /// The other arguments.
    pub names: Vec<String>,
}

/// Why a command line can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// getopt(3)'s complaint, which the command shows before its usage.
    Option(String),
    /// The text after `postconf: fatal: `.
    Fatal(String),
}

impl Misuse {
    /// What to print, a line each: texts after `postconf: `.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Option(text) => vec![text.clone(), format!("fatal: {USAGE}")],
            Self::Fatal(text) => vec![format!("fatal: {text}")],
        }
    }
}

impl From<String> for Misuse {
    fn from(text: String) -> Self {
        Self::Fatal(text)
    }
}

/// What the command says of itself.
const USAGE: &str = "usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-c config_dir] [-C param_class] \
    [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] [-h (no names)] \
    [-H (no values)] [-j (JSON)] [-l (lock types)] [-m (map types)] [-M (master.cf)] [-n (non-default parameters)] \
    [-o name=value (override parameter value)] [-p (main.cf, default)] [-P (master.cf parameters)] [-q (no warnings)] \
    [-v (verbose)] [-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]";

impl Options {
    /// Reads a command line (without the command name). Options end at the first name, as in Postfix.
    pub fn parse<S: AsRef<str>>(args: &[S]) -> Result<Self, Misuse> {
        let mut options = Self::default();
        let mut seen = String::new();
        let mut given = Vec::new();
        let mut args = args.iter().map(AsRef::as_ref);
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.names.extend(args.map(str::to_owned));
                break;
            }
            if !arg.starts_with('-') || arg == "-" {
                options.names.push(arg.to_owned());
                options.names.extend(args.map(str::to_owned));
                break;
            }
            let mut letters = arg[1..].chars();
            while let Some(letter) = letters.next() {
                if matches!(letter, 'c' | 'C' | 'o') {
                    let rest = letters.as_str();
                    let value = if rest.is_empty() { args.next() } else { Some(rest) };
                    let missing = || Misuse::Option(format!("option requires an argument -- '{letter}'"));
                    let value = value.ok_or_else(missing)?;
                    match letter {
                        'c' => options.config_directory = Some(value.to_owned()),
                        'C' => options.classes = Classes::parse(value)?,
                        _ => given.push(value),
                    }
                    seen.push(letter);
                    break;
                }
                options.letter(letter)?;
                seen.push(letter);
            }
        }
        let assigns = options.names.first().is_some_and(|name| name.contains('='));
        if !options.is_edit() && assigns {
            options.edit = true;
            seen.push('e');
        } else if options.is_edit() && !options.edit && assigns {
            seen.push('e');
        }
        check_together(&seen)?;
        options.overrides = given.into_iter().map(parameter_override).collect::<Result<_, _>>()?;
        if options.edit && options.names.is_empty() {
            return Err("-e requires name=value argument".to_owned().into());
        }
        if options.is_edit() && options.names.is_empty() && !options.edit {
            return Err("missing service argument".to_owned().into());
        }
        Ok(options)
    }

    fn letter(&mut self, letter: char) -> Result<(), Misuse> {
        match letter {
            'n' => self.explicit_only = true,
            'd' => self.defaults = true,
            'h' => self.hide_names = true,
            'H' => self.hide_values = true,
            'x' => self.expand = true,
            'f' => self.fold = true,
            'j' => self.json = true,
            'q' => self.quiet = true,
            'e' => self.edit = true,
            '#' => self.comment_out = true,
            'X' => self.remove = true,
            'v' => self.verbose += 1,
            'p' => {}
            'M' => self.mode = Mode::MasterEntries,
            'F' => self.mode = Mode::MasterFields,
            'P' => self.mode = Mode::MasterParameters,
            'm' => self.mode = Mode::TableTypes,
            'l' => self.mode = Mode::LockMethods,
            'a' => self.mode = Mode::SaslServer,
            'A' => self.mode = Mode::SaslClient,
            _ => return Err(Misuse::Option(format!("invalid option -- '{letter}'"))),
        }
        Ok(())
    }

    /// Does the command change a file?
    pub fn is_edit(&self) -> bool {
        self.edit || self.comment_out || self.remove
    }
}

impl Classes {
    fn parse(text: &str) -> Result<Self, String> {
        let mut classes = Self { builtin: false, service: false, user: false };
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word {
                "builtin" => classes.builtin = true,
                "service" => classes.service = true,
                "user" => classes.user = true,
                "all" => classes = Self::default(),
                _ => return Err(format!("unknown -C option value \"{word}\" in \"{text}\"")),
            }
        }
        Ok(classes)
    }
}

/// `name=value` of `-o`.
fn parameter_override(text: &str) -> Result<(String, String), String> {
    let bad = |why: &str| format!("invalid parameter override: {text}: {why}");
    let (name, value) = text.split_once('=').ok_or_else(|| bad("missing '=' after attribute name"))?;
    let name = name.trim();
    if name.is_empty() {
        return Err(bad("missing attribute name"));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

const TABLE_TYPES: &[&str] = &[
    "btree",
    "cdb",
    "cidr",
    "debug",
    "environ",
    "fail",
    "hash",
    "inline",
    "internal",
    "lmdb",
    "memcache",
    "nis",
    "pcre",
    "pipemap",
    "proxy",
    "randmap",
    "regexp",
    "socketmap",
    "sqlite",
    "static",
    "tcp",
    "texthash",
    "unionmap",
    "unix",
];

impl Mode {
    /// What the modes without a file print.
    pub(super) fn fixed_list(self) -> Option<&'static [&'static str]> {
        match self {
            Self::TableTypes => Some(TABLE_TYPES),
            Self::LockMethods => Some(&["flock", "fcntl", "dotlock"]),
            Self::SaslServer => Some(&["cyrus", "dovecot"]),
            Self::SaslClient => Some(&["cyrus"]),
            _ => None,
        }
    }
}

/// Letters of which at most one may be given, in the order in which they are looked at.
const EXCLUSIVE: [&str; 6] = ["aAFlmMPp", "deX#n", "eX#f", "eX#x", "deX#o", "eX#hHj"];

/// What some modes don't go with.
const REFUSED: [(char, &str); 7] = [
    ('M', "dhHn"),
    ('F', "dn#X"),
    ('P', "dn#"),
    ('a', "defhHnox#X"),
    ('A', "defhHnox#X"),
    ('l', "defhHnox#X"),
    ('m', "defhHnox#X"),
];

fn check_together(seen: &str) -> Result<(), String> {
    let has = |letter: char| seen.contains(letter);
    for group in EXCLUSIVE {
        let given: Vec<char> = group.chars().filter(|letter| has(*letter)).collect();
        if given.len() > 1 {
            return Err(format!("specify one of {}", listed(given)));
        }
    }
    for (mode, refused) in REFUSED.into_iter().filter(|(mode, _)| has(*mode)) {
        let given: Vec<char> = refused.chars().filter(|letter| has(*letter)).collect();
        if !given.is_empty() {
            return Err(format!("with option -{mode}, do not specify {}", listed(given)));
        }
    }
    Ok(())
}

/// Options in Postfix's order.
fn listed(mut letters: Vec<char>) -> String {
    letters.sort_unstable_by_key(|letter| (*letter == '#', letter.to_ascii_lowercase(), !letter.is_ascii_lowercase()));
    letters.iter().map(|letter| format!("-{letter}")).collect::<Vec<_>>().join(" ")
}
