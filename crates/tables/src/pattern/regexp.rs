//! `regexp:` tables (regexp_table(5)): POSIX expressions by the C library.

use super::filter::Needs;
use super::posix::{REG_EXTENDED, REG_ICASE, REG_NEWLINE, Regex};
use super::program::{Engine, Flag, Key};
use std::ffi::CString;
use std::ops::Range;

/// A POSIX expression.
pub(super) struct Posix(Regex);

/// Its options as regcomp(3) takes them.
pub(super) struct Flags(i32);

impl Default for Flags {
    fn default() -> Self {
        Self(REG_EXTENDED | REG_ICASE)
    }
}

impl Engine for Posix {
    const NAME: &'static str = "regexp";
    const UNCLOSED: &'static str = "skipping this rule";
    const RANGE: &'static str = "out-of-range";
    type Flags = Flags;

    fn toggle(flags: &mut Flags, letter: u8) -> Flag {
        flags.0 ^= match letter {
            b'i' => REG_ICASE,
            b'm' => REG_NEWLINE,
            b'x' => REG_EXTENDED,
            _ => return Flag::Unknown,
        };
        Flag::Known
    }

    fn compile(expression: &str, flags: &Flags) -> Result<Self, String> {
        let expression = CString::new(expression).map_err(|error| error.to_string())?;
        Regex::new(&expression, flags.0).map(Self)
    }

    fn needs(expression: &str, flags: &Flags) -> Needs {
        Needs::posix(expression, flags.0 & REG_EXTENDED != 0)
    }

    fn groups(&self) -> usize {
        self.0.groups()
    }

    fn is_match(&self, key: &Key<'_>) -> Result<bool, String> {
        self.0.find(key.c, &mut [])
    }

    fn captures(&self, key: &Key<'_>) -> Result<Vec<Option<Range<usize>>>, String> {
        self.0.captures(key.c)
    }
}
