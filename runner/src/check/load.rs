//! `--max-load`: how much a check, or the load of a run, may ask of a database.

use std::time::Duration;

/// Which part of the time a database may be kept busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    percent: f64,
}

impl Load {
    /// Reads `25%`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no part of the time, such as `25%`");
        let percent = text.strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        match (1.0..=100.0).contains(&percent) {
            true => Ok(Self { percent }),
            false => Err(format!("`{text}` is not from 1% to 100%")),
        }
    }

    /// How long nothing is asked of a database that was busy so long.
    pub(crate) fn rest_after(self, busy: Duration) -> Duration {
        busy.mul_f64(100.0 / self.percent - 1.0)
    }

    /// Lets a database rest that was busy so long.
    pub(super) async fn rest(self, busy: Duration) -> Duration {
        let rest = self.rest_after(busy);
        tokio::time::sleep(rest).await;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_rests_so_long_that_its_share_is_kept() {
        let rest = |text: &str| {
            let load = Load::parse(text).expect("a part of the time");
            load.rest_after(Duration::from_millis(60)).as_millis()
        };

        assert_eq!(rest("25%"), 180);
        assert_eq!(rest("50 %"), 60);
        assert_eq!(rest("1%"), 5_940);
        assert_eq!(rest("100%"), 0);
        for text in ["25", "0%", "0.5%", "101%", "-1%", "x%", "NaN%"] {
            assert!(Load::parse(text).is_err(), "{text}");
        }
    }
}
