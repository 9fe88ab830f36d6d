//! Which rows a window reads, decided from the stored watermark and what the server shows.
//!
//! Pure: values in, conditions out.

use super::bound::Activity;
use super::open::Opened;
use super::position::{Bound, Identity, Pending, Watermark};
use super::seen::Seen;
use super::shape::{Cursor, Shape, compare_row};
use syncset_connector::{
    ConnectorError, ErrorClass, Result, TableRead, integer_overlap, integer_step,
};

/// What a window does.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// The watermark proves nothing any more.
    Reload(String),
    /// These rows are read.
    Read(Box<WindowPlan>),
}

/// How a window is read, and what it makes of the watermark.
#[derive(Debug, Clone)]
pub(crate) struct WindowPlan {
    /// Holds for the rows that may have changed.
    pub(crate) condition: String,
    /// The watermark the window started from.
    pub(crate) base: Watermark,
    /// The watermark at its end.
    pub(crate) next: Watermark,
    /// Holds for the rows that the next window starts with, as far as its bound is known; `None`:
    /// what they are is not remembered.
    pub(crate) overlap: Option<String>,
}

/// What a decision is made from.
pub(crate) struct Evidence<'a> {
    /// The read.
    pub(crate) read: &'a TableRead,
    /// The read, rendered.
    pub(crate) shape: &'a Shape,
    /// Its cursor.
    pub(crate) cursor: &'a Cursor,
    /// The table, as it is under the snapshot's lock.
    pub(crate) identity: Identity,
    /// The columns that are read, with their types.
    pub(crate) columns: Vec<(String, String)>,
    /// The look at the sessions before the snapshot.
    pub(crate) activity: &'a Activity,
}

impl<'a> Evidence<'a> {
    /// What is known of one table of a snapshot.
    pub(crate) fn of(
        read: &'a TableRead,
        shape: &'a Shape,
        cursor: &'a Cursor,
        opened: &'a Opened,
        place: usize,
    ) -> Self {
        let table = opened.tables.get(place);
        Self {
            read,
            shape,
            cursor,
            identity: table
                .map(|table| table.identity.clone())
                .unwrap_or_default(),
            columns: table.map(|table| table.columns.clone()).unwrap_or_default(),
            activity: &opened.activity,
        }
    }

    /// The lowest watermark of a first load. `largest` is that of an integer cursor.
    pub(crate) fn low(&self, largest: Option<i64>) -> Watermark {
        let bound = if self.cursor.kind.is_time() {
            Some(self.activity.bound())
        } else {
            largest
        };
        self.watermark(Bound {
            cursor: bound.map(|bound| self.cursor.position_of(bound)),
            step: None,
        })
    }

    fn watermark(&self, bound: Bound) -> Watermark {
        Watermark::new(
            self.identity.clone(),
            self.columns.clone(),
            (self.read.selection.clone(), self.cursor.spec.clone()),
            bound,
        )
    }

    /// Decides the window from a stored watermark.
    ///
    /// # Errors
    /// `SourceReplaced` if the watermark belongs to another database.
    pub(crate) fn decide(&self, base: &Watermark) -> Result<Decision> {
        if base.identity.database != self.identity.database {
            return Err(ConnectorError::new(
                ErrorClass::SourceReplaced,
                format!(
                    "`{}` is in the database `{}`, and its watermark belongs to `{}`",
                    self.read.description.name, self.identity.database, base.identity.database
                ),
            )
            .with_hint(
                "if the database was renamed or replaced on purpose, load the table again with \
                 `pipeline run --full-refresh`; else check the connection",
            ));
        }
        let reason = if self.cursor.is_disjoint() {
            self.stop_reason(base)
        } else {
            self.reload_reason(base)
        };
        if let Some(reason) = reason {
            return Ok(Decision::Reload(reason));
        }
        let next = match &base.pending {
            Some(pending) => pending.bound.clone(),
            None => self.next_bound(base),
        };
        let mut next = self.watermark(next);
        next.window_count = base.window_count.saturating_add(1);
        if base.pending.is_some() {
            // Its first part was read under these.
            next.cursor.clone_from(&base.cursor);
        }
        let mut condition = self.condition(base)?;
        // A window that was cut is read in several snapshots, so no digest is of what was read.
        let remembers = base.pending.is_none() && !self.cursor.is_disjoint();
        let overlap = remembers.then(|| self.rows_from(next.bound.cursor));
        if self.cursor.is_disjoint() {
            let is_fixed = base.pending.is_some() || self.is_held();
            condition = self.cursor.until(&condition, next.bound.cursor, is_fixed);
        }
        Ok(Decision::Read(Box::new(WindowPlan {
            condition,
            next,
            overlap,
            base: base.clone(),
        })))
    }

    fn reload_reason(&self, base: &Watermark) -> Option<String> {
        let (stored, found) = (&base.identity, &self.identity);
        if stored.server != found.server {
            return Some("the server is another one than in the last run".into());
        }
        if base.selection != self.read.selection {
            return Some("the selection is not the one of the last run".into());
        }
        if base.columns != self.columns {
            return Some("a column that is read has another type than in the last run".into());
        }
        let differs =
            stored.storage != found.storage && stored.storage.is_some() && found.storage.is_some();
        if stored.created != found.created || differs {
            return Some("the table was altered, truncated or made anew since the last run".into());
        }
        if self.cursor.kind.is_time() {
            return self.time_reason(base);
        }
        None
    }

    fn time_reason(&self, base: &Watermark) -> Option<String> {
        let Some(bound) = base.bound.cursor else {
            return Some(format!(
                "the watermark holds no time for `{}`",
                self.cursor.spec.column
            ));
        };
        if self.activity.clock < bound {
            return Some("the server's clock is behind the watermark".into());
        }
        (base.cursor.zone != self.cursor.spec.zone)
            .then(|| "the `zone` of its cursor is another one".into())
    }

    /// Why windows that read nothing twice cannot go on. A table that was rewritten holds the same
    /// rows as before, and another server goes on with its clock, but not with its numbers. A
    /// selection that got a column has read the same rows: whether another one may go on is for the
    /// runner.
    fn stop_reason(&self, base: &Watermark) -> Option<String> {
        let type_of = |columns: &[(String, String)]| {
            let name = &self.cursor.spec.column;
            let column = columns.iter().find(|(column, _)| column == name);
            column.map(|(_, native)| native.clone())
        };
        if type_of(&base.columns) != type_of(&self.columns) {
            return Some("its cursor has another type".into());
        }
        if self.cursor.kind.is_time() {
            return self.time_reason(base);
        }
        (base.identity.server != self.identity.server)
            .then(|| "the server is another one: its numbers may repeat".into())
    }

    /// True if the watermark stays where it is. Numbers are bounded by the snapshot alone, and by
    /// prepared transactions.
    fn is_held(&self) -> bool {
        match self.cursor.kind.is_time() {
            true => self.activity.holds_watermark(),
            false => !self.activity.prepared.is_empty(),
        }
    }

    fn next_bound(&self, base: &Watermark) -> Bound {
        // That of an integer cursor is filled in from the snapshot.
        let cursor = if self.is_held() || !self.cursor.kind.is_time() {
            base.bound.cursor
        } else {
            let bound = self.cursor.position_of(self.activity.bound());
            base.bound.cursor.max(Some(bound))
        };
        Bound {
            cursor,
            step: base.bound.step,
        }
    }

    fn condition(&self, base: &Watermark) -> Result<String> {
        let mut sql = self.rows_from(base.bound.cursor);
        if let Some(pending) = &base.pending {
            sql.push_str(&format!(" AND {}", self.after_sql(pending)?));
        }
        Ok(sql)
    }

    /// The rows that a window from a bound reads.
    fn rows_from(&self, bound: Option<i64>) -> String {
        let cursor = self.cursor;
        let name = &cursor.column.sql;
        let lower = bound.and_then(|bound| cursor.lower_sql(bound));
        let mut sql = match lower {
            Some(lower) if cursor.reads_null() => format!("({name} >= {lower} OR {name} IS NULL)"),
            Some(lower) => format!("{name} >= {lower}"),
            None => "TRUE".to_owned(),
        };
        if cursor.ignores_null() {
            sql.push_str(&format!(" AND {name} IS NOT NULL"));
        }
        sql
    }

    /// Rows behind the place where a window was cut. Rows without a cursor come first.
    fn after_sql(&self, pending: &Pending) -> Result<String> {
        let order = self.shape.order();
        if pending.after.len() != order.len() {
            return Err(ConnectorError::new(
                ErrorClass::Store,
                format!(
                    "the watermark of `{}` was cut at another key",
                    self.read.description.name
                ),
            )
            .with_hint("load the table again with `pipeline run --full-refresh`"));
        }
        let values: Vec<_> = pending.after.iter().flatten().cloned().collect();
        let name = &self.cursor.column.sql;
        if pending.after.first().is_some_and(Option::is_none) {
            let key = order.get(1..).unwrap_or_default();
            let key = compare_row(key, (">", ">"), &values)?;
            return Ok(format!("({name} IS NOT NULL OR {key})"));
        }
        compare_row(&order, (">", ">"), &values)
    }
}

impl WindowPlan {
    /// The rows that the run before has read of this window, if it has remembered them.
    pub(crate) fn seen_before(&self, cursor: &Cursor) -> Option<&Seen> {
        // The bound alone does not say where a window starts: the settings do, too.
        let seen = self.base.seen.as_ref();
        seen.filter(|_| self.base.cursor == cursor.spec)
    }

    /// Takes note of the rows of the snapshot that the next window starts with.
    pub(crate) fn remember(&mut self, cursor: &Cursor, next: Seen) {
        // The next window of an integer cursor was taken to start where this one does.
        let is_known = cursor.kind.is_time() || self.next.bound.cursor == self.base.bound.cursor;
        let next = next.settled_as(self.base.seen.as_ref());
        self.next.seen = is_known.then_some(next);
    }

    /// Why the numbers of an integer cursor cannot be followed any more: new rows may be below
    /// everything that a window reads.
    pub(crate) fn began_anew(&self, cursor: &Cursor, largest: Option<i64>) -> Option<String> {
        let (Some(bound), Some(largest)) = (self.base.bound.cursor, largest) else {
            return None;
        };
        let overlap = if cursor.is_disjoint() {
            0
        } else {
            integer_overlap(cursor.spec.overlap)
        };
        let lowest = i128::from(bound) - i128::from(overlap);
        (self.base.pending.is_none() && i128::from(largest) < lowest).then(|| {
            format!(
                "the largest `{}` is far below the watermark: its numbers may have begun anew",
                cursor.spec.column
            )
        })
    }

    /// Fixes the bound of an integer cursor: the largest value in the snapshot, or none.
    ///
    /// # Errors
    /// `Config` if that value jumped far out of its usual step.
    pub(crate) fn fix_integer_bound(
        &mut self,
        read: &TableRead,
        cursor: &Cursor,
        activity: &Activity,
        largest: Option<i64>,
    ) -> Result<()> {
        if self.base.pending.is_some() || !activity.prepared.is_empty() {
            return Ok(());
        }
        let bound = &self.base.bound;
        let step = integer_step(bound.cursor, largest, bound.step, cursor.spec.overlap).map_err(
            |jump| {
                ConnectorError::new(
                    ErrorClass::Config,
                    format!(
                        "cursor `{}` of `{}` jumped by {jump}, far more than ever before: a \
                         watermark there would hide every row that follows the usual count",
                        cursor.spec.column, read.description.name
                    ),
                )
                .with_hint(
                    "correct the row with the largest value; if the jump is right, load the table \
                     again with `pipeline run --full-refresh`",
                )
            },
        )?;
        self.next.bound.step = step;
        if cursor.is_disjoint() {
            let end = largest.map(|largest| cursor.position_of(largest));
            self.next.bound.cursor = bound.cursor.max(end);
            self.condition = cursor.until(&self.condition, self.next.bound.cursor, true);
        } else {
            // Without a row nothing is known of the numbers to come, so all are read.
            self.next.bound.cursor = largest.and(bound.cursor.max(largest));
        }
        Ok(())
    }
}
