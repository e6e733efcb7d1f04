//! Base64: challenges and responses of logins, values of tables that are files (`postmap -F`).

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encoded, without line ends.
pub(crate) fn encode(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { letter } else { b'=' });
        }
    }
    text
}

/// Decoded; `None` if it isn't Base64.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let letters = &text[..text.len() - padding];
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in letters.chunks(4) {
        let mut bits = 0u32;
        for letter in chunk {
            bits = bits << 6 | LETTERS.iter().position(|known| known == letter)? as u32;
        }
        bits <<= 6 * (4 - chunk.len());
        data.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (data, text) in
            [("", ""), ("a", "YQ=="), ("a ", "YSA="), ("a 1", "YSAx"), ("a 1\nx", "YSAxCng="), ("\u{ff}", "w78=")]
        {
            assert_eq!(encode(data.as_bytes()), text.as_bytes());
            assert_eq!(decode(text.as_bytes()), Some(data.as_bytes().to_vec()));
        }
        for bad in ["YQ=", "!!!!", "YQ", "Y===", "====", "Y=Q=", "YQ==YQ=="] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
