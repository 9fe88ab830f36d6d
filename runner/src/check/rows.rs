//! Rows as hashes: of the key, by which a row is found on the other side, and of all its values.
//!
//! A row is written down before it is hashed: each value as its length in bytes, a colon and its
//! canonical form; NULL as `~`; a form of more than 1,024 bytes as `#` and its own SHA-256. The
//! hash is the first 64 bits of the SHA-256 of that. So no two different rows are written alike.

use super::form::Form;
use crate::exit_code;
use crate::failure::Failure;
use crate::run::bytes_text;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use syncset_connector::{Column, TableDescription, TargetColumn, TargetTable, ValueForm};

/// Longest form that is written down as it is.
const FORM_BYTES_MAX: usize = 1_024;

/// How rows of one table are hashed, alike on both sides.
#[derive(Debug)]
pub(super) struct RowForms {
    names: Vec<String>,
    forms: Vec<Form>,
    /// Places of the key's columns, in key order; all of them where there is no key.
    key: Vec<usize>,
}

/// Rows of one batch, hashed.
pub(super) struct HashedRows {
    columns: Vec<BinaryArray>,
    /// The key's columns as they came, in key order.
    keys: Vec<ArrayRef>,
    /// Of each row: the hash of its key, and of all its values.
    pub(super) hashes: Vec<(u64, u64)>,
}

impl RowForms {
    /// The forms of a table as it is sent and as the target has it.
    ///
    /// # Errors
    /// The columns that the target does not have.
    pub(super) fn of(target: &TargetTable, there: &TableDescription) -> Result<Self, Vec<String>> {
        let mut lacking = Vec::new();
        let mut forms = Vec::with_capacity(target.columns.len());
        for column in &target.columns {
            match there.column(&column.name) {
                Some(stored) => forms.push(Form::of(column, stored)),
                None => lacking.push(column.name.clone()),
            }
        }
        if !lacking.is_empty() {
            return Err(lacking);
        }
        let names: Vec<_> = target.columns.iter().map(|it| it.name.clone()).collect();
        let place = |key: &String| names.iter().position(|name| name == key);
        let key = match target.key.as_slice() {
            [] => (0..names.len()).collect(),
            key => key.iter().filter_map(place).collect(),
        };
        Ok(Self { names, forms, key })
    }

    /// The same for keys alone: of batches of the key's columns, in key order.
    pub(super) fn of_keys(&self) -> Self {
        Self {
            names: self
                .key
                .iter()
                .map(|&place| self.names[place].clone())
                .collect(),
            forms: self.key.iter().map(|&place| self.forms[place]).collect(),
            key: (0..self.key.len()).collect(),
        }
    }

    /// The first column whose values are brought to another form before they are compared.
    pub(super) fn first_changed(&self) -> Option<&str> {
        let mut columns = self.names.iter().zip(&self.forms);
        let changed = columns.find(|(_, form)| **form != Form::Same);
        changed.map(|(name, _)| name.as_str())
    }

    /// The forms as servers write them.
    ///
    /// # Errors
    /// The first column whose form they do not write alike.
    pub(super) fn by_servers(&self, there: &TableDescription) -> Result<Vec<ValueForm>, String> {
        let columns = self.names.iter().zip(&self.forms);
        let form = |(name, form): (&String, &Form)| {
            let stored = there.column(name);
            let known = stored.and_then(|stored| form.by_servers(&stored.data_type));
            known.ok_or_else(|| name.clone())
        };
        columns.map(form).collect()
    }

    /// Whether values of these columns can be equal at all.
    pub(super) fn compares(sent: &TargetColumn, stored: &Column) -> bool {
        Form::compares(sent, stored)
    }

    /// Hashes rows in the order of the target's columns.
    pub(super) fn hash(&self, batch: &RecordBatch) -> Result<HashedRows, Failure> {
        let columns = self.columns(batch.columns(), 0..self.forms.len())?;
        let mut text = Vec::new();
        let hashes = (0..batch.num_rows()).map(|row| {
            let key = digest(
                self.key.iter().map(|&place| value(&columns[place], row)),
                &mut text,
            );
            let all = digest(columns.iter().map(|column| value(column, row)), &mut text);
            (key, all)
        });
        let hashes = hashes.collect();
        let keys = self.key.iter().map(|&place| batch.column(place).clone());
        Ok(HashedRows {
            columns,
            keys: keys.collect(),
            hashes,
        })
    }

    /// The hashes of the keys of rows in the order of the target's columns.
    pub(super) fn key_hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>, Failure> {
        let keys = batch.project(&self.key).map_err(|error| {
            let message = format!("rows have no such key: {error}");
            Failure::new(exit_code::FAILED, message)
        })?;
        self.hash_keys(&keys)
    }

    /// The hashes of keys whose columns are those of the key, in key order.
    pub(super) fn hash_keys(&self, keys: &RecordBatch) -> Result<Vec<u64>, Failure> {
        let columns = self.columns(keys.columns(), self.key.iter().copied())?;
        let mut text = Vec::new();
        let hash = |row| digest(columns.iter().map(|column| value(column, row)), &mut text);
        Ok((0..keys.num_rows()).map(hash).collect())
    }

    fn columns(
        &self,
        arrays: &[ArrayRef],
        places: impl Iterator<Item = usize>,
    ) -> Result<Vec<BinaryArray>, Failure> {
        let column = |(array, place): (&ArrayRef, usize)| {
            let form: Form = self.forms[place];
            form.apply(array).map_err(|error| {
                let name = &self.names[place];
                let message = format!("column `{name}` cannot be compared: {error}");
                Failure::new(exit_code::FAILED, message).with_hint(format!(
                    "leave it out with `columns: {{ exclude: [{name}] }}`, or carry it as a text"
                ))
            })
        };
        arrays.iter().zip(places).map(column).collect()
    }

    /// The key of a row, for people.
    pub(super) fn key_of(&self, rows: &HashedRows, row: usize) -> Vec<Option<String>> {
        let part = |(&place, column): (&usize, &ArrayRef)| {
            let form = value(&rows.columns[place], row)?;
            let text = || String::from_utf8_lossy(form).into_owned();
            Some(bytes_text(column, row).unwrap_or_else(text))
        };
        self.key.iter().zip(&rows.keys).map(part).collect()
    }

    /// The hash of each value of a row.
    pub(super) fn values_of(&self, rows: &HashedRows, row: usize) -> Vec<u64> {
        let mut text = Vec::new();
        let hash = |column| digest(std::iter::once(value(column, row)), &mut text);
        rows.columns.iter().map(hash).collect()
    }

    /// The names of the columns in which two rows differ.
    pub(super) fn differing(&self, left: &[u64], right: &[u64]) -> Vec<String> {
        let pairs = self.names.iter().zip(left.iter().zip(right));
        let differing = pairs.filter(|(_, (left, right))| left != right);
        differing.map(|(name, _)| name.clone()).collect()
    }
}

impl HashedRows {
    /// The keys of some rows, in the types they came in.
    pub(super) fn keys_of(&self, rows: Vec<u32>) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = UInt32Array::from(rows);
        let taken = self.keys.iter().map(|column| take(column, &rows, None));
        taken.collect()
    }
}

fn value(column: &BinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}

/// The hash of values that are written down one after another. `text` is where.
fn digest<'a>(values: impl Iterator<Item = Option<&'a [u8]>>, text: &mut Vec<u8>) -> u64 {
    text.clear();
    for value in values {
        match value {
            None => text.push(b'~'),
            Some(form) if form.len() > FORM_BYTES_MAX => {
                text.push(b'#');
                text.extend_from_slice(hex(&Sha256::digest(form)).as_bytes());
            }
            Some(form) => {
                write_length(form.len(), text);
                text.push(b':');
                text.extend_from_slice(form);
            }
        }
    }
    let hash = Sha256::digest(text.as_slice());
    let first: [u8; 8] = hash[..8].try_into().expect("a SHA-256 has 32 bytes");
    u64::from_be_bytes(first)
}

/// A number of up to four digits.
fn write_length(length: usize, text: &mut Vec<u8>) {
    let digit = |unit: usize| b'0' + u8::try_from(length / unit % 10).expect("it is one digit");
    for unit in [1_000, 100, 10] {
        if length >= unit {
            text.push(digit(unit));
        }
    }
    text.push(digit(1));
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing into memory cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::{FixedSizeBinaryArray, StringArray};
    use arrow_cast::{CastOptions, cast_with_options};
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use std::sync::Arc;

    fn hash(values: &[Option<&str>]) -> u64 {
        let values = values.iter().map(|value| value.map(str::as_bytes));
        digest(values, &mut Vec::new())
    }

    #[test]
    fn rows_that_differ_are_written_differently() {
        let long = "x".repeat(FORM_BYTES_MAX + 1);
        let longer = "x".repeat(FORM_BYTES_MAX + 2);
        let rows: [&[Option<&str>]; 9] = [
            &[Some("1"), None, Some("a")],
            &[Some("1"), Some("a"), None],
            &[Some("1"), Some("a")],
            &[Some("1a")],
            &[Some("1"), Some(""), Some("a")],
            &[Some("1"), Some("~"), Some("a")],
            &[Some("11:a")],
            &[Some(&long)],
            &[Some(&longer)],
        ];
        let mut hashes: Vec<_> = rows.iter().map(|row| hash(row)).collect();
        hashes.sort_unstable();
        hashes.dedup();

        assert_eq!(hashes.len(), rows.len());
        assert_eq!(hash(&[Some("a"), None]), hash(&[Some("a"), None]));
    }

    #[test]
    fn hash_is_the_one_that_is_documented() {
        // `printf '1:5~2:ab' | sha256sum`
        assert_eq!(hash(&[Some("5"), None, Some("ab")]), 0x8494_b4dc_a14e_6c3a);
    }

    /// The first 60 bits of the hashes of the golden rows, and those that the servers are held to.
    fn golden_hashes() -> (Vec<u64>, Vec<u64>) {
        let golden = include_str!("../../../tests/golden/canonical_rows.json");
        let golden: serde_json::Value = serde_json::from_str(golden).expect("the file is JSON");
        let golden = golden.as_array().expect("a list");
        let texts = |column: usize| -> ArrayRef {
            let text = |line: &serde_json::Value| line["row"][column].as_str().map(str::to_owned);
            Arc::new(golden.iter().map(text).collect::<StringArray>())
        };
        let read = |column: usize, data_type: &DataType| {
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(&texts(column), data_type, &options).expect("it is such a value")
        };
        let bytes = |text: Option<&str>| -> Option<Vec<u8>> {
            let digits = |at: usize| u8::from_str_radix(&text?[at..at + 2], 16).ok();
            (0..text?.len()).step_by(2).map(digits).collect()
        };
        let binary: BinaryArray = texts(9).as_string::<i32>().iter().map(bytes).collect();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = vec![
            read(0, &DataType::Int64),
            read(1, &DataType::Int32),
            read(2, &DataType::Decimal128(20, 4)),
            read(3, &DataType::Boolean),
            read(4, &utc),
            read(5, &DataType::Timestamp(TimeUnit::Microsecond, None)),
            read(6, &DataType::Date32),
            texts(7),
            texts(8),
            Arc::new(binary),
            texts(10),
        ];
        let fields = columns.iter().enumerate();
        let fields = fields
            .map(|(place, array)| Field::new(place.to_string(), array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema, columns).expect("columns of one length");
        let forms = RowForms {
            names: (0..11).map(|place: u32| place.to_string()).collect(),
            forms: vec![
                Form::Number,
                Form::Number,
                Form::Number,
                Form::Number,
                Form::Moment,
                Form::Moment,
                Form::Printed,
                Form::Text,
                Form::Text,
                Form::Bytes,
                Form::Printed,
            ],
            key: vec![0],
        };
        let hashed = forms.hash(&batch).expect("every value has its form");
        let expected = golden.iter().map(|line| {
            let hash = line["hash"].as_str().expect("a hash");
            hash.parse().expect("a number")
        });
        let found = hashed.hashes.iter().map(|(_, row)| row >> 4);
        (found.collect(), expected.collect())
    }

    #[test]
    fn keys_of_bytes_are_told_as_texts() {
        let uuid = FixedSizeBinaryArray::try_from_iter([[255_u8; 16]].into_iter());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(uuid.expect("sixteen bytes")),
            Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
            Arc::new(StringArray::from(vec!["a"])),
        ];
        let fields = columns.iter().enumerate();
        let fields = fields
            .map(|(place, array)| Field::new(place.to_string(), array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema, columns).expect("columns of one length");
        let forms = RowForms {
            names: (0..3).map(|place: u32| place.to_string()).collect(),
            forms: vec![Form::Same; 3],
            key: vec![0, 1, 2],
        };

        let hashed = forms.hash(&batch).expect("every value has its form");

        let told = ["ffffffff-ffff-ffff-ffff-ffffffffffff", "00ff", "a"];
        let told = told.map(|text| Some(text.to_owned()));
        assert_eq!(forms.key_of(&hashed, 0), told);
    }

    #[test]
    fn golden_rows_have_their_hashes_here_too() {
        let (found, expected) = golden_hashes();

        assert_eq!(found, expected);
    }
}
