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

impl Options {
    /// Reads a command line (without the command name). The error is the text after `postconf: fatal: `.
    pub fn parse<S: AsRef<str>>(args: &[S]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut seen = String::new();
        let mut args = args.iter().map(AsRef::as_ref);
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.names.extend(args.map(str::to_owned));
                break;
            }
            if !arg.starts_with('-') || arg == "-" {
                options.names.push(arg.to_owned());
                continue;
            }
            let mut letters = arg[1..].chars();
            while let Some(letter) = letters.next() {
                if matches!(letter, 'c' | 'C' | 'o') {
                    let rest = letters.as_str();
                    let value = if rest.is_empty() { args.next() } else { Some(rest) };
                    let value = value.ok_or_else(|| format!("option -{letter} requires an argument"))?;
                    options.valued(letter, value)?;
                    seen.push(letter);
                    break;
                }
                options.letter(letter)?;
                seen.push(letter);
            }
        }
        if !options.is_edit() && options.names.iter().any(|name| name.contains('=')) {
            options.edit = true;
            seen.push('e');
        } else if options.is_edit() && !options.edit && options.names.iter().any(|name| name.contains('=')) {
            seen.push('e');
        }
        check_together(&seen)?;
        if options.is_edit() && options.names.is_empty() && !options.edit {
            return Err("missing service argument".to_owned());
        }
        Ok(options)
    }

    fn letter(&mut self, letter: char) -> Result<(), String> {
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
            _ => return Err(format!("invalid option -- '{letter}'")),
        }
        Ok(())
    }

    fn valued(&mut self, letter: char, value: &str) -> Result<(), String> {
        match letter {
            'c' => self.config_directory = Some(value.to_owned()),
            'C' => {
                let mut classes = Classes { builtin: false, service: false, user: false };
                for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
                    match word {
                        "builtin" => classes.builtin = true,
                        "service" => classes.service = true,
                        "user" => classes.user = true,
                        "all" => classes = Classes::default(),
                        _ => return Err(format!("unknown -C option value \"{word}\" in \"{value}\"")),
                    }
                }
                self.classes = classes;
            }
            _ => {
                let bad = |why: &str| format!("invalid parameter override: {value}: {why}");
                let (name, text) = value.split_once('=').ok_or_else(|| bad("missing '=' after attribute name"))?;
                let name = name.trim();
                if name.is_empty() {
                    return Err(bad("missing attribute name"));
                }
                self.overrides.push((name.to_owned(), text.trim().to_owned()));
            }
        }
        Ok(())
    }

    /// Does the command change a file?
    pub fn is_edit(&self) -> bool {
        self.edit || self.comment_out || self.remove
    }
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

/// Letters of which at most one may be given.
const EXCLUSIVE: [&str; 4] = ["aAFlmMPp", "#edXn", "hHj", "dn"];

fn check_together(seen: &str) -> Result<(), String> {
    let has = |letter: char| seen.contains(letter);
    for mode in ['M', 'F', 'P'] {
        let refused = match mode {
            'M' => "dhHn",
            'F' => "dn#X",
            _ => "dn#",
        };
        if has(mode)
            && let Some(letter) = refused.chars().find(|letter| has(*letter))
        {
            return Err(format!("with option -{mode}, do not specify -{letter}"));
        }
    }
    for group in EXCLUSIVE {
        let mut given: Vec<char> = group.chars().filter(|letter| has(*letter)).collect();
        if given.len() > 1 {
            given.sort_unstable_by_key(|letter| {
                (*letter == '#', letter.to_ascii_lowercase(), !letter.is_ascii_lowercase())
            });
            let names: Vec<String> = given.iter().map(|letter| format!("-{letter}")).collect();
            return Err(format!("specify one of {}", names.join(" ")));
        }
    }
    Ok(())
}
