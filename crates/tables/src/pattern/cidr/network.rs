//! Networks and addresses as cidr_table(5) writes them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// An address as a number, IPv4 and IPv6 kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number {
    pub(super) is_v6: bool,
    /// IPv4 in the upper bits, so that prefix lengths count from the same end.
    pub(super) bits: u128,
}

impl Number {
    /// Of an address.
    pub(super) fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { is_v6: false, bits: u128::from(v4.to_bits()) << 96 },
            IpAddr::V6(v6) => Self { is_v6: true, bits: v6.to_bits() },
        }
    }

    /// The address.
    pub(super) fn address(self) -> IpAddr {
        match self.is_v6 {
            false => IpAddr::V4(((self.bits >> 96) as u32).into()),
            true => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        }
    }

    /// The address with all but its first bits cleared.
    pub(super) fn masked(self, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Self { bits: self.bits & mask, ..self }
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    /// Its first address.
    pub(super) number: Number,
    pub(super) prefix: u8,
}

impl Network {
    /// Parse `address`, `[address]`, `network/prefix`, `[network/prefix]` or `[network]/prefix`; the error is
    /// Postfix's text after `line N: `.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let (shown, address, mask) = split(pattern)?;
        let Some(mask) = mask else {
            let address =
                address.parse().map_err(|_| format!("bad address pattern: \"{shown}\": skipping this rule"))?;
            let number = Number::new(address);
            return Ok(Self { number, prefix: if number.is_v6 { 128 } else { 32 } });
        };
        if mask.is_empty() || !mask.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("bad mask value in \"{shown}\": skipping this rule"));
        }
        let most = if address.contains(':') { 128 } else { 32 };
        let prefix = mask.parse().ok().filter(|&prefix: &u8| prefix <= most);
        let prefix = prefix.ok_or_else(|| format!("bad mask length in \"{shown}\": skipping this rule"))?;
        let address = address.parse().map_err(|_| format!("bad network value in \"{shown}\": skipping this rule"))?;
        let number = Number::new(address);
        let network = Self { number: number.masked(prefix), prefix };
        if network.number != number {
            return Err(format!(
                "non-null host address bits in \"{shown}\", perhaps you should use \"{}/{prefix}\" instead: \
                 skipping this rule",
                network.number.address()
            ));
        }
        Ok(network)
    }
}

/// The pattern without brackets, as warnings show it; the address; the mask.
fn split(pattern: &str) -> Result<(Cow<'_, str>, &str, Option<&str>), String> {
    if let Some(inner) = pattern.strip_prefix('[') {
        let (inside, after) = inner
            .split_once(']')
            .ok_or_else(|| format!("missing ']' character after \"{pattern}\": skipping this rule"))?;
        if let Some(mask) = after.strip_prefix('/') {
            return Ok((format!("{inside}{after}").into(), inside, Some(mask)));
        }
        if !after.is_empty() {
            return Err(format!("garbage after \"[{inside}]\": skipping this rule"));
        }
        return Ok(plain(inside));
    }
    Ok(plain(pattern))
}

fn plain(pattern: &str) -> (Cow<'_, str>, &str, Option<&str>) {
    match pattern.split_once('/') {
        Some((address, mask)) => (pattern.into(), address, Some(mask)),
        None => (pattern.into(), pattern, None),
    }
}
