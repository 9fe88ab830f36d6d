//! UUIDs for which MariaDB has a place.

pub(crate) const NO_PLACE: &str =
    "MariaDB has no place for such a UUID: version 8 or above, ninth byte 01 to 80";

/// Whether MariaDB keeps the sixteen bytes of a UUID.
///
/// It stores the parts of a UUID in another order if its version is known, which the highest bit of
/// the byte with the version tells. Where that bit is set it wants a byte of the variant that no
/// stored UUID of a known version has in that place.
pub(crate) fn keeps(bytes: &[u8]) -> bool {
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    at(6) < 0x80 || at(8) == 0 || at(8) > 0x80
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_odd_versions_have_no_place() {
        let keeps =
            |text: &str| super::keeps(uuid::Uuid::parse_str(text).expect("a UUID").as_bytes());

        for kept in [
            "9478d3dc-7d41-76e6-0c50-2402a85b9c38",
            "9478d3dc-7d41-86e6-8c50-2402a85b9c38",
            "00000000-0000-8000-0000-000000000001",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert!(keeps(kept), "{kept}");
        }
        for refused in [
            "9478d3dc-7d41-b6e6-4c50-2402a85b9c38",
            "9478d3dc-7d41-86e6-8050-2402a85b9c38",
            "ffffffff-ffff-ffff-7fff-ffffffffffff",
        ] {
            assert!(!keeps(refused), "{refused}");
        }
    }
}
