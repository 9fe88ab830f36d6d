//! Windows that read no row version twice: each ends `overlap` below its bound, and the next one
//! starts there.
//!
//! Their positions are those ends, so that another `overlap` leaves no gap and no row comes again.
//! Nothing here trusts or needs transaction numbers: every row below the end of a window had been
//! committed when the bound was taken.

use super::bound::MARGIN_MICROS;
use super::cursor::CursorKind;
use super::position::{Leaf, Watermark};
use super::shape::{Cursor, Shape};
use super::window::Evidence;
use crate::error;
use syncset_connector::{Overlap, Position, Result, Windows, integer_overlap};

impl Cursor {
    /// True if its windows read nothing twice.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.spec.windows == Windows::Disjoint
    }

    /// What a position holds, given the bound below which nothing can appear any more.
    pub(crate) fn position_of(&self, bound: i64) -> i64 {
        if !self.is_disjoint() {
            return bound;
        }
        let overlap = match self.spec.overlap {
            _ if !self.kind.is_time() => {
                i64::try_from(integer_overlap(self.spec.overlap)).unwrap_or(i64::MAX)
            }
            Some(Overlap::Time(time)) => i64::try_from(time.as_micros()).unwrap_or(i64::MAX),
            _ => 0,
        };
        bound.saturating_sub(overlap)
    }

    /// The smallest value that a window from a position must read, as a literal of SQL.
    pub(crate) fn lower_sql(&self, position: i64) -> String {
        let overlap = match self.spec.overlap {
            _ if !self.is_disjoint() => self.spec.overlap,
            // It is in the position.
            _ if self.kind.is_time() => None,
            _ => Some(Overlap::Units(0)),
        };
        self.kind.lower_sql(position, overlap)
    }

    /// A condition, and that the row is below the end of its window. `is_fixed`: the end is known;
    /// that of an integer cursor comes with the probe of its window.
    pub(super) fn until(&self, condition: &str, end: Option<i64>, is_fixed: bool) -> String {
        if !is_fixed && !self.kind.is_time() {
            return condition.to_owned();
        }
        match end {
            Some(end) => format!("({condition}) AND {}", self.below(end)),
            None => "false".to_owned(),
        }
    }

    /// What `plan` says of its delay.
    pub(crate) fn disjoint_notes(&self, table: &str) -> Vec<String> {
        let column = &self.spec.column;
        if !self.kind.is_time() {
            let units = integer_overlap(self.spec.overlap);
            return vec![format!(
                "rows of `{table}` come once the greatest `{column}` is more than {units} (`overlap`) \
                 above theirs; a row that is committed later than that is not found"
            )];
        }
        let overlap = match self.spec.overlap {
            Some(Overlap::Time(time)) => time.as_secs(),
            _ => 0,
        };
        let seconds = overlap + MARGIN_MICROS.unsigned_abs() / 1_000_000;
        let mut notes = vec![format!(
            "rows of `{table}` come {seconds} s after their `{column}` at the earliest, and not \
             before transactions that are older have ended"
        )];
        if overlap > 0 {
            notes.push(format!(
                "a row of `{table}` that is committed more than {overlap} s after its `{column}` is \
                 not found"
            ));
        }
        if matches!(self.kind, CursorKind::Day { .. }) {
            notes.push(format!("rows of `{table}` come once their day is over"));
        }
        notes
    }

    fn below(&self, end: i64) -> String {
        format!("{} < {}", self.column.sql, self.lower_sql(end))
    }
}

/// The condition of rows that lie below a position.
pub(crate) fn below_sql(shape: &Shape, position: &Position) -> Result<String> {
    let mark = Watermark::read(position)?;
    let cursor = shape.cursor.as_ref().ok_or_else(|| {
        error::unexpected("rows below a position were asked for without a cursor")
    })?;
    Ok(match mark.bound.cursor {
        Some(end) => cursor.below(end),
        None => "false".to_owned(),
    })
}

impl Evidence<'_> {
    /// The cursor, if its windows read nothing twice.
    pub(super) fn disjoint(&self) -> Option<&Cursor> {
        let cursor = self.shape.cursor.as_ref();
        cursor.filter(|cursor| cursor.is_disjoint())
    }

    /// Leaves whose rows have been read. One that was detached may come back.
    pub(super) fn leaves_read(&self, base: &Watermark) -> Vec<Leaf> {
        let mut leaves = self.relation.leaves.clone();
        if self.disjoint().is_some() {
            let lost = |old: &&Leaf| self.relation.leaves.iter().all(|leaf| leaf.oid != old.oid);
            leaves.extend(base.bound.leaves.iter().filter(lost));
            leaves.sort_unstable();
        }
        leaves
    }

    fn went_back(&self, base: &Watermark) -> bool {
        let is_behind = self.numbers.xmax < base.bound.snapshot_xmin && !self.activity.standby;
        is_behind || base.identity.timeline != self.relation.identity.timeline
    }

    /// Why such windows cannot go on. A table that was rewritten holds the same rows as before,
    /// and a server that failed over goes on with its clock, but not with its numbers. A selection
    /// that got a column has read the same rows: whether another one may go on is for the runner.
    pub(super) fn stop_reason(&self, base: &Watermark, cursor: &Cursor) -> Option<String> {
        let (stored, found) = (&base.identity, &self.relation.identity);
        if stored.database != found.database || stored.table != found.table {
            return Some("the table was created anew since the last run".into());
        }
        let number_of = |columns: &[super::position::ColumnNumber], name: &str| {
            let column = columns.iter().find(|column| column.name == name);
            column.map(|column| (column.number, column.type_oid))
        };
        let name = &cursor.spec.column;
        let before = base.cursor.as_ref().map_or(name, |before| &before.column);
        if number_of(&base.columns, before) != number_of(&self.relation.columns, name) {
            return Some("its cursor is another column, or has another type".into());
        }
        if !cursor.kind.is_time() {
            return self
                .went_back(base)
                .then(|| "the server failed over or was restored: its numbers may repeat".into());
        }
        if base
            .bound
            .cursor
            .is_some_and(|bound| self.activity.clock < bound)
        {
            return Some("the server's clock is behind the watermark".into());
        }
        let zone = base.cursor.as_ref().map(|stored| &stored.zone);
        (zone.is_some_and(|zone| *zone != cursor.spec.zone))
            .then(|| "the `zone` of its cursor is another one".into())
    }

    /// What a person should know of a source that went back.
    pub(crate) fn disjoint_warning(&self, base: &Watermark) -> Option<String> {
        let warns = self
            .disjoint()
            .is_some_and(|cursor| cursor.kind.is_time() && self.went_back(base));
        warns.then(|| {
            "the server failed over or was restored since the last run; rows that it lost stay at \
             the target"
                .to_owned()
        })
    }
}
