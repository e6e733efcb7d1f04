//! Random scenarios, for comparing postern with the real Postfix: policies over all restrictions of the registry, with
//! tables, DNS, parameters and sessions to meet them. A seed and a number give one scenario, always the same one.

mod command;
mod dice;
mod draft;
mod known;
mod lists;
mod minimise;
mod parameters;
pub mod postconf;
pub mod postmap;
mod postmap_texts;
mod sessions;
mod tables;
mod words;
mod zone;

pub use command::{Case, File, Step};
pub use known::{KNOWN, Known, without_known};
pub use minimise::minimise;

use dice::Dice;
use draft::Draft;
use lists::Shape;

/// The text of a scenario.
pub fn scenario(seed: u64, number: u64) -> String {
    let mut dice = Dice::new(seed, number);
    let shape = match number % 4 {
        0 | 1 => Shape::Dispatch,
        2 => Shape::Delayed,
        _ => Shape::Immediate,
    };
    let mut draft = Draft::default();
    parameters::add(&mut dice, &mut draft);
    lists::add(&mut dice, &mut draft, shape);
    sessions::add(&mut dice, &mut draft, shape);
    draft.text(&format!("random scenario {number} of seed {seed}: {shape:?}"), &zone::zone(&mut dice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Scenario;

    #[test]
    fn the_same_seed_gives_the_same_scenario() {
        assert_eq!(scenario(7, 3), scenario(7, 3));
        assert_ne!(scenario(7, 3), scenario(7, 7));
        assert_ne!(scenario(7, 3), scenario(8, 3));
    }

    /// A new restriction is in the fuzz at once.
    #[test]
    fn every_restriction_is_tried() {
        let text: String = (0..400).map(|n| scenario(1, n)).collect();
        let missing: Vec<_> = policy::restrictions()
            .filter(|r| !known::avoided(r.name))
            .flat_map(|r| std::iter::once(r.name).chain(r.aliases.iter().copied()))
            .filter(|name| !text.contains(name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_is_known_to_differ_is_not_generated() {
        let text: String = (0..100).map(|n| scenario(2, n)).collect();
        for name in policy::restrictions().map(|r| r.name).filter(|name| known::avoided(name)) {
            assert!(!text.contains(name), "{name}");
        }
    }

    #[test]
    fn scenarios_are_whole() {
        for number in 0..50 {
            let text = scenario(3, number);
            let scenario = Scenario::parse("random", &text);
            assert!(scenario.get("session").count() >= 2, "{text}");
            assert!(scenario.main_cf().contains("smtpd_relay_restrictions"), "{text}");
            for line in scenario.main_cf().lines().filter(|l| !l.starts_with(' ')) {
                assert!(line.contains('='), "{line}");
            }
        }
    }
}
