//! Making a scenario smaller while something about it stays.

/// The smallest scenario found in at most `tries` tries of which `still` says that it shows the same thing: without
/// sections, lines and restrictions that don't matter.
pub fn minimise(text: &str, mut tries: usize, mut still: impl FnMut(&str) -> bool) -> String {
    let mut best = text.to_owned();
    for split in [Split::Sections, Split::Lines, Split::Words] {
        let mut size = parts(&best, split).len() / 2;
        while size > 0 && tries > 0 {
            let mut start = 0;
            let mut shrunk = false;
            while tries > 0 && start < parts(&best, split).len() {
                let pieces = parts(&best, split);
                let end = (start + size).min(pieces.len());
                if pieces[start..end].iter().any(|p| p.keep) {
                    start += if size == 1 || end - start == 1 { 1 } else { size };
                    continue;
                }
                let left: String = pieces[..start].iter().chain(&pieces[end..]).map(|p| p.text.as_str()).collect();
                tries -= 1;
                if still(&left) {
                    best = left;
                    shrunk = true;
                } else {
                    start = end;
                }
            }
            size = if size == 1 && shrunk { 1 } else { size / 2 };
        }
    }
    best
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Sections,
    Lines,
    Words,
}

struct Part {
    text: String,
    /// It can't be left out.
    keep: bool,
}

/// The scenario as parts that may be left out.
fn parts(text: &str, split: Split) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in text.split_inclusive('\n') {
        let heading = line.starts_with('[') && line.trim_end().ends_with(']');
        match split {
            Split::Sections => match parts.last_mut().filter(|_| !heading) {
                Some(last) => last.text += line,
                None => parts.push(Part {
                    text: line.to_owned(),
                    keep: !line.starts_with("[session") && !line.starts_with("[dns"),
                }),
            },
            Split::Lines => parts.push(Part { text: line.to_owned(), keep: heading || parts.is_empty() }),
            Split::Words => words(line, &mut parts),
        }
    }
    parts
}

/// The elements of a parameter's value, at the outermost level of braces.
fn words(line: &str, parts: &mut Vec<Part>) {
    let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| !name.contains([' ', '{', '/'])) else {
        return parts.push(Part { text: line.to_owned(), keep: true });
    };
    parts.push(Part { text: format!("{name} = "), keep: true });
    let (mut depth, mut word) = (0usize, String::new());
    for c in value.trim_end().chars() {
        word.push(c);
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ' ' if depth == 0 => parts.push(Part { text: std::mem::take(&mut word), keep: false }),
            _ => {}
        }
    }
    parts.push(Part { text: word, keep: false });
    parts.push(Part { text: "\n".to_owned(), keep: true });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let text = "About it\n[main.cf]\na = b, c {d, e}, f\ng = h\n[session s1]\nX\nY\nZ\n[session s2]\nX\n";
        let got = minimise(text, 200, |t| t.contains("c {d, e}") && t.contains("\nY\n"));
        assert_eq!(got, "About it\n[main.cf]\na = c {d, e},\n[session s1]\nY\n");
        assert_eq!(minimise(text, 0, |_| true), text);
    }
}
