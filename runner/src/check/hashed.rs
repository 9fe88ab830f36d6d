//! Comparing by hashes that the servers compute: rows are read only where they differ.
//!
//! Each side counts its rows and sums their hashes, by parts of the keys. Parts that differ are
//! split, until few rows are left; their keys and hashes are listed. What differs then is read like
//! any row and told by our own hashes, so nothing else depends on how a server hashes.

use super::look::{key_as, unkept};
use super::rows::RowForms;
use super::sample::Share;
use super::settled::Digest;
use super::side::{Keys, Side};
use super::{ROWS_LISTED_MAX, both};
use crate::failure::Failure;
use crate::planned::PlannedTable;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use std::collections::{BTreeMap, HashMap, HashSet};
use syncset_connector::{
    HashFacts, HashRequest, Ordinal, PartHash, Parts, RowHash, TableDescription,
};
use syncset_pipeline::OutputValue;

/// Bits of an ordinal.
const BITS: u32 = 64;

/// Parts that a range of keys falls into, at most.
const PARTS_MAX: i128 = 1 << 10;

/// Parts that one statement names, at most.
const PARTS_DIFFERING_MAX: usize = 5_000;

/// Rows outside of the largest part, if that alone decides how parts are split.
const ROWS_BESIDE_MAX: u64 = 100_000;

/// What a user may ask for about the way tables are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ModeChoice {
    /// By the servers' hashes where both have the same
    #[default]
    Auto,
    /// By the servers' hashes, or say why not
    Hash,
    /// By reading every row of both sides
    Stream,
}

/// What both sides may be asked.
#[derive(Debug)]
pub(super) struct Requests {
    /// The hashes that come into question, the best first; one at least.
    hashes: Vec<RowHash>,
    /// The columns at the source and at the target, in one order.
    source: Vec<String>,
    target: Vec<String>,
}

/// The requests to both sides.
struct Request {
    source: HashRequest,
    target: HashRequest,
}

/// What the servers' hashes tell.
pub(super) enum Told {
    /// Where rows differ.
    Differing {
        /// Rows at the source and at the target.
        rows: (u64, u64),
        /// The keys under which they differ.
        keys: Keys,
        /// All rows of the source that were looked at.
        source: Digest,
    },
    /// Nothing worth going on with, and why: every row is to be read.
    Nothing(String),
}

impl Requests {
    /// What to ask of both sides.
    ///
    /// # Errors
    /// Why the servers' hashes cannot tell how the tables differ.
    pub(super) fn of(
        planned: &PlannedTable,
        (forms, there): (&RowForms, &TableDescription),
        choice: ModeChoice,
    ) -> Result<Self, String> {
        if choice == ModeChoice::Stream {
            return Err("`--mode stream` was asked for".to_owned());
        }
        if !planned.has_key() {
            return Err("the table has no key".to_owned());
        }
        if !planned.transform.passes_through() {
            return Err("columns or conditions are computed by syncset".to_owned());
        }
        if !planned.fit.changes_nothing() {
            return Err("values are changed to fit, as `on_lossy` says".to_owned());
        }
        let hashes = row_hashes(forms, there, choice)?;
        let outputs = planned.plan.outputs.iter();
        let read = outputs.map(|output| match &output.value {
            OutputValue::Column(name) => Ok(name.clone()),
            OutputValue::Derived { .. } | OutputValue::Masked(..) | OutputValue::Plugin { .. } => {
                Err("columns are computed by syncset".to_owned())
            }
        });
        let kept = planned.target.columns.iter().map(|it| it.name.clone());
        Ok(Self {
            hashes,
            source: read.collect::<Result<_, _>>()?,
            target: kept.collect(),
        })
    }

    /// What to ask of both sides about keys alone. `forms`: those of the keys.
    ///
    /// # Errors
    /// Why the servers' hashes cannot tell how the keys differ.
    pub(super) fn of_keys(planned: &PlannedTable, forms: &RowForms) -> Result<Self, String> {
        if !planned.transform.keeps_all_rows() {
            return Err("conditions are evaluated by syncset".to_owned());
        }
        if let Some(name) = forms.first_changed() {
            return Err(kept_otherwise(name));
        }
        Ok(Self {
            hashes: vec![RowHash::Own],
            source: planned.plan.read.key.clone(),
            target: planned.target.key.clone(),
        })
    }

    /// The requests for one kind of hash.
    fn by(&self, hash: &RowHash) -> Request {
        let request = |columns: &Vec<String>| HashRequest {
            columns: columns.clone(),
            hash: hash.clone(),
            ordinal: Ordinal::KeyHash,
        };
        Request {
            source: request(&self.source),
            target: request(&self.target),
        }
    }
}

/// What both servers may be asked to hash the rows to, the best first.
///
/// # Errors
/// Why there is nothing.
fn row_hashes(
    forms: &RowForms,
    there: &TableDescription,
    choice: ModeChoice,
) -> Result<Vec<RowHash>, String> {
    let changed = forms.first_changed();
    let mut hashes: Vec<_> = changed
        .is_none()
        .then_some(RowHash::Own)
        .into_iter()
        .collect();
    if choice == ModeChoice::Hash {
        match forms.by_servers(there) {
            Ok(forms) => hashes.push(RowHash::Canonical(forms)),
            Err(name) if hashes.is_empty() => {
                return Err(format!("values of column `{name}` are compared by syncset"));
            }
            Err(_) => {}
        }
    }
    match changed {
        Some(name) if hashes.is_empty() => Err(kept_otherwise(name)),
        _ => Ok(hashes),
    }
}

fn kept_otherwise(column: &str) -> String {
    format!("column `{column}` is kept in another form than at the source")
}

/// The numbers by which the parts of a table are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    /// Bits of the first parts.
    first_shift: u32,
    /// Bits that each step takes away.
    split_bits: u32,
    /// Rows that are listed rather than split, for each part that differs, and altogether.
    listed_per_part: u64,
    listed: u64,
}

impl Steps {
    /// By key: an index finds the rows of a part, so splitting is cheap.
    fn by_key(first: i64, last: i64) -> Self {
        Self {
            first_shift: shift_of(first, last),
            split_bits: 4,
            listed_per_part: 16,
            listed: 64,
        }
    }

    /// By the hash of the key: every step reads the whole table.
    fn by_hash(bits: u32) -> Self {
        Self {
            first_shift: bits - 12,
            split_bits: 5,
            listed_per_part: 16,
            listed: 4_096,
        }
    }
}

/// What is done about parts that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Their keys and hashes are listed.
    List,
    /// They are split.
    Split,
    /// All rows of the table are read.
    Read,
}

impl Steps {
    /// What follows for parts that differ and hold `count` rows. `rows_split`: rows of all parts so
    /// far that differed, these included, and rows of the table.
    fn after(self, parts: &Parts, count: u64, (rows_split, rows): (u64, u64)) -> Step {
        let listed = self.listed_per_part * parts.numbers.len() as u64;
        let is_first = rows_split == count;
        if parts.numbers.len() > PARTS_DIFFERING_MAX {
            Step::Read
        } else if count <= listed.max(self.listed) || parts.shift == 0 {
            Step::List
        } else if rows_split > 2 * rows || (!is_first && count > ROWS_LISTED_MAX) {
            Step::Read
        } else {
            Step::Split
        }
    }
}

/// The bits of an ordinal that do not count if these ordinals fall into a thousand parts at most.
fn shift_of(first: i64, last: i64) -> u32 {
    let parts = |shift: u32| (i128::from(last) >> shift) - (i128::from(first) >> shift) + 1;
    let fits = (0..BITS - 1).find(|&shift| parts(shift) <= PARTS_MAX);
    fits.unwrap_or(BITS - 1)
}

/// Both sides while they are compared.
pub(super) struct Hashing<'a> {
    pub(super) source: &'a mut Side,
    pub(super) target: &'a mut Side,
    pub(super) forms: &'a RowForms,
    pub(super) sample: Option<Share>,
}

impl Hashing<'_> {
    /// Compares all rows.
    pub(super) async fn compare(&mut self, requests: &Requests) -> Result<Told, Failure> {
        match self.agree(requests).await? {
            Ok((request, steps, by)) => self.split(&request, steps, &by).await,
            Err(reason) => Ok(Told::Nothing(reason)),
        }
    }

    /// What tells all rows of the source from any others; `None` if the servers' hashes do not.
    pub(super) async fn source_digest(
        &mut self,
        requests: &Requests,
    ) -> Result<Option<Digest>, Failure> {
        let Ok((request, steps, by)) = self.agree(requests).await? else {
            return Ok(None);
        };
        let shift = steps.first_shift;
        let parts = self.source.hash_parts(&request.source, None, shift).await?;
        Ok(Some(digest_of(&by, &parts)))
    }

    /// What to ask both servers so that they hash alike, how to split it, and the name of the hash;
    /// or why they do not.
    async fn agree(
        &mut self,
        requests: &Requests,
    ) -> Result<Result<(Request, Steps, String), String>, Failure> {
        let mut reason = String::new();
        for hash in &requests.hashes {
            let mut request = requests.by(hash);
            let (there, here) = both(
                self.target.hash_facts(&request.target),
                self.source.hash_facts(&request.source),
            )
            .await?;
            let by = here.as_ref().map_or(String::new(), |it| it.name.clone());
            match agreed(here, there, (hash.bits(), self.sample)) {
                Err(why) => reason = why,
                Ok((ordinal, steps)) => {
                    request.source.ordinal = ordinal;
                    request.target.ordinal = ordinal;
                    return Ok(Ok((request, steps, by)));
                }
            }
        }
        Ok(Err(reason))
    }

    /// Splits what differs until few rows are left. `by`: name of the hash.
    async fn split(&mut self, requests: &Request, steps: Steps, by: &str) -> Result<Told, Failure> {
        let mut within = self.sample.map(|sample| sample.parts(steps.first_shift));
        let mut digest = None;
        let mut shift = steps.first_shift;
        let mut rows = (0, 0);
        let mut rows_split = 0;
        loop {
            let (there, here) = both(
                self.target
                    .hash_parts(&requests.target, within.as_ref(), shift),
                self.source
                    .hash_parts(&requests.source, within.as_ref(), shift),
            )
            .await?;
            let digest = digest.get_or_insert_with(|| {
                rows = (row_count(&here), row_count(&there));
                digest_of(by, &here)
            });
            let differing = differing(&here, &there);
            let count: u64 = differing.values().sum();
            let largest = largest(&differing, count);
            let numbers: Vec<i64> = differing.into_keys().collect();
            let parts = Parts { shift, numbers };
            rows_split += count;
            match steps.after(&parts, count, (rows_split, rows.0.max(rows.1))) {
                Step::List => {
                    let keys = self.differing_keys(requests, &parts).await?;
                    let source = digest.clone();
                    return Ok(Told::Differing { rows, keys, source });
                }
                Step::Read => {
                    let reason = "so many rows differ that all are read";
                    return Ok(Told::Nothing(reason.to_owned()));
                }
                Step::Split => {}
            }
            let next = shift.saturating_sub(steps.split_bits);
            shift = match largest.filter(|_| requests.source.ordinal == Ordinal::Key) {
                Some(number) => self.fitting(requests, shift, number).await?.min(next),
                None => next,
            };
            within = Some(parts);
        }
    }

    /// How a part is split whose keys may lie close together, far from others.
    async fn fitting(
        &mut self,
        requests: &Request,
        shift: u32,
        number: i64,
    ) -> Result<u32, Failure> {
        let part = Parts {
            shift,
            numbers: vec![number],
        };
        let (there, here) = both(
            self.target.part_ends(&requests.target, &part),
            self.source.part_ends(&requests.source, &part),
        )
        .await?;
        let (first, last) = united(here, there);
        Ok(shift_of(first, last))
    }

    /// The keys under which the two sides differ in some parts.
    async fn differing_keys(
        &mut self,
        requests: &Request,
        within: &Parts,
    ) -> Result<Keys, Failure> {
        let (source, target) = (self.source.key_schema(), self.target.key_schema());
        if within.numbers.is_empty() {
            return Ok(Keys {
                source: RecordBatch::new_empty(source),
                target: RecordBatch::new_empty(target),
                at_source: 0,
            });
        }
        let (there, here) = both(
            self.target.read_hashes(&requests.target, within),
            self.source.read_hashes(&requests.source, within),
        )
        .await?;
        let here = Listed::of(&here, &source, self.forms)?;
        let there = Listed::of(&there, &target, self.forms)?;
        let (left, right) = (here.sums(), there.sums());
        let keys = left.keys().chain(right.keys());
        let differing: HashSet<u64> = keys
            .filter(|key| left.get(key) != right.get(key))
            .copied()
            .collect();
        let ours = here.keys_of(|key| differing.contains(key));
        let theirs = there.keys_of(|key| differing.contains(key) && !left.contains_key(key));
        let keys = ours.and_then(|ours| {
            let theirs = theirs?;
            Ok(Keys {
                source: concat_batches(&source, [&ours, &in_types(&theirs, &source)?])?,
                target: concat_batches(&target, [&in_types(&ours, &target)?, &theirs])?,
                at_source: ours.num_rows(),
            })
        });
        keys.map_err(|error: ArrowError| unkept(&error))
    }
}

fn row_count(parts: &[PartHash]) -> u64 {
    parts.iter().map(|part| part.row_count).sum()
}

/// However the rows are parted.
fn digest_of(by: &str, parts: &[PartHash]) -> Digest {
    let sum: i128 = parts.iter().map(|part| part.sum).sum();
    Digest::of(by, row_count(parts), sum.cast_unsigned())
}

/// By what both sides part their rows, or why their hashes do not compare.
fn agreed(
    source: Result<HashFacts, String>,
    target: Result<HashFacts, String>,
    (bits, sample): (u32, Option<Share>),
) -> Result<(Ordinal, Steps), String> {
    let (source, target) = (source?, target?);
    if source.name != target.name {
        return Err(format!(
            "the servers hash differently: `{}` at the source, `{}` at the target",
            source.name, target.name
        ));
    }
    let mut probes = source.probes.iter().zip(&target.probes);
    if let Some(((name, _), _)) = probes.find(|(left, right)| left != right) {
        return Err(format!("the servers hash values of `{name}` differently"));
    }
    let by_key = source.has_key_ordinal && target.has_key_ordinal;
    if !by_key || sample.is_some() {
        return Ok((Ordinal::KeyHash, Steps::by_hash(bits)));
    }
    let (first, last) = united(source.keys, target.keys);
    Ok((Ordinal::Key, Steps::by_key(first, last)))
}

/// The range that holds two ranges.
fn united(left: Option<(i64, i64)>, right: Option<(i64, i64)>) -> (i64, i64) {
    match (left, right) {
        (Some(left), Some(right)) => (left.0.min(right.0), left.1.max(right.1)),
        (one, other) => one.or(other).unwrap_or((0, 0)),
    }
}

/// The part that holds nearly all of the rows.
fn largest(parts: &BTreeMap<i64, u64>, rows: u64) -> Option<i64> {
    let (number, count) = parts.iter().max_by_key(|(_, count)| **count)?;
    let beside = rows - count;
    (beside < *count && beside <= ROWS_BESIDE_MAX).then_some(*number)
}

/// The parts that differ, and how many rows the fuller side has in each.
fn differing(source: &[PartHash], target: &[PartHash]) -> BTreeMap<i64, u64> {
    let of = |parts: &[PartHash]| -> HashMap<i64, PartHash> {
        parts.iter().map(|part| (part.number, *part)).collect()
    };
    let (source, target) = (of(source), of(target));
    let numbers = source.keys().chain(target.keys());
    let differs = numbers.filter(|number| source.get(number) != target.get(number));
    let rows = |number: &i64| {
        let parts = [source.get(number), target.get(number)];
        parts.into_iter().flatten().map(|part| part.row_count).max()
    };
    differs
        .map(|number| (*number, rows(number).unwrap_or(0)))
        .collect()
}

/// Keys and hashes of one side.
struct Listed {
    keys: RecordBatch,
    /// The hash of each key by us, and of its row by the server.
    hashes: Vec<(u64, i64)>,
}

impl Listed {
    fn of(batches: &[RecordBatch], schema: &SchemaRef, forms: &RowForms) -> Result<Self, Failure> {
        let mut keys = Vec::with_capacity(batches.len());
        let mut hashes = Vec::new();
        for batch in batches {
            let (hash, key) = batch
                .columns()
                .split_last()
                .expect("hashes come behind their keys");
            let key = RecordBatch::try_new(schema.clone(), key.to_vec());
            let key = key.map_err(|error| unkept(&error))?;
            let rows = hash.as_primitive::<Int64Type>().values().iter().copied();
            hashes.extend(forms.hash_keys(&key)?.into_iter().zip(rows));
            keys.push(key);
        }
        let keys = concat_batches(schema, &keys).map_err(|error| unkept(&error))?;
        Ok(Self { keys, hashes })
    }

    /// Number of rows and sum of their hashes under each key.
    fn sums(&self) -> HashMap<u64, (u64, i128)> {
        let mut sums: HashMap<u64, (u64, i128)> = HashMap::with_capacity(self.hashes.len());
        for (key, hash) in &self.hashes {
            let sum = sums.entry(*key).or_default();
            *sum = (sum.0 + 1, sum.1 + i128::from(*hash));
        }
        sums
    }

    /// Some of the keys, each once.
    fn keys_of(&self, is_wanted: impl Fn(&u64) -> bool) -> Result<RecordBatch, ArrowError> {
        let mut seen = HashSet::new();
        let keys = self.hashes.iter().map(|(key, _)| key);
        let mask: BooleanArray = keys
            .map(|key| Some(is_wanted(key) && seen.insert(*key)))
            .collect();
        filter_record_batch(&self.keys, &mask)
    }
}

/// Keys in the types of the other side.
fn in_types(keys: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = keys.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| key_as(column, field.data_type()));
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i64, row_count: u64, sum: i128) -> PartHash {
        PartHash {
            number,
            row_count,
            sum,
        }
    }

    #[test]
    fn parts_differ_by_count_sum_and_being_there() {
        let source = [part(1, 2, 7), part(2, 2, 7), part(3, 2, 7), part(4, 1, 0)];
        let target = [part(1, 2, 7), part(2, 3, 7), part(3, 2, -7), part(-5, 9, 0)];

        let differing = differing(&source, &target);

        let expected = [(-5, 9), (2, 3), (3, 2), (4, 1)];
        assert_eq!(differing, BTreeMap::from(expected));
    }

    #[test]
    fn keys_of_any_width_fall_into_so_many_parts() {
        for (first, last, shift) in [
            (0, 0, 0),
            (1, 1_024, 0),
            (1, 1_025, 1),
            (1, 2_000_000, 11),
            (-5, 5, 0),
            (i64::MIN, i64::MAX, 54),
            (i64::MAX - 1, i64::MAX, 0),
        ] {
            let steps = Steps::by_key(first, last);
            assert_eq!(steps.first_shift, shift, "{first}..{last}");
        }
    }

    #[test]
    fn parts_are_split_until_few_rows_are_left() {
        let parts = |shift: u32, count: i64| Parts {
            shift,
            numbers: (0..count).collect(),
        };
        let steps = Steps::by_key(1, 2_000_000);
        let rows = 2_000_000;

        // A hundred rows differ, then ever fewer of their neighbours are looked at.
        let first = steps.after(&parts(11, 100), 204_800, (204_800, rows));
        let second = steps.after(&parts(7, 100), 12_800, (217_600, rows));
        let third = steps.after(&parts(3, 100), 800, (218_400, rows));
        assert_eq!(
            [first, second, third],
            [Step::Split, Step::Split, Step::List]
        );
        // All of them differ.
        let first = steps.after(&parts(11, 977), rows, (rows, rows));
        let second = steps.after(&parts(7, 15_632), rows, (2 * rows, rows));
        assert_eq!([first, second], [Step::Split, Step::Read]);
        // More parts differ than a statement names.
        let first = steps.after(&parts(7, 5_001), 6_000, (6_000, rows));
        assert_eq!(first, Step::Read);
        // Nothing is left to split.
        let last = steps.after(&parts(0, 2), 5_000, (5_000, 5_000));
        assert_eq!(last, Step::List);
    }

    #[test]
    fn rows_beside_the_largest_part_are_few() {
        let parts = |counts: &[(i64, u64)]| counts.iter().copied().collect::<BTreeMap<_, _>>();

        assert_eq!(largest(&parts(&[(0, 9_000), (511, 1)]), 9_001), Some(0));
        assert_eq!(largest(&parts(&[(0, 10), (1, 10)]), 20), None);
        assert_eq!(largest(&parts(&[]), 0), None);
    }

    #[test]
    fn servers_agree_only_if_they_hash_alike() {
        let facts = |name: &str, probe: &str, has_key_ordinal: bool| HashFacts {
            name: name.to_owned(),
            probes: vec![("numeric".to_owned(), probe.to_owned())],
            has_key_ordinal,
            keys: has_key_ordinal.then_some((1, 9)),
        };
        let by = |left: HashFacts, right: HashFacts| {
            agreed(Ok(left), Ok(right), (BITS, None)).map(|(ordinal, _)| ordinal)
        };

        let by_key = by(facts("a", "1", true), facts("a", "1", true));
        let by_hash = by(facts("a", "1", true), facts("a", "1", false));

        assert_eq!(by_key, Ok(Ordinal::Key));
        assert_eq!(by_hash, Ok(Ordinal::KeyHash));
        assert!(by(facts("a", "1", true), facts("b", "1", true)).is_err());
        let probed = by(facts("a", "1", true), facts("a", "2", true));
        assert_eq!(
            probed,
            Err("the servers hash values of `numeric` differently".to_owned())
        );
    }
}
