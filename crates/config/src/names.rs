//! Names: the nearest known one for a mistyped one, and IDNA conversions for `${domain_to_…{}}`.

/// The candidate nearest to a mistyped name, if it is near enough to be worth telling.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 4).clamp(1, 4);
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance where swapping two neighbours counts once.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Applies `domain_to_ascii` or `domain_to_utf8`; a label that cannot be converted stays.
pub(crate) fn convert_domain(function: &str, domain: &str) -> String {
    let to_ascii = function == "domain_to_ascii";
    let labels: Vec<String> = domain
        .split('.')
        .map(|label| {
            let converted = if to_ascii { label_to_ascii(label) } else { label_to_utf8(label) };
            converted.unwrap_or_else(|| label.to_owned())
        })
        .collect();
    labels.join(".")
}

fn label_to_ascii(label: &str) -> Option<String> {
    if label.is_ascii() {
        return None;
    }
    Some(format!("xn--{}", punycode_encode(&label.to_lowercase())?))
}

fn label_to_utf8(label: &str) -> Option<String> {
    let prefix = label.get(..4)?;
    if prefix.eq_ignore_ascii_case("xn--") { punycode_decode(&label[4..]) } else { None }
}

/// The bias of RFC 3492, section 6.1.
fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

fn threshold(k: u32, bias: u32) -> u32 {
    k.saturating_sub(bias).clamp(1, 26)
}

fn digit(value: u32) -> Option<char> {
    char::from_digit(if value < 26 { value + 10 } else { value - 26 }, 36)
}

fn punycode_encode(text: &str) -> Option<String> {
    let points: Vec<u32> = text.chars().map(u32::from).collect();
    let mut out: String = text.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut done) = (128u32, 0u32, 72u32, basic);
    while (done as usize) < points.len() {
        let next = points.iter().copied().filter(|&p| p >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(done + 1)?)?;
        n = next;
        for &point in &points {
            if point < n {
                delta = delta.checked_add(1)?;
            }
            if point == n {
                let (mut q, mut k) = (delta, 36);
                loop {
                    let t = threshold(k, bias);
                    if q < t {
                        break;
                    }
                    out.push(digit(t + (q - t) % (36 - t))?);
                    q = (q - t) / (36 - t);
                    k += 36;
                }
                out.push(digit(q)?);
                bias = adapt(delta, done + 1, done == basic);
                delta = 0;
                done += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(out)
}

fn punycode_decode(text: &str) -> Option<String> {
    let (basic, tail) = text.rsplit_once('-').unwrap_or(("", text));
    let mut out: Vec<char> = basic.chars().collect();
    let (mut n, mut i, mut bias) = (128u32, 0u32, 72u32);
    let mut digits = tail.bytes();
    while digits.len() > 0 {
        let (old, mut weight, mut k) = (i, 1u32, 36);
        loop {
            let value = match digits.next()?.to_ascii_lowercase() {
                b @ b'a'..=b'z' => u32::from(b - b'a'),
                b @ b'0'..=b'9' => u32::from(b - b'0') + 26,
                _ => return None,
            };
            i = i.checked_add(value.checked_mul(weight)?)?;
            let t = threshold(k, bias);
            if value < t {
                break;
            }
            weight = weight.checked_mul(36 - t)?;
            k += 36;
        }
        let points = u32::try_from(out.len() + 1).ok()?;
        bias = adapt(i - old, points, old == 0);
        n = n.checked_add(i / points)?;
        i %= points;
        out.insert(i as usize, char::from_u32(n)?);
        i += 1;
    }
    Some(out.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = ["smtpd_banner", "smtpd_helo_required", "relayhost"];
        for (name, want) in [
            ("smtpd_baner", Some("smtpd_banner")),
            ("relay_host", Some("relayhost")),
            ("smtpd_hleo_required", Some("smtpd_helo_required")),
            ("something_else", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), want, "{name}");
        }
    }

    #[test]
    fn domains_both_ways() {
        for (utf8, ascii) in [
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            (
                "\u{4ed6}\u{4eec}\u{4e3a}\u{4ec0}\u{4e48}\u{4e0d}\u{8bf4}\u{4e2d}\u{6587}",
                "xn--ihqwcrb4cv8a8dqg056pqjye",
            ),
            ("plain.example", "plain.example"),
        ] {
            assert_eq!(convert_domain("domain_to_ascii", utf8), ascii);
            assert_eq!(convert_domain("domain_to_utf8", ascii), utf8);
        }
        assert_eq!(convert_domain("domain_to_utf8", "xn--!!"), "xn--!!");
    }
}
