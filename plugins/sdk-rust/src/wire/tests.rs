//! Round trips of every format, with NULLs and slices.

use arrow_array::types::{Int16Type, Int32Type};
use arrow_array::{Decimal128Array, Int64Array, new_empty_array};
use proptest::prelude::*;

use super::*;

const FORMATS: &[&str] = &[
    "b", "c", "C", "s", "S", "i", "I", "l", "L", "f", "g", "u", "z", "w:16", "d:38,9", "tdD",
    "ttu", "tsu:", "tsu:UTC",
];

/// A column of a format from bytes, the way a careless but correct sender could build it: values
/// under NULL are whatever the bytes say.
fn column(format: &str, cells: &[Option<Vec<u8>>]) -> ArrayRef {
    let data_type = format::data_type(format).expect("a format of the contract");
    let nulls = NullBuffer::from_iter(cells.iter().map(Option::is_some));
    let cell = |row: usize| cells[row].clone().unwrap_or_else(|| vec![row as u8; 16]);
    let rows = cells.len();
    match data_type {
        DataType::Boolean => {
            let bits = (0..rows).map(|row| cell(row).first().is_some_and(|byte| byte & 1 == 1));
            Arc::new(BooleanArray::new(bits.collect(), Some(nulls)))
        }
        DataType::Utf8 => {
            Arc::new(StringArray::from_iter(cells.iter().map(|cell| {
                cell.as_ref().map(|cell| String::from_utf8_lossy(cell))
            })))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter(cells.iter().cloned())),
        DataType::FixedSizeBinary(_) => {
            let bytes = (0..rows).flat_map(|row| fixed::<16>(&cell(row)));
            let values = Buffer::from_vec(bytes.collect::<Vec<u8>>());
            Arc::new(FixedSizeBinaryArray::new(16, values, Some(nulls)))
        }
        ref other => {
            let width = other.primitive_width().expect("a fixed width");
            let bytes = (0..rows).flat_map(|row| fixed::<16>(&cell(row))[..width].to_vec());
            let (bytes, nulls): (Vec<u8>, _) = (bytes.collect(), Some(nulls));
            with_primitive!(
                other,
                primitive_from(bytes, rows, nulls, other),
                unreachable!()
            )
            .expect("the buffer is long enough")
        }
    }
}

fn fixed<const BYTES: usize>(cell: &[u8]) -> [u8; BYTES] {
    std::array::from_fn(|index| cell.get(index).copied().unwrap_or(0))
}

fn cells() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let cell = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::vec(cell, 0..40)
}

/// The same value for a reader: NaN of any bits included, which `==` of arrays is not.
fn image(array: &ArrayRef) -> Vec<Option<Vec<u8>>> {
    (0..array.len())
        .map(|row| {
            let one = array_to(&array.slice(row, 1)).expect("one value can be passed");
            (one.null_count == 0).then(|| one.buffers.last().expect("it has values").clone())
        })
        .collect()
}

proptest! {
    #[test]
    fn every_format_survives_a_round_trip_in_slices(
        format in prop::sample::select(FORMATS),
        cells in cells(),
        from in 0usize..40,
        length in 0usize..40,
    ) {
        let whole = column(format, &cells);
        let from = from.min(whole.len());
        let slice = whole.slice(from, length.min(whole.len() - from));

        let wire = array_to(&slice).unwrap();
        let nulls = wire.null_count as usize;
        let has_bitmap = !wire.buffers[0].is_empty();
        let back = array_from(wire, slice.data_type()).unwrap();

        prop_assert_eq!(back.data_type(), slice.data_type());
        prop_assert_eq!(back.null_count(), slice.null_count());
        prop_assert_eq!(nulls, slice.null_count());
        prop_assert_eq!(has_bitmap, nulls > 0);
        prop_assert_eq!(image(&back), image(&slice));
        // Whoever reads the bytes sees no trace of the rows beside the slice.
        let again = array_to(&back).unwrap();
        prop_assert_eq!(again.buffers, array_to(&slice).unwrap().buffers);
    }

    #[test]
    fn constant_is_repeated_for_every_row(
        format in prop::sample::select(FORMATS),
        cell in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        rows in 0usize..20,
    ) {
        let one = column(format, &[cell]);

        let all = repeat(&one, rows).unwrap();

        prop_assert_eq!(image(&all), vec![image(&one)[0].clone(); rows]);
    }

    #[test]
    fn bytes_of_strangers_are_refused_and_never_panic(
        format in prop::sample::select(FORMATS),
        length in 0u32..20,
        buffers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
    ) {
        let data_type = format::data_type(format).unwrap();
        let wire = types::Array { length, null_count: 0, buffers };

        if let Ok(array) = array_from(wire, &data_type) {
            prop_assert_eq!(array.len(), length as usize);
        }
    }
}

#[test]
fn numbers_at_odd_addresses_are_read() {
    let numbers = Int64Array::from(vec![1, -2, 3]);
    let mut bytes = vec![0u8];
    bytes.extend(numbers.values().inner().as_slice());

    let odd = Buffer::from_vec(bytes).slice(1);

    assert_eq!(scalars::<i64>(odd), *numbers.values());
}

#[test]
fn empty_columns_have_no_rows_in_any_format() {
    for format in FORMATS {
        let data_type = format::data_type(format).unwrap();
        let none = types::Array {
            length: 0,
            null_count: 0,
            buffers: vec![Vec::new(); 3],
        };

        assert_eq!(array_from(none, &data_type).unwrap().len(), 0);
        assert_eq!(array_to(&new_empty_array(&data_type)).unwrap().length, 0);
    }
}

#[test]
fn column_of_nothing_is_null_in_every_row_of_any_format() {
    for format in FORMATS {
        let data_type = format::data_type(format).unwrap();

        let nulls = array_from(all_null(&data_type, 9).unwrap(), &data_type).unwrap();

        assert_eq!((nulls.len(), nulls.null_count()), (9, 9), "{format}");
    }
}

#[test]
fn malformed_columns_are_refused() {
    let text = |offsets: &[i32], bytes: &[u8]| {
        let offsets = offsets
            .iter()
            .flat_map(|offset| offset.to_le_bytes())
            .collect();
        let buffers = vec![Vec::new(), offsets, bytes.to_vec()];
        array_from(
            types::Array {
                length: 2,
                null_count: 0,
                buffers,
            },
            &DataType::Utf8,
        )
    };

    assert!(text(&[0, 1, 2], b"ab").is_ok());
    assert!(text(&[0, 2, 1], b"ab").is_err());
    assert!(text(&[-1, 0, 1], b"ab").is_err());
    assert!(text(&[0, 1, 3], b"ab").is_err());
    assert!(text(&[0, 1, 2], b"a\xff").is_err());
    assert!(text(&[0, 1], b"ab").is_err());
}

#[test]
fn types_outside_of_the_contract_are_named() {
    let large = arrow_array::LargeStringArray::from(vec!["a"]);

    assert_eq!(
        array_to(&large).unwrap_err().message(),
        "values of type LargeUtf8 cannot be passed"
    );
}

#[test]
fn null_in_a_mask_drops_the_row() {
    let mask = BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]);

    assert_eq!(mask_to(&mask), [0b1001]);
}

#[test]
fn batch_without_columns_keeps_its_rows() {
    let schema = Arc::new(Schema::empty());

    let batch = batch_from(
        types::Batch {
            rows: 3,
            arrays: vec![],
        },
        schema,
    )
    .unwrap();

    assert_eq!(batch.num_rows(), 3);
    assert_eq!(batch_to(&batch).unwrap().rows, 3);
}

#[test]
fn widths_of_primitives_are_those_of_arrow() {
    assert_eq!(
        primitive_to::<Int16Type>(&PrimitiveArray::<Int16Type>::from(vec![1, 2])),
        Ok(vec![1, 0, 2, 0])
    );
    assert_eq!(
        primitive_to::<Int32Type>(&PrimitiveArray::<Int32Type>::from(vec![1]))
            .unwrap()
            .len(),
        4
    );
    let decimal = Decimal128Array::from(vec![5])
        .with_precision_and_scale(10, 2)
        .unwrap();
    assert_eq!(array_to(&decimal).unwrap().buffers[1].len(), 16);
}
