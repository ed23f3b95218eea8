//! Internationalized host names (RFC 5890), in the form that DNS and certificates have: each label
//! with other letters than ASCII becomes `xn--` and its Punycode (RFC 3492).
//!
//! The names are typed by the user, so lower case is the only normalization: a keyboard produces
//! composed letters. The crate `idna` was rejected, since its tables of Unicode would be nine more
//! crates for the few servers with such a name; a name that is wrong here is not found.

/// The parameters of Punycode (RFC 3492 §5).
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 128;

/// The longest label in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// Returns `host` in ASCII, or `None` if a label of it is too long. A host in ASCII is returned
/// unchanged.
pub(super) fn to_ascii(host: &str) -> Option<String> {
    if host.is_ascii() {
        return Some(host.to_owned());
    }
    let labels = host
        .split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
        .map(|label| {
            if label.is_ascii() {
                return Some(label.to_owned());
            }
            let lower: Vec<u32> = label.to_lowercase().chars().map(u32::from).collect();
            encode(&lower)
                .map(|encoded| format!("xn--{encoded}"))
                .filter(|label| label.len() <= MAX_LABEL)
        })
        .collect::<Option<Vec<_>>>()?;
    Some(labels.join("."))
}

/// Returns the Punycode of a label (RFC 3492 §6.3), or `None` if a number overflows.
fn encode(label: &[u32]) -> Option<String> {
    let basic = label.iter().filter(|point| **point < INITIAL_N);
    let mut encoded: String = basic.filter_map(|point| char::from_u32(*point)).collect();
    let length = |count: usize| u32::try_from(count).ok();
    let mut handled = length(encoded.len())?;
    if handled > 0 {
        encoded.push('-');
    }
    let (mut n, mut delta, mut bias) = (INITIAL_N, 0_u32, INITIAL_BIAS);
    let mut is_first = true;
    while handled < length(label.len())? {
        let next = *label.iter().filter(|point| **point >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for point in label {
            if *point < n {
                delta = delta.checked_add(1)?;
            } else if *point == n {
                push_number(&mut encoded, delta, bias);
                handled += 1;
                bias = adapt(delta, handled, is_first);
                is_first = false;
                delta = 0;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(encoded)
}

/// Appends a number in the variable-length notation of Punycode.
fn push_number(encoded: &mut String, number: u32, bias: u32) {
    let mut rest = number;
    for k in (BASE..).step_by(36) {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if rest < threshold {
            break;
        }
        encoded.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
        rest = (rest - threshold) / (BASE - threshold);
    }
    encoded.push(digit(rest));
}

/// Returns a digit: a letter up to 25, then a number.
fn digit(value: u32) -> char {
    char::from_digit((value + 10) % BASE, BASE).unwrap_or('-')
}

/// Returns the bias for the next number (RFC 3492 §6.1).
fn adapt(delta: u32, handled: u32, is_first: bool) -> u32 {
    let mut delta = delta / if is_first { DAMP } else { 2 };
    delta += delta / handled;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_form_of_dns() {
        for (name, ascii) in [
            ("pop.example.org", "pop.example.org"),
            ("POP.Example.org", "POP.Example.org"),
            ("pop.münchen.example", "pop.xn--mnchen-3ya.example"),
            ("pop.MÜNCHEN.example", "pop.xn--mnchen-3ya.example"),
            ("bücher.example.", "xn--bcher-kva.example."),
            ("faß.example", "xn--fa-hia.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("δοκιμή.example", "xn--jxalpdlp.example"),
        ] {
            assert_eq!(to_ascii(name).as_deref(), Some(ascii), "{name}");
        }
        assert_eq!(to_ascii(&"ü".repeat(200)), None);
    }

    /// An example of RFC 3492 §7.1 (S), with many letters of all kinds.
    #[test]
    fn example_of_rfc_3492_is_encoded() {
        let text = "3年B組金八先生";
        let points: Vec<_> = text.chars().map(u32::from).collect();
        assert_eq!(encode(&points).unwrap(), "3B-ww4c5e180e575a65lsy2b");
    }
}
