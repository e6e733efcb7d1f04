//! A whole cidr table, conditions, negations and all, made into ranges of addresses with one answer each.
//!
//! The answer of a table changes only where a network of it begins or ends. So the addresses fall into few ranges (at
//! most two for each rule, and one), and the rules, taken in the order of the file, paint what no rule before has painted.
//! A look-up is then a search for the range, however many rules there are and however they nest.

use super::{Action, Number, Rule};

/// An address of one family as a number.
pub(super) trait Bits: Copy + Ord {
    /// The smallest.
    const FIRST: Self;
    /// The largest.
    const LAST: Self;
    /// Of an address; `None` for one of the other family.
    fn of(number: Number) -> Option<Self>;
    /// The last address of a network that begins here.
    fn last_of_network(self, prefix: u8) -> Self;
    /// The address behind.
    fn successor(self) -> Option<Self>;
    /// The address before; the first has none.
    fn predecessor(self) -> Option<Self>;
}

macro_rules! bits {
    ($type:ty, $is_v6:literal, $shift:literal) => {
        impl Bits for $type {
            const FIRST: Self = <$type>::MIN;
            const LAST: Self = <$type>::MAX;

            fn of(number: Number) -> Option<Self> {
                (number.is_v6 == $is_v6).then_some((number.bits >> $shift) as $type)
            }

            fn last_of_network(self, prefix: u8) -> Self {
                self | <$type>::MAX.checked_shr(prefix.into()).unwrap_or(0)
            }

            fn successor(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn predecessor(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    };
}

bits!(u32, false, 96);
bits!(u128, true, 0);

/// No rule holds.
const NOTHING: u32 = u32::MAX;
/// A condition that consists of more pieces (a hundred `if !` one in another) is not taken apart.
const PIECES: usize = 100;

/// Ranges of addresses, each from its first address to the next range's, and the number of their value.
pub(super) struct Ranges<T> {
    firsts: Vec<T>,
    values: Vec<u32>,
}

/// From the first address to the last.
type Piece<T> = (T, T);

impl<T: Bits> Ranges<T> {
    /// What the rules come to; `None` when their conditions are too many.
    pub(super) fn new(rules: &[Rule]) -> Option<Self> {
        let mut canvas = Canvas::new(rules);
        // The conditions around a rule: where they end, and what they leave.
        let mut around: Vec<(usize, Vec<Piece<T>>)> = Vec::new();
        let (mut at, whole) = (0, vec![(T::FIRST, T::LAST)]);
        while let Some(rule) = rules.get(at) {
            while around.last().is_some_and(|(end, _)| *end <= at) {
                around.pop();
            }
            let here = around.last().map_or(&whole, |(_, pieces)| pieces);
            let held = rule.within(here);
            at = match rule.action {
                // The rules inside can't be reached.
                Action::If(end) if held.is_empty() => end,
                Action::If(_) if held.len() > PIECES => return None,
                Action::If(end) => {
                    around.push((end, held));
                    at + 1
                }
                Action::Result(value) => {
                    held.into_iter().for_each(|piece| canvas.paint(piece, value));
                    at + 1
                }
            };
        }
        Some(canvas.finish())
    }

    /// The number of an address's value.
    pub(super) fn find(&self, address: T) -> Option<u32> {
        let range = self.firsts.partition_point(|&first| first <= address).checked_sub(1)?;
        self.values.get(range).copied().filter(|&value| value != NOTHING)
    }

    /// The ranges that have a value: from, to, and its number.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (T, T, u32)> + '_ {
        let lasts = self.firsts.iter().skip(1).map(|next| next.predecessor().unwrap_or(*next));
        let lasts = lasts.chain(std::iter::once(T::LAST));
        let all = self.firsts.iter().zip(lasts).zip(&self.values);
        all.map(|((first, last), value)| (*first, last, *value)).filter(|(.., value)| *value != NOTHING)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }
}

impl Rule {
    /// Where the rule's network lies; `None` if it is of the other family, which no rule holds for.
    fn piece<T: Bits>(&self) -> Option<Piece<T>> {
        let first = T::of(self.network.number)?;
        Some((first, first.last_of_network(self.network.prefix)))
    }

    /// For which of these addresses the rule holds.
    fn within<T: Bits>(&self, pieces: &[Piece<T>]) -> Vec<Piece<T>> {
        let Some((first, last)) = self.piece::<T>() else { return Vec::new() };
        let both = |&(from, to): &Piece<T>, low: T, high: T| {
            let piece = (from.max(low), to.min(high));
            (piece.0 <= piece.1).then_some(piece)
        };
        if !self.negated {
            return pieces.iter().filter_map(|piece| both(piece, first, last)).collect();
        }
        let below = first.predecessor().map(|high| (T::FIRST, high));
        let above = last.successor().map(|low| (low, T::LAST));
        let outside = [below, above];
        let sides = |piece| outside.iter().flatten().filter_map(move |&(low, high)| both(piece, low, high));
        pieces.iter().flat_map(sides).collect()
    }
}

/// The ranges while they get their values.
struct Canvas<T> {
    firsts: Vec<T>,
    values: Vec<u32>,
    /// From each range the way to the next one without a value; one more than there are ranges.
    next: Vec<u32>,
}

impl<T: Bits> Canvas<T> {
    fn new(rules: &[Rule]) -> Self {
        let mut firsts = vec![T::FIRST];
        for (first, last) in rules.iter().filter_map(Rule::piece::<T>) {
            firsts.push(first);
            firsts.extend(last.successor());
        }
        firsts.sort_unstable();
        firsts.dedup();
        let next = (0..=firsts.len() as u32).collect();
        Self { values: vec![NOTHING; firsts.len()], firsts, next }
    }

    /// Gives a value to what has none between two addresses, both at the edges of ranges.
    fn paint(&mut self, (first, last): Piece<T>, value: u32) {
        let start = self.firsts.partition_point(|&edge| edge < first);
        let mut range = self.free(start);
        while self.firsts.get(range).is_some_and(|&edge| edge <= last) {
            self.values[range] = value;
            self.next[range] = range as u32 + 1;
            range = self.free(range + 1);
        }
    }

    /// The first range from this one on that has no value.
    fn free(&mut self, mut range: usize) -> usize {
        while self.next[range] as usize != range {
            // The way gets shorter for those who come after.
            let next = self.next[range] as usize;
            self.next[range] = self.next[next];
            range = next;
        }
        range
    }

    /// Neighbours with one value become one.
    fn finish(self) -> Ranges<T> {
        let (mut firsts, mut values) = (Vec::<T>::new(), Vec::<u32>::new());
        for (first, value) in self.firsts.into_iter().zip(self.values) {
            if values.last() != Some(&value) {
                firsts.push(first);
                values.push(value);
            }
        }
        firsts.shrink_to_fit();
        values.shrink_to_fit();
        Ranges { firsts, values }
    }
}
