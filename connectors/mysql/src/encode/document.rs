//! JSON documents that a column keeps as they are. Whether a text is JSON at all is for the server
//! to refuse.
//!
//! MySQL stores a number as an integer or as a float of 64 bits, and so would change what has more
//! digits. MariaDB stores the text, but reads it with limits of its own.

use crate::types::Flavour;

/// Levels of arrays and objects that MariaDB reads.
const LEVELS_MAX: u32 = 31;

/// Says why a column would not keep a document.
pub(super) fn check(document: &str, flavour: Flavour) -> Result<(), &'static str> {
    match flavour {
        Flavour::MySql if !mysql_keeps(document.as_bytes()) => {
            Err("it has a number with more digits than JSON of MySQL keeps")
        }
        Flavour::MariaDb if !mariadb_keeps(document.as_bytes()) => {
            Err("it is nested too deep for JSON of MariaDB, or has half a surrogate pair")
        }
        _ => Ok(()),
    }
}

/// Whether MySQL keeps every number of a document.
pub(crate) fn mysql_keeps(document: &[u8]) -> bool {
    tokens(document).all(|token| match token {
        Token::Number(number) => is_kept_number(number),
        _ => true,
    })
}

/// Whether MariaDB reads a document of another store.
pub(crate) fn mariadb_keeps(document: &[u8]) -> bool {
    let mut level = 0_u32;
    for token in tokens(document) {
        match token {
            Token::Open => level += 1,
            Token::Close => level = level.saturating_sub(1),
            Token::Text(text) if !has_whole_surrogates(text) => return false,
            Token::Text(_) | Token::Number(_) => {}
        }
        if level > LEVELS_MAX {
            return false;
        }
    }
    true
}

/// What a document consists of, as far as it matters here.
enum Token<'d> {
    Open,
    Close,
    /// What stands between quotes.
    Text(&'d [u8]),
    Number(&'d [u8]),
}

fn tokens(document: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut rest = document;
    std::iter::from_fn(move || {
        loop {
            let (first, after) = rest.split_first()?;
            let (token, used) = match first {
                b'{' | b'[' => (Token::Open, 1),
                b'}' | b']' => (Token::Close, 1),
                b'"' => {
                    let length = text_length(after);
                    (Token::Text(&after[..length]), (length + 2).min(rest.len()))
                }
                b'-' | b'0'..=b'9' => {
                    let is_part =
                        |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                    let length = rest.iter().take_while(|byte| is_part(byte)).count();
                    (Token::Number(&rest[..length]), length)
                }
                _ => {
                    rest = after;
                    continue;
                }
            };
            rest = &rest[used..];
            return Some(token);
        }
    })
}

/// Bytes up to the closing quote, or to the end.
fn text_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

/// Whether each escaped half of a pair (`\ud83d\ude00`) has its other half behind it.
fn has_whole_surrogates(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[place..];
        match unit(rest) {
            Some(0xd800..=0xdbff) => {
                let is_pair = matches!(rest.get(6..).and_then(unit), Some(0xdc00..=0xdfff));
                if !is_pair {
                    return false;
                }
                rest = &rest[12..];
            }
            Some(0xdc00..=0xdfff) => return false,
            _ => rest = rest.get(2..).unwrap_or_default(),
        }
    }
    true
}

/// The number of an escape `\u00e4` at the beginning.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_kept_number(number: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(number) else {
        return false;
    };
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return true;
    }
    // What is no number is for the server to refuse.
    let Ok(float) = text.parse::<f64>() else {
        return true;
    };
    float.is_finite() && plain(text) == plain(&format!("{float:e}"))
}

/// The digits of a number without zeros at either end, and the power of ten of the last one. Zero
/// has none. `None` where the exponent is beyond all floats.
fn plain(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let behind = i64::try_from(fraction.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
    Some((significant.to_owned(), exponent - behind + dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_mysql_would_change_are_found() {
        let keeps = |text: &str| mysql_keeps(text.as_bytes());

        for kept in [
            "[18446744073709551615, -9223372036854775808, 1.7976931348623157e308, 5e-324]",
            "{\"price\": 1.50, \"n\": -0.0, \"big\": 1e20, \"small\": 0.1}",
            "\"123456789012345678901234567890.12 \\\" 1.23456789012345678901\"",
            "[0, 0.000, -7, 100000000000000000000]",
            "no JSON",
        ] {
            assert!(keeps(kept), "{kept}");
        }
        for changed in [
            "[123456789012345678901234567890.12]",
            "{\"a\": {\"b\": 0.12345678901234567890}}",
            "18446744073709551617",
            "1e400",
        ] {
            assert!(!keeps(changed), "{changed}");
        }
    }

    #[test]
    fn documents_that_mariadb_does_not_read_are_found() {
        let keeps = |text: &str| mariadb_keeps(text.as_bytes());
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));

        assert!(keeps(&nested(31)) && !keeps(&nested(32)));
        assert!(keeps(&format!("[\"{}\"]", "[".repeat(40))));
        assert!(keeps("{\"a\": \"\\ud83d\\ude00 \\u00e4 \\\\ud83d\"}"));
        for half in ["\"\\ud83d\"", "\"\\ude00\"", "[\"\\ud83d\\u0041\"]"] {
            assert!(!keeps(half), "{half}");
        }
    }
}
