//! The looks at one table: both sides in a snapshot each, and what differs between them.

use super::hashed::{Hashing, ModeChoice, Requests, Told};
use super::look::{Found, Rows, candidates, held, in_buckets, is_drift, listed};
use super::part::Part;
use super::report::{CheckedTable, Kind, Mode};
use super::rows::RowForms;
use super::settled::{Digest, is_settled};
use super::side::{InFlight, Keys, Scope, Side, target_read};
use super::stores::{Look, Stores};
use super::young::Youth;
use super::{How, ROWS_LISTED_MAX, both, done, stream_of};
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::run::rejected_keys;
use crate::stop::seconds_since_epoch;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use syncset_connector::{PipelineState, StreamState, TableDescription};

/// What the first look at a table found.
pub(super) struct FirstLook {
    /// The second that both snapshots were open in.
    pub(super) at: i64,
    /// What the source has where the two sides differ.
    pub(super) source: Rows,
    /// The keys under which they differ.
    pub(super) candidates: BTreeSet<(Kind, u64)>,
    /// Where to find them again.
    pub(super) scope: Scope,
    pub(super) in_flight: InFlight,
}

impl FirstLook {
    /// Whether no row was on its way, although no watermark tells.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.in_flight, InFlight::Keys(_))
    }

    /// Whether a difference that is still there is one for certain.
    pub(super) fn is_drift(&self, now: &Found, in_flight: &InFlight, key: u64) -> bool {
        let was_in_flight = match &self.in_flight {
            InFlight::Keys(keys) => keys.contains(&key),
            // The second look decides alone.
            InFlight::Unknown(_) => false,
        };
        let source = (self.source.get(&key), now.rows.get(&key));
        !was_in_flight && is_drift(source, in_flight, key)
    }
}

/// One table that is compared.
pub(super) struct Table<'a> {
    pub(super) stores: &'a Stores<'a>,
    pub(super) planned: &'a Arc<PlannedTable>,
    /// All of its rows.
    pub(super) whole: Part,
    pub(super) forms: Arc<RowForms>,
    pub(super) there: Arc<TableDescription>,
    pub(super) how: &'a How,
    /// Which rows are in flight by their age.
    pub(super) youth: Option<Youth>,
    /// Why all rows are read if no mode is asked for; `None` if the servers may hash them.
    pub(super) is_read: Option<&'static str>,
}

/// What differs in the snapshots of a look.
pub(super) struct Compared {
    pub(super) source: Rows,
    pub(super) target: Rows,
    pub(super) in_flight: InFlight,
    pub(super) scope: Scope,
    /// All rows of the source, if they were looked at.
    pub(super) digest: Option<Digest>,
}

impl Table<'_> {
    /// Opens both sides, the target first: see [`is_drift`].
    pub(super) async fn open(
        &self,
        (part, look): (&Part, Look),
        stored: &StreamState,
    ) -> Result<(Side, Side), Failure> {
        let at_replica = look == Look::First && self.stores.replica.is_some();
        // What is in flight is told by the source alone, at the second look.
        let read = &match at_replica {
            true => part.without_window(),
            false => part.planned.clone(),
        };
        let forms = &self.forms;
        let reader = self.stores.reader;
        let mut target = match part.is_whole() {
            true => Side::target(reader, read, forms, &self.there).await?,
            false => {
                let rows = part.of_target(target_read(read, &self.there));
                Side::reading(reader, read, forms, rows).await?
            }
        };
        let source = self.stores.source(look)?;
        let mut source = Side::source(source, read, forms, &stored.position).await?;
        (target.sample, source.sample) = (self.how.sample, self.how.sample);
        (target.load, source.load) = (self.how.load, self.how.load);
        Ok((target, source))
    }

    /// Closes both sides.
    pub(super) async fn close(
        &self,
        target: Side,
        source: Side,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        checked.rested += target.rested.max(source.rested);
        both(done(target.close()), done(source.close())).await?;
        Ok(())
    }

    /// Compares a part. `state`: what is stored of the pipeline, if that is known already.
    pub(super) async fn compare(
        &self,
        part: &Part,
        (state, samples): (Option<PipelineState>, usize),
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        let state = match state {
            Some(state) => state,
            None => self.stores.state().await?,
        };
        if let Some(first) = self.first_look(part, &state, checked).await? {
            self.second_look(part, first, samples, checked).await?;
        }
        Ok(())
    }

    /// The rows that are looked at where a part of them differs: all of them, if a key finds them.
    pub(super) fn looked_at<'b>(&'b self, part: &'b Part) -> &'b Part {
        match self.planned.has_key() {
            true => &self.whole,
            false => part,
        }
    }

    /// Compares the rows of a part; `None` if they are equal.
    pub(super) async fn first_look(
        &self,
        part: &Part,
        state: &PipelineState,
        checked: &mut CheckedTable,
    ) -> Result<Option<FirstLook>, Failure> {
        let stored = stream_of(state, self.planned)?;
        let (target, source) = self.open((part, Look::First), stored).await?;
        let mut at = seconds_since_epoch();
        let compared = if part.is_whole() || !self.planned.has_key() {
            self.compared(part, target, source, checked).await?
        } else {
            match self.keys_in(part, (target, source), checked).await? {
                None => None,
                Some(keys) => {
                    let (target, source) = self.open((&self.whole, Look::First), stored).await?;
                    at = seconds_since_epoch();
                    Some(self.held(keys, (target, source), checked).await?)
                }
            }
        };
        let Some(compared) = compared else {
            return Ok(None);
        };
        let (left, right) = (compared.source, compared.target);
        let mut candidates = candidates(&left, &right, self.planned.has_key());
        let rejected = self.rejected(state)?;
        candidates.retain(|(kind, key)| !rejected.contains(key) && self.counts(*kind));
        checked.rejected = rejected.len() as u64;
        let in_flight = match (compared.in_flight, &compared.digest) {
            (InFlight::Unknown(None), Some(digest))
                if is_settled(&state.runs, self.planned.stream(), digest) =>
            {
                InFlight::Keys(HashSet::new())
            }
            (in_flight, _) => in_flight,
        };
        Ok(Some(FirstLook {
            at,
            source: left,
            candidates,
            scope: compared.scope,
            in_flight,
        }))
    }

    /// What the servers' hashes tell of the rows of a part.
    pub(super) async fn told(
        &self,
        part: &Part,
        (target, source): (&mut Side, &mut Side),
        checked: &mut CheckedTable,
    ) -> Result<Told, Failure> {
        let choice = self.how.mode;
        let requests = match self.is_read.filter(|_| choice == ModeChoice::Auto) {
            Some(reason) => Err(reason.to_owned()),
            None => Requests::of(&part.planned, (&self.forms, &self.there), choice),
        };
        let told = match requests {
            Err(reason) => Told::Nothing(reason),
            Ok(requests) => {
                let mut hashing = Hashing {
                    source,
                    target,
                    forms: &self.forms,
                    sample: self.how.sample,
                };
                hashing.compare(&requests).await?
            }
        };
        if let (Told::Nothing(reason), ModeChoice::Hash) = (&told, choice) {
            let note = format!("all rows were read, not hashed by the servers: {reason}");
            checked.notes.push(note);
        }
        Ok(told)
    }

    /// What two snapshots hold under some keys, and what is in flight. They are closed.
    pub(super) async fn held(
        &self,
        keys: Arc<Keys>,
        (target, mut source): (Side, Side),
        checked: &mut CheckedTable,
    ) -> Result<Compared, Failure> {
        let in_flight = source.in_flight().await?;
        let ((target, right), (source, left)) =
            both(held(target, keys.clone()), held(source, keys.clone())).await?;
        self.close(target, source, checked).await?;
        Ok(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::Keys(keys),
            digest: None,
        })
    }

    /// What differs between two snapshots, which are closed; `None` if nothing does.
    pub(super) async fn compared(
        &self,
        part: &Part,
        mut target: Side,
        mut source: Side,
        checked: &mut CheckedTable,
    ) -> Result<Option<Compared>, Failure> {
        let told = self.told(part, (&mut target, &mut source), checked).await?;
        let (rows, keys, digest) = match told {
            Told::Differing { rows, keys, source } => (rows, Arc::new(keys), source),
            Told::Nothing(reason) => {
                (checked.mode, checked.mode_reason) = (Some(Mode::Stream), Some(reason));
                return self.streamed(target, source, checked).await;
            }
        };
        checked.mode = Some(Mode::Hash);
        checked.draw_drift();
        (checked.rows_source, checked.rows_target) = rows;
        if keys.source.num_rows() == 0 {
            self.close(target, source, checked).await?;
            return Ok(None);
        }
        let mut compared = self.held(keys, (target, source), checked).await?;
        compared.digest = Some(digest);
        Ok(Some(compared))
    }

    /// What differs between all rows of two snapshots, read by us.
    pub(super) async fn streamed(
        &self,
        target: Side,
        source: Side,
        checked: &mut CheckedTable,
    ) -> Result<Option<Compared>, Failure> {
        let ((target, right), (mut source, left)) =
            both(in_buckets(target), in_buckets(source)).await?;
        (checked.rows_source, checked.rows_target) = (left.rows(), right.rows());
        checked.draw(&left, &right);
        let differing = left.differing(&right, ROWS_LISTED_MAX);
        let digest = Some(left.digest());
        if differing.is_empty() {
            self.close(target, source, checked).await?;
            return Ok(None);
        }
        checked.complete = !differing.has_more;
        let in_flight = source.in_flight().await?;
        let differing = Arc::new(differing);
        let ((target, right), (source, left)) =
            both(listed(target, differing.clone()), listed(source, differing)).await?;
        self.close(target, source, checked).await?;
        Ok(Some(Compared {
            source: left,
            target: right,
            in_flight,
            scope: Scope::All,
            digest,
        }))
    }

    /// Whether a difference of this kind is one: rows that are gone may be meant to stay.
    pub(super) fn counts(&self, kind: Kind) -> bool {
        kind != Kind::Extra || self.planned.deletes()
    }

    /// Hashes of the keys of rows that wait as refused.
    pub(super) fn rejected(&self, state: &PipelineState) -> Result<HashSet<u64>, Failure> {
        let waiting = state.rejected.iter();
        let waiting = waiting.filter(|row| row.stream == self.planned.stream());
        let waiting: Vec<_> = waiting.cloned().collect();
        if waiting.is_empty() {
            return Ok(HashSet::new());
        }
        let keys = rejected_keys(&self.planned.plan.read, &waiting)?;
        Ok(self.forms.hash_keys(&keys)?.into_iter().collect())
    }
}
