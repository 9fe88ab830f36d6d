//! A part of the keys, the same on both sides.

use syncset_connector::Parts;

/// Bits by which keys are chosen: a share is a number of 4,096ths.
const BITS: u32 = 12;

/// Which part of the keys is compared, chosen by their hashes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share {
    percent: f64,
    /// Of 4,096.
    chosen: u32,
}

impl Share {
    /// Reads `5%`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share of the keys, such as `5%`");
        let percent = text.strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        if !(percent > 0.0 && percent <= 100.0) {
            return Err(format!("`{text}` is not more than 0% and at most 100%"));
        }
        let whole = (percent / 100.0 * f64::from(1_u32 << BITS)).ceil();
        let chosen = (1..=1 << BITS).find(|count| f64::from(*count) >= whole);
        Ok(Self {
            percent,
            chosen: chosen.unwrap_or(1 << BITS),
        })
    }

    /// What is said of it.
    pub(super) fn sentence(self) -> String {
        format!(
            "a sample was compared: {} % of the keys, chosen by their hashes",
            self.percent
        )
    }

    /// Whether a key with this hash is among them.
    pub(super) fn holds(self, key: u64) -> bool {
        key >> (u64::BITS - BITS) < u64::from(self.chosen)
    }

    /// The parts of hashes that they are, in so many bits.
    pub(super) fn parts(self, shift: u32) -> Parts {
        // Hashes of 64 bits have a sign.
        let first = match shift + BITS {
            u64::BITS => -(1 << (BITS - 1)),
            _ => 0,
        };
        Parts {
            shift,
            numbers: (first..first + i64::from(self.chosen)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents() {
        let chosen = |text: &str| Share::parse(text).map(|share| share.chosen);

        assert_eq!(chosen("100%"), Ok(4_096));
        assert_eq!(chosen("50 %"), Ok(2_048));
        assert_eq!(chosen("5%"), Ok(205));
        assert_eq!(chosen("0.001%"), Ok(1));
        for text in ["5", "0%", "101%", "-1%", "x%", "NaN%"] {
            assert!(chosen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn half_of_all_hashes_is_in_half_of_the_parts() {
        let half = Share::parse("50%").expect("a share");

        assert!(half.holds(0) && half.holds(u64::MAX / 2));
        assert!(!half.holds(u64::MAX / 2 + 1) && !half.holds(u64::MAX));
        let signed = half.parts(52).numbers;
        assert_eq!((signed[0], signed.last()), (-2_048, Some(&-1)));
        let unsigned = half.parts(48).numbers;
        assert_eq!((unsigned[0], unsigned.last()), (0, Some(&2_047)));
    }
}
