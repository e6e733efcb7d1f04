use super::*;

const UNIT: u64 = 60_000;

fn prefixes() -> Prefixes {
    Prefixes { ipv4: 32, ipv6: 84 }
}

fn client(service: &str, address: &str) -> Ident {
    Ident::client(&service.into(), address.parse().ok(), prefixes())
}

#[test]
fn networks_are_one_client() {
    for (address, ipv4, ipv6, shown) in [
        ("192.0.2.17", 32, 84, "smtp:192.0.2.17"),
        ("192.0.2.17", 28, 84, "smtp:192.0.2.16/28"),
        ("192.0.2.17", 0, 84, "smtp:0.0.0.0/0"),
        ("2001:db8:1:2:3:4:5:6", 32, 84, "smtp:2001:db8:1:2:3::/84"),
        ("2001:db8:1:2:3:fff:5:6", 32, 84, "smtp:2001:db8:1:2:3::/84"),
        ("2001:db8:1:2:3:1fff:5:6", 32, 84, "smtp:2001:db8:1:2:3:1000::/84"),
        ("2001:db8::1", 32, 128, "smtp:2001:db8::1"),
        ("2001:db8::1", 32, 0, "smtp:::/0"),
        ("unknown", 32, 84, "smtp:unknown"),
    ] {
        let ident = Ident::client(&"smtp".into(), address.parse().ok(), Prefixes { ipv4, ipv6 });
        assert_eq!(ident.to_string(), shown, "{address}");
    }
    assert_eq!(Ident::Login("user@example.com".into()).to_string(), "login:user@example.com");
}

#[test]
fn rates_begin_anew_together() {
    let anvil = Anvil::new(UNIT);
    let (a, b) = (client("smtp", "192.0.2.1"), client("smtp", "192.0.2.2"));
    let other = client("submission", "192.0.2.1");
    for (ident, rate, now, want) in [
        (&a, Rate::Message, 1_000, 1),
        (&a, Rate::Message, 2_000, 2),
        (&a, Rate::Recipient, 30_000, 1),
        (&b, Rate::Message, 30_000, 1),
        (&other, Rate::Message, 30_000, 1),
        // A minute after the first event, all rates of this client.
        (&a, Rate::Message, 61_000, 3),
        (&a, Rate::Message, 61_001, 1),
        (&a, Rate::Recipient, 61_001, 1),
        (&b, Rate::Message, 61_001, 2),
        // A clock that goes backwards does no harm.
        (&a, Rate::Message, 500, 2),
    ] {
        assert_eq!(anvil.count(ident, rate, now), want, "{ident} {rate:?} at {now}");
    }
    assert_eq!((anvil.rate(&b, Rate::Message, 61_002), anvil.rate(&b, Rate::Recipient, 61_002)), (2, 0));
    assert_eq!(anvil.rate(&b, Rate::Message, 91_000), 0, "its minute is over");
    anvil.set_unit(10);
    assert_eq!(anvil.count(&b, Rate::Message, 61_012), 1);
}

#[test]
fn connections_count_as_long_as_they_last() {
    let anvil = Arc::new(Anvil::new(UNIT));
    let ident = client("smtp", "192.0.2.1");
    let connect = |now| {
        let (connections, rate, connection) = anvil.connect(&ident, now).unwrap();
        (connections, rate, connection)
    };
    let (.., first) = connect(0);
    let (connections, rate, second) = connect(10);
    assert_eq!((connections, rate), (2, 2));
    drop(first);
    let (connections, rate, third) = connect(20);
    assert_eq!((connections, rate), (2, 3));
    drop((second, third));
    let (connections, rate, _fourth) = connect(UNIT + 1);
    assert_eq!((connections, rate), (1, 1));
    // Rates of other kinds are those of the same client.
    assert_eq!(anvil.count(&ident, Rate::Auth, UNIT + 2), 1);
}

#[test]
fn a_flood_of_clients_is_bounded_and_forgotten() {
    let anvil = Arc::new(Anvil::new(UNIT));
    let staying = client("smtp", "192.0.2.1");
    let (.., connection) = anvil.connect(&staying, 0).unwrap();
    let known = || anvil.shards.iter().map(|shard| shard.lock().unwrap().remotes.len()).sum::<usize>();
    for number in 0..240_000_u32 {
        let ident = Ident::client(&"smtp".into(), Some(IpAddr::V4(number.into())), prefixes());
        assert_eq!(anvil.count(&ident, Rate::Message, u64::from(number / 100)), 1);
    }
    assert!(known() <= SHARDS * SHARD_LIMIT, "{}", known());
    assert_eq!(anvil.size.load(Ordering::Relaxed), known());
    // Whoever is connected is not forgotten, and what is over goes at the next occasion.
    let (connections, ..) = anvil.connect(&staying, UNIT).unwrap();
    assert_eq!(connections, 2);
    for number in 0..1_000_u32 {
        let ident = Ident::client(&"other".into(), Some(IpAddr::V4(number.into())), prefixes());
        anvil.count(&ident, Rate::Message, 10 * UNIT);
    }
    assert!(known() <= 1_001, "{}", known());
    drop(connection);
}

#[test]
fn statistics_name_the_busiest() {
    let anvil = Arc::new(Anvil::new(UNIT));
    let (a, b) = (client("smtp", "192.0.2.1"), client("smtp", "192.0.2.2"));
    let connections: Vec<_> = (0..3).map(|now| anvil.connect(&a, now).unwrap()).collect();
    anvil.connect(&b, 5).unwrap();
    anvil.count(&b, Rate::Recipient, 6);
    anvil.count(&b, Rate::Auth, 6);
    // As `Nov 22 18:35:22`.
    let plain = |lines: Vec<String>| {
        let cut = |line: String| {
            let (text, when) = line.split_once(" at ").unwrap();
            assert_eq!(when.len(), 15, "{when}");
            text.to_owned()
        };
        lines.into_iter().map(cut).collect::<Vec<_>>()
    };
    assert_eq!(
        plain(anvil.statistics()),
        [
            "statistics: max connection rate 3/60s for (smtp:192.0.2.1)",
            "statistics: max connection count 3 for (smtp:192.0.2.1)",
            "statistics: max recipient rate 1/60s for (smtp:192.0.2.2)",
            "statistics: max auth rate 1/60s for (smtp:192.0.2.2)",
            "statistics: max cache size 2",
        ]
    );
    assert!(anvil.statistics().is_empty(), "they are told once");
    drop(connections);
}

#[test]
fn loops_count_together() {
    let anvil = Arc::new(Anvil::new(UNIT));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for now in 0..1000 {
                    drop(anvil.connect(&client("smtp", "192.0.2.1"), now));
                    anvil.count(&client("smtp", "192.0.2.1"), Rate::Message, now);
                }
            });
        }
    });
    assert_eq!(anvil.count(&client("smtp", "192.0.2.1"), Rate::Message, 1000), 4001);
    assert_eq!(anvil.connect(&client("smtp", "192.0.2.1"), 1000).map(|(now, all, _)| (now, all)), Some((1, 4001)));
}
