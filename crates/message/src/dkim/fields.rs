//! The fields of a header, and their canonical forms (RFC 6376, section 3.4).

use crate::cleanup::is_header;
use std::collections::HashMap;

/// A field, with its line ends but for the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'h> {
    pub text: &'h [u8],
    /// Where the name ends, and where the colon is.
    name: usize,
    colon: usize,
}

impl<'h> Field<'h> {
    /// What follows the colon.
    pub fn value(&self) -> &'h [u8] {
        &self.text[self.colon + 1..]
    }

    /// As it is.
    pub fn simple(&self, out: &mut Vec<u8>) {
        for (at, line) in self.text.split(|b| *b == b'\n').enumerate() {
            if at > 0 {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line);
        }
    }

    /// Name in lower case, on one line, blanks one at a time.
    pub fn relaxed(&self, out: &mut Vec<u8>) {
        out.extend(self.text[..self.name].iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        let words = self.value().split(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }

    /// The same field with another text after its colon.
    pub fn with<'t>(&self, text: &'t [u8]) -> Field<'t> {
        Field { text, name: self.name, colon: self.colon }
    }

    /// Name, colon and what is before it.
    pub fn head(&self) -> &'h [u8] {
        &self.text[..=self.colon]
    }
}

/// A header.
pub(super) struct Fields<'h> {
    all: Vec<Field<'h>>,
    /// Where the fields of a name are, from the top.
    places: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'h> Fields<'h> {
    /// The fields of a header of whole lines, each of them a field or its continuation.
    pub fn new(header: &'h [u8]) -> Self {
        let mut all: Vec<Field<'h>> = Vec::new();
        let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let mut start = 0;
        while start < header.len() {
            let mut end = start;
            loop {
                end = memchr::memchr(b'\n', &header[end..]).map_or(header.len(), |at| end + at + 1);
                if !matches!(header.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let text = header[start..end].strip_suffix(b"\n").unwrap_or(&header[start..end]);
            if let Some((name, colon)) = is_header(text) {
                places.entry(text[..name].to_ascii_lowercase()).or_default().push(all.len());
                all.push(Field { text, name, colon });
            }
            start = end;
        }
        Self { all, places }
    }

    /// The fields of a name in lower case, from the top.
    pub fn named<'s>(&'s self, name: &str) -> impl Iterator<Item = Field<'h>> + 's {
        let places = self.places.get(name.as_bytes()).map_or(&[][..], |places| places);
        places.iter().map(|at| self.all[*at])
    }

    /// The fields that a list of names selects: each time a name comes, the next of its fields from the bottom.
    pub fn selected(&self, names: &[String]) -> Vec<Field<'h>> {
        let mut used: HashMap<&str, usize> = HashMap::new();
        let mut selected = Vec::new();
        for name in names {
            let places = self.places.get(name.as_bytes()).map_or(&[][..], |places| places);
            let used = used.entry(name).or_default();
            *used += 1;
            if let Some(at) = places.len().checked_sub(*used) {
                selected.push(self.all[places[at]]);
            }
        }
        selected
    }
}
