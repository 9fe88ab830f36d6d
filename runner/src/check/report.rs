//! What a check found.

use super::again::Seen;
use super::buckets::Buckets;
use super::page::{CELLS, Cell};
use crate::exit_code;
use crate::failure::Failure;
use arrow_array::RecordBatch;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// What became of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Both sides are equal, but for what no run has brought yet.
    Equal,
    /// They differ.
    Different,
    /// They differ in rows that may be in flight.
    Undecided,
    /// It could not be compared.
    Failed,
    /// It cannot be compared.
    Skipped,
    /// The time was up before it was compared.
    Unfinished,
}

/// How a table was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// By hashes that the servers computed.
    Hash,
    /// By reading every row.
    Stream,
}

/// Whether a difference is one for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It is.
    Drift,
    /// It may be in flight.
    Undecided,
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The target has another version of it.
    Different,
    /// The target does not have it.
    Missing,
    /// Only the target has it.
    Extra,
}

impl Kind {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::Missing => "missing",
            Self::Extra => "extra",
        }
    }
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    /// How.
    pub(crate) kind: Kind,
    /// Its key as texts, at the target.
    pub(crate) key: Vec<Option<String>>,
    /// Target columns whose values differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) columns: Vec<String>,
    /// True if it may be in flight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) undecided: bool,
}

impl Sample {
    /// Its key for people.
    pub(crate) fn key_text(&self) -> String {
        let part = |part: &Option<String>| match part {
            Some(text) => format!("{text:?}"),
            None => "null".to_owned(),
        };
        let key: Vec<_> = self.key.iter().map(part).collect();
        format!("[{}]", key.join(", "))
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let columns = match self.columns.as_slice() {
            [] => String::new(),
            columns => format!(": {}", columns.join(", ")),
        };
        let undecided = match self.undecided {
            true => " (undecided)",
            false => "",
        };
        format!(
            "{} {}{columns}{undecided}",
            self.kind.name(),
            self.key_text()
        )
    }
}

/// One table of a check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckedTable {
    /// The table as the pipeline names it.
    pub(crate) table: String,
    /// The target table.
    pub(crate) target: String,
    /// What became of it.
    pub(crate) verdict: Verdict,
    /// How it was compared; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    /// Why the servers did not hash its rows; absent if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode_reason: Option<String>,
    /// Selected rows at the source.
    pub(crate) rows_source: u64,
    /// Rows at the target; those that are marked as deleted are not counted.
    pub(crate) rows_target: u64,
    /// Rows that the target does not have.
    pub(crate) missing: u64,
    /// Rows that only the target has.
    pub(crate) extra: u64,
    /// Rows of which the target has another version.
    pub(crate) different: u64,
    /// Rows that differ and may be in flight.
    pub(crate) undecided: u64,
    /// Rows that the target refused and that wait to be tried again; they count nowhere else.
    pub(crate) rejected: u64,
    /// False if there are more differences than were looked into.
    pub(crate) complete: bool,
    /// Some of the rows.
    pub(crate) samples: Vec<Sample>,
    /// Keys of all rows that differ for certain, in the source's types.
    #[serde(skip)]
    pub(crate) drifted_keys: Vec<RecordBatch>,
    /// Rows and differences by the first bits of their keys' hashes; empty if nothing was read.
    #[serde(skip)]
    pub(crate) map: Vec<Cell>,
    /// What the target has under these keys.
    #[serde(skip)]
    pub(crate) seen: Seen,
    /// The condition of the rows that were not compared, for `--where`; absent if all were, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rest: Option<String>,
    /// Time spent on it.
    pub(crate) duration_ms: u64,
    /// The part of that time in which nothing was asked of the databases, because of `--max-load`.
    #[serde(
        rename = "rested_ms",
        serialize_with = "in_ms",
        skip_serializing_if = "Duration::is_zero"
    )]
    pub(crate) rested: Duration,
    /// The exit code it means.
    pub(crate) exit_code: i32,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

impl CheckedTable {
    /// A table that was not looked at.
    pub(super) fn new(table: &str, target: &str) -> Self {
        Self {
            table: table.to_owned(),
            target: target.to_owned(),
            verdict: Verdict::Equal,
            mode: None,
            mode_reason: None,
            rows_source: 0,
            rows_target: 0,
            missing: 0,
            extra: 0,
            different: 0,
            undecided: 0,
            rejected: 0,
            complete: true,
            samples: Vec::new(),
            drifted_keys: Vec::new(),
            map: Vec::new(),
            seen: Seen::new(),
            rest: None,
            duration_ms: 0,
            rested: Duration::ZERO,
            exit_code: exit_code::DONE,
            notes: Vec::new(),
            failure: None,
        }
    }

    /// The time is up. `rest`: the condition of the rows that were not compared, unless that is all.
    pub(super) fn leave(&mut self, rest: Option<String>) {
        self.settle();
        self.complete = false;
        self.rest = rest;
        if self.drifted() == 0 {
            (self.verdict, self.exit_code) = (Verdict::Unfinished, exit_code::RETRY);
        }
    }

    /// Adds what was found in a part of the table. `samples`: how many rows are named, at most.
    pub(super) fn add(&mut self, part: Self, samples: usize) {
        // A table of which some part was read was read.
        if self.mode != Some(Mode::Stream) {
            (self.mode, self.mode_reason) = (part.mode, part.mode_reason);
        }
        self.rows_source += part.rows_source;
        self.rows_target += part.rows_target;
        self.missing += part.missing;
        self.extra += part.extra;
        self.different += part.different;
        self.undecided += part.undecided;
        self.rejected = self.rejected.max(part.rejected);
        self.complete &= part.complete;
        self.rested += part.rested;
        self.samples.extend(part.samples);
        self.samples.truncate(samples);
        self.drifted_keys.extend(part.drifted_keys);
        self.seen.extend(part.seen);
        for note in part.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        match self.map.is_empty() {
            true => self.map = part.map,
            false => {
                for (cell, part) in self.map.iter_mut().zip(part.map) {
                    cell.add(part);
                }
            }
        }
    }

    /// Rows that differ for certain.
    pub(crate) fn drifted(&self) -> u64 {
        self.missing + self.extra + self.different
    }

    /// Counts rows that differ.
    pub(super) fn count(&mut self, kind: Kind, rows: u64) {
        match kind {
            Kind::Different => self.different += rows,
            Kind::Missing => self.missing += rows,
            Kind::Extra => self.extra += rows,
        }
    }

    /// Draws the map of the rows of both sides.
    pub(super) fn draw(&mut self, source: &Buckets, target: &Buckets) {
        let source = source.rows_by_cell(CELLS);
        let rows = source.into_iter().zip(target.rows_by_cell(CELLS));
        let cell = |(source, target)| Cell {
            source,
            target,
            ..Cell::default()
        };
        self.map = rows.map(cell).collect();
    }

    /// Draws a map of which only the rows that differ are known.
    pub(super) fn draw_drift(&mut self) {
        self.map = vec![Cell::default(); CELLS];
    }

    /// Marks rows that differ on the map.
    pub(super) fn mark(&mut self, key: u64, rows: u64, certainty: Certainty) {
        let bits = u64::BITS - CELLS.trailing_zeros();
        let cell = usize::try_from(key >> bits).expect("so few bits fit");
        if let Some(cell) = self.map.get_mut(cell) {
            match certainty {
                Certainty::Drift => cell.drifted += rows,
                Certainty::Undecided => cell.undecided += rows,
            }
        }
    }

    /// Says what the counts mean.
    pub(super) fn settle(&mut self) {
        (self.verdict, self.exit_code) = match (self.drifted(), self.undecided) {
            (0, 0) => (Verdict::Equal, exit_code::DONE),
            (0, _) => (Verdict::Undecided, exit_code::RETRY),
            _ => (Verdict::Different, exit_code::DIFFERENT),
        };
    }

    /// It could not be compared.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.verdict = match failure.exit_code {
            exit_code::DIFFERENT => Verdict::Different,
            _ => Verdict::Failed,
        };
        self.exit_code = failure.exit_code;
        self.failure = Some(failure);
    }

    /// It cannot be compared.
    pub(super) fn skip(&mut self, why: &str) {
        self.verdict = Verdict::Skipped;
        self.notes.push(why.to_owned());
    }
}

fn in_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// One check of one pipeline.
#[derive(Debug, Serialize)]
pub(crate) struct CheckReport {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The exit code of the check.
    pub(crate) exit_code: i32,
    /// Time it took.
    pub(crate) duration_ms: u64,
    /// Its tables.
    pub(crate) tables: Vec<CheckedTable>,
}

/// The exit code of a check from those of its tables: differences count for more than tables of
/// which nothing is known.
pub(crate) fn exit_code_of(codes: impl Iterator<Item = i32>) -> i32 {
    let codes: Vec<i32> = codes.collect();
    if codes.contains(&exit_code::DIFFERENT) {
        return exit_code::DIFFERENT;
    }
    exit_code::of_tables(&codes)
}
