//! Columns of the source that get other names after their table was loaded.

use super::lab::{column, plan_of, table, with_tables};
use crate::lost::Use;
use crate::renames::under_new_names;
use crate::{TablePlan, is_same_selection, selection_changes};
use arrow_schema::DataType;
use syncset_connector::TableDescription;

/// Columns with their numbers; zero in a store that has none.
fn described(columns: &[(&str, i64)]) -> TableDescription {
    let mut described = table("public", "t", Vec::new(), &[columns[0].0]);
    let columns = columns.iter().map(|(name, number)| {
        let mut column = column(name, DataType::Int64, *number > 1);
        column.stable_id = (*number > 0).then_some(*number);
        column
    });
    described.columns = columns.collect();
    described
}

fn planned(settings: &str, columns: &[(&str, i64)], stored: Option<&str>) -> TablePlan {
    let text = with_tables(&format!("tables:\n  public.t: {{ {settings} }}\n"));
    let mut plans = plan_of(&text, &[described(columns)], stored)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    plans.remove(0)
}

fn changes(plan: &TablePlan) -> Vec<String> {
    let changes = plan.source_changes.iter();
    changes.map(ToString::to_string).collect()
}

/// Columns of the source, and what is said of them.
type Case<'a> = (&'a [(&'a str, i64)], &'a [&'a str]);

const BEFORE: [(&str, i64); 3] = [("id", 1), ("a", 2), ("b", 3)];

#[test]
fn columns_are_known_by_their_numbers() {
    let renamed = "renamed column `a` -> `x`";
    let cases: [Case; 6] = [
        (&[("id", 1), ("x", 2), ("b", 3)], &[renamed]),
        (
            &[("id", 1), ("b", 2), ("a", 3)],
            &["renamed column `a` -> `b`", "renamed column `b` -> `a`"],
        ),
        (
            &[("id", 1), ("x", 2), ("b", 3), ("a", 4)],
            &[renamed, "new column `a` (int64)"],
        ),
        (
            &[("id", 1), ("a", 3)],
            &["dropped column `a` (int64)", "renamed column `b` -> `a`"],
        ),
        (
            &[("key", 1), ("a", 2), ("b", 3)],
            &["renamed column `id` -> `key`"],
        ),
        (
            &[("id", 1), ("a", 4), ("b", 3)],
            &["a column `a` that was dropped and added again (int64)"],
        ),
    ];
    for (columns, expected) in cases {
        let before = planned("", &BEFORE, None);

        let after = planned("", columns, Some(&before.selection_text));
        let told = planned("", columns, Some(&after.selection_text));

        assert_eq!(changes(&after), expected, "{columns:?}");
        assert_eq!(changes(&told), [""; 0], "{columns:?}");
        let is_new = columns.iter().any(|(_, number)| *number == 4);
        let (names_now, _) = under_new_names(&before.selection_text, &after);
        let is_same = is_same_selection(&names_now, &after.selection_text);
        assert_eq!(is_same, !is_new || columns.len() == 3, "{columns:?}");
    }
}

#[test]
fn another_table_has_numbers_of_its_own() {
    let before = planned("", &BEFORE, None);
    let text = with_tables("tables:\n  public.t: {}\n");
    let mut other = described(&[("id", 1), ("b", 2), ("a", 3)]);
    other.source_identity = serde_json::json!({ "table": 7 });

    let plans = plan_of(&text, &[other], Some(&before.selection_text)).expect("it has a plan");

    assert_eq!(changes(&plans[0]), [""; 0]);
}

#[test]
fn file_that_says_the_new_name_is_no_edit() {
    let after = [("key", 1), ("x", 2), ("b", 3)];
    let cases = [
        ("columns: [id, a]", "columns: [key, x]"),
        ("rename: { a: y }", "rename: { x: y }"),
        ("", "rename: { x: a }"),
        ("where: \"a > 1 AND b < 2\"", "where: \"x > 1 AND b < 2\""),
        ("derive: { more: \"a + b\" }", "derive: { more: \"x + b\" }"),
        (
            "capture: { mode: cursor, column: a, overlap: 1, null_cursor: read }",
            "capture: { mode: cursor, column: x, overlap: 1, null_cursor: read }",
        ),
        (
            "on_lossy: { default: error, columns: { a: warn } }",
            "on_lossy: { default: error, columns: { x: warn } }",
        ),
        ("key: [id]", "key: [key]"),
    ];
    for (then, now) in cases {
        let before = planned(then, &BEFORE, None);

        let plan = planned(now, &after, Some(&before.selection_text));

        let (names_now, _) = under_new_names(&before.selection_text, &plan);
        let edits = selection_changes(&names_now, &plan.selection_text);
        assert!(edits.is_empty(), "{now}: {edits:?}");
        assert!(is_same_selection(&names_now, &plan.selection_text), "{now}");
        assert!(plan.lost.is_empty(), "{now}: {:?}", plan.lost);
    }
}

#[test]
fn old_name_in_the_file_is_told_with_its_place() {
    let after = [("id", 1), ("x", 2), ("b", 3)];
    let cursor = "capture: { mode: cursor, column: a, overlap: 1, null_cursor: read }";
    let cases = [
        ("columns: [id, a]", Use::Columns),
        ("columns: [id, \"a*\"]", Use::Columns),
        ("columns: { exclude: [a] }", Use::Exclude),
        ("columns: { exclude: [\"a*\"] }", Use::Exclude),
        ("rename: { a: y }", Use::Rename),
        (
            "on_lossy: { default: error, columns: { a: warn } }",
            Use::OnLossy,
        ),
        (cursor, Use::Cursor),
        ("where: \"a > 1\"", Use::Where),
        ("derive: { more: \"a + b\" }", Use::Derive),
    ];
    for policy in ["follow", "add"] {
        for (settings, use_of) in cases {
            let settings = format!("{settings}, schema: {{ renamed_column: {policy} }}");
            let before = planned(&settings, &BEFORE, None);

            let plan = planned(&settings, &after, Some(&before.selection_text));

            let lost: Vec<_> = plan
                .lost
                .iter()
                .map(|it| (it.use_of, it.now.as_deref()))
                .collect();
            assert_eq!(lost, [(use_of, Some("x"))], "{settings}");
            let sentence = plan.lost[0].sentence();
            assert!(
                sentence.contains("the source renamed column `a` to `x`"),
                "{sentence}"
            );
            let place = plan.lost[0].place.as_deref().unwrap_or_default();
            assert!(
                place.starts_with("p.yaml:") && sentence.contains(place),
                "{sentence}"
            );
            assert!(plan.lost[0].hint().contains("write `x`"), "{settings}");
        }
    }
}

#[test]
fn columns_without_numbers_are_only_taken_for_each_other() {
    let numberless = |names: &[&'static str]| -> Vec<(&'static str, i64)> {
        names.iter().map(|name| (*name, 0)).collect()
    };
    let before = numberless(&["id", "a", "b"]);
    let looks =
        "no column `a` any more and a new one `x` of its type (int64), which may be the same one";
    let cases: [(&str, &[&'static str], &[&str]); 5] = [
        ("", &["id", "x", "b"], &[looks]),
        (
            "rename: { x: a }",
            &["id", "x", "b"],
            &["renamed column `a` -> `x`"],
        ),
        (
            "schema: { renamed_column: add }",
            &["id", "x", "b"],
            &["dropped column `a` (int64)", "new column `x` (int64)"],
        ),
        // Which one is it?
        (
            "",
            &["id", "x", "y", "b"],
            &[
                "dropped column `a` (int64)",
                "new column `x` (int64)",
                "new column `y` (int64)",
            ],
        ),
        ("", &["id", "b"], &["dropped column `a` (int64)"]),
    ];
    for (settings, names, expected) in cases {
        let stored = planned("", &before, None);

        let plan = planned(settings, &numberless(names), Some(&stored.selection_text));

        assert_eq!(changes(&plan), expected, "{settings} {names:?}");
    }
    let hides = "columns: { exclude: [a] }";
    let stored = planned(hides, &before, None);
    let plan = planned(
        hides,
        &numberless(&["id", "x", "b"]),
        Some(&stored.selection_text),
    );
    let lost: Vec<_> = plan.lost.iter().map(|it| it.use_of).collect();
    assert_eq!(lost, [Use::MaybeExclude]);
}
