//! Ranges of keys, by which a table is cut into chunks.

use serde::{Deserialize, Serialize};

/// One key as the text form of its parts, in key order. Only the store that made it reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyBound(pub Vec<String>);

/// A half-open range of keys, `after < key <= up_to`; `None` is open-ended.
///
/// The order is the store's own order of its key, so a range is only ever evaluated by the store
/// whose `boundaries` made it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// Keys must be greater than this.
    pub after: Option<KeyBound>,
    /// Keys must not be greater than this.
    pub up_to: Option<KeyBound>,
}

impl KeyRange {
    /// The range that holds every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// Cuts the whole key space at `boundaries`: one range more than there are boundaries, the
    /// first and the last open-ended, so that rows inserted outside of them are not missed.
    pub fn between(boundaries: &[KeyBound]) -> Vec<Self> {
        let mut ranges = Vec::with_capacity(boundaries.len() + 1);
        let mut after = None;
        for boundary in boundaries {
            ranges.push(Self {
                after: after.take(),
                up_to: Some(boundary.clone()),
            });
            after = Some(boundary.clone());
        }
        ranges.push(Self { after, up_to: None });
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_whole_key_space_without_overlap() {
        let boundaries = ["10", "20"].map(|part| KeyBound(vec![part.into()]));

        let ranges = KeyRange::between(&boundaries);

        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges[0].after, None);
        assert_eq!(ranges[2].up_to, None);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].up_to, pair[1].after);
        }
    }
}
