use super::*;
use crate::ledger::Ledger;
use crate::question::Question;
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
    assert_eq!(found, Lookup::Failed("down\nhash:/m lookup error for \"Ann\"".into()));
    let (found, _) = with(Script::default().entry("hash:/m", "ann", ""), find);
    assert_eq!(
        found,
        Lookup::Broken(
            "virtual_alias_maps lookup of Ann returns an empty string result\n\
             virtual_alias_maps should return NO RESULT in case of NOT FOUND"
                .into()
        )
    );
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
