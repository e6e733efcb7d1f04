//! The sender of our own address probes (`address_verify_sender`, `address_verify_sender_ttl`): who answers to it
//! isn't to be probed in turn.

/// The digits of a time stamp: no vowels, so that no words come out.
const DIGITS: &[u8; 31] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ";

/// The sender of probes, with or without a time stamp that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeSender {
    /// With a domain; empty for the null sender.
    address: String,
    /// Seconds that a time stamp holds; 0: there is none.
    ttl: u64,
}

impl ProbeSender {
    /// `address_verify_sender`, with `myorigin` for its domain where it has none.
    pub fn new(address: &str, myorigin: &str, ttl: u64) -> Self {
        let address = match address {
            "" | "<>" => String::new(),
            _ if address.contains('@') => address.to_owned(),
            _ => format!("{address}@{myorigin}"),
        };
        Self { address, ttl }
    }

    /// The sender as probes have it at this time (seconds since the epoch).
    pub fn at(&self, now: u64) -> String {
        match self.address.split_once('@') {
            Some((local, domain)) if self.ttl > 0 => format!("{local}{}@{domain}", stamp(now / self.ttl)),
            _ => self.address.clone(),
        }
    }

    /// Is this the sender of our probes, now, a moment ago or in a moment? Then what it is without a time stamp.
    pub fn recognise(&self, address: &str, now: u64) -> Option<&str> {
        if self.address.is_empty() {
            return None;
        }
        if self.ttl == 0 {
            return address.eq_ignore_ascii_case(&self.address).then_some(&self.address);
        }
        let (local, domain) = self.address.split_once('@')?;
        let (head, rest) = address.split_at_checked(local.len())?;
        let (digits, their_domain) = rest.split_once('@')?;
        if !head.eq_ignore_ascii_case(local) || !their_domain.eq_ignore_ascii_case(domain) {
            return None;
        }
        let period = now / self.ttl;
        let near = [period.saturating_sub(1), period, period + 1];
        near.iter().any(|near| stamp(*near).eq_ignore_ascii_case(digits)).then_some(&self.address)
    }
}

fn stamp(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(number % 31) as usize]));
        number /= 31;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_have_a_sender_that_is_recognised() {
        let plain = ProbeSender::new("probe", "example.com", 0);
        assert_eq!(plain.at(1_795_384_091), "probe@example.com");
        for (address, is_ours) in [("PROBE@example.com", true), ("probe", false), ("probeJQYN@example.com", false)] {
            assert_eq!(plain.recognise(address, 0), is_ours.then_some("probe@example.com"), "{address}");
        }
        // What Postfix sent at this time.
        let stamped = ProbeSender::new("probe@example.com", "example.org", 3600);
        assert_eq!(stamped.at(1_795_384_091), "probeJQYN@example.com");
        for (address, is_ours) in [
            ("probeJQYN@example.com", true),
            ("Probejqyn@Example.com", true),
            ("probeJQYM@example.com", true),
            ("probeJQYP@example.com", true),
            ("probeJQYL@example.com", false),
            ("probe@example.com", false),
            ("probeJQYN@example.org", false),
            ("JQYN@example.com", false),
            ("pröbe", false),
        ] {
            let found = stamped.recognise(address, 1_795_384_091);
            assert_eq!(found, is_ours.then_some("probe@example.com"), "{address}");
        }
        let null = ProbeSender::new("<>", "example.com", 3600);
        assert_eq!((null.at(7), null.recognise("", 7)), (String::new(), None));
    }
}
