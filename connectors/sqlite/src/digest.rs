//! Hashes that stay the same between versions: of text, and of sets of keys.

use crate::cell::integer;
use crate::connect::{Session, arguments};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use syncset_connector::{ConnectorError, ErrorClass, KeyDigest, Result};

/// Names how keys are hashed. Another connector's hash has another name, unless it is equal.
pub(crate) const ALGORITHM: &str = "arrow-text-fnv1a128-sum";

const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A hash that is fed piece by piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher(u128);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(FNV_OFFSET)
    }

    /// Feeds one piece. Its length is fed too, so that pieces cannot run into each other.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes() {
            self.byte(byte);
        }
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(FNV_PRIME);
    }

    pub(crate) fn value(self) -> u128 {
        // A sum of hashes needs every bit to depend on every other.
        let folded =
            (self.0 ^ (self.0 >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        folded ^ (folded >> 59)
    }
}

/// A short name of some bytes.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.feed(bytes);
    format!("{:032x}", hasher.value())
}

/// Count and sum of hashes of keys, in any order.
#[derive(Debug, Default)]
pub(crate) struct KeySum {
    row_count: u64,
    sum: u128,
}

impl KeySum {
    /// Adds all rows of a batch of keys.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for hash in hashes(batch.columns(), batch.num_rows())? {
            self.sum = self.sum.wrapping_add(hash);
            self.row_count += 1;
        }
        Ok(())
    }

    /// The digest of all rows that were added.
    pub(crate) fn digest(&self) -> KeyDigest {
        KeyDigest {
            row_count: self.row_count,
            hash: Some((ALGORITHM.into(), format!("{:032x}", self.sum))),
        }
    }
}

/// The count of the rows of a statement.
pub(crate) async fn count(session: &mut Session, keys: &str, place: &str) -> Result<KeyDigest> {
    let sql = format!("SELECT count(*) FROM ({keys})");
    let rows = session.rows(sql, arguments![], place).await?;
    let counted = rows.first().map_or(0, |row| integer(row, 0));
    Ok(KeyDigest {
        row_count: u64::try_from(counted).unwrap_or(0),
        hash: None,
    })
}

fn feed_column(
    hashers: &mut [Hasher],
    column: &ArrayRef,
) -> std::result::Result<(), arrow_schema::ArrowError> {
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            for (hasher, value) in hashers.iter_mut().zip(values) {
                match value {
                    Some(value) => hasher.feed(&value.to_le_bytes()),
                    None => hasher.feed(b""),
                }
            }
        }
        DataType::Utf8 => {
            for (hasher, value) in hashers.iter_mut().zip(column.as_string::<i32>()) {
                hasher.feed(value.unwrap_or("").as_bytes());
            }
        }
        _ => {
            let options = FormatOptions::new();
            let formatter = ArrayFormatter::try_new(column, &options)?;
            for (row, hasher) in hashers.iter_mut().enumerate() {
                hasher.feed(formatter.value(row).to_string().as_bytes());
            }
        }
    }
    Ok(())
}

/// A set of rows, by hash.
pub(crate) struct RowHashes(std::collections::HashSet<u128>);

impl RowHashes {
    /// The rows of these columns.
    pub(crate) fn of(columns: &[ArrayRef], row_count: usize) -> Result<Self> {
        Ok(Self(hashes(columns, row_count)?.into_iter().collect()))
    }

    /// Which rows of these columns are among them.
    pub(crate) fn contains(&self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<bool>> {
        let hashes = hashes(columns, row_count)?;
        Ok(hashes.iter().map(|hash| self.0.contains(hash)).collect())
    }
}

fn hashes(columns: &[ArrayRef], row_count: usize) -> Result<Vec<u128>> {
    let mut hashers = vec![Hasher::new(); row_count];
    for column in columns {
        feed_column(&mut hashers, column).map_err(|cause| {
            ConnectorError::new(ErrorClass::Unsupported, "keys cannot be hashed").caused_by(cause)
        })?;
    }
    Ok(hashers.into_iter().map(Hasher::value).collect())
}
