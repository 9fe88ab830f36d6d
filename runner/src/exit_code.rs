//! What the process says to cron, Airflow and scripts. The numbers are a public contract.

/// Done, or nothing to do.
pub(crate) const DONE: i32 = 0;
/// Failed.
pub(crate) const FAILED: i32 = 1;
/// The command line or a file is wrong; nothing was touched.
pub(crate) const CONFIG: i32 = 2;
/// Some tables failed, others are done.
pub(crate) const SOME_FAILED: i32 = 3;
/// Differences were found, or the last success is too old.
pub(crate) const DIFFERENT: i32 = 4;
/// A change of schema or selection wants approval.
pub(crate) const APPROVAL: i32 = 5;
/// Conflicts wait for a person.
pub(crate) const CONFLICTS: i32 = 6;
/// Another run holds the lease, or took it over.
pub(crate) const LOCKED: i32 = 7;
/// A guard stopped the run.
pub(crate) const GUARD: i32 = 8;
/// Worth another try later: network, deadlock after retries, time budget spent.
pub(crate) const RETRY: i32 = 9;
/// SIGINT.
pub(crate) const INTERRUPTED: i32 = 130;
/// SIGTERM.
pub(crate) const TERMINATED: i32 = 143;

/// Codes that decide the whole run when any table has one, strongest first.
const DECISIVE: [i32; 7] = [
    INTERRUPTED,
    TERMINATED,
    CONFIG,
    LOCKED,
    GUARD,
    APPROVAL,
    CONFLICTS,
];

/// The exit code of a run from the codes of its tables, or of several runs from theirs.
pub(crate) fn of_tables(codes: &[i32]) -> i32 {
    if let Some(code) = DECISIVE.into_iter().find(|code| codes.contains(code)) {
        return code;
    }
    let failed: Vec<i32> = codes.iter().copied().filter(|code| *code != DONE).collect();
    if failed.is_empty() {
        DONE
    } else if failed.iter().all(|code| *code == RETRY) {
        RETRY
    } else if failed.len() < codes.len() || failed.contains(&SOME_FAILED) {
        SOME_FAILED
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_tables_combine_by_their_rank() {
        let cases: [(&[i32], i32); 12] = [
            (&[], DONE),
            (&[DONE, DONE], DONE),
            (&[DONE, FAILED], SOME_FAILED),
            (&[FAILED, FAILED], FAILED),
            (&[DONE, RETRY], RETRY),
            (&[RETRY, FAILED], FAILED),
            (&[FAILED, APPROVAL, LOCKED], LOCKED),
            (&[GUARD, CONFIG], CONFIG),
            (&[SOME_FAILED], SOME_FAILED),
            (&[SOME_FAILED, FAILED], SOME_FAILED),
            (&[SOME_FAILED, RETRY], SOME_FAILED),
            (&[SOME_FAILED, LOCKED], LOCKED),
        ];

        for (codes, expected) in cases {
            assert_eq!(of_tables(codes), expected, "{codes:?}");
        }
    }
}
