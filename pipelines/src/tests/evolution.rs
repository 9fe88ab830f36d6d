//! Tables of the source that change after they were loaded.

use super::lab::{column, plan_of, table, with_tables};
use crate::lost::Use;
use crate::{OutputValue, SourceChangeKind, TablePlan, selection_changes};
use arrow_schema::DataType;
use proptest::prelude::*;
use std::collections::BTreeSet;
use syncset_connector::TableDescription;

/// A table of these columns, each with a number as PostgreSQL gives it.
fn described(columns: &[(&str, i64)]) -> TableDescription {
    let mut described = table("public", "t", Vec::new(), &["id"]);
    described
        .primary_key
        .retain(|key| columns.iter().any(|(name, _)| name == key));
    described.columns = columns
        .iter()
        .map(|(name, number)| {
            let mut column = column(name, DataType::Int64, *name != "id");
            column.stable_id = Some(*number);
            column
        })
        .collect();
    described
}

fn planned(settings: &str, columns: &[(&str, i64)], stored: Option<&str>) -> TablePlan {
    let text = with_tables(&format!("tables:\n  public.t: {{ {settings} }}\n"));
    let mut plans = plan_of(&text, &[described(columns)], stored)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    plans.remove(0)
}

fn copied(plan: &TablePlan) -> BTreeSet<&str> {
    let outputs = plan.outputs.iter();
    outputs
        .filter_map(|output| match &output.value {
            OutputValue::Column(name) => Some(name.as_str()),
            OutputValue::Derived { .. } | OutputValue::Masked(..) | OutputValue::Plugin { .. } => {
                None
            }
        })
        .collect()
}

fn changes(plan: &TablePlan) -> Vec<String> {
    plan.source_changes
        .iter()
        .map(ToString::to_string)
        .collect()
}

const BEFORE: [(&str, i64); 3] = [("id", 1), ("name", 2), ("tmp_a", 3)];
const AFTER: [(&str, i64); 5] = [
    ("id", 1),
    ("name", 2),
    ("tmp_a", 3),
    ("note", 4),
    ("tmp_b", 5),
];

#[test]
fn column_that_the_choice_takes_is_new_at_the_source() {
    let cases = [
        (
            "",
            vec!["new column `note` (int64)", "new column `tmp_b` (int64)"],
        ),
        (
            "columns: { exclude: [\"tmp_*\"] }",
            vec!["new column `note` (int64)"],
        ),
        (
            "columns: [id, \"tmp_*\"]",
            vec!["new column `tmp_b` (int64)"],
        ),
        ("columns: [id, name]", vec![]),
    ];
    for (settings, expected) in cases {
        let before = planned(settings, &BEFORE, None);

        let after = planned(settings, &AFTER, Some(&before.selection_text));

        assert_eq!(changes(&after), expected, "{settings}");
    }
}

#[test]
fn column_that_the_file_asks_for_is_an_edit() {
    let before = planned("columns: [id, name]", &BEFORE, None);
    let all = planned("", &BEFORE, None);
    let edits = [
        (&before, "columns: [id, name, note]"),
        (&before, "columns: { exclude: [tmp_a, tmp_b] }"),
        (&all, "rename: { note: remark, tmp_b: b }"),
    ];
    for (before, settings) in edits {
        let after = planned(settings, &AFTER, Some(&before.selection_text));

        assert_eq!(changes(&after), [""; 0], "{settings}");
        let edits = selection_changes(&before.selection_text, &after.selection_text);
        assert!(!edits.is_empty(), "{settings}");
    }
}

#[test]
fn ignored_column_leaves_the_selection_as_it_was() {
    let before = planned("", &BEFORE, None);
    let settings = "schema: { new_column: ignore }";

    let after = planned(settings, &AFTER, Some(&before.selection_text));
    let added = planned("", &AFTER, Some(&after.selection_text));

    assert_eq!(after.read.selection, before.read.selection);
    assert_eq!(after.selection_text, before.selection_text);
    assert_eq!(changes(&after), [""; 0]);
    let note = "column `note` is new at the source and not copied (`new_column: ignore`)";
    assert!(after.notes.contains(&note.to_owned()), "{:?}", after.notes);
    assert_eq!(changes(&added).len(), 2);
}

#[test]
fn column_with_another_number_is_another_column() {
    let before = planned("", &BEFORE, None);
    let again = [("id", 1), ("name", 7), ("tmp_a", 3)];

    let after = planned("", &again, Some(&before.selection_text));

    assert_eq!(
        changes(&after),
        ["a column `name` that was dropped and added again (int64)"]
    );
    assert_eq!(after.read.selection, before.read.selection);
}

#[test]
fn column_that_only_an_expression_reads_is_watched_too() {
    let settings = "columns: [id], derive: { twice: \"name + name\" }";
    let before = planned(settings, &BEFORE, None);
    let again = [("id", 1), ("name", 7), ("tmp_a", 3)];

    let after = planned(settings, &again, Some(&before.selection_text));

    assert_eq!(changes(&after).len(), 1);
}

#[test]
fn state_of_an_older_version_tells_of_no_change() {
    let before = planned("", &BEFORE, None);
    let mut older: serde_json::Value =
        serde_json::from_str(&before.selection_text).expect("it is JSON");
    let fields = older.as_object_mut().expect("it is an object");
    fields.remove("choice");
    fields.remove("source");

    let after = planned("", &AFTER, Some(&older.to_string()));

    assert_eq!(changes(&after), [""; 0]);
    assert_eq!(copied(&after).len(), AFTER.len());
}

#[test]
fn column_that_is_gone_was_dropped_unless_the_file_left_it_out() {
    let left = [("id", 1), ("tmp_a", 3)];
    let cases = [
        ("", "", vec!["dropped column `name` (int64)"]),
        (
            "columns: [id, \"na*\"]",
            "columns: [id, \"na*\"]",
            vec!["dropped column `name` (int64)"],
        ),
        (
            "columns: [id, name]",
            "columns: [id, name]",
            vec!["dropped column `name` (int64)"],
        ),
        (
            "rename: { name: n }",
            "rename: { name: n }",
            vec!["dropped column `name` (int64)"],
        ),
        ("columns: [id, name]", "columns: [id]", vec![]),
        ("", "columns: { exclude: [name] }", vec![]),
        (
            "columns: { exclude: [name] }",
            "columns: { exclude: [name] }",
            vec![],
        ),
    ];
    for (before, after, expected) in cases {
        let before = planned(before, &BEFORE, None);

        let first = planned(after, &left, Some(&before.selection_text));
        let second = planned(after, &left, Some(&first.selection_text));

        assert_eq!(changes(&first), expected, "{after}");
        assert_eq!(changes(&second), [""; 0], "{after}");
        assert_eq!(second.selection_text, first.selection_text, "{after}");
    }
}

#[test]
fn column_that_may_be_hidden_does_not_pass_as_dropped() {
    let before = planned("", &BEFORE, None);
    let text = with_tables("tables:\n  public.t: {}\n");
    let mut partial = described(&[("id", 1), ("tmp_a", 3)]);
    partial.grant = Some("GRANT SELECT ON t TO sync".into());

    let problems = plan_of(&text, &[partial], Some(&before.selection_text))
        .expect_err("nobody knows whether it is there");

    assert!(
        problems[0].message.contains("column `name`"),
        "{problems:?}"
    );
    assert!(
        problems[0]
            .hint
            .as_deref()
            .is_some_and(|it| it.contains("GRANT SELECT ON t"))
    );
}

#[test]
fn column_of_another_type_is_wider_or_not() {
    let before = planned("columns: [id, name]", &BEFORE, None);
    let stored = |native: &str| {
        let types = "\"types\":{\"id\":\"int64\",\"name\":";
        let text = before.selection_text.replace(
            &format!("{types}\"int64\""),
            &format!("{types}\"{native}\""),
        );
        assert_eq!(text == before.selection_text, native == "int64");
        text
    };
    let cases = [
        ("int64", None),
        (
            "int32",
            Some((
                SourceChangeKind::Widened,
                "widened column `name` (int32 -> int64)",
            )),
        ),
        (
            "utf8",
            Some((
                SourceChangeKind::Retyped,
                "another type in column `name` (utf8 -> int64)",
            )),
        ),
    ];
    for (native, expected) in cases {
        let after = planned("columns: [id, name]", &BEFORE, Some(&stored(native)));

        let found: Vec<_> = after
            .source_changes
            .iter()
            .map(|it| (it.kind, it.to_string()))
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(kind, text)| (kind, text.to_owned()))
            .collect();
        assert_eq!(found, expected, "{native}");
        assert_eq!(after.read.selection, before.read.selection);
    }
}

#[test]
fn name_that_never_was_a_column_is_a_mistake() {
    let before = planned("columns: [id, name]", &BEFORE, None);
    let text = with_tables("tables:\n  public.t: { columns: [id, naem] }\n");

    let result = plan_of(&text, &[described(&BEFORE)], Some(&before.selection_text));

    let problems = result.expect_err("there is no such column");
    assert!(
        problems[0].message.contains("no column `naem`"),
        "{problems:?}"
    );
}

#[test]
fn column_that_the_file_needs_is_lost() {
    let capture = "capture: { mode: cursor, column: name, overlap: 1, null_cursor: read }";
    let cases = [
        ("", "id", vec![Use::Key]),
        ("key: [id]", "id", vec![Use::Key]),
        (capture, "name", vec![Use::Cursor]),
        ("where: \"name > 1\"", "name", vec![Use::Where]),
        (
            "columns: [id], where: \"name > 1\"",
            "name",
            vec![Use::Where],
        ),
        (
            "derive: { twice: \"name + name\" }",
            "name",
            vec![Use::Derive],
        ),
        ("", "tmp_a", vec![]),
    ];
    for (settings, gone, uses) in cases {
        let before = planned(settings, &BEFORE, None);
        let left: Vec<_> = BEFORE.into_iter().filter(|it| it.0 != gone).collect();

        let after = planned(settings, &left, Some(&before.selection_text));

        let lost: Vec<_> = after.lost.iter().map(|it| it.use_of).collect();
        assert_eq!(lost, uses, "{settings} without {gone}");
    }
}

const NAMES: [&str; 6] = ["a", "b", "tmp_a", "tmp_b", "x", "y"];
const CHOICES: [&str; 4] = [
    "",
    "columns: { exclude: [\"tmp_*\"] }",
    "columns: [id, \"tmp_*\"]",
    "columns: [\"?\", id]",
];

proptest! {
    /// Whatever columns come and go, in any number of runs: what is reported as new is what the
    /// choice takes and no run before had, what is reported as dropped is what the run before had,
    /// and what is ignored stays ignored until it is added.
    #[test]
    fn columns_are_told_of_until_they_are_taken(
        choice in 0..CHOICES.len(),
        runs in proptest::collection::vec(
            (proptest::collection::vec(any::<bool>(), NAMES.len()), any::<bool>()),
            1..6,
        ),
    ) {
        let columns = |there: &[bool]| {
            let named = NAMES.iter().zip(1_i64..).zip(there);
            let named = named.filter(|(_, there)| **there);
            let mut columns = vec![("id", 0)];
            columns.extend(named.map(|((name, number), _)| (*name, number)));
            columns
        };
        // Globs have to match something, whatever goes.
        let always = |there: &[bool]| {
            let mut there = there.to_vec();
            (there[0], there[2]) = (true, true);
            there
        };
        let mut stored: Option<String> = None;
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (there, ignores) in &runs {
            let columns = columns(&always(there));
            let policy = if *ignores { "ignore" } else { "add" };
            let settings = format!("{}{}schema: {{ new_column: {policy} }}", CHOICES[choice],
                if choice == 0 { "" } else { ", " });
            let all = planned(CHOICES[choice], &columns, None);
            let taken: BTreeSet<String> = copied(&all).into_iter().map(str::to_owned).collect();

            let plan = planned(&settings, &columns, stored.as_deref());

            let (mut told, mut gone) = (BTreeSet::new(), BTreeSet::new());
            for change in &plan.source_changes {
                let list = match change.kind {
                    SourceChangeKind::Dropped => &mut gone,
                    _ => &mut told,
                };
                list.insert(change.column.clone());
            }
            let there: BTreeSet<String> = columns.iter().map(|it| it.0.to_owned()).collect();
            prop_assert_eq!(&gone, &known.difference(&there).cloned().collect());
            let now: BTreeSet<String> = copied(&plan).into_iter().map(str::to_owned).collect();
            if stored.is_none() {
                prop_assert_eq!(&now, &taken);
                prop_assert!(told.is_empty());
            } else if *ignores {
                prop_assert_eq!(&now, &taken.intersection(&known).cloned().collect());
                prop_assert!(told.is_empty());
            } else {
                prop_assert_eq!(&now, &taken);
                prop_assert_eq!(&told, &taken.difference(&known).cloned().collect());
            }
            known = now;
            stored = Some(plan.selection_text.clone());
        }
    }
}
