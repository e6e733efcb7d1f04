//! regcomp(3) and regexec(3) of the C library. No Rust engine has their matching rules (leftmost-longest, with glibc's
//! own idea of sub-matches), and rules written for Postfix depend on them.
//!
//! The locale stays "C": nothing here or elsewhere in the program calls setlocale(3).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ops::Range;

pub(super) use libc::{REG_EXTENDED, REG_ICASE, REG_NEWLINE};

/// The start of regex_t up to `re_nsub`, which POSIX promises and the libc crate hides.
#[cfg(target_env = "gnu")]
#[repr(C)]
struct Head {
    /// Buffer, allocated, used, syntax, fastmap, translate: a word each.
    before: [usize; 6],
    re_nsub: usize,
}

/// The start of regex_t in other C libraries (musl, the BSDs) that put `re_nsub` first.
#[cfg(not(target_env = "gnu"))]
#[repr(C)]
struct Head {
    re_nsub: usize,
}

const _: () = assert!(size_of::<Head>() <= size_of::<libc::regex_t>());
const _: () = assert!(align_of::<Head>() <= align_of::<libc::regex_t>());

/// A compiled expression.
pub(super) struct Regex {
    /// Boxed because the library may keep pointers into it.
    compiled: Box<libc::regex_t>,
}

// SAFETY: the compiled expression owns its memory, is not tied to a thread, and is freed once.
unsafe impl Send for Regex {}
// SAFETY: POSIX and glibc allow regexec on one expression from several threads at once (glibc locks inside).
unsafe impl Sync for Regex {}

impl Regex {
    /// Compile; the error is the library's text.
    pub(super) fn new(expression: &CStr, flags: c_int) -> Result<Self, String> {
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: the pointers are to a writable regex_t and to a string ended by a NUL.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), expression.as_ptr(), flags) };
        if code != 0 {
            return Err(error_text(code));
        }
        // SAFETY: regcomp succeeded, so the structure is filled (and all-zero bytes were valid before).
        Ok(Self { compiled: unsafe { compiled.assume_init() } })
    }

    /// How many groups it has.
    pub(super) fn groups(&self) -> usize {
        // SAFETY: `Head` is the start of the C structure (checked below for its size), whose fields regcomp filled;
        // all of them are plain words.
        unsafe { (*std::ptr::from_ref(&*self.compiled).cast::<Head>()).re_nsub }
    }

    /// Match, and tell where the whole and the groups matched, as many as `places` has room for.
    pub(super) fn find(&self, text: &CStr, places: &mut [libc::regmatch_t]) -> Result<bool, String> {
        // SAFETY: the expression is compiled and not yet freed, the text ends with a NUL, and the library writes at
        // most `places.len()` matches.
        let code = unsafe { libc::regexec(&*self.compiled, text.as_ptr(), places.len(), places.as_mut_ptr(), 0) };
        match code {
            0 => Ok(true),
            libc::REG_NOMATCH => Ok(false),
            code => Err(error_text(code)),
        }
    }

    /// Where the groups 1.. matched.
    pub(super) fn captures(&self, text: &CStr) -> Result<Vec<Option<Range<usize>>>, String> {
        let mut places = vec![libc::regmatch_t { rm_so: -1, rm_eo: -1 }; self.groups() + 1];
        if !self.find(text, &mut places)? {
            return Ok(Vec::new());
        }
        let range =
            |place: &libc::regmatch_t| Some(usize::try_from(place.rm_so).ok()?..usize::try_from(place.rm_eo).ok()?);
        Ok(places.iter().skip(1).map(range).collect())
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by regcomp in `new`, and freed only here.
        unsafe { libc::regfree(&mut *self.compiled) }
    }
}

/// The library's text for an error code.
fn error_text(code: c_int) -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the library writes at most `buffer.len()` bytes and ends them with a NUL; without an expression (null)
    // it uses the code alone.
    unsafe { libc::regerror(code, std::ptr::null(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the C structure's own number, so it also shows that the structure is what we think it is.
    #[test]
    fn counts_groups() {
        for (expression, groups) in [(c"a", 0), (c"(a)(b(c))|[(]\\(", 3), (c"()()()()()()()()()()()", 11)] {
            assert_eq!(Regex::new(expression, REG_EXTENDED).map(|regex| regex.groups()), Ok(groups));
        }
        assert_eq!(Regex::new(c"\\(a\\)(", 0).map(|regex| regex.groups()), Ok(1));
        assert_eq!(Regex::new(c"(", REG_EXTENDED).map(|regex| regex.groups()), Err("Unmatched ( or \\(".to_owned()));
    }
}
