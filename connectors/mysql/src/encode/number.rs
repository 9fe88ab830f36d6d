//! Numbers as plain digits.

/// A decimal number: its sign, and its digits before and behind the point, without zeros that say
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits {
    negative: bool,
    whole: String,
    fraction: String,
}

impl Digits {
    /// A whole number shifted by as many decimal places.
    pub(super) fn scaled(text: &str, scale: i8) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        Self::shifted(negative, digits, "", -i32::from(scale))
    }

    /// A number as people and other stores write it: `-12.50`, `1e3`; `None` for everything else,
    /// such as `NaN`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        Self::shifted(negative, whole, fraction, exponent)
    }

    /// Largest exponent that is written out.
    const EXPONENT_MAX: i32 = 400;

    fn shifted(negative: bool, whole: &str, fraction: &str, exponent: i32) -> Option<Self> {
        if exponent.abs() > Self::EXPONENT_MAX {
            return None;
        }
        let mut digits = format!("{whole}{fraction}");
        let mut point = i32::try_from(whole.len()).ok()? + exponent;
        if point < 0 {
            let zeros = usize::try_from(-point).ok()?;
            digits.insert_str(0, &"0".repeat(zeros));
            point = 0;
        }
        let point = usize::try_from(point).ok()?;
        if digits.len() < point {
            digits.push_str(&"0".repeat(point - digits.len()));
        }
        let (whole, fraction) = digits.split_at(point);
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        Some(Self {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        })
    }

    /// Appends it as `decimal(precision, scale)`.
    pub(super) fn write_decimal(
        &self,
        (precision, scale): (u32, u32),
        unsigned: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let whole_max = usize::try_from(precision.saturating_sub(scale)).unwrap_or(0);
        let scale = usize::try_from(scale).unwrap_or(0);
        if self.negative && unsigned {
            return Err("it is below zero");
        }
        if self.whole.len() > whole_max {
            return Err("it has too many digits before the point");
        }
        if self.fraction.len() > scale {
            return Err("it has too many digits behind the point");
        }
        self.write(out);
        Ok(())
    }

    /// Appends all its digits.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let whole = if self.whole.is_empty() {
            "0"
        } else {
            &self.whole
        };
        out.extend_from_slice(whole.as_bytes());
        if !self.fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(self.fraction.as_bytes());
        }
    }

    /// The whole number it is, if it is one.
    pub(super) fn integer(&self) -> Option<i128> {
        if !self.fraction.is_empty() {
            return None;
        }
        if self.whole.is_empty() {
            return Some(0);
        }
        let value: i128 = self.whole.parse().ok()?;
        Some(if self.negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(digits: Option<Digits>) -> String {
        let mut out = Vec::new();
        digits.expect("a number").write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_are_written_as_plain_digits() {
        for (text, plain) in [
            ("-12.50", "-12.5"),
            ("007", "7"),
            ("-0.00", "0"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1.25E-2", "0.0125"),
        ] {
            assert_eq!(written(Digits::parse(text)), plain, "{text}");
        }
        for text in [
            "", "-", "NaN", "Infinity", "1.2.3", "0x10", "1e999999", "e5",
        ] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
        assert_eq!(written(Digits::scaled("-5", 3)), "-0.005");
        assert_eq!(written(Digits::scaled("7", -2)), "700");
    }

    #[test]
    fn decimals_that_would_be_rounded_are_refused() {
        let write = |text: &str, unsigned| {
            let mut out = Vec::new();
            let digits = Digits::parse(text).expect("a number");
            digits.write_decimal((5, 2), unsigned, &mut out)
        };

        assert!(write("999.99", true).is_ok());
        assert!(write("1.230", true).is_ok());
        assert!(write("1.234", true).is_err());
        assert!(write("1000", true).is_err());
        assert!(write("-1", true).is_err());
        assert!(write("-1", false).is_ok());
    }
}
