//! `plugins:` and `transform:`: what is read, what plugins are given, and what is refused.

use super::lab::{
    CATALOG, LOOKUP, column, customers, pipeline, plan_with, project, shop, shown, with_tables,
};
use crate::{
    NoPlugins, OnPluginError, OutputValue, PluginColumn, PluginConfig, PluginFunction, Plugins,
    Problem, TablePlan, Wasi, selection_changes,
};
use arrow_schema::DataType;
use std::time::Duration;
use syncset_connector::{Capture, OnLossy, TableDescription};

const DIGITS: &str = "9C1E185A5C5E9FC54612808977EE8F548B2258D31D6E4E7B9F5B5F6A2D0C9E11";

/// Plugins whose step reads what its `reads` says, and all columns if it says nothing.
#[derive(Clone)]
struct Lab {
    sha256: String,
    is_volatile: bool,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            sha256: DIGITS.to_ascii_lowercase(),
            is_volatile: false,
        }
    }
}

impl Plugins for Lab {
    fn reads(&self, _: &str, config: &PluginConfig) -> Result<Option<Vec<String>>, String> {
        let config: serde_json::Value = serde_json::from_str(&config.json()).expect("it is JSON");
        if let Some(refused) = config["refused"].as_str() {
            return Err(format!("`refused` is `{refused}`"));
        }
        let names = config["reads"].as_array();
        let text = |name: &serde_json::Value| name.as_str().expect("it is a text").to_owned();
        Ok(names.map(|names| names.iter().map(text).collect()))
    }

    fn sha256(&self, plugin: &str) -> Option<String> {
        Some(match plugin {
            "scrub" => "5".repeat(64),
            _ => self.sha256.clone(),
        })
    }

    fn functions(&self) -> Vec<PluginFunction> {
        vec![PluginFunction {
            name: "phone_of".into(),
            plugin: "normalise_phone".into(),
            is_volatile: self.is_volatile,
        }]
    }
}

fn plans(text: &str) -> Result<Vec<TablePlan>, Vec<Problem>> {
    plan_with(text, &shop(), None, &Lab::default())
}

/// The plan of `customers` with these settings.
fn planned(settings: &str, plugins: &dyn Plugins) -> TablePlan {
    let text = with_tables(&format!("tables:\n  customers: {{ {settings} }}\n"));
    let plans = plan_with(&text, &shop(), None, plugins);
    plans
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .remove(0)
}

fn refused(settings: &str) -> String {
    shown(plans(&with_tables(&format!(
        "tables:\n  customers:\n{settings}"
    ))))
}

fn changes(before: &TablePlan, after: &TablePlan) -> String {
    let is_edit = before.read.selection != after.read.selection;
    let changes = selection_changes(&before.selection_text, &after.selection_text);
    assert_eq!(is_edit, !changes.is_empty());
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    changes.join("; ")
}

#[test]
fn plugin_has_what_the_file_says_and_defaults() {
    let project = project(&format!(
        "version: 1\nplugins:\n  a: {{ path: plugins/a.wasm }}\n  b_2:\n    path: /opt/b.wasm\n    \
         sha256: {DIGITS}\n    wasi: sandbox\n    limits: {{ memory: 1GiB, batch_timeout: 2m, \
         fuel: 1_000 }}\n    on_error: skip_row\n    config: {{ n: 1, big: 18446744073709551615, \
         f: 0.5, t: \"1\", b: true, none: null, far: 1e999, dollar: \"$${{x}}\", list: [a, {{ z: \
         1, k: \"x${{MASK_KEY}}\" }}] }}\n"
    ))
    .expect("the file is right");

    let (a, b) = (&project.plugins["a"], &project.plugins["b_2"]);
    assert_eq!(a.file, std::path::Path::new("/shop/plugins/a.wasm"));
    assert_eq!((a.sha256.as_ref(), a.wasi), (None, Wasi::None));
    assert_eq!(a.limits.memory_bytes, 256 << 20);
    assert_eq!(a.limits.batch_timeout, Duration::from_secs(30));
    assert_eq!((a.limits.fuel, a.on_error), (None, OnPluginError::Fail));
    assert_eq!(a.config.json(), "{}");
    assert_eq!(b.file, std::path::Path::new("/opt/b.wasm"));
    assert_eq!(b.sha256.as_deref(), Some(&*DIGITS.to_ascii_lowercase()));
    assert_eq!(
        (b.wasi, b.on_error),
        (Wasi::Sandbox, OnPluginError::SkipRow)
    );
    assert_eq!(b.limits.memory_bytes, 1 << 30);
    assert_eq!(b.limits.batch_timeout, Duration::from_secs(120));
    assert_eq!(b.limits.fuel, Some(1000));
    assert_eq!(
        b.config.json(),
        r#"{"b":true,"big":18446744073709551615,"dollar":"${x}","f":0.5,"far":"1e999","list":["a",{"k":"xhunter2 hunter2 hunter2","z":1}],"n":1,"none":null,"t":"1"}"#
    );
    assert_eq!(
        b.problem("sha256", "no").to_string(),
        "no (syncset.yaml:6:13)"
    );
}

#[test]
fn secrets_of_configurations_are_not_shown() {
    let project = project(
        "version: 1\nplugins:\n  a: { path: a.wasm, config: { k: \"x${MASK_KEY}\", l: [\"${NONSENSE}\"] } }\n",
    )
    .expect("the file is right");
    let config = &project.plugins["a"].config;

    assert_eq!(
        config.shown().to_string(),
        r#"{"k":"(secret 7b99e5e7)","l":["(secret 26b3068c)"]}"#
    );
    assert!(!format!("{project:?}").contains("hunter2"));
    assert_eq!(
        config.without_secrets("{\"xhunter2 hunter2 hunter2\"}"),
        "{\"***\"}"
    );
    assert_eq!(
        config.without_secrets("no `xhunter2 hunter2 hunter2`, nor `hunter2`"),
        "no `***`, nor `***`"
    );
}

#[test]
fn mistakes_in_plugins_name_what_to_write() {
    let text = "version: 1
plugins:
  Upper: { path: a.wasm }
  2nd: { path: a.wasm }
  no_path: {}
  other: { path: a.wasm, sha: x, wasi: full, on_error: skip, limits: { memroy: 1MiB } }
  digits: { path: a.wasm, sha256: 9c1e }
  letters: { path: a.wasm, sha256: \"zz\" }
  small: { path: a.wasm, limits: { memory: 4KiB, batch_timeout: 1ms, fuel: 0 } }
  large: { path: a.wasm, limits: { memory: 5GiB, batch_timeout: 2h, fuel: -1 } }
  units: { path: \"${CRM_URL}\", limits: { memory: 4 parsecs, batch_timeout: 30 } }
  lists: { path: a.wasm, config: [a], limits: 5 }
  absent: { path: a.wasm, config: { a: { b: \"${ABSENT}\" } } }
  text: a.wasm
";
    insta::assert_snapshot!(shown(project(text)), @r#"
    `Upper` is no name of a plugin (syncset.yaml:3:3)
      hint: a name has small letters, digits and `_`, and no digit first, so that SQL can call it
    `2nd` is no name of a plugin (syncset.yaml:4:3)
      hint: a name has small letters, digits and `_`, and no digit first, so that SQL can call it
    the plugin `no_path` has no `path` (syncset.yaml:5:3)
      hint: for example `no_path: { path: plugins/normalise_phone.wasm, sha256: "9c1e..." }`
    unknown key `sha` (syncset.yaml:6:26)
      hint: did you mean `sha256`?
    `full` is no value of `wasi` (syncset.yaml:6:40)
      hint: it is one of `none`, `sandbox`
    `skip` is no value of `on_error` (syncset.yaml:6:56)
      hint: did you mean `skip_row`?
    unknown key `memroy` (syncset.yaml:6:72)
      hint: did you mean `memory`?
    `sha256` has 4 digits, not 64 (syncset.yaml:7:35)
      hint: write what `sha256sum FILE` prints, or let `syncset plugin pin` write it
    `sha256` is no hexadecimal number (syncset.yaml:8:36)
      hint: write what `sha256sum FILE` prints, or let `syncset plugin pin` write it
    `memory` must be between 1MiB and 4GiB (syncset.yaml:9:44)
      hint: for example `memory: 256MiB`
    `batch_timeout` must be between 10ms and 1h (syncset.yaml:9:65)
      hint: for example `batch_timeout: 30s`
    with `fuel: 0` no plugin can run (syncset.yaml:9:76)
      hint: leave it out: then it is not counted
    `memory` must be between 1MiB and 4GiB (syncset.yaml:10:44)
      hint: for example `memory: 256MiB`
    `batch_timeout` must be between 10ms and 1h (syncset.yaml:10:65)
      hint: for example `batch_timeout: 30s`
    `fuel` must be a whole number of 0 or more (syncset.yaml:10:75)
      hint: for example `fuel: 1_000_000_000`
    `${...}` is replaced in connections, `source` and `target` only (syncset.yaml:11:18)
      hint: write the value itself, or `$${` for the two characters
    `memory` must be a number of bytes with its unit, such as `256MiB` (syncset.yaml:11:50)
      hint: for example `memory: 256MiB`
    `batch_timeout` must be a duration with its unit, such as `10m` or `24h` (syncset.yaml:11:76)
      hint: for example `batch_timeout: 30s`
    `config` must be a mapping, not a list (syncset.yaml:12:34)
      hint: for example `config: { column: phone }`
    `limits` must be a mapping, not a number (syncset.yaml:12:47)
      hint: for example `limits: { memory: 256MiB, batch_timeout: 30s }`
    the variable `ABSENT` is not set (syncset.yaml:13:45)
      hint: export ABSENT=..., or put it into the file `.env` beside `syncset.yaml`
    the plugin `text` must be a mapping, not a text (syncset.yaml:14:9)
      hint: for example `text: { path: plugins/normalise_phone.wasm, sha256: "9c1e..." }`
    "#);
    insta::assert_snapshot!(shown(project("version: 1\nplugins: [a]\n")), @r#"
    `plugins` must be a mapping, not a list (syncset.yaml:2:10)
      hint: for example `plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, sha256: "9c1e..." } }`
    "#);
    let twice = "version: 1\nplugins:\n  a: { path: a.wasm }\n  a: { path: b.wasm }\n";
    insta::assert_snapshot!(shown(project(twice)), @r"
    `a` is written twice (syncset.yaml:4:3)
      hint: it is already on line 3: keep one of them
    ");
}

#[test]
fn mistakes_in_transform_name_what_to_write() {
    let text = "version: 1
source: crm
target: replica
defaults: { transform: [skrub] }
tables:
  a: {}
  b: { transform: scrub }
  c: { transform: [ [scrub], { plugin: normalise_phon }, { config: {} } ] }
  d: { transform: [ { plugin: scrub, conf: {}, on_error: warn }, nothing_like_it ] }
  e: { transform: [ { plugin: scrub, config: 5 }, { plugin: \"${X}\", config: { a: \"${ABSENT}\" } } ] }
";
    insta::assert_snapshot!(shown(pipeline(text)), @r"
    there is no plugin `skrub` (p.yaml:4:25)
      hint: did you mean `scrub`? `plugins` of `syncset.yaml` has `scrub`, `normalise_phone`
    `transform` must be a list, not a text (p.yaml:7:19)
      hint: for example `transform: [ { plugin: normalise_phone, config: { column: phone } } ]`
    an entry of `transform` must be the name of a plugin or a mapping, not a list (p.yaml:8:21)
      hint: for example `transform: [ { plugin: normalise_phone, config: { column: phone } } ]`
    there is no plugin `normalise_phon` (p.yaml:8:40)
      hint: did you mean `normalise_phone`? `plugins` of `syncset.yaml` has `normalise_phone`, `scrub`
    an entry of `transform` has no `plugin` (p.yaml:8:58)
      hint: for example `transform: [ { plugin: normalise_phone, config: { column: phone } } ]`
    unknown key `conf` (p.yaml:9:38)
      hint: did you mean `config`?
    `warn` is no value of `on_error` (p.yaml:9:58)
      hint: it is one of `fail`, `skip_row`
    there is no plugin `nothing_like_it` (p.yaml:9:66)
      hint: `plugins` of `syncset.yaml` has `normalise_phone`, `scrub`
    `config` must be a mapping, not a number (p.yaml:10:46)
      hint: for example `config: { column: phone }`
    `${...}` is replaced in connections, `source` and `target` only (p.yaml:10:61)
      hint: write the value itself, or `$${` for the two characters
    there is no plugin `${X}` (p.yaml:10:61)
      hint: `plugins` of `syncset.yaml` has `normalise_phone`, `scrub`
    the variable `ABSENT` is not set (p.yaml:10:82)
      hint: export ABSENT=..., or put it into the file `.env` beside `syncset.yaml`
    ");
}

#[test]
fn variables_are_replaced_in_configurations_only() {
    let text = with_tables(
        "tables:\n  transform: { where: \"a = '${MASK_KEY}'\" }\n  b: { transform: \
         [\"${MASK_KEY}\"] }\n",
    );

    insta::assert_snapshot!(shown(pipeline(&text)), @r"
    `${...}` is replaced in connections, `source` and `target` only (p.yaml:5:23)
      hint: write the value itself, or `$${` for the two characters
    `${...}` is replaced in connections, `source` and `target` only (p.yaml:6:20)
      hint: write the value itself, or `$${` for the two characters
    there is no plugin `${MASK_KEY}` (p.yaml:6:20)
      hint: `plugins` of `syncset.yaml` has `normalise_phone`, `scrub`
    ");
}

#[test]
fn steps_take_the_settings_of_the_plugin_under_theirs() {
    let plan = planned(
        "transform: [ normalise_phone, { plugin: normalise_phone, config: { keys: [c], n: 1 }, \
         on_error: skip_row }, { plugin: scrub, on_error: fail }, scrub ]",
        &Lab::default(),
    );

    let steps = plan.transforms.iter();
    let steps: Vec<_> = steps
        .map(|it| {
            (
                it.plugin.as_str(),
                it.config.shown().to_string(),
                it.on_error,
            )
        })
        .collect();
    let own = r#"{"country":"DE","keys":["a","b"]}"#.to_owned();
    let merged = r#"{"country":"DE","keys":["c"],"n":1}"#.to_owned();
    let secret = r#"{"key":"(secret 916fb477)"}"#.to_owned();
    assert_eq!(
        steps,
        [
            ("normalise_phone", own, OnPluginError::Fail),
            ("normalise_phone", merged, OnPluginError::SkipRow),
            ("scrub", secret.clone(), OnPluginError::Fail),
            ("scrub", secret, OnPluginError::SkipRow),
        ]
    );
    assert!(plan.transforms[2].config.json().contains("hunter2"));
    assert!(!format!("{plan:?}").contains("hunter2"));
    assert!(!plan.selection_text.contains("hunter2"));
}

#[test]
fn list_of_a_table_replaces_that_of_the_defaults() {
    let text = with_tables(
        "defaults: { transform: [scrub] }\ntables:\n  customers: {}\n  a_orders: { transform: \
         [normalise_phone] }\n  shelf: { transform: [] }\n",
    );

    let plans = plans(&text).unwrap_or_else(|problems| panic!("{problems:?}"));

    let mut names = plans.iter().map(|plan| {
        let steps = plan.transforms.iter();
        let steps: Vec<_> = steps.map(|step| step.plugin.as_str()).collect();
        format!("{} {}", plan.stream, steps.join(" "))
    });
    let names: Vec<_> = names.by_ref().collect();
    assert_eq!(
        names,
        [
            "public.customers scrub",
            "public.a_orders normalise_phone",
            "store.shelf "
        ]
    );
}

#[test]
fn unselected_columns_that_plugins_read_are_read_and_not_written() {
    let plan = planned(
        "columns: [id, name, Country], mask: { Country: null }, derive: { loud: \"upper(note)\" }, \
         transform: [ { plugin: scrub, config: { reads: [loud, name, Country, note, seen_at] } }, \
         { plugin: scrub, config: { reads: [seen_at, digits] } } ]",
        &Lab::default(),
    );

    assert_eq!(plan.extras, ["note", "seen_at"]);
    // `Country` is not read: its mask needs no value, and the plugin sees the mask's.
    assert_eq!(plan.read.columns, ["id", "name", "note", "seen_at"]);
    assert!(!plan.read.all_written);
    let outputs: Vec<_> = plan.outputs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(outputs, ["id", "name", "Country", "loud"]);
    assert_eq!(plan.transforms[1].from_earlier, ["digits"]);
    let notes: Vec<_> = plan
        .notes
        .iter()
        .filter(|it| it.contains("plugin"))
        .collect();
    assert_eq!(
        notes,
        [
            "plugin `scrub` is given `note`, which is not selected",
            "plugin `scrub` is given `seen_at`, which is not selected"
        ]
    );
}

#[test]
fn plugin_that_reads_all_columns_reads_the_selected_ones() {
    let plan = planned("columns: [id, name], transform: [scrub]", &Lab::default());

    assert_eq!(plan.transforms[0].reads, None);
    assert_eq!(plan.read.columns, ["id", "name"]);
    assert!(plan.extras.is_empty());
    assert!(!plan.read.all_written);
}

#[test]
fn tables_with_plugins_are_not_compared_by_hashes_unasked() {
    let plain = planned("", &Lab::default());
    let transformed = planned("transform: [scrub]", &Lab::default());

    assert_eq!(plain.read.capture, Capture::Hash);
    assert_eq!(transformed.read.capture, Capture::Full);
}

#[test]
fn columns_that_plugins_must_not_see_are_refused() {
    let text = "    columns: [id, name]
    mask: { \"no*\": redact }
    transform:
      - { plugin: scrub, config: { reads: [nam, note] } }
      - { plugin: scrub, config: { refused: \"${MASK_KEY}\" } }
";
    insta::assert_snapshot!(refused(text), @r"
    plugin `scrub` reads column `nam`, which `public.customers` does not have (p.yaml:9:9)
      hint: the columns are `name`, `note`, `active`, `local_at`, `updated_at`, `id`, `Country`, `seen_at`
    plugin `scrub` reads `note` of `public.customers`, which `mask` covers and `columns` leaves out: it would see its values as they are (p.yaml:9:9)
      hint: select `note`: then the plugin sees what the mask writes
    plugin `scrub` of `public.customers`: `refused` is `***` (p.yaml:10:9)
      hint: `syncset plugin inspect scrub` shows what it takes
    ");

    let text = "    columns: [id, name]
    schema: { unmasked_columns: fail }
    transform: [ { plugin: scrub, config: { reads: [name, note] } } ]
";
    insta::assert_snapshot!(refused(text), @r"
    plugin `scrub` reads `note` of `public.customers`, which is not selected and which no mask covers (`unmasked_columns: fail`) (p.yaml:8:18)
      hint: select `note`, with a mask if it is private, or use `schema: { unmasked_columns: copy }`
    ");
}

#[test]
fn masked_columns_that_are_selected_are_given_as_the_mask_writes_them() {
    let plan = planned(
        "columns: [id, note], schema: { unmasked_columns: fail }, mask: { note: redact }, \
         transform: [ { plugin: scrub, config: { reads: [note] } } ]",
        &Lab::default(),
    );

    assert!(plan.extras.is_empty());
    assert!(matches!(plan.outputs[1].value, OutputValue::Masked(..)));
}

#[test]
fn another_plugin_and_another_configuration_are_edits() {
    let with = |settings: &str| planned(settings, &Lab::default());
    let none = with("");
    let before = with("transform: [ { plugin: scrub, config: { column: note } } ]");
    let key =
        with("transform: [ { plugin: scrub, config: { column: note, key: \"${CRM_URL}\" } } ]");
    let skips = with("transform: [ { plugin: normalise_phone, on_error: skip_row } ]");
    let fails = with("transform: [ normalise_phone ]");
    let other = Lab {
        sha256: "7".repeat(64),
        ..Lab::default()
    };
    let built_anew = planned("transform: [ normalise_phone ]", &other);

    insta::assert_snapshot!(changes(&none, &before), @"transform: + [{ plugin: scrub, sha256: 555555555555.., config: { column: note, key: (secret 916fb477) }, on_error: skip_row }]");
    insta::assert_snapshot!(changes(&before, &key), @"transform: [{ plugin: scrub, sha256: 555555555555.., config: { column: note, key: (secret 916fb477) }, on_error: skip_row }] -> [{ plugin: scrub, sha256: 555555555555.., config: { column: note, key: (secret a18e974e) }, on_error: skip_row }]");
    insta::assert_snapshot!(changes(&fails, &skips), @"transform: [{ plugin: normalise_phone, sha256: 9c1e185a5c5e.., config: { country: DE, keys: [a, b] } }] -> [{ plugin: normalise_phone, sha256: 9c1e185a5c5e.., config: { country: DE, keys: [a, b] }, on_error: skip_row }]");
    insta::assert_snapshot!(changes(&fails, &built_anew), @"transform: [{ plugin: normalise_phone, sha256: 9c1e185a5c5e.., config: { country: DE, keys: [a, b] } }] -> [{ plugin: normalise_phone, sha256: 777777777777.., config: { country: DE, keys: [a, b] } }]");
    let same = with("transform: [ { plugin: normalise_phone, config: { keys: [a, b] } } ]");
    assert_eq!(changes(&fails, &same), "");
}

#[test]
fn order_of_plugins_is_part_of_the_selection() {
    let one = planned("transform: [scrub, normalise_phone]", &Lab::default());
    let other = planned("transform: [normalise_phone, scrub]", &Lab::default());

    assert_ne!(one.read.selection, other.read.selection);
}

#[test]
fn plugins_that_expressions_call_are_part_of_the_selection() {
    let other = Lab {
        sha256: "7".repeat(64),
        ..Lab::default()
    };
    let calls = "derive: { p: \"PHONE_OF(name)\" }";
    let filters = "where: \"phone_of(name) > ''\", where_pushdown: best_effort";
    let quoted = "derive: { p: \"concat('phone_of(', name)\" }";

    let edit = |settings: &str| {
        changes(
            &planned(settings, &Lab::default()),
            &planned(settings, &other),
        )
    };

    insta::assert_snapshot!(edit(calls), @"plugins: { normalise_phone: 9c1e185a5c5e.. } -> { normalise_phone: 777777777777.. }");
    assert_eq!(edit(calls), edit(filters));
    assert_eq!(edit(quoted), "");
    assert_eq!(
        changes(&planned(quoted, &NoPlugins), &planned(quoted, &other)),
        ""
    );
}

#[test]
fn plugins_change_nothing_for_tables_without_them() {
    let with = planned(
        "where: \"id > 5\", derive: { d: \"upper(name)\" }",
        &Lab::default(),
    );
    let without = planned(
        "where: \"id > 5\", derive: { d: \"upper(name)\" }",
        &NoPlugins,
    );

    assert_eq!(with.selection_text, without.selection_text);
    assert!(!with.selection_text.contains("transform"));
    assert!(!with.selection_text.contains("plugin"));
}

#[test]
fn functions_that_answer_differently_each_time_are_refused() {
    let volatile = Lab {
        is_volatile: true,
        ..Lab::default()
    };
    let text = with_tables(
        "tables:\n  customers:\n    derive: { p: \"phone_of(name)\" }\n    where: \"phone_of(name) \
         > ''\"\n    where_pushdown: best_effort\n",
    );

    insta::assert_snapshot!(shown(plan_with(&text, &shop(), None, &volatile)), @r"
    `p` of `public.customers`: `phone_of` of plugin `normalise_phone` answers differently each time (p.yaml:6:18)
      hint: the rows would change in every run; compute from columns only
    `where` of `public.customers`: `phone_of` of plugin `normalise_phone` answers differently each time (p.yaml:7:12)
      hint: the rows would change in every run; compute from columns only
    ");
}

#[test]
fn table_stops_whose_plugin_reads_a_column_that_is_gone() {
    let settings =
        "columns: [id, name], transform: [ { plugin: scrub, config: { reads: [note] } } ]";
    let before = planned(settings, &Lab::default());
    let text = with_tables(&format!("tables:\n  customers: {{ {settings} }}\n"));
    let mut table = customers();
    table.columns.retain(|column| column.name != "note");

    let stored = Some(before.selection_text.as_str());
    let plans = plan_with(&text, &[table], stored, &Lab::default());

    let plan = plans
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .remove(0);
    assert_eq!(plan.lost.len(), 1);
    assert_eq!(
        plan.lost[0].sentence(),
        "the source dropped column `note`, and a plugin of `transform` reads it"
    );
    assert!(plan.transforms.is_empty());
}

fn returned(names: &[&str]) -> Vec<PluginColumn> {
    let names = names.iter();
    names
        .map(|name| PluginColumn {
            name: (*name).to_owned(),
            plugin: "scrub".into(),
        })
        .collect()
}

/// The plan of a table with these settings after its plugins were bound.
fn bound(settings: &str, names: &[&str]) -> Result<TablePlan, Vec<Problem>> {
    let text = with_tables(&format!("tables:\n  customers:\n{settings}"));
    let spec = pipeline(&text)?;
    plans(&text)?
        .remove(0)
        .with_plugin_columns(&spec, &returned(names))
}

#[test]
fn columns_that_plugins_return_replace_others_or_are_added() {
    let settings = "    columns: [id, name]
    transform: [scrub]
    rename: { digits: phone_digits, name: full_name }
    on_lossy: { columns: { digits: warn } }
";
    let text = with_tables(&format!("tables:\n  customers:\n{settings}"));
    let before = plans(&text).expect("it can be planned").remove(0);

    let plan = bound(settings, &["name", "digits"]).expect("it can be bound");

    let outputs = plan.outputs.iter();
    let outputs: Vec<_> = outputs
        .map(|it| format!("{} <- {}", it.name, it.value.origin()))
        .collect();
    assert_eq!(
        outputs,
        [
            r#"id <- {"column":"id"}"#,
            r#"full_name <- {"name":"name","plugin":"scrub"}"#,
            r#"phone_digits <- {"name":"digits","plugin":"scrub"}"#,
        ]
    );
    let policies: Vec<_> = plan.lossy.iter().map(|it| it.policy).collect();
    assert_eq!(policies, [OnLossy::Error, OnLossy::Error, OnLossy::Warn]);
    assert!(plan.unmatched.is_empty());
    assert_eq!(
        changes(&before, &plan),
        "transform: + phone_digits by scrub"
    );
    let replaced = bound(
        "    columns: [id, name]\n    transform: [scrub]\n",
        &["name"],
    );
    let replaced = replaced.expect("it can be bound");
    let plain = planned("columns: [id, name], transform: [scrub]", &Lab::default());
    assert_eq!(replaced.selection_text, plain.selection_text);
}

#[test]
fn columns_of_plugins_do_not_come_up_as_new_at_the_source() {
    let settings = "    transform: [scrub]\n";
    let first = bound(settings, &["name", "digits"]).expect("it can be bound");
    let text = with_tables(&format!("tables:\n  customers:\n{settings}"));
    let mut table: TableDescription = customers();
    table.columns.push(column("born", DataType::Date32, true));

    let plan = plan_with(
        &text,
        &[table],
        Some(&first.selection_text),
        &Lab::default(),
    );

    let plan = plan.expect("it can be planned").remove(0);
    let changes = plan.source_changes.iter();
    let changes: Vec<_> = changes.map(ToString::to_string).collect();
    assert_eq!(changes, ["new column `born` (date32)"]);
}

#[test]
fn columns_of_plugins_that_do_not_fit_are_refused_at_the_step() {
    let settings = "    columns: [id, name, note]
    transform: [normalise_phone, scrub]
    rename: { name: digits, other: name, more: note }
    write: { on_delete: soft }
    on_lossy: { columns: { lossy: warn } }
";
    let found = bound(settings, &["id", "digits", "more", "_deleted_at"]);
    insta::assert_snapshot!(shown(found), @r"
    plugin `scrub` returns `id`, which is part of the key of `public.customers` (p.yaml:7:34)
      hint: keys pass as they are: let the plugin declare what it returns (`returns` of the SDKs) without it, or return another column
    plugin `scrub` adds `digits` to `public.customers`, which is called `digits` at the target, as is `name` (p.yaml:7:34)
      hint: give it another name with `rename: { digits: .. }`
    plugin `scrub` adds `_deleted_at` to `public.customers`, which is called `_deleted_at` at the target, as is the one that the target fills (p.yaml:7:34)
      hint: give it another name with `rename: { _deleted_at: .. }`
    `rename` names `other`, which is no column of `public.customers` and which no plugin adds (p.yaml:8:29)
      hint: its columns are `note`, `more`, `name`, `_deleted_at`, `id`, `digits`
    plugin `scrub` adds `more` to `public.customers`, which is called `note` at the target, as is `note` (p.yaml:8:48)
      hint: give it another name with `rename: { more: .. }`
    `on_lossy` names `lossy`, which is no column of `public.customers` and which no plugin adds (p.yaml:10:28)
      hint: its columns are `note`, `more`, `digits`, `_deleted_at`, `id`, `name`
    ");
}

#[test]
fn exact_masks_of_columns_that_plugins_read_are_no_advice_to_show_them() {
    let text = "    columns: [id, name]
    mask: { note: redact, added: sha256 }
    transform: [ { plugin: scrub, config: { reads: [note] } } ]
";
    insta::assert_snapshot!(refused(text), @r"
    `mask` names `added`, which is no column of `public.customers`; masks do not reach columns that plugins add (p.yaml:7:27)
      hint: mask what the plugin reads, or let it hide `added` itself; the columns are `name`, `active`, `updated_at`, `id`, `note`, `seen_at`, `local_at`, `Country`
    plugin `scrub` reads `note` of `public.customers`, which `mask` covers and `columns` leaves out: it would see its values as they are (p.yaml:8:18)
      hint: select `note`: then the plugin sees what the mask writes
    ");
}

/// Refuses every configuration.
struct Refusing;

impl Plugins for Refusing {
    fn reads(&self, _: &str, _: &PluginConfig) -> Result<Option<Vec<String>>, String> {
        Err("`colour` is none of its keys".to_owned())
    }

    fn sha256(&self, _: &str) -> Option<String> {
        None
    }

    fn functions(&self) -> Vec<PluginFunction> {
        Vec::new()
    }
}

#[test]
fn configurations_of_the_project_are_refused_at_their_place() {
    let of = |step: &str| {
        let text = with_tables(&format!(
            "tables:\n  customers: {{ transform: [ {step} ] }}\n"
        ));
        let problems = plan_with(&text, &shop(), None, &Refusing).expect_err("it is refused");
        problems[0].to_string()
    };

    let own = of("{ plugin: scrub, config: { a: 1 } }");
    assert!(own.ends_with("(p.yaml:5:29)"), "{own}");
    for step in ["scrub", "{ plugin: scrub }"] {
        let inherited = of(step);
        assert!(inherited.ends_with("(syncset.yaml:7:62)"), "{inherited}");
    }
}

#[test]
fn pins_that_are_no_hashes_can_be_read_to_be_replaced() {
    for pin in ["ABC", "\"\"", "' '", "zz", ""] {
        let text = format!("version: 1\nplugins:\n  a:\n    path: a.wasm\n    sha256: {pin}\n");
        let place = std::path::Path::new("/shop");
        let source = crate::Source {
            path: "syncset.yaml",
            text: &text,
        };
        let read = crate::read_project(source, place, (&CATALOG, &LOOKUP), crate::Pins::Any);

        let read = read.unwrap_or_else(|problems| panic!("{pin}: {problems:?}"));
        assert_eq!(read.plugins["a"].sha256, None, "{pin}");
        assert!(read.plugins["a"].places.contains_key("sha256"), "{pin}");
    }
}

#[test]
fn names_that_are_called_are_found_in_any_expression() {
    let called =
        crate::called_names("upper(name) || Phone_Of (phone, 'x(') || max_ || \"loud\"(a)");
    let called: Vec<_> = called.iter().map(String::as_str).collect();
    assert_eq!(called, ["loud", "phone_of", "upper"]);
}
