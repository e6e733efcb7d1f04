use crate::{OpenOptions, Opened, open};
use std::sync::{Arc, Mutex};

fn table(kind: &str, text: &str) -> (Opened, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t"), text).unwrap();
    let opened = open(&format!("{kind}:t"), &OpenOptions::new(dir.path())).unwrap();
    (opened, dir)
}

fn get(opened: &Opened, key: &str) -> Result<Option<String>, String> {
    opened.table.get(key).map(|value| value.map(|v| v.to_string())).map_err(|error| error.to_string())
}

/// Warnings without the part that names the directory.
fn warnings(opened: &Opened, dir: &tempfile::TempDir) -> Vec<String> {
    let dir = format!("{}/", dir.path().display());
    opened.warnings.iter().map(|w| w.message.replace(&dir, "")).collect()
}

const RULES: &str = "/^a(b)?c$/ one $1 ${1} $(1) $$
!/foo|cond|xyz|two|slash|pipe|abc|opt|ac/ neg
/x(y)z/i $1
if /cond/
/cond1/ c1
if !/inner/
/cond2/ c2
endif
/cond3/ c3
endif
|pipe\\|x| p
/slash\\/x/ s
/two(a)(b)/ $2$1
/(foo)(bar)?/ <$1$2>
";

#[test]
fn first_match_with_conditions_negation_and_groups() {
    for kind in ["regexp", "pcre"] {
        let (opened, dir) = table(kind, RULES);
        assert!(opened.table.is_pattern());
        for (key, value) in [
            ("abc", Some("one b b b $")),
            ("AC", Some("one    $")),
            ("other", Some("neg")),
            ("xyz", Some("y")),
            ("Xyz", None),
            ("cond1", Some("c1")),
            ("cond2", Some("c2")),
            ("cond2inner", None),
            ("cond3inner", Some("c3")),
            ("pipe|x", Some("p")),
            ("slash/x", Some("s")),
            ("twoab", Some("ba")),
            ("foo", Some("<foo>")),
            ("Foobar", Some("<Foobar>")),
        ] {
            assert_eq!(get(&opened, key), Ok(value.map(str::to_owned)), "{kind} {key}");
        }
        assert_eq!(warnings(&opened, &dir), Vec::<String>::new());
    }
}

const BAD: &str = "/^a(b)?c$/ $2
!/foo/ neg $1
/nores/
endif
/end/ $
/end3/ ${1x}
nopat x
/flags/q r
IF /if1/ extra
EndIf junk
/zero(x)/ $0
/open(/ x
/unterminated
if /noend/
/noend/ q
";

#[test]
fn bad_rules_are_skipped_in_postfix_words() {
    for (kind, range, open, closing) in [
        ("regexp", "out-of-range", "Unmatched ( or \\(", "skipping this rule"),
        ("pcre", "out of range", "error in regex at offset 5: missing closing parenthesis", "ignoring this rule"),
    ] {
        let (opened, dir) = table(kind, BAD);
        let line = |number: u32, text: &str| format!("{kind} map t, line {number}: {text}");
        let expected = [
            line(1, "out of range replacement index \"2\": skipping this rule"),
            line(2, "$number found in negative match replacement text: skipping this rule"),
            line(3, "no replacement text: using empty string"),
            line(4, "ignoring ENDIF without matching IF"),
            "empty macro name: \"$\"".to_owned(),
            line(5, "bad replacement syntax: skipping this rule"),
            line(6, "non-numeric replacement index \"1x\""),
            line(6, "bad replacement syntax: skipping this rule"),
            line(7, "ignoring unrecognized request"),
            line(8, "unknown regexp option \"q\": skipping this rule"),
            line(9, "ignoring extra text after IF statement: \"extra\""),
            line(9, "do not prepend whitespace to statements between IF and ENDIF"),
            line(10, "ignoring extra text after ENDIF"),
            line(11, &format!("{range} replacement index \"0\"")),
            line(11, "bad replacement syntax: skipping this rule"),
            line(12, open),
            line(13, &format!("no closing regexp delimiter \"/\": {closing}")),
            line(14, "IF has no matching ENDIF"),
        ];
        assert_eq!(warnings(&opened, &dir), expected);
        assert_eq!(get(&opened, "nores"), Ok(Some(String::new())));
        assert_eq!(get(&opened, "noend"), Ok(Some("q".to_owned())));
        assert_eq!(opened.warnings[0].span.as_ref().map(|span| span.line), Some(1));
    }
}

#[test]
fn glibc_matches_as_glibc_does() {
    let (opened, _dir) = table("regexp", "/(one|onetwo)(three)?/ [$1][$2]\n/^([^:=]*)(:|:=)(.*)$/ $1,$2,$3\n");
    assert_eq!(get(&opened, "onetwothree"), Ok(Some("[onetwo][three]".to_owned())));
    assert_eq!(get(&opened, "x:=y"), Ok(Some("x,:,=y".to_owned())));
}

#[test]
fn pcre_flags() {
    let text = "/anch/A a\n/a+(.*)/U [$1]\n/^e(x|y)$/E end\n/^s.t$/s dot\n/^ m 1 $ /xm lines\n/v/X obsolete\n";
    let (opened, dir) = table("pcre", text);
    for (key, value) in [
        ("anchor", Some("a")),
        ("xxnch", None),
        ("waaaq", Some("[]")),
        ("ex", Some("end")),
        ("ex\n", None),
        ("s\nt", None),
        ("set", Some("dot")),
        ("q\nm1\nq", Some("lines")),
        ("v", Some("obsolete")),
    ] {
        assert_eq!(get(&opened, key), Ok(value.map(str::to_owned)), "{key:?}");
    }
    assert_eq!(warnings(&opened, &dir), ["pcre map t, line 6: ignoring obsolete regexp option \"X\""]);
}

#[test]
fn half_a_character_is_a_failed_look_up() {
    for kind in ["regexp", "pcre"] {
        let (opened, _dir) = table(kind, "/^(.)/ f$1\n");
        let text = format!("{kind}:t: key \"\u{e9}\": non-UTF-8 value \"f?\": malformed UTF-8 or invalid codepoint");
        assert_eq!(get(&opened, "\u{e9}"), Err(text));
        assert_eq!(get(&opened, "e"), Ok(Some("fe".to_owned())));
    }
}

#[test]
fn a_match_limit_is_a_warning_and_no_match() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t"), "/^(*LIMIT_MATCH=10)(a+)+$/ x\n/(*LIMIT_MATCH=10)^(a+)+$/ x\n/./ after\n")
        .unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut options = OpenOptions::new(dir.path());
    let sink = log.clone();
    options.log = Some(Arc::new(move |text: &str| sink.lock().unwrap().push(text.to_owned())));
    let opened = open("pcre:t", &options).unwrap();
    assert_eq!(get(&opened, &format!("{}b", "a".repeat(40))), Ok(Some("after".to_owned())));
    let expected = format!("pcre map {}/t, line 2: match limit exceeded", dir.path().display());
    assert_eq!(*log.lock().unwrap(), [expected]);
}

#[test]
fn inline_rules() {
    let get_inline = |spec: &str, key: &str| match open(spec, &OpenOptions::new("/")) {
        Ok(opened) => (get(&opened, key).unwrap(), opened.warnings.into_iter().map(|w| w.message).collect()),
        Err(errors) => (None, errors.into_iter().map(|e| e.message).collect::<Vec<_>>()),
    };
    let some = |text: &str| Some(text.to_owned());
    for (spec, value, message) in [
        (
            "regexp:{{/a/ b $1},{/1.2/ c d}}",
            some("c d"),
            "regexp map {{/a/ b $1},{/1.2/ c d}}, line 1: out of range replacement index \"1\": skipping this rule",
        ),
        ("pcre:{ {/1{1}/ b} }", some("b"), ""),
        ("regexp:{{} {# c} {/1/ z}}", some("z"), ""),
        ("regexp:{{/1/ a\n  b}}", some("a  b"), ""),
        ("regexp:{ {/9/ x} x {/1/ b} }", None, "regexp map: no '{' at start of text in \"x\""),
        ("regexp:{ {/1/ b\\} } }", None, "regexp map: syntax error after '}' in \"{ {/1/ b\\} } }\""),
        ("regexp:{{", None, "regexp map: missing '}' in \"{{\""),
    ] {
        let messages: Vec<String> = if message.is_empty() { vec![] } else { vec![message.to_owned()] };
        assert_eq!(get_inline(spec, "1.2.3.4"), (value, messages), "{spec}");
    }
}
