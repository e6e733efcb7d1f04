//! `Authentication-Results:` headers that claim to be ours (RFC 8601, section 5): nobody else writes in our name.

/// Does the value of such a header begin with this name?
pub(super) fn is_of(value: &[u8], server: &str) -> bool {
    let text = String::from_utf8_lossy(value);
    let rest = after_comments(&text);
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => rest.split(|c: char| c.is_whitespace() || matches!(c, ';' | '(')).next().unwrap_or_default(),
    };
    name.trim().trim_end_matches('.').eq_ignore_ascii_case(server.trim_end_matches('.'))
}

/// Without the comments and blanks at the beginning.
fn after_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if !text.starts_with('(') {
            return text;
        }
        let mut depth = 0_u32;
        let end = text.char_indices().find(|(_, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        text = end.map_or("", |(at, _)| &text[at + 1..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_behind_comments_and_in_quotes() {
        for (value, expected) in [
            (" mx.example.com; spf=pass", true),
            ("MX.example.com", true),
            ("mx.example.com 1; none", true),
            ("\n (a (b) c)\n \"mx.example.com\" ; none", true),
            ("mx.example.com(x);", true),
            ("mx.example.com.;", true),
            ("mx.example.org; spf=pass", false),
            ("x.mx.example.com; spf=pass", false),
            ("(mx.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_of(value.as_bytes(), "mx.example.com"), expected, "{value}");
        }
    }
}
