//! The binary form of `numeric`: base-10,000 digits with weight, sign and display scale.

use crate::encode::CellError;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Decimal digits of one base-10,000 digit.
const GROUP: usize = 4;
/// Most digits after the point that a `numeric` keeps.
const DISPLAY_SCALE_MAX: usize = 16_383;
/// Most decimal digits before the point that a `numeric` keeps.
const WHOLE_DIGITS_MAX: usize = 131_072;
/// Scales up to this one, and values that fit `u64`, take the fast path.
const FAST_SCALE_MAX: u32 = 16;

/// Writes length and value of a special number.
fn put_special(sign: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&8_i32.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
}

/// Writes length and value of `NaN`.
pub(super) fn put_nan(out: &mut Vec<u8>) {
    put_special(NAN, out);
}

fn put(digits: &[u16], weight: i16, negative: bool, scale: u16, out: &mut Vec<u8>) {
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits[leading..]
        .iter()
        .rev()
        .take_while(|digit| **digit == 0)
        .count();
    let digits = &digits[leading..digits.len() - trailing];
    let weight = if digits.is_empty() {
        0
    } else {
        weight - i16::try_from(leading).expect("weights of numeric fit 16 bits")
    };
    let negative = negative && !digits.is_empty();
    let length = i32::try_from(8 + 2 * digits.len()).expect("a numeric is shorter than 1 GB");
    let count = u16::try_from(digits.len()).expect("a numeric has at most 36,864 digits");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&if negative { NEGATIVE } else { POSITIVE }.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Writes length and value of `value / 10^scale`. Negative scales have no digits after the point.
pub(super) fn put_decimal(value: i128, scale: i8, out: &mut Vec<u8>) -> Result<(), CellError> {
    let positive_scale = u32::from(scale.max(0).unsigned_abs());
    match u64::try_from(value.unsigned_abs()) {
        Ok(magnitude) if scale >= 0 && positive_scale <= FAST_SCALE_MAX => {
            put_small(magnitude, positive_scale, value < 0, out);
            Ok(())
        }
        _ => {
            let mut text = value.unsigned_abs().to_string();
            if scale < 0 && value != 0 {
                text.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
            }
            let scale = usize::from(scale.max(0).unsigned_abs());
            let padding = (scale + 1).saturating_sub(text.len());
            let digits = format!("{}{text}", "0".repeat(padding));
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            put_digits(whole.as_bytes(), fraction.as_bytes(), value < 0, out)
        }
    }
}

fn put_small(magnitude: u64, scale: u32, negative: bool, out: &mut Vec<u8>) {
    const POWERS: [u64; 17] = {
        let mut powers = [1; 17];
        let mut index = 1;
        while index < powers.len() {
            powers[index] = powers[index - 1] * 10;
            index += 1;
        }
        powers
    };
    let power = POWERS[scale as usize];
    let mut whole = magnitude / power;
    let fraction_groups = (scale as usize).div_ceil(GROUP);
    // Less than 10^16 after the shift to whole groups, so it cannot overflow.
    let mut fraction = (magnitude % power) * POWERS[fraction_groups * GROUP - scale as usize];
    let mut digits = [0_u16; 5 + 4];
    for digit in digits[5..5 + fraction_groups].iter_mut().rev() {
        *digit = (fraction % 10_000) as u16;
        fraction /= 10_000;
    }
    for digit in digits[..5].iter_mut().rev() {
        *digit = (whole % 10_000) as u16;
        whole /= 10_000;
    }
    put(
        &digits[..5 + fraction_groups],
        4,
        negative,
        scale as u16,
        out,
    );
}

fn put_digits(
    whole: &[u8],
    fraction: &[u8],
    negative: bool,
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let first = whole
        .iter()
        .position(|digit| *digit != b'0')
        .unwrap_or(whole.len());
    let whole = &whole[first..];
    if fraction.len() > DISPLAY_SCALE_MAX || whole.len() > WHOLE_DIGITS_MAX {
        return Err(CellError("a number has more digits than `numeric` keeps"));
    }
    let whole_groups = whole.len().div_ceil(GROUP);
    let lead = whole_groups * GROUP - whole.len();
    let total = whole_groups + fraction.len().div_ceil(GROUP);
    let digit_at = |index: usize| -> u16 {
        let digit = index.checked_sub(lead).and_then(|index| {
            whole
                .get(index)
                .or_else(|| fraction.get(index - whole.len().min(index)))
        });
        digit.map_or(0, |digit| u16::from(digit - b'0'))
    };
    let digits: Vec<u16> = (0..total)
        .map(|group| (0..GROUP).fold(0, |sum, place| sum * 10 + digit_at(group * GROUP + place)))
        .collect();
    let weight = i16::try_from(whole_groups.cast_signed() - 1)
        .expect("at most 32,768 groups stand before the point");
    let scale = u16::try_from(fraction.len()).expect("checked above");
    put(&digits, weight, negative, scale, out);
    Ok(())
}

/// Writes length and value of a number in text form, keeping its digits after the point. Takes
/// an exponent, and `NaN` and the infinities in PostgreSQL's spelling.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) -> Result<(), CellError> {
    const NOT_A_NUMBER: CellError = CellError("a text is not a number");
    let text = text.trim();
    match text {
        "NaN" => {
            put_special(NAN, out);
            return Ok(());
        }
        "Infinity" => {
            put_special(INFINITY, out);
            return Ok(());
        }
        "-Infinity" => {
            put_special(NEGATIVE_INFINITY, out);
            return Ok(());
        }
        _ => {}
    }
    let (negative, text) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => {
            let exponent: i32 = text[at + 1..].parse().map_err(|_| NOT_A_NUMBER)?;
            (&text[..at], exponent)
        }
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(NOT_A_NUMBER);
    }
    if exponent == 0 {
        return put_digits(whole.as_bytes(), fraction.as_bytes(), negative, out);
    }
    if exponent.unsigned_abs() as usize > WHOLE_DIGITS_MAX {
        return Err(CellError("a number has more digits than `numeric` keeps"));
    }
    let (whole, fraction) = shift(whole, fraction, exponent);
    put_digits(whole.as_bytes(), fraction.as_bytes(), negative, out)
}

/// Moves the point of `whole.fraction` by `exponent` digits.
fn shift(whole: &str, fraction: &str, exponent: i32) -> (String, String) {
    let distance = exponent.unsigned_abs() as usize;
    if exponent > 0 {
        let moved = distance.min(fraction.len());
        let zeros = "0".repeat(distance - moved);
        (
            format!("{whole}{}{zeros}", &fraction[..moved]),
            fraction[moved..].to_owned(),
        )
    } else {
        let moved = distance.min(whole.len());
        let zeros = "0".repeat(distance - moved);
        let (kept, lost) = whole.split_at(whole.len() - moved);
        (kept.to_owned(), format!("{zeros}{lost}{fraction}"))
    }
}
