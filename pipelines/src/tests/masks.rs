//! `mask:`: what is read, what is hidden, and what is refused.

use super::lab::{plan, shown, with_tables};
use crate::{TablePlan, selection_changes};

fn customers(settings: &str) -> TablePlan {
    let text = with_tables(&format!("tables:\n  customers: {{ {settings} }}\n"));
    let mut plans = plan(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    plans.remove(0)
}

fn refused(settings: &str) -> String {
    let text = with_tables(&format!("tables:\n  customers:\n{settings}"));
    shown(plan(&text))
}

#[test]
fn names_beat_globs_and_unread_columns_are_left_out() {
    let plan = customers(
        "columns: [id, name, note, Country], derive: { short: \"left(note, 1)\" }, mask: { \
         \"n*\": redact, name: { fake: name, key: \"${MASK_KEY}\" }, Country: null, short: sha256 }",
    );

    let masks = plan.outputs.iter().map(|output| match &output.value {
        crate::OutputValue::Masked(_, mask) => mask.summary(),
        _ => String::new(),
    });
    let masks: Vec<_> = masks.collect();
    assert_eq!(
        masks,
        ["", "fake name (key 786ff98f)", "redact", "null", "sha256"]
    );
    assert_eq!(plan.read.columns, ["id", "name", "note"]);
    assert!(!plan.read.all_written);
    assert!(!format!("{plan:?}").contains("hunter2"));
    assert!(!plan.selection_text.contains("hunter2"));
}

#[test]
fn columns_that_something_else_needs_are_read_though_their_mask_does_not() {
    let plan = customers(
        "columns: [id, name, note], mask: { note: null, loud: null }, derive: { loud: \
         \"upper(note)\" }",
    );

    assert_eq!(plan.read.columns, ["id", "name", "note"]);
}

#[test]
fn another_mask_and_another_key_are_edits() {
    let before = customers("mask: { note: { hmac_sha256: \"${MASK_KEY}\" } }");
    let other = customers("mask: { note: { hmac_sha256: \"${CRM_URL}\" } }");
    let none = customers("");

    let changes = |before: &TablePlan, after: &TablePlan| {
        let changes = selection_changes(&before.selection_text, &after.selection_text);
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        changes.join("; ")
    };
    insta::assert_snapshot!(changes(&before, &other), @"mask: note by hmac_sha256 (key 786ff98f) -> note by hmac_sha256 (key cc5f46be)");
    insta::assert_snapshot!(changes(&none, &before), @"mask: + note by hmac_sha256 (key 786ff98f)");
    assert_ne!(before.read.selection, other.read.selection);
}

#[test]
fn mistakes_in_masks_name_what_to_write() {
    let text = "    columns: [id, name, note]
    derive: { loud: \"upper(note)\" }
    mask:
      note: redact
      nome: redact
      updated_at: email
      id: sha256
      \"n*\": email
      \"na*\": sha256
";
    insta::assert_snapshot!(refused(text), @r"
    `derive` of `loud` in `public.customers` computes from `note`, which is masked (p.yaml:7:15)
      hint: mask `loud` too, or compute it from other columns
    `public.customers` has no column `nome` (p.yaml:10:7)
      hint: the columns are `note`, `name`, `active`, `Country`, `seen_at`, `local_at`, `updated_at`, `id`
    `mask` names `updated_at`, which is not selected (p.yaml:11:7)
      hint: add it to `columns`, or remove it here
    `id` is part of the key of `public.customers`, and keys pass as they are (p.yaml:12:7)
      hint: name another key with `key:`, or leave the mask out
    `n*` and `na*` both mask `name` of `public.customers` (p.yaml:14:7)
      hint: name the column: `mask: { name: .. }`
    ");
}

#[test]
fn masks_that_cannot_be_read_say_so() {
    let text = "    mask:
      note: { hmac_sha256: literally_in_the_file }
      name: { fake: name }
      Country: { email: x }
      active: hide
      seen_at: { truncate_date: week, bucket: 3 }
      local_at: { hmac_sha256: \"${ABSENT}\" }
      \"[\": { partial: { first: -1 } }
      born: { hmac_sha256: \"${NONSENSE}\" }
";
    insta::assert_snapshot!(refused(text), @r#"
    the key of a mask is written in the file (p.yaml:7:28)
      hint: keep it out of it: `${NAME}` for a variable, `${file:PATH}` for a file
    `fake` has no `key` (p.yaml:8:13)
      hint: add `key: "${MASK_KEY}"`: without it anybody could try names
    unknown key `email` (p.yaml:9:18)
      hint: the keys of a mask are `hmac_sha256`, `constant`, `partial`, `truncate_date`, `bucket`, `fake`, `key`
    `hide` is no value of `mask` (p.yaml:10:15)
      hint: it is one of `redact`, `email`, `sha256`, `null`
    a mask is one thing (p.yaml:11:16)
      hint: for example `mask: { email: { hmac_sha256: "${MASK_KEY}" } }`
    the variable `ABSENT` is not set (p.yaml:12:32)
      hint: export ABSENT=..., or put it into the file `.env` beside `syncset.yaml`
    `first` must be a whole number of 0 or more (p.yaml:13:32)
      hint: for example `partial: { last: 4 }`
    the key of a mask has 7 bytes, so few that it can be guessed (p.yaml:14:28)
      hint: take one of 16 or more, such as `openssl rand -hex 32` prints
    "#);
}

#[test]
fn a_table_takes_whole_masks_over_those_of_the_defaults() {
    let text = "version: 1\nsource: crm\ntarget: replica\ndefaults:\n  mask: { note: { constant: a }, \
                name: redact }\ntables:\n  customers: { mask: { note: null } }\n";
    let plan = plan(text)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .remove(0);

    let note = plan.outputs.iter().find(|output| output.name == "note");
    let name = plan.outputs.iter().find(|output| output.name == "name");
    let summary = |output: Option<&crate::Output>| match output.map(|it| &it.value) {
        Some(crate::OutputValue::Masked(_, mask)) => mask.summary(),
        _ => String::new(),
    };
    assert_eq!(
        (summary(note), summary(name)),
        ("null".into(), "redact".into())
    );
}
