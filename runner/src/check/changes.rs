//! What a run has to bring where nothing tells which rows changed: the keys under which the rows of
//! the source and those of the target differ, by the hashes of both.

use super::again::Reader;
use super::buckets::Differing;
use super::hashed::{Hashing, ModeChoice, Requests, Told};
use super::look::{candidates, in_buckets, listed_keys};
use super::report::{Kind, Mode};
use super::rows::RowForms;
use super::settled::Digest;
use super::side::{Aspect, InFlight, Side, kept};
use super::{both, done};
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::run::key_columns;
use arrow_array::RecordBatch;
use std::collections::HashSet;
use std::sync::Arc;
use syncset_connector::{Snapshot, Source, TableDescription, TableRead};

/// Rows of one side whose keys are held in memory, about.
const ROWS_NAMED_MAX: u64 = 100_000;

/// One table whose sides are compared while it is written by nobody else.
pub(crate) struct Comparison<'a> {
    target: &'a dyn Source,
    planned: Arc<PlannedTable>,
    there: Arc<TableDescription>,
    forms: Arc<RowForms>,
    aspect: Aspect,
}

/// How the rows of a snapshot differ from those of the target.
pub(crate) struct Differences {
    /// Selected rows of the source.
    pub(crate) rows_source: u64,
    /// Rows of the target that are not marked as gone.
    pub(crate) rows_target: u64,
    /// What tells the rows of the source from others.
    pub(crate) source: Digest,
    /// How they were compared.
    pub(crate) mode: Mode,
    /// Bytes of rows that left the source for it.
    pub(crate) bytes_read: u64,
    /// Which rows.
    pub(crate) rows: DifferingRows,
}

/// What the servers' hashes tell of two sides.
enum Compared {
    /// How they differ. The target's is closed.
    Differ(Box<dyn Snapshot>, Differences),
    /// Nothing, for this reason: the source and the target, still open.
    Unknown(Box<(Side, Side)>, String),
}

/// Which rows differ.
pub(crate) enum DifferingRows {
    /// Those with these keys, in the source's types.
    Named {
        /// Rows of the source that the target lacks or has otherwise.
        ours: RecordBatch,
        /// Rows that only the target has.
        gone: RecordBatch,
    },
    /// So many that they are not named: rows of some parts of the keys.
    Many(ManyKeys),
}

/// Parts of the keys in which rows differ.
pub(crate) struct ManyKeys {
    parts: Differing,
    /// Hashes of keys that do not count.
    in_flight: HashSet<u64>,
}

impl Reader {
    /// Prepares to compare a table.
    pub(crate) async fn comparison(
        &self,
        planned: &Arc<PlannedTable>,
        aspect: Aspect,
    ) -> Result<Comparison<'_>, Failure> {
        let (there, forms) = self.described(planned).await?;
        let forms = match aspect {
            Aspect::Values => forms,
            Aspect::Key => forms.of_keys(),
        };
        Ok(Comparison {
            target: self.source(planned)?,
            planned: planned.clone(),
            there,
            forms: Arc::new(forms),
            aspect,
        })
    }
}

impl Comparison<'_> {
    /// Compares the rows of the source in a snapshot of this table alone with what the target holds
    /// by then. Gives the snapshot back; nothing of the target is open any more.
    pub(crate) async fn differences(
        &self,
        snapshot: Box<dyn Snapshot>,
    ) -> Result<(Box<dyn Snapshot>, Differences), Failure> {
        match self.told(snapshot).await? {
            Compared::Differ(snapshot, differences) => Ok((snapshot, differences)),
            Compared::Unknown(sides, reason) => {
                let table = self.planned.stream();
                tracing::debug!(table, reason, "comparing row by row");
                let (source, target) = *sides;
                self.streamed(target, source).await
            }
        }
    }

    /// The same by the hashes of both servers alone.
    ///
    /// # Errors
    /// The inner one: why these do not tell; no row was read then.
    pub(crate) async fn by_servers(
        &self,
        snapshot: Box<dyn Snapshot>,
    ) -> Result<Result<(Box<dyn Snapshot>, Differences), String>, Failure> {
        match self.told(snapshot).await? {
            Compared::Differ(snapshot, differences) => Ok(Ok((snapshot, differences))),
            Compared::Unknown(sides, reason) => {
                let (source, target) = *sides;
                both(done(target.close()), done(source.close())).await?;
                Ok(Err(reason))
            }
        }
    }

    /// What the servers' hashes tell.
    async fn told(&self, snapshot: Box<dyn Snapshot>) -> Result<Compared, Failure> {
        let (planned, forms) = (&self.planned, &self.forms);
        let mut target = Side::target(self.target, planned, forms, &self.there).await?;
        target.aspect = self.aspect;
        let mut source = Side::over(snapshot, planned, forms, self.aspect);
        let requests = match self.aspect {
            Aspect::Values => Requests::of(planned, (forms, &self.there), ModeChoice::Auto),
            Aspect::Key => Requests::of_keys(planned, forms),
        };
        let told = match requests {
            Err(reason) => Told::Nothing(reason),
            Ok(requests) => {
                let mut hashing = Hashing {
                    source: &mut source,
                    target: &mut target,
                    forms,
                    sample: None,
                };
                hashing.compare(&requests).await?
            }
        };
        match told {
            Told::Differing {
                rows,
                keys,
                source: digest,
            } => {
                target.close().await;
                let named = keys.source.num_rows();
                let differences = Differences {
                    rows_source: rows.0,
                    rows_target: rows.1,
                    source: digest,
                    mode: Mode::Hash,
                    bytes_read: 0,
                    rows: DifferingRows::Named {
                        ours: keys.source.slice(0, keys.at_source),
                        gone: keys.source.slice(keys.at_source, named - keys.at_source),
                    },
                };
                Ok(Compared::Differ(source.into_snapshot(), differences))
            }
            Told::Nothing(reason) => Ok(Compared::Unknown(Box::new((source, target)), reason)),
        }
    }

    /// The same by our own hashes of every row.
    async fn streamed(
        &self,
        target: Side,
        source: Side,
    ) -> Result<(Box<dyn Snapshot>, Differences), Failure> {
        let ((target, right), (source, left)) =
            both(in_buckets(target), in_buckets(source)).await?;
        let differences = |rows, source: &Side| Differences {
            rows_source: left.rows(),
            rows_target: right.rows(),
            source: left.digest(),
            mode: Mode::Stream,
            bytes_read: source.bytes_read,
            rows,
        };
        let named = left.differing(&right, ROWS_NAMED_MAX);
        if named.has_more {
            target.close().await;
            let rows = DifferingRows::Many(ManyKeys {
                parts: left.differing(&right, u64::MAX),
                in_flight: HashSet::new(),
            });
            let differences = differences(rows, &source);
            return Ok((source.into_snapshot(), differences));
        }
        let schema = source.key_schema();
        if named.is_empty() {
            target.close().await;
            let none = RecordBatch::new_empty(schema);
            let rows = DifferingRows::Named {
                ours: none.clone(),
                gone: none,
            };
            let differences = differences(rows, &source);
            return Ok((source.into_snapshot(), differences));
        }
        let named = Arc::new(named);
        let ((target, there), (source, here)) = both(
            listed_keys(target, named.clone()),
            listed_keys(source, named),
        )
        .await?;
        target.close().await;
        let candidates = candidates(&here.rows, &there.rows, true);
        let (gone, ours): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|(kind, _)| *kind == Kind::Extra);
        let hashes = |keys: Vec<(Kind, u64)>| -> HashSet<u64> {
            keys.into_iter().map(|(_, key)| key).collect()
        };
        let rows = DifferingRows::Named {
            ours: here.keys_as(&schema, &hashes(ours))?,
            gone: there.keys_as(&schema, &hashes(gone))?,
        };
        let differences = differences(rows, &source);
        Ok((source.into_snapshot(), differences))
    }

    /// Those rows of a batch as it came from the source that lie in the parts that differ.
    pub(crate) fn within(
        &self,
        read: &TableRead,
        rows: &RecordBatch,
        many: &ManyKeys,
    ) -> Result<RecordBatch, Failure> {
        let keys = key_columns(read, rows)?;
        let hashes = self.forms.hash_keys(&keys)?;
        let is_wanted = |key: &u64| many.parts.holds(*key) && !many.in_flight.contains(key);
        Ok(kept(rows, hashes.iter().map(is_wanted)))
    }

    /// Leaves out rows of the source that the next window brings anyway: they changed after the last
    /// one. The snapshot was opened with that window. Gives it back, and whether what is left was
    /// missed for certain.
    pub(crate) async fn leave_out_in_flight(
        &self,
        snapshot: Box<dyn Snapshot>,
        differences: &mut Differences,
    ) -> Result<(Box<dyn Snapshot>, bool), Failure> {
        if let DifferingRows::Named { ours, .. } = &differences.rows
            && ours.num_rows() == 0
        {
            return Ok((snapshot, true));
        }
        let mut source = Side::over(snapshot, &self.planned, &self.forms, self.aspect);
        let in_flight = match source.in_flight().await? {
            InFlight::Keys(keys) => keys,
            InFlight::Unknown(_) => return Ok((source.into_snapshot(), false)),
        };
        match &mut differences.rows {
            DifferingRows::Named { ours, .. } => {
                let hashes = self.forms.hash_keys(ours)?;
                *ours = kept(ours, hashes.iter().map(|key| !in_flight.contains(key)));
            }
            DifferingRows::Many(many) => many.in_flight = in_flight,
        }
        Ok((source.into_snapshot(), true))
    }
}
