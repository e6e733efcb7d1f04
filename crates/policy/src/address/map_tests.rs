use super::*;
use crate::question::{Ledger, Question};
use crate::testing::{Config, Script};

const VALUES: &[(&str, &str)] = &[("recipient_delimiter", "+-"), ("maps", "hash:/m, pcre:/p")];

fn with<T>(script: Script, run: impl Fn(&Routing, &AddressMaps, &mut Ask<'_>) -> T) -> (T, Vec<String>) {
    let mut tables = TableRegistry::new();
    let config = Config::new(VALUES);
    let (routing, _) = Routing::compile(&config, &mut tables);
    let maps = AddressMaps::compile("virtual_alias_maps", &config, &mut tables);
    assert!(maps.is_empty());
    let maps = AddressMaps::from_text("virtual_alias_maps", "hash:/m, pcre:/p", None, &mut tables);
    let mut world = script.opened(&tables);
    let mut ledger = Ledger::default();
    let mut ask = Ask { ledger: &mut ledger, world: &mut world };
    let result = run(&routing, &maps, &mut ask);
    let key = |question: &Question| match question {
        Question::Table { table, key } => format!("{}:{key}", table.0),
        other => format!("{other:?}"),
    };
    (result, world.asked.iter().map(key).collect())
}

#[test]
fn keys_come_in_their_order() {
    let find = |routing: &Routing, maps: &AddressMaps, ask: &mut Ask<'_>| {
        routing.find_address(maps, "Ann+x@example.com", ask).unwrap()
    };
    let (found, asked) = with(Script::default(), find);
    assert_eq!(found, Lookup::NotFound);
    assert_eq!(
        asked,
        ["0:ann+x@example.com", "1:Ann+x@example.com", "0:ann@example.com", "0:ann+x", "0:ann", "0:@example.com"]
    );
    let (found, _) = with(Script::default().entry("hash:/m", "ann", "x"), find);
    assert_eq!(found, Lookup::Found { value: "x".into(), table: TableId(0), extension: Some("+x".into()) });
    let (found, _) = with(Script::default().failure("hash:/m", "ann", "down"), find);
    assert_eq!(found, Lookup::Failed("down".into()));
    let (found, _) = with(Script::default().entry("hash:/m", "ann", ""), find);
    assert_eq!(found, Lookup::Failed("virtual_alias_maps lookup of Ann returns an empty string result".into()));
}

#[test]
fn extensions_are_split_where_that_makes_sense() {
    let ((), _) = with(Script::default(), |routing, _, _| {
        for (local, expected) in [
            ("ann", ("ann", None)),
            ("ann+x", ("ann", Some("+x"))),
            ("ann-x+y", ("ann", Some("-x+y"))),
            ("+x", ("+x", None)),
            ("Postmaster", ("Postmaster", None)),
            ("mailer-daemon", ("mailer-daemon", None)),
            ("double-bounce", ("double-bounce", None)),
            ("owner-list", ("owner-list", None)),
            ("list-request", ("list-request", None)),
        ] {
            assert_eq!(routing.split_extension(local), expected);
        }
    });
}

#[test]
fn aliases_are_expanded() {
    let script = Script::default()
        .entry("hash:/m", "list@example.com", "ann, \"b c\"@other.example ann+more@example.com")
        .entry("hash:/m", "ann@example.com", "ann@inside.example")
        .entry("hash:/m", "self@example.com", "self@example.com, copy@example.com")
        .entry("hash:/m", "twice@example.com", "copy, copy@example.com")
        .entry("hash:/m", "@old.example", "@new.example")
        .entry("hash:/m", "loop@example.com", "loop+x@example.com");
    let expand = |address: &'static str| {
        let limits = ExpansionLimits { recursion: 50, expansion: 100, address_length: 300 };
        with(script.clone(), move |routing, maps, ask| routing.expand(maps, address, limits, ask).unwrap()).0
    };
    for (address, expected) in [
        ("list@example.com", &["ann@inside.example", "b c@other.example", "ann+more@inside.example"][..]),
        ("nobody@example.com", &["nobody@example.com"]),
        ("self@example.com", &["self@example.com", "copy@example.com"]),
        ("twice@example.com", &["copy@example.com"]),
        ("u@old.example", &["u@new.example"]),
        ("ann+y@example.com", &["ann+y@inside.example"]),
    ] {
        let expected = Expansion::Addresses(expected.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(expand(address), expected, "{address}");
    }
    let why =
        "unreasonable virtual_alias_maps map nesting for loop@example.com -- message not accepted, try again later";
    assert_eq!(expand("loop@example.com"), Expansion::Problem(why.into()));
}

#[test]
fn expansion_is_limited() {
    let script = Script::default().entry("hash:/m", "many@example.com", "a, b, c, d");
    let limits = ExpansionLimits { expansion: 3, ..ExpansionLimits::default() };
    let (found, _) = with(script, |routing, maps, ask| routing.expand(maps, "many@example.com", limits, ask).unwrap());
    let why = "unreasonable virtual_alias_maps map expansion size for many@example.com -- message not accepted, try \
               again later";
    assert_eq!(found, Expansion::Problem(why.into()));
}

#[test]
fn canonical_maps_are_applied_until_they_change_nothing() {
    let script = Script::default()
        .entry("hash:/m", "old@example.com", "older")
        .entry("hash:/m", "older@example.com", "new@other.example")
        .entry("hash:/m", "ping@example.com", "pong")
        .entry("hash:/m", "pong@example.com", "ping");
    let canonical = |address: &'static str| {
        with(script.clone(), move |routing, maps, ask| routing.canonical(maps, address, ask).unwrap()).0
    };
    assert_eq!(canonical("old@example.com"), Ok(Some("new@other.example".into())));
    assert_eq!(canonical("old+x@example.com"), Ok(Some("new+x@other.example".into())));
    assert_eq!(canonical("none@example.com"), Ok(None));
    assert!(canonical("ping@example.com").unwrap_err().starts_with("unreasonable virtual_alias_maps map nesting"));
}
