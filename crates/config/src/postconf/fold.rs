//! Words in lines, folded or not.

use crate::logical::is_space;

/// Column that folded lines should not pass.
pub(super) const LIMIT: usize = 80;
/// Before continued lines.
pub(super) const INDENT: &str = "    ";

/// Writes `prefix` and the words of `text`, one blank between them, and ends the line.
pub(super) fn line(prefix: &str, text: &str, fold: bool, out: &mut String) {
    out.push_str(prefix);
    let mut column = prefix.chars().count();
    let mut fresh = prefix.is_empty() || prefix.ends_with(' ');
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let width = word.chars().count();
        let blank = usize::from(!fresh);
        if fold && column > 0 && column + blank + width > LIMIT {
            out.push('\n');
            out.push_str(INDENT);
            column = INDENT.len();
        } else if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        fresh = false;
    }
    out.push('\n');
}

/// Writes the command of a service and its arguments from a column on, and ends the line. `-o` options get lines of
/// their own when folded.
pub(super) fn command(column: usize, command: &str, argv: &[String], fold: bool, out: &mut String) {
    out.push_str(command);
    let mut column = column + command.chars().count();
    let mut options = true;
    let mut words = argv.iter();
    while let Some(word) = words.next() {
        let mut text = braced(word, !options);
        let mut setting = false;
        if options {
            if !word.starts_with('-') || word == "--" {
                // Postfix leaves out the braces of the first argument that is not an option.
                options = false;
            } else if matches!(word.as_str(), "-o" | "-")
                && let Some(value) = words.next()
            {
                // Postfix takes a lone `-` for an option with a value.
                text = format!("{word} {}", braced(value, true));
                setting = true;
            }
        }
        let width = text.chars().count();
        // Braces that are added here come too late to be counted.
        let counted = if setting { width } else { word.chars().count() };
        if fold && (setting || column + 1 + counted >= LIMIT) {
            out.push('\n');
            out.push_str(INDENT);
            column = INDENT.len();
        } else if setting || column > INDENT.len() {
            // Postfix takes what is this short (`smtp` alone) for the indentation of a folded line.
            out.push(' ');
            column += 1;
        }
        out.push_str(&text);
        column = if setting { LIMIT } else { column + width };
    }
    out.push('\n');
}

/// Braces around an argument with blanks.
fn braced(word: &str, may: bool) -> String {
    if may && word.contains(is_space) { format!("{{{word}}}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(prefix: &str, text: &str) -> String {
        let mut out = String::new();
        line(prefix, text, true, &mut out);
        out
    }

    #[test]
    fn lines_of_eighty_columns_stay() {
        let word = "x".repeat(66);
        assert_eq!(folded("", &format!("relayhost = {word} y")), format!("relayhost = {word} y\n"));
        assert_eq!(folded("", &format!("relayhost = {word} yz")), format!("relayhost = {word}\n    yz\n"));
        assert_eq!(folded("", &format!("a = {} b", "x".repeat(90))), format!("a =\n    {}\n    b\n", "x".repeat(90)));
        assert_eq!(folded("a/b/c = ", ""), "a/b/c = \n");
        assert_eq!(folded("", "a =  b\t c "), "a = b c\n");
    }

    #[test]
    fn settings_stand_alone_when_folded() {
        let argv: Vec<String> =
            ["-v", "-o", "a=b c", "-D", "x", "-o", "y"].iter().map(|word| (*word).to_owned()).collect();
        let mut out = String::new();
        command(57, "smtpd", &argv, true, &mut out);
        assert_eq!(out, "smtpd -v\n    -o {a=b c}\n    -D x -o y\n");
        out.clear();
        command(57, "smtpd", &argv, false, &mut out);
        assert_eq!(out, "smtpd -v -o {a=b c} -D x -o y\n");
        for (command_name, argv, line) in [
            ("smtp", ["-v", "-D"], "smtp-v -D\n"),
            ("smtp", ["-o", "a=b"], "smtp -o a=b\n"),
            ("smtpd", ["-v", "-D"], "smtpd -v -D\n"),
        ] {
            out.clear();
            command(0, command_name, &argv.map(str::to_owned), false, &mut out);
            assert_eq!(out, line);
        }
    }
}
