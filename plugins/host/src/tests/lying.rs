//! Guests that return what the contract does not allow.
//!
//! `SYNCSET_FUZZ_CASES` says how many random ones there are of each kind.

use super::wat::{Load, Wat, words};
use crate::{Config, Limits, PluginError, PluginTransform, Scope};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use std::sync::Arc;

fn rows() -> RecordBatch {
    let schema = Schema::new(vec![Field::new("t", DataType::Utf8, false)]);
    let column = Arc::new(StringArray::from(vec!["a", "b"]));
    RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
}

fn apply(guest: &Wat) -> Result<crate::Returned, PluginError> {
    let rows = rows();
    let plugin = guest.load();
    PluginTransform::bind(
        &plugin,
        &Config::default(),
        &rows.schema(),
        Scope::default(),
    )?
    .apply(&rows)
}

/// What is said of a guest that returns this array of texts; `buffers` are bytes.
fn said_of_array(length: usize, null_count: usize, buffers: &[&[u8]]) -> String {
    let mut guest = Wat::transform();
    let mut places = Vec::new();
    for buffer in buffers {
        places.extend([guest.put(buffer), buffer.len()]);
    }
    let list = guest.put_words(&places);
    let array = guest.put_words(&[length, null_count, list, buffers.len()]);
    guest.replace("transform", words(&[0, 2, array, 1, 0]));
    match apply(&guest) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Offsets as a guest writes them.
fn offsets(values: [i32; 3]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn arrays_are_checked_to_the_last_byte() {
    let good = offsets([0, 1, 2]);
    let (back, far, negative) = (
        offsets([0, 9, 2]),
        offsets([0, 1, 200]),
        offsets([-1, 1, 2]),
    );
    let cases: [(usize, usize, Vec<&[u8]>, &str); 11] = [
        (2, 0, vec![b"", &good, b"ab"], "nothing"),
        (
            3,
            0,
            vec![b"", &good, b"ab"],
            "an array of 3 values for 2 rows",
        ),
        (2, 0, vec![], "an array without buffers"),
        (2, 0, vec![b"", &good], "an array of 2 buffers instead of 3"),
        (
            2,
            0,
            vec![b"", &good[..8], b"ab"],
            "a buffer of 8 bytes instead of 12",
        ),
        (2, 0, vec![b"", &back, b"ab"], "an array that is not valid"),
        (2, 0, vec![b"", &far, b"ab"], "an array that is not valid"),
        (
            2,
            0,
            vec![b"", &negative, b"ab"],
            "an array that is not valid",
        ),
        (
            2,
            0,
            vec![b"", &good, b"\xff\xfe"],
            "an array that is not valid",
        ),
        (
            2,
            1,
            vec![b"", &good, b"ab"],
            "1 NULLs without a validity bitmap",
        ),
        (
            2,
            0,
            vec![b"\x01", &good, b"ab"],
            "1 NULLs in a validity bitmap, and 0 as their count",
        ),
    ];
    for (length, nulls, buffers, wanted) in cases {
        let said = said_of_array(length, nulls, &buffers);
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let null = said_of_array(2, 1, &[b"\x01", &good, b"ab"]);
    assert!(null.contains("NULL in column `t`"), "{null}");
}

#[test]
fn rows_come_from_rows_in_their_order_each_once() {
    let good = offsets([0, 1, 2]);
    let cases: [(usize, Option<&[usize]>, &str); 6] = [
        (1, None, "1 rows for 2, without saying which"),
        (2, Some(&[0, 1]), "nothing"),
        (2, Some(&[0]), "the origins of 1 rows with 2 rows"),
        (2, Some(&[0, 2]), "a row that was made from none"),
        (2, Some(&[1, 1]), "two rows that were made from one"),
        (2, Some(&[1, 0]), "rows in another order"),
    ];
    for (row_count, origins, wanted) in cases {
        let mut guest = Wat::transform();
        let (at, bytes) = (guest.put(&good), guest.put(b"ab"));
        let list = guest.put_words(&[0, 0, at, 12, bytes, 2]);
        let array = guest.put_words(&[row_count, 0, list, 3]);
        let named = origins.unwrap_or_default();
        let origins = [
            usize::from(origins.is_some()),
            guest.put_words(named),
            named.len(),
        ];
        let output = [0, row_count, array, 1, origins[0], origins[1], origins[2]];
        guest.replace("transform", words(&output));

        let said = apply(&guest).map_or_else(|error| error.to_string(), |_| "nothing".to_owned());

        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn columns_are_those_that_were_promised() {
    let mut fewer = Wat::transform();
    fewer.replace("transform", words(&[0, 2, 0, 0, 0]));
    let said = apply(&fewer).expect_err("no column").to_string();
    assert!(said.contains("0 columns instead of the 1"), "{said}");

    for (name, format, wanted) in [
        (
            "t",
            "x",
            "column `t` of type `x`, which the contract does not have",
        ),
        ("", "u", "a column with the name ``"),
        ("a\nb", "u", "a column with the name `a b`"),
    ] {
        let mut guest = Wat::transform();
        let (at, of) = (guest.put(name.as_bytes()), guest.put(format.as_bytes()));
        let field = guest.put_words(&[at, name.len(), of, format.len(), 0]);
        guest.replace("bind", words(&[0, field, 1]));
        let said = apply(&guest).expect_err("it cannot be bound").to_string();
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn pointers_outside_of_memory_are_refused() {
    for result in [
        words(&[0, 2, usize::try_from(u32::MAX / 2).expect("small"), 1, 0]),
        words(&[7, 0, 0, 0, 0]),
        "(i32.const -4)".to_owned(),
    ] {
        let mut guest = Wat::transform();
        guest.replace("transform", result);
        let said = apply(&guest).expect_err("it lies").to_string();
        assert!(said.contains("what the contract does not allow"), "{said}");
    }
}

/// Random guests of each kind, unless the environment says otherwise.
const CASES_DEFAULT: u32 = 100;

fn cases() -> u32 {
    let set = std::env::var("SYNCSET_FUZZ_CASES").ok();
    set.and_then(|text| text.parse().ok())
        .unwrap_or(CASES_DEFAULT)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Whatever bytes a guest returns, the host says what is wrong or returns a valid array.
    #[test]
    fn garbage_never_gets_through(
        result in proptest::collection::vec(0_usize..9000, 8),
        data in proptest::collection::vec(any::<u8>(), 4096),
    ) {
        let mut guest = Wat::transform();
        guest.put(&data);
        let mut result = result;
        result[0] %= 2;
        guest.replace("transform", words(&result));
        if let Ok(returned) = apply(&guest) {
            for column in &returned.columns {
                column.to_data().validate_full().expect("it was checked");
            }
        }
    }

    /// A component of which some bytes are others is refused or works, and breaks nothing.
    #[test]
    fn damaged_files_are_told(at in 8_usize..2000, byte in any::<u8>()) {
        let text = Wat::transform().text();
        let mut component = crate::to_component(text.as_bytes()).expect("it is a guest");
        let at = at % component.len();
        component[at] = byte;
        let limits = Limits { batch_timeout: std::time::Duration::from_secs(2), ..Limits::default() };
        if let Ok(plugin) = super::wat::load(&component, limits, crate::Wasi::None) {
            let rows = rows();
            let bound = PluginTransform::bind(&plugin, &Config::default(), &rows.schema(), Scope::default());
            if let Ok(transform) = bound {
                let _ = transform.apply(&rows);
            }
        }
    }
}
