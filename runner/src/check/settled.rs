//! Whether the source is as the last run found it, where no watermark tells which rows changed.
//!
//! A run that compares both sides reports a digest of all selected rows of the source. While a check
//! computes the same one, no row is on its way: what differs was changed at the target.

use crate::exit_code;
use crate::report::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use syncset_connector::{PARTIAL_RUNS, RunRecord};

/// Bytes of a digest.
const BYTES: usize = 16;

/// What tells the selected rows of a source from any other rows: their number and the sum of their
/// hashes, hashed, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(String);

impl Digest {
    /// Of so many rows. `by`: how they were hashed; the same rows hashed otherwise have another one.
    pub(super) fn of(by: &str, rows: u64, sum: u128) -> Self {
        let mut hash = Sha256::new();
        hash.update(by.as_bytes());
        hash.update([0]);
        hash.update(rows.to_be_bytes());
        hash.update(sum.to_be_bytes());
        let bytes = hash.finalize();
        let digits = bytes.iter().take(BYTES).map(|byte| format!("{byte:02x}"));
        Self(digits.collect())
    }
}

/// Whether the last run that was about this stream brought the target to what this digest tells of.
///
/// Repairs, reverts and slices are passed over, whatever became of them: what they write is what the
/// source has, or what it is to be compared with again, and while the digest is the same the source
/// has nothing new to bring.
pub(super) fn is_settled(runs: &[RunRecord], stream: &str, source: &Digest) -> bool {
    brought(runs, stream).is_some_and(|digest| digest == source.0)
}

/// Whether the last run of this stream has told what it brought the target to.
pub(super) fn has_told(runs: &[RunRecord], stream: &str) -> bool {
    brought(runs, stream).is_some()
}

/// The digest of the source as the last run of this stream has brought it to the target.
fn brought<'a>(runs: &'a [RunRecord], stream: &str) -> Option<&'a str> {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse((run.started_at, &run.run_id)));
    for run in runs.into_iter().filter(|run| !is_partial(&run.report)) {
        // It may be writing.
        run.finished_at?;
        let Some(table) = table_of(&run.report, stream) else {
            if run.exit_code == Some(exit_code::DONE) {
                continue;
            }
            return None;
        };
        let is_done = matches!(
            Outcome::deserialize(&table["outcome"]),
            Ok(Outcome::Loaded | Outcome::Followed | Outcome::Unchanged)
        );
        let is_done = is_done && table["exit_code"] == exit_code::DONE;
        return table["compared"]["source_hash"]
            .as_str()
            .filter(|_| is_done);
    }
    None
}

fn table_of<'a>(report: &'a Value, stream: &str) -> Option<&'a Value> {
    let tables = report["tables"].as_array()?;
    tables.iter().find(|table| table["table"] == stream)
}

/// Whether the report is that of a run of some rows only.
pub(super) fn is_partial(report: &Value) -> bool {
    let text = report.to_string();
    PARTIAL_RUNS.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(number: i64, tables: Value) -> RunRecord {
        RunRecord {
            run_id: format!("run-{number}"),
            started_at: 100 + number / 2,
            finished_at: Some(200),
            exit_code: Some(exit_code::DONE),
            report: json!({ "tables": tables }),
        }
    }

    fn table(outcome: &str, source: &Digest) -> Value {
        json!([{ "table": "t", "outcome": outcome, "exit_code": 0, "compared": { "source_hash": source } }])
    }

    #[test]
    fn digests_tell_rows_and_ways_apart() {
        let of = |by, rows, sum| Digest::of(by, rows, sum).0;

        let all = [of("a", 1, 2), of("b", 1, 2), of("a", 2, 2), of("a", 1, 3)];

        assert_eq!(all[0], of("a", 1, 2));
        assert_eq!(all[0].len(), 2 * BYTES);
        for (number, one) in all.iter().enumerate() {
            assert!(!all[..number].contains(one));
        }
    }

    #[test]
    fn last_run_of_the_table_alone_settles_it() {
        let (now, before) = (Digest::of("a", 1, 2), Digest::of("a", 1, 1));
        let good = || run(1, table("unchanged", &now));
        let settles = |runs: &[RunRecord]| is_settled(runs, "t", &now);

        assert!(settles(&[good()]));
        assert!(settles(&[good(), run(2, json!([]))]));
        assert!(settles(&[run(0, table("followed", &before)), good()]));
        assert!(!settles(&[]));
        assert!(!settles(&[good(), run(2, table("followed", &before))]));
        assert!(!settles(&[good(), run(2, table("failed", &now))]));
        assert!(!settles(&[
            good(),
            run(2, json!([{ "table": "t", "outcome": "followed" }]))
        ]));

        let mut running = run(2, json!([]));
        running.finished_at = None;
        assert!(!settles(&[good(), running]));
        let mut failed = run(2, json!([]));
        failed.exit_code = Some(exit_code::RETRY);
        assert!(!settles(&[good(), failed]));
    }

    #[test]
    fn runs_of_some_rows_are_passed_over() {
        let (now, before) = (Digest::of("a", 1, 2), Digest::of("a", 1, 1));
        let good = || run(1, table("unchanged", &now));
        let settles = |runs: &[RunRecord]| is_settled(runs, "t", &now);
        for (key, sign) in [
            ("verb", json!("repair")),
            ("verb", json!("revert")),
            ("slice", json!(true)),
        ] {
            let mut partial = run(2, table("followed", &now));
            partial.report[key] = sign;
            let mut killed = partial.clone();
            (killed.finished_at, killed.exit_code) = (None, None);
            let mut failed = partial.clone();
            failed.exit_code = Some(exit_code::FAILED);

            assert!(!settles(&[partial.clone()]), "{key}");
            assert!(settles(&[good(), partial.clone()]), "{key}");
            assert!(settles(&[good(), killed]), "{key}");
            assert!(settles(&[good(), failed]), "{key}");
            assert!(!settles(&[run(1, table("unchanged", &before)), partial]));
        }
    }
}
