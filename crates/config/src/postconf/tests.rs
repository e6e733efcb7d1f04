use super::*;

fn run_on(args: &[&str], main: &str, master: &str) -> Output {
    let options = Options::parse(args).expect("options");
    let main = MainCf::parse("main.cf", main).0;
    let master = MasterCf::parse("master.cf", master).0;
    run(&options, Some(&main), Some(&master), &HostFacts::named("mail.example.com"))
}

#[test]
fn defaults_are_those_of_the_registry() {
    let output = run_on(&["-d"], "relayhost = x\n", "");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), registry::all().len());
    for (line, parameter) in lines.iter().zip(registry::all()) {
        let want = format!("{} = {}", parameter.name, parameter.default);
        assert!(parameter.is_host_dependent() || *line == want.trim_end(), "{line} is not {want}");
    }
    assert!(output.stdout.contains("\nmyhostname = mail.example.com\n"), "{}", output.stdout);
    assert!(output.stdout.contains("\nmydomain = example.com\n"));
    assert_eq!((output.stderr.as_str(), output.exit), ("", 0));
}

#[test]
fn fatal_errors_print_nothing_else() {
    for (args, main, master, stderr) in [
        (
            &["-n"][..],
            "myorigin = x\nrelayhost = $.x\n",
            "",
            "postconf: warning: empty macro name: \"$.x\"\npostconf: warning: empty macro name: \"$.x\"\npostconf: fatal: macro processing error\n",
        ),
        (
            &["-n"],
            "a = b\n c\nrelayhost\n",
            "",
            "postconf: fatal: main.cf, line 3: missing '=' after attribute name: \"relayhost\"\n",
        ),
        (&["-M"], "", "x\n", "postconf: fatal: file master.cf: line 1: bad field count\n"),
        (&["-F", "a/b/c"], "", "", "postconf: fatal: invalid service attribute name: \"c\"\n"),
        (&["-M", "a/b/c"], "", "", "postconf: fatal: -M option requires service_name[/type]\n"),
    ] {
        let want = Output { stdout: String::new(), stderr: stderr.to_owned(), exit: 1 };
        assert_eq!(run_on(args, main, master), want, "{args:?}");
    }
}

#[test]
fn json_and_quiet() {
    let output = run_on(&["-njq"], "relayhost = a \"b\"\nunused = 1\n", "");
    assert_eq!(output.stdout, "{\"relayhost\": \"a \\\"b\\\"\"}\n");
    assert_eq!(output.stderr, "");
}

#[test]
fn overrides_count_as_set() {
    let output = run_on(&["-nx", "-o", "relayhost=$x", "-o", "x=1"], "myorigin = $relayhost\n", "");
    assert_eq!(output.stdout, "myorigin = 1\nrelayhost = 1\nx = 1\n");
}
