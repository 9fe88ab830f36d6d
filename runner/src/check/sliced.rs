//! Looking for what differs among some of the rows of a table.
//!
//! Which rows belong to a part is told by each side of its own rows. A row that differs may belong
//! to it on one side only, so the keys that are found here are looked up once more among all rows.

use super::hashed::Told;
use super::look::{candidates, in_buckets, listed, looked_up, unkept};
use super::part::Part;
use super::report::{CheckedTable, Mode};
use super::side::{Keys, Scope, Side};
use super::{ROWS_LISTED_MAX, Table, both};
use crate::failure::Failure;
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Table<'_> {
    /// The keys under which the rows of a part differ; `None` if they do not. Both sides are closed.
    pub(super) async fn keys_in(
        &self,
        part: &Part,
        (mut target, mut source): (Side, Side),
        checked: &mut CheckedTable,
    ) -> Result<Option<Arc<Keys>>, Failure> {
        let keys = match self.told(part, (&mut target, &mut source), checked).await? {
            Told::Differing { rows, keys, .. } => {
                checked.mode = Some(Mode::Hash);
                checked.draw_drift();
                (checked.rows_source, checked.rows_target) = rows;
                self.close(target, source, checked).await?;
                keys
            }
            Told::Nothing(reason) => {
                (checked.mode, checked.mode_reason) = (Some(Mode::Stream), Some(reason));
                self.keys_by_reading((target, source), checked).await?
            }
        };
        Ok((keys.source.num_rows() > 0).then(|| Arc::new(keys)))
    }

    async fn keys_by_reading(
        &self,
        (target, source): (Side, Side),
        checked: &mut CheckedTable,
    ) -> Result<Keys, Failure> {
        let ((target, right), (source, left)) =
            both(in_buckets(target), in_buckets(source)).await?;
        (checked.rows_source, checked.rows_target) = (left.rows(), right.rows());
        checked.draw(&left, &right);
        let differing = left.differing(&right, ROWS_LISTED_MAX);
        let (source_schema, target_schema) = (source.key_schema(), target.key_schema());
        if differing.is_empty() {
            self.close(target, source, checked).await?;
            return Ok(Keys {
                source: RecordBatch::new_empty(source_schema),
                target: RecordBatch::new_empty(target_schema),
                at_source: 0,
            });
        }
        checked.complete = !differing.has_more;
        let differing = Arc::new(differing);
        let ((target, there), (source, here)) =
            both(listed(target, differing.clone()), listed(source, differing)).await?;
        let wanted = candidates(&here, &there, true).into_iter();
        let wanted: HashMap<u64, bool> = wanted.map(|(_, key)| (key, false)).collect();
        let wanted = Arc::new(wanted);
        let look = |side| looked_up(side, Scope::All, self.forms.clone(), wanted.clone());
        let ((target, there), (source, here)) = both(look(target), look(source)).await?;
        self.close(target, source, checked).await?;

        let ours: HashSet<u64> = here.rows.keys().copied().collect();
        let theirs = there.rows.keys().copied();
        let theirs: HashSet<u64> = theirs.filter(|key| !ours.contains(key)).collect();
        let keys = |schema| -> Result<_, Failure> {
            let parts = [
                here.keys_as(schema, &ours)?,
                there.keys_as(schema, &theirs)?,
            ];
            concat_batches(schema, &parts).map_err(|error| unkept(&error))
        };
        Ok(Keys {
            source: keys(&source_schema)?,
            target: keys(&target_schema)?,
            at_source: here.rows.len(),
        })
    }
}
