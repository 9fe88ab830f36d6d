//! `schema:` as a word, as a mapping, and in `defaults:` too.

use super::lab::{pipeline, plan, shown, with_tables};
use crate::SourceChangeKind as Kind;

/// What counts for a new, a dropped and a retyped column.
fn policies(defaults: &str, own: &str) -> String {
    let text = with_tables(&format!(
        "capture: full\ndefaults: {{ {defaults} }}\ntables:\n  public.customers: {{ {own} }}\n"
    ));
    let plans = plan(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let setting = plans.first().expect("one table").schema;
    let words = [Kind::Added, Kind::Dropped, Kind::Retyped].map(|kind| {
        let policy = setting.policy_of(kind);
        let (_, word) = policy.split_once(": ").expect("a key and a word");
        word.to_owned()
    });
    words.join(" ")
}

#[test]
fn preset_speaks_of_every_kind_of_change() {
    let cases = [
        ("", "add keep widen"),
        ("schema: additive", "add keep widen"),
        ("schema: evolve", "add drop widen"),
        ("schema: frozen", "fail fail fail"),
        ("schema: { preset: frozen }", "fail fail fail"),
        (
            "schema: { preset: evolve, dropped_column: null }",
            "add null widen",
        ),
        (
            "schema: { new_column: ignore, preset: frozen }",
            "ignore fail fail",
        ),
        ("schema: { type_change: approve }", "add keep approve"),
    ];
    for (settings, expected) in cases {
        assert_eq!(policies("", settings), expected, "{settings}");
        assert_eq!(policies(settings, ""), expected, "{settings}");
    }
}

#[test]
fn preset_of_a_table_leaves_nothing_of_the_defaults() {
    let cases = [
        ("schema: frozen", "schema: evolve", "add drop widen"),
        (
            "schema: { new_column: ignore }",
            "schema: evolve",
            "add drop widen",
        ),
        (
            "schema: { new_column: ignore }",
            "schema: { preset: frozen, dropped_column: keep }",
            "fail keep fail",
        ),
        (
            "schema: frozen",
            "schema: { dropped_column: null }",
            "fail null fail",
        ),
        (
            "schema: { preset: frozen, new_column: add }",
            "schema: { dropped_column: keep }",
            "add keep fail",
        ),
    ];
    for (defaults, own, expected) in cases {
        assert_eq!(policies(defaults, own), expected, "{defaults} {own}");
    }
}

#[test]
fn words_that_are_no_preset_are_refused_at_their_place() {
    let text = with_tables(
        "defaults: { schema: [evolve] }\ntables:\n  a: { schema: freeze }\n  \
         b: { schema: { preset: additiv } }\n",
    );

    insta::assert_snapshot!(shown(pipeline(&text)), @"
    `schema` must be a word or a mapping, not a list (p.yaml:4:21)
      hint: for example `schema: { new_column: ignore }`
    `freeze` is no value of `schema` (p.yaml:6:16)
      hint: it is one of `additive`, `evolve`, `frozen`
    `additiv` is no value of `preset` (p.yaml:7:26)
      hint: did you mean `additive`?
    ");
}
