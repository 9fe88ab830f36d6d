//! The binary form of `numeric`: digits to the base of 10,000, a weight, a sign and a scale.

use syncset_connector::special::DECIMAL_NAN;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// Most digits to the base of 10,000 that can reach an `i128`, leading and trailing ones included.
const GROUPS_MAX: usize = 24;

/// Powers of ten that an `i128` holds.
const POWERS: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

struct Parts<'a> {
    weight: i32,
    sign: u16,
    scale: usize,
    /// Two bytes per digit.
    digits: &'a [u8],
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, &'static str> {
    let (head, digits) = bytes
        .split_first_chunk::<8>()
        .ok_or("a numeric is cut short")?;
    let word = |index: usize| u16::from_be_bytes([head[index], head[index + 1]]);
    if digits.len() != 2 * usize::from(word(0)) {
        return Err("a numeric has another length than it says");
    }
    Ok(Parts {
        weight: i32::from(word(2) as i16),
        sign: word(4),
        scale: usize::from(word(6)),
        digits,
    })
}

fn groups(digits: &[u8]) -> impl Iterator<Item = u16> {
    digits
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
}

/// A numeric as the integer of a decimal with this precision and scale.
pub(super) fn to_decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, &'static str> {
    const TOO_LARGE: &str = "a numeric is outside of its column's precision";
    let parts = parts(bytes)?;
    match parts.sign {
        0 | NEGATIVE => {}
        NAN => return Ok(DECIMAL_NAN),
        INFINITY | NEGATIVE_INFINITY => {
            return Err("an infinite numeric in a column with a precision");
        }
        _ => return Err("a numeric has an unknown sign"),
    }
    let count = parts.digits.len() / 2;
    if count > GROUPS_MAX {
        return Err(TOO_LARGE);
    }
    let mut value = 0_i128;
    // Power of ten by which the last group counts, in units of the decimal.
    let mut exponent = 4 * (parts.weight + 1) + i32::from(scale);
    for group in groups(parts.digits) {
        if group > 9_999 {
            return Err("a numeric has a digit above 9999");
        }
        exponent -= 4;
        let group = i128::from(group);
        let (factor, addend) = if exponent >= 0 {
            (10_000, group)
        } else if exponent > -4 {
            // The group straddles the end of the scale; what lies beyond must be zero.
            let divisor = POWERS[(-exponent) as usize];
            if group % divisor != 0 {
                return Err("a numeric has more digits than its column's scale");
            }
            (POWERS[(4 + exponent) as usize], group / divisor)
        } else if group == 0 {
            (1, 0)
        } else {
            return Err("a numeric has more digits than its column's scale");
        };
        value = value
            .checked_mul(factor)
            .and_then(|value| value.checked_add(addend))
            .ok_or(TOO_LARGE)?;
    }
    if exponent > 0 && value != 0 {
        let factor = usize::try_from(exponent)
            .ok()
            .and_then(|power| POWERS.get(power));
        value = factor
            .and_then(|factor| value.checked_mul(*factor))
            .ok_or(TOO_LARGE)?;
    }
    if POWERS
        .get(usize::from(precision))
        .is_some_and(|limit| value >= *limit)
    {
        return Err(TOO_LARGE);
    }
    Ok(if parts.sign == NEGATIVE {
        -value
    } else {
        value
    })
}

/// Appends a numeric as the text the server would print.
pub(super) fn append_text(bytes: &[u8], text: &mut Vec<u8>) -> Result<(), &'static str> {
    let parts = parts(bytes)?;
    match parts.sign {
        0 => {}
        NEGATIVE => text.push(b'-'),
        NAN => return append(text, b"NaN"),
        INFINITY => return append(text, b"Infinity"),
        NEGATIVE_INFINITY => return append(text, b"-Infinity"),
        _ => return Err("a numeric has an unknown sign"),
    }
    // The server allows 131,072 digits before the point and 16,383 after it.
    if parts.weight > 0x7fff || parts.scale > 0x3fff {
        return Err("a numeric is longer than a server allows");
    }
    let digit = |position: i32| -> Result<u16, &'static str> {
        let group = usize::try_from(position)
            .ok()
            .and_then(|index| parts.digits.get(2 * index..2 * index + 2))
            .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
        if group > 9_999 {
            return Err("a numeric has a digit above 9999");
        }
        Ok(group)
    };
    if parts.weight < 0 {
        text.push(b'0');
    } else {
        let first = digit(0)?;
        append_first(text, first);
        for position in 1..=parts.weight {
            text.extend_from_slice(&four(digit(position)?));
        }
    }
    if parts.scale > 0 {
        text.push(b'.');
        let end = text.len() + parts.scale;
        let mut position = parts.weight + 1;
        // Groups between the point and the first stored one are zero: `digit` says so.
        while text.len() < end {
            text.extend_from_slice(&four(digit(position)?));
            position += 1;
        }
        text.truncate(end);
    }
    Ok(())
}

fn append(text: &mut Vec<u8>, word: &[u8]) -> Result<(), &'static str> {
    text.extend_from_slice(word);
    Ok(())
}

fn four(group: u16) -> [u8; 4] {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    [
        digit(group / 1_000),
        digit(group / 100),
        digit(group / 10),
        digit(group),
    ]
}

/// A group without its leading zeros.
fn append_first(text: &mut Vec<u8>, group: u16) {
    let digits = four(group);
    let zeros = digits
        .iter()
        .take(3)
        .take_while(|digit| **digit == b'0')
        .count();
    text.extend_from_slice(&digits[zeros..]);
}
