//! Which rows a window reads, decided from the stored watermark and what the server shows.
//!
//! Pure: values in, conditions out.

use super::bound::Activity;
use super::position::{Bound, ColumnNumber, Leaf, Pending, Watermark};
use super::relation::{Relation, SnapshotNumbers};
use super::shape::{Cursor, Shape, compare_row};
use syncset_connector::{
    ConnectorError, CursorSpec, ErrorClass, Result, TableRead, integer_overlap, integer_step,
};

/// Row xmins that one watermark holds at most; with more, it holds none.
pub(crate) const SEEN_XMINS_MAX: usize = 10_000;

/// Transaction numbers are compared as 32 bits, so nothing older than this is trusted.
const XIDS_APART_MAX: u64 = (1 << 31) - 10_000_000;

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
    /// Holds for the rows that may have changed and were not read before.
    pub(crate) condition: String,
    /// The watermark the window started from.
    pub(crate) base: Watermark,
    /// The watermark at its end, without the row xmins that it reads.
    pub(crate) next: Watermark,
    /// True if row xmins of the window belong into `next`.
    pub(crate) collects_xmins: bool,
    /// Leaves that are read whole.
    pub(crate) whole: Vec<u32>,
}

/// What a decision is made from.
pub(crate) struct Evidence<'a> {
    /// The read.
    pub(crate) read: &'a TableRead,
    /// The read, rendered.
    pub(crate) shape: &'a Shape,
    /// The table in the snapshot.
    pub(crate) relation: &'a Relation,
    /// The snapshot.
    pub(crate) numbers: SnapshotNumbers,
    /// The look at the sessions before the snapshot.
    pub(crate) activity: &'a Activity,
}

impl Evidence<'_> {
    /// The lowest watermark of a first load. `largest` is that of an integer cursor.
    pub(crate) fn low(&self, largest: Option<i64>) -> Watermark {
        let cursor = self.shape.cursor.as_ref().and_then(|cursor| {
            let bound = if cursor.kind.is_time() {
                Some(self.activity.bound())
            } else {
                largest
            };
            bound.map(|bound| cursor.position_of(bound))
        });
        self.watermark(Bound {
            cursor,
            snapshot_xmin: self.numbers.xmin,
            seen: Vec::new(),
            leaves: self.relation.leaves.clone(),
            step: None,
        })
    }

    fn watermark(&self, bound: Bound) -> Watermark {
        let mut mark = Watermark::new(
            self.relation.identity.clone(),
            self.relation.columns.clone(),
            self.read.selection.clone(),
            bound,
        );
        mark.cursor = self.cursor_settings().cloned();
        mark.recovered = self.numbers.recovered;
        mark
    }

    fn cursor_settings(&self) -> Option<&CursorSpec> {
        self.shape.cursor.as_ref().map(|cursor| &cursor.spec)
    }

    /// Decides the window from a stored watermark.
    ///
    /// # Errors
    /// `SourceReplaced` if the watermark belongs to another server or database.
    pub(crate) fn decide(&self, base: &Watermark) -> Result<Decision> {
        self.check_system(base)?;
        if let Some(reason) = self.reload_reason(base) {
            return Ok(Decision::Reload(reason));
        }
        let whole = match &base.pending {
            Some(pending) => pending.whole.clone(),
            None => self.new_leaves(base),
        };
        let tells_leaves = self.relation.has_tableoid && self.relation.keeps_versions;
        if !whole.is_empty() && !tells_leaves {
            return Ok(Decision::Reload(
                "a table was added below it whose rows cannot be told apart".into(),
            ));
        }
        let disjoint = self.disjoint().is_some();
        let skip = if disjoint { None } else { self.skip_sql(base) };
        let seen = if skip.is_some() {
            seen_from(&base.bound.seen, self.numbers.xmin)
        } else {
            Vec::new()
        };
        let next = match &base.pending {
            Some(pending) => pending.bound.clone(),
            None => self.next_bound(base, seen),
        };
        let mut next = self.watermark(next);
        next.window_count = base.window_count.saturating_add(1);
        if base.pending.is_some() {
            // Its first part was read under these.
            next.cursor.clone_from(&base.cursor);
            next.recovered = base.recovered;
        }
        let mut condition = self.condition(base, skip, &whole)?;
        if let Some(cursor) = self.disjoint() {
            let is_fixed = base.pending.is_some() || self.activity.prepared.is_some();
            condition = cursor.until(&condition, next.bound.cursor, is_fixed);
        }
        Ok(Decision::Read(Box::new(WindowPlan {
            condition,
            next,
            collects_xmins: base.pending.is_none() && self.relation.has_xmin && !disjoint,
            base: base.clone(),
            whole,
        })))
    }

    fn check_system(&self, base: &Watermark) -> Result<()> {
        let (stored, found) = (&base.identity, &self.relation.identity);
        let differ = |stored: &Option<String>, found: &Option<String>| {
            stored.is_some() && found.is_some() && stored != found
        };
        let other = if differ(&stored.system, &found.system) {
            "server"
        // One that was created anew has its old name, one that was renamed its old number.
        } else if stored.database != found.database
            && differ(&stored.database_name, &found.database_name)
        {
            "database"
        } else {
            return Ok(());
        };
        Err(ConnectorError::new(
            ErrorClass::SourceReplaced,
            format!(
                "`{}` is on another {other} than the one its watermark belongs to",
                self.read.description.name
            ),
        )
        .with_hint(format!(
            "if the {other} was replaced on purpose, load the table again with \
             `pipeline run --full-refresh`; else check the connection"
        )))
    }

    fn reload_reason(&self, base: &Watermark) -> Option<String> {
        if let Some(cursor) = self.disjoint() {
            return self.stop_reason(base, cursor);
        }
        let identity = &self.relation.identity;
        let stored = &base.identity;
        if stored.timeline != identity.timeline {
            return Some("the server failed over or was restored since the last run".into());
        }
        if stored.database != identity.database || stored.table != identity.table {
            return Some("the table was created anew since the last run".into());
        }
        // A standby may only be behind the server that was read last.
        if self.numbers.xmax < base.bound.snapshot_xmin && !self.activity.standby {
            return Some("the server was restored to an earlier state".into());
        }
        // Whoever read more columns of the same rows has read these too: whether the rest of the
        // selection is the same is for the runner.
        let is_narrower = self.relation.columns.len() < base.columns.len();
        // So have those read all who knew a column by another name.
        let known = |column: &ColumnNumber| {
            let mut columns = base.columns.iter();
            columns.find(|it| it.number == column.number && it.type_oid == column.type_oid)
        };
        let has_other_name = |column| known(column).is_some_and(|it| it.name != column.name);
        let is_renamed = self.relation.columns.iter().any(has_other_name);
        if base.selection != self.read.selection && !is_narrower && !is_renamed {
            return Some("the selection is not the one of the last run".into());
        }
        let knows_all = self.relation.columns.iter().all(|it| known(it).is_some());
        if !knows_all || (base.columns.len() != self.relation.columns.len() && !is_narrower) {
            return Some("a column was dropped and added again, or has another type".into());
        }
        if let Some(leaf) = self.rewritten_leaf(base) {
            return Some(format!(
                "the table, or a partition of it (OID {leaf}), was rewritten or truncated"
            ));
        }
        if let Some(cursor) = self
            .shape
            .cursor
            .as_ref()
            .filter(|cursor| cursor.kind.is_time())
        {
            let Some(bound) = base.bound.cursor else {
                return Some(format!(
                    "the watermark holds no time for `{}`",
                    cursor.spec.column
                ));
            };
            if self.activity.clock < bound {
                return Some("the server's clock is behind the watermark".into());
            }
            let stored = base.cursor.as_ref();
            if stored.is_some_and(|stored| stored.zone != cursor.spec.zone) {
                return Some("the `zone` of its cursor is another one".into());
            }
        }
        let recovered = base.recovered != self.numbers.recovered;
        if self.shape.by_xmin && recovered && !self.activity.standby {
            return Some("the server recovered from a crash since the last run".into());
        }
        if self.shape.by_xmin && !self.is_near(base) {
            return Some("transaction numbers wrapped around since the last run".into());
        }
        None
    }

    fn rewritten_leaf(&self, base: &Watermark) -> Option<u32> {
        let stored = base
            .pending
            .as_ref()
            .map_or(&base.bound, |pending| &pending.bound);
        base.bound
            .leaves
            .iter()
            .chain(&stored.leaves)
            .find_map(|old| {
                self.relation
                    .leaves
                    .iter()
                    .find(|leaf| leaf.oid == old.oid && leaf.filenode != old.filenode)
                    .map(|leaf| leaf.oid)
            })
    }

    fn new_leaves(&self, base: &Watermark) -> Vec<u32> {
        let known = |leaf: &&Leaf| base.bound.leaves.iter().all(|old| old.oid != leaf.oid);
        self.relation
            .leaves
            .iter()
            .filter(known)
            .map(|leaf| leaf.oid)
            .collect()
    }

    /// Leaves that hold rows no longer read: nothing but a warning can come of them here.
    pub(crate) fn lost_leaves(&self, base: &Watermark) -> usize {
        let lost = |old: &&Leaf| self.relation.leaves.iter().all(|leaf| leaf.oid != old.oid);
        base.bound.leaves.iter().filter(lost).count()
    }

    fn is_near(&self, base: &Watermark) -> bool {
        self.numbers
            .xmax
            .checked_sub(base.bound.snapshot_xmin)
            .is_some_and(|apart| apart < XIDS_APART_MAX)
    }

    /// The condition under which a row was read before; `None` where that cannot be told.
    fn skip_sql(&self, base: &Watermark) -> Option<String> {
        let leaves = base.bound.leaves == self.relation.leaves || self.shape.by_xmin;
        // Under other settings more rows belong to a window than were read by the last one.
        let settings = base.cursor.as_ref() == self.cursor_settings();
        let numbers = base.recovered == self.numbers.recovered && self.is_near(base);
        if !(self.relation.has_xmin && leaves && settings && numbers) {
            return None;
        }
        let xmin = format!("{}.xmin", self.shape.table);
        let floor = xid(base.bound.snapshot_xmin);
        let mut sql = format!("pg_catalog.age({xmin}) > pg_catalog.age('{floor}'::pg_catalog.xid)");
        if !base.bound.seen.is_empty() {
            let seen: Vec<_> = base.bound.seen.iter().map(u32::to_string).collect();
            sql.push_str(&format!(
                " OR {xmin} = ANY ('{{{}}}'::pg_catalog.xid[])",
                seen.join(",")
            ));
        }
        Some(sql)
    }

    fn next_bound(&self, base: &Watermark, seen: Vec<u32>) -> Bound {
        let cursor = match &self.shape.cursor {
            // Filled in from the snapshot.
            Some(cursor) if !cursor.kind.is_time() => base.bound.cursor,
            Some(_) if self.activity.prepared.is_some() => base.bound.cursor,
            Some(cursor) => {
                let bound = cursor.position_of(self.activity.bound());
                base.bound.cursor.max(Some(bound))
            }
            None => None,
        };
        Bound {
            cursor,
            snapshot_xmin: self.numbers.xmin,
            seen,
            leaves: self.leaves_read(base),
            step: base.bound.step,
        }
    }

    fn condition(&self, base: &Watermark, skip: Option<String>, whole: &[u32]) -> Result<String> {
        let mut parts = Vec::new();
        let cursor = self.shape.cursor.as_ref();
        if let Some(cursor) = cursor {
            parts.extend(lower_sql(cursor, base.bound.cursor));
        }
        if let Some(skip) = skip {
            parts.push(format!("NOT ({skip})"));
        }
        if parts.is_empty() {
            parts.push("true".into());
        }
        let mut sql = parts.join(" AND ");
        if !whole.is_empty() {
            let oids: Vec<_> = whole.iter().map(u32::to_string).collect();
            sql = format!(
                "({sql} OR {}.tableoid = ANY ('{{{}}}'::pg_catalog.oid[]))",
                self.shape.table,
                oids.join(",")
            );
        }
        if let Some(cursor) = cursor.filter(|cursor| cursor.ignores_null()) {
            sql.push_str(&format!(" AND {} IS NOT NULL", cursor.column.sql));
        }
        if let Some(pending) = &base.pending {
            sql.push_str(&format!(" AND {}", self.after_sql(pending)?));
        }
        Ok(sql)
    }

    /// Rows behind the place where a window was cut. Rows without a cursor come last.
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
        let Some(cursor) = &self.shape.cursor else {
            return compare_row(&order, ">", &values);
        };
        let name = &cursor.column.sql;
        if pending.after.first().is_some_and(Option::is_none) {
            let key = compare_row(order.get(1..).unwrap_or_default(), ">", &values)?;
            return Ok(format!("({name} IS NULL AND {key})"));
        }
        let after = compare_row(&order, ">", &values)?;
        Ok(if cursor.reads_null() {
            format!("({after} OR {name} IS NULL)")
        } else {
            after
        })
    }
}

impl WindowPlan {
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
        if self.base.pending.is_some() || activity.prepared.is_some() {
            return Ok(());
        }
        let bound = &self.base.bound;
        match integer_step(bound.cursor, largest, bound.step, cursor.spec.overlap) {
            Ok(step) if cursor.is_disjoint() => {
                let end = largest.map(|largest| cursor.position_of(largest));
                self.next.bound.cursor = bound.cursor.max(end);
                self.next.bound.step = step;
                let end = self.next.bound.cursor;
                self.condition = cursor.until(&self.condition, end, true);
                Ok(())
            }
            Ok(step) => {
                // Without a row nothing is known of the numbers to come, so all are read.
                self.next.bound.cursor = largest.and(bound.cursor.max(largest));
                self.next.bound.step = step;
                Ok(())
            }
            Err(jump) => Err(ConnectorError::new(
                ErrorClass::Config,
                format!(
                    "cursor `{}` of `{}` jumped by {jump}, far more than ever before: a watermark \
                     there would hide every row that follows the usual count",
                    cursor.spec.column, read.description.name
                ),
            )
            .with_hint(
                "correct the row with the largest value; if the jump is right, load the table \
                 again with `pipeline run --full-refresh`",
            )),
        }
    }
}

fn lower_sql(cursor: &Cursor, bound: Option<i64>) -> Option<String> {
    let name = &cursor.column.sql;
    let lower = cursor.lower_sql(bound?);
    Some(if cursor.reads_null() {
        format!("({name} >= {lower} OR {name} IS NULL)")
    } else {
        format!("{name} >= {lower}")
    })
}

/// The 32 bits of a transaction number that row versions hold.
pub(crate) fn xid(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("32 bits are left")
}

/// Those row xmins that a snapshot's xmin does not cover yet.
fn seen_from(seen: &[u32], snapshot_xmin: u64) -> Vec<u32> {
    let floor = xid(snapshot_xmin);
    seen.iter()
        .copied()
        .filter(|number| number.wrapping_sub(floor) < 1 << 31)
        .collect()
}
