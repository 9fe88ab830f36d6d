//! The second look at what differed: what is there again, and was not on its way, is drift.

use super::hashed::{Hashing, ModeChoice, Requests};
use super::look::{Found, difference, in_buckets, looked_up, sample};
use super::part::Part;
use super::report::{Certainty, CheckedTable, Kind};
use super::settled::{has_told, is_settled};
use super::side::{InFlight, Side};
use super::stores::Look;
use super::{FirstLook, Table, both, ran_since, stream_of};
use crate::cli::quantity::counted;
use crate::fail_point::fail_point;
use crate::failure::Failure;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use syncset_connector::PipelineState;

/// A row that differs at the second look.
struct Difference {
    kind: Kind,
    key: u64,
    /// How many rows it stands for.
    rows: u64,
    is_drift: bool,
}

impl Table<'_> {
    /// Looks again at what differed.
    pub(super) async fn second_look(
        &self,
        part: &Part,
        first: FirstLook,
        samples: usize,
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        fail_point("check.looks_again");
        let wanted = first.candidates.iter().enumerate();
        let wanted = wanted.map(|(place, (_, key))| (*key, place < samples));
        let wanted: Arc<HashMap<u64, bool>> = Arc::new(wanted.collect());
        let state = self.stores.state().await?;
        let saw_all = part.is_whole() && self.how.sample.is_none();
        let part = self.looked_at(part);
        let stored = stream_of(&state, self.planned)?;
        let mut sides = self.open((part, Look::Second), stored).await?;
        let mut in_flight = sides.1.in_flight().await?;
        if matches!(in_flight, InFlight::Unknown(None)) {
            // Nothing tells which rows changed, but no row was on its way at the first look, or is
            // now, or a whole run since then brought them.
            let mut is_settled = first.is_settled() || ran_since(&state, first.at);
            if !is_settled && !saw_all {
                (sides, is_settled) = self.is_as_brought(sides, &state).await?;
            }
            if is_settled {
                in_flight = InFlight::Keys(HashSet::new());
            }
        }
        let (target, source) = sides;
        let look = |side| {
            looked_up(
                side,
                first.scope.clone(),
                self.forms.clone(),
                wanted.clone(),
            )
        };
        let ((target, there), (source, here)) = both(look(target), look(source)).await?;
        self.close(target, source, checked).await?;
        self.note(&state, &in_flight, checked);
        let mut differences = Vec::new();
        for &(kind, key) in &first.candidates {
            let (left, right) = (here.rows.get(&key), there.rows.get(&key));
            let difference = difference(left, right, self.planned.has_key());
            if let Some((now, rows)) = difference.filter(|(now, _)| self.counts(*now)) {
                let is_drift = now == kind && first.is_drift(&here, &in_flight, key);
                differences.push(Difference {
                    kind: now,
                    key,
                    rows,
                    is_drift,
                });
            }
        }
        let drifted = differences.iter().filter(|it| it.is_drift);
        let young = self.young(&here, drifted.map(|it| it.key)).await?;
        for difference in &mut differences {
            difference.is_drift &= !young.contains(&difference.key);
            self.tell(difference, (&here, &there), checked);
        }
        differences.retain(|it| it.is_drift);
        self.keep_keys(&differences, (&here, &there), checked)
    }

    /// Whether the source of two sides is as the last run brought it to the target, although only
    /// some rows are compared. It is as much work for the source as to compare all of them, so it is
    /// left out where its load or the time is limited.
    async fn is_as_brought(
        &self,
        (mut target, mut source): (Side, Side),
        state: &PipelineState,
    ) -> Result<((Side, Side), bool), Failure> {
        let stream = self.planned.stream();
        let is_free = self.how.load.is_none() && self.how.until.is_none();
        if !is_free || !self.planned.has_key() || !has_told(&state.runs, stream) {
            return Ok(((target, source), false));
        }
        let forms = (&*self.forms, &*self.there);
        let digest = match Requests::of(self.planned, forms, ModeChoice::Auto) {
            Err(_) => None,
            Ok(requests) => {
                let mut hashing = Hashing {
                    source: &mut source,
                    target: &mut target,
                    forms: &self.forms,
                    sample: None,
                };
                hashing.source_digest(&requests).await?
            }
        };
        let digest = match digest {
            Some(digest) => digest,
            None => {
                let sample = source.sample.take();
                let (read, buckets) = in_buckets(source).await?;
                source = read;
                source.sample = sample;
                buckets.digest()
            }
        };
        let is_settled = is_settled(&state.runs, stream, &digest);
        Ok(((target, source), is_settled))
    }

    /// Counts a row that differs.
    fn tell(&self, difference: &Difference, found: (&Found, &Found), checked: &mut CheckedTable) {
        let &Difference {
            kind,
            key,
            rows,
            is_drift,
        } = difference;
        match is_drift {
            true => {
                checked.mark(key, rows, Certainty::Drift);
                checked.count(kind, rows);
            }
            false => {
                checked.mark(key, rows, Certainty::Undecided);
                checked.undecided += rows;
            }
        }
        let sample = sample(&self.forms, found, (kind, key), !is_drift);
        checked.samples.extend(sample);
    }

    /// Keeps the keys of the rows that drifted, for whoever repairs them.
    fn keep_keys(
        &self,
        drifted: &[Difference],
        (here, there): (&Found, &Found),
        checked: &mut CheckedTable,
    ) -> Result<(), Failure> {
        if !self.planned.has_key() {
            return Ok(());
        }
        let keys = |is_extra: bool| -> HashSet<u64> {
            let rows = drifted.iter();
            let rows = rows.filter(|it| (it.kind == Kind::Extra) == is_extra);
            rows.map(|it| it.key).collect()
        };
        let (written, extra) = (keys(false), keys(true));
        let schema = self.planned.plan.read.key_schema();
        let keys = [
            here.keys_as(&schema, &written)?,
            there.keys_as(&schema, &extra)?,
        ];
        checked.seen = there.seen(written.union(&extra));
        checked.drifted_keys = keys
            .into_iter()
            .filter(|keys| keys.num_rows() > 0)
            .collect();
        Ok(())
    }

    /// Which of these rows of the source are young.
    async fn young(
        &self,
        here: &Found,
        keys: impl Iterator<Item = u64>,
    ) -> Result<HashSet<u64>, Failure> {
        let Some(youth) = &self.youth else {
            return Ok(HashSet::new());
        };
        let keys: HashSet<u64> = keys.collect();
        let keys = here.keys_as(&self.planned.plan.read.key_schema(), &keys)?;
        youth
            .among(&keys, (self.stores.ends.source(), &self.forms))
            .await
    }

    /// Says what a person should know of the differences.
    fn note(&self, state: &PipelineState, in_flight: &InFlight, checked: &mut CheckedTable) {
        match in_flight {
            InFlight::Unknown(Some(reason)) => checked.notes.push(format!(
                "the next run compares the whole table again: {reason}"
            )),
            InFlight::Unknown(None) => checked.notes.push(
                "nothing tells which rows changed at the source since the last run: what differs is \
                 undecided unless a run succeeds during the check; each run compares every row and \
                 writes those that differ"
                    .to_owned(),
            ),
            InFlight::Keys(_) => {}
        }
        let pending = state.pending_of(&self.planned.target.name);
        if pending > 0 {
            let wait = counted(pending, "delete waits", "deletes wait");
            checked.notes.push(format!("{wait} for the guard"));
        }
    }
}
