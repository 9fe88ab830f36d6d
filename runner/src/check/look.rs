//! One look at the rows that may differ, and what two looks say together.

use super::again::Seen;
use super::buckets::{Buckets, Differing};
use super::report::{Kind, Sample};
use super::rows::{HashedRows, RowForms};
use super::side::{InFlight, Keys, Scope, Side};
use crate::exit_code;
use crate::failure::Failure;
use crate::fit;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// What one side has under one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// How many rows; more than one only without a key.
    pub(super) count: u64,
    /// The sum of their hashes.
    sum: u64,
}

/// What one side has under each of some keys, by their hashes.
pub(super) type Rows = HashMap<u64, Held>;

/// A row as people are told of it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) key: Vec<Option<String>>,
    pub(super) values: Vec<u64>,
}

/// Reads one side and tells its rows by buckets. Gives the side back.
pub(super) async fn in_buckets(mut side: Side) -> Result<(Side, Buckets), Failure> {
    let reading = tokio::spawn(async move {
        let mut buckets = Buckets::new();
        side.each(&Scope::All, |rows| buckets.add(&rows.hashes))
            .await?;
        Ok((side, buckets))
    });
    reading.await.expect("tasks that read do not panic")
}

/// Reads one side and lists the rows of the buckets that differ.
pub(super) async fn listed(
    mut side: Side,
    differing: Arc<Differing>,
) -> Result<(Side, Rows), Failure> {
    let reading = tokio::spawn(async move {
        let mut found = Rows::new();
        side.each(&Scope::All, |rows| {
            for (key, row) in rows.hashes.iter().filter(|(key, _)| differing.holds(*key)) {
                add(&mut found, *key, *row);
            }
        })
        .await?;
        Ok((side, found))
    });
    reading.await.expect("tasks that read do not panic")
}

/// Reads one side and lists the rows of the buckets that differ, with their keys.
pub(super) async fn listed_keys(
    mut side: Side,
    differing: Arc<Differing>,
) -> Result<(Side, Found), Failure> {
    let reading = tokio::spawn(async move {
        let mut found = Found::default();
        let mut broken = None;
        side.each(&Scope::All, |rows| {
            let taken = found.take_in(rows, |key| differing.holds(key));
            broken = broken.take().or(taken.err());
        })
        .await?;
        match broken {
            Some(error) => Err(unkept(&error)),
            None => Ok((side, found)),
        }
    });
    reading.await.expect("tasks that read do not panic")
}

/// Reads one side and lists the rows with these keys.
pub(super) async fn held(mut side: Side, keys: Arc<Keys>) -> Result<(Side, Rows), Failure> {
    let mut found = Rows::new();
    side.each(&Scope::Keys(keys), |rows| {
        for (key, row) in &rows.hashes {
            add(&mut found, *key, *row);
        }
    })
    .await?;
    Ok((side, found))
}

/// What one side has under the keys that are looked at again.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Rows,
    /// Those that are told to people.
    pub(super) shown: HashMap<u64, Shown>,
    /// The keys themselves, by their hashes, batch by batch.
    keys: Vec<(Vec<u64>, Vec<ArrayRef>)>,
}

/// A row that differs, if people are told of it.
pub(super) fn sample(
    forms: &RowForms,
    (here, there): (&Found, &Found),
    (kind, key): (Kind, u64),
    undecided: bool,
) -> Option<Sample> {
    let (here, there) = (here.shown.get(&key), there.shown.get(&key));
    let columns = match (here, there) {
        (Some(here), Some(there)) => forms.differing(&here.values, &there.values),
        _ => Vec::new(),
    };
    Some(Sample {
        kind,
        key: here.or(there)?.key.clone(),
        columns,
        undecided,
    })
}

/// Reads one side and lists what it has under the keys of `wanted`, which says whether people are
/// told of them.
pub(super) async fn looked_up(
    mut side: Side,
    scope: Scope,
    forms: Arc<RowForms>,
    wanted: Arc<HashMap<u64, bool>>,
) -> Result<(Side, Found), Failure> {
    let reading = tokio::spawn(async move {
        let mut found = Found::default();
        let mut broken = None;
        side.each(&scope, |rows| {
            let taken = found.take_in(rows, |key| wanted.contains_key(&key));
            broken = broken.take().or(taken.err());
            for (index, (key, _)) in rows.hashes.iter().enumerate() {
                if wanted.get(key) == Some(&true) {
                    found.shown.entry(*key).or_insert_with(|| Shown {
                        key: forms.key_of(rows, index),
                        values: forms.values_of(rows, index),
                    });
                }
            }
        })
        .await?;
        match broken {
            Some(error) => Err(unkept(&error)),
            None => Ok((side, found)),
        }
    });
    reading.await.expect("tasks that read do not panic")
}

impl Found {
    /// Takes in the rows whose keys' hashes are asked for.
    fn take_in(
        &mut self,
        rows: &HashedRows,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<(), ArrowError> {
        let (mut keys, mut places) = (Vec::new(), Vec::new());
        for (index, (key, row)) in rows.hashes.iter().enumerate() {
            if is_wanted(*key) {
                add(&mut self.rows, *key, *row);
                keys.push(*key);
                places.push(u32::try_from(index).expect("a batch has fewer than 2^32 rows"));
            }
        }
        if !keys.is_empty() {
            self.keys.push((keys, rows.keys_of(places)?));
        }
        Ok(())
    }

    /// The hashes of the rows under these keys.
    pub(super) fn seen<'a>(&self, keys: impl Iterator<Item = &'a u64>) -> Seen {
        let held = |key: &u64| Some((*key, self.rows.get(key)?.sum));
        keys.filter_map(held).collect()
    }

    /// Those of its keys that are asked for, as a batch of other types.
    pub(super) fn keys_as(
        &self,
        schema: &SchemaRef,
        wanted: &HashSet<u64>,
    ) -> Result<RecordBatch, Failure> {
        let batches = self.keys.iter().map(|(hashes, columns)| {
            let mask: BooleanArray = hashes
                .iter()
                .map(|key| Some(wanted.contains(key)))
                .collect();
            let columns = columns
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| key_as(&filter(column, &mask)?, field.data_type()));
            RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
        });
        let batches: Result<Vec<_>, ArrowError> = batches.collect();
        batches
            .and_then(|batches| concat_batches(schema, &batches))
            .map_err(|error| unkept(&error))
    }
}

pub(super) fn unkept(error: &ArrowError) -> Failure {
    let message = format!("the key of a row that differs cannot be read: {error}");
    Failure::new(exit_code::FAILED, message)
}

/// A column of a key in another type, such as a UUID that the target keeps as its text.
pub(super) fn key_as(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(column.clone()),
        (DataType::FixedSizeBinary(16), DataType::Utf8) => fit::text_forms(column),
        (DataType::Utf8, DataType::FixedSizeBinary(16)) => {
            let texts = column.as_string::<i32>().iter();
            let uuids = texts.map(|text| text.and_then(|it| Uuid::parse_str(it).ok()));
            let bytes = uuids.map(|uuid| uuid.map(Uuid::into_bytes));
            let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, 16)?;
            Ok(Arc::new(uuids))
        }
        (_, to) => {
            let strict = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(column, to, &strict)
        }
    }
}

fn add(rows: &mut Rows, key: u64, row: u64) {
    let held = rows.entry(key).or_default();
    held.count += 1;
    held.sum = held.sum.wrapping_add(row);
}

/// How what the source has under a key differs from what the target has, and in how many rows.
pub(super) fn difference(
    source: Option<&Held>,
    target: Option<&Held>,
    has_key: bool,
) -> Option<(Kind, u64)> {
    let count = |held: Option<&Held>| held.map_or(0, |held| held.count);
    let (here, there) = (count(source), count(target));
    match (source, target) {
        (source, target) if source == target => None,
        (Some(_), Some(_)) if has_key => Some((Kind::Different, 1)),
        _ if here > there => Some((Kind::Missing, here - there)),
        _ => Some((Kind::Extra, there - here)),
    }
}

/// The keys under which two sides differ.
pub(super) fn candidates(source: &Rows, target: &Rows, has_key: bool) -> BTreeSet<(Kind, u64)> {
    let keys = source.keys().chain(target.keys());
    let differs = |key: &u64| {
        let (kind, _) = difference(source.get(key), target.get(key), has_key)?;
        Some((kind, *key))
    };
    keys.filter_map(differs).collect()
}

/// Whether a row that differs at two looks is drift: what the target has is not what a run brought.
///
/// The watermark was read before the target's snapshot was taken, and that before the source's. So
/// a row that no window from the watermark holds is at the target as it is at the source, unless
/// somebody else wrote there.
pub(super) fn is_drift(
    (first, second): (Option<&Held>, Option<&Held>),
    in_flight: &InFlight,
    key: u64,
) -> bool {
    first == second && !in_flight.holds(key)
}
