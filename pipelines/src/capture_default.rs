//! How changes of a table are found where the file does not say.
//!
//! By hashes, where those save something and change nothing else: where both servers hash rows
//! alike, so that rows stay where they are unless they differ. Elsewhere a comparison would have to
//! read both sides whole, which is more than `full` reads.

use crate::plan::{Output, OutputValue};
use crate::planner::Planner;
use crate::spec::Consistency;
use syncset_connector::{Capture, OnDelete, TableKind, WriteMode};

/// What is said about it in the plan.
pub(crate) const COMPARED: &str = "`capture` is not set: each run compares the hashes of the rows \
                                   and brings what differs (`hash`)";

/// How changes are found, and why not by hashes.
pub(crate) fn chosen(
    planner: &Planner,
    outputs: &[Output],
    evaluates_here: bool,
) -> (Capture, Option<&'static str>) {
    match why_whole(planner, outputs, evaluates_here) {
        None => (Capture::Hash, None),
        Some(why) => (Capture::Full, Some(why)),
    }
}

/// What is said in the plan of a table that is read whole.
pub(crate) fn told(why: &str) -> String {
    format!("`capture` is not set: every run reads the whole table (`full`), since {why}")
}

/// Why hashes do not serve a table, or save nothing.
fn why_whole(planner: &Planner, outputs: &[Output], evaluates_here: bool) -> Option<&'static str> {
    if planner.is_keyless() {
        return Some("it has no key");
    }
    if !matches!(
        planner.table.kind,
        TableKind::Table | TableKind::Partitioned
    ) {
        return Some("it is no plain table");
    }
    if planner.write_mode() != WriteMode::Upsert {
        return Some("it is replaced whole (`mode: replace`)");
    }
    if planner.spec.consistency == Consistency::Pipeline {
        return Some("its pipeline is committed as one (`consistency: pipeline`)");
    }
    let (source, target) = (planner.spec.source.info, planner.spec.target.info);
    if source.kind != target.kind || !source.capabilities.hashes_rows {
        return Some("the two stores have no hash of a row in common");
    }
    let is_plain = |output: &Output| matches!(output.value, OutputValue::Column(_));
    let is_transformed = !planner.settings.transform.is_empty();
    if evaluates_here || is_transformed || !outputs.iter().all(is_plain) {
        return Some("columns or conditions are computed by syncset");
    }
    if planner.on_delete() == OnDelete::Hard && has_further_keys(planner, outputs) {
        return Some("only so its unique keys can stay unique at the target");
    }
    None
}

/// Whether the source has unique keys besides the one by which rows are found, over columns that are
/// copied.
fn has_further_keys(planner: &Planner, outputs: &[Output]) -> bool {
    let table = planner.table;
    let key: Vec<&String> = match &planner.settings.key {
        Some((names, _)) => names.iter().map(|name| &name.text).collect(),
        None => table.primary_key.iter().collect(),
    };
    let is_copied = |column: &String| {
        let mut values = outputs.iter().map(|output| &output.value);
        values.any(|value| matches!(value, OutputValue::Column(name) if name == column))
    };
    let is_key = |columns: &[String]| {
        columns.len() == key.len() && columns.iter().all(|column| key.contains(&column))
    };
    let unique = table.unique_keys.iter().filter(|unique| !unique.partial);
    let unique = unique.map(|unique| &unique.columns);
    let mut others = unique.chain(std::iter::once(&table.primary_key));
    others.any(|columns| !columns.is_empty() && !is_key(columns) && columns.iter().all(is_copied))
}
