//! Right pipelines and what is made of them.

use super::lab::{column, pipeline, plan, plan_of, project, table, with_tables};
use crate::{OutputValue, TablePlan};
use arrow_schema::DataType;
use std::time::Duration;
use syncset_connector::{
    Capture, CaptureMode, Filter, Marks, OnDelete, Overlap, Predicate, TableDescription, UniqueKey,
    WriteMode, WrittenBy,
};

fn plans(tables: &str) -> Vec<TablePlan> {
    plan(&with_tables(tables)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn only(tables: &str) -> TablePlan {
    let mut plans = plans(tables);
    assert_eq!(plans.len(), 1);
    plans.remove(0)
}

/// `target column <- source`, one per column.
fn outputs(plan: &TablePlan) -> Vec<String> {
    plan.outputs
        .iter()
        .map(|output| format!("{} <- {}", output.name, origin(&output.value)))
        .collect()
}

fn origin(value: &OutputValue) -> String {
    match value {
        OutputValue::Column(column) => column.clone(),
        OutputValue::Derived { sql, .. } => format!("({sql})"),
        OutputValue::Masked(value, mask) => format!("{} of {}", mask.summary(), origin(value)),
        OutputValue::Plugin { name, plugin } => format!("{name} by {plugin}"),
    }
}

#[test]
fn project_resolves_values_and_keeps_them_secret() {
    let project = project(
        "version: 1\nproject: shop\nlease: { expires: 2m }\nconnections:\n  \
         a: { type: postgres, host: h, password: \"${file:secrets/pg}\" }\n  b: sqlite:x.db\n",
    )
    .expect("the file is right");

    assert_eq!(project.name, "shop");
    assert_eq!(project.lease, Duration::from_secs(120));
    let connection = &project.connections["a"];
    assert_eq!(connection.settings.value("password"), Some("hunter2"));
    assert_eq!(project.connections["b"].kind, "sqlite");
    assert_eq!(
        project.connections["b"].settings.value("url"),
        Some("sqlite:x.db")
    );
    assert!(!format!("{project:?}").contains("hunter2"));
}

#[test]
fn inline_urls_are_connections() {
    let spec = pipeline(
        "version: 1\nsource: sqlite:shop.db\ntarget: { type: postgres, host: h }\ntags: [a, b]\n\
         tables: { customers: {} }\n",
    )
    .expect("the file is right");

    assert_eq!(
        (spec.source.name.as_str(), spec.source.kind.as_str()),
        ("source", "sqlite")
    );
    assert_eq!(spec.target.settings.value("host"), Some("h"));
    assert_eq!(spec.tags, ["a", "b"]);
}

#[test]
fn exact_names_beat_globs_and_skip_leaves_out() {
    let plans = plans("tables:\n  \"public.ref_*\": {}\n  public.ref_size: skip\n  shelf: {}\n");

    let streams: Vec<_> = plans.iter().map(|plan| plan.stream.as_str()).collect();
    assert_eq!(streams, ["public.ref_colour", "store.shelf"]);
}

#[test]
fn names_with_dots_are_quoted() {
    let plan = only("tables:\n  'sales.\"Order.Items\"': {}\n");

    assert_eq!(plan.stream, "sales.\"Order.Items\"");
    assert_eq!(plan.target.name, "Order.Items");
}

#[test]
fn columns_are_chosen_computed_and_renamed() {
    let plan = only(
        r#"tables:
  customers:
    columns: [name, id, "*_at"]
    derive: { initial: "upper(left(NAME, 1))", land: "country" }
    rename: { name: full_name, id: customer_id, land: l }
    to: "crm.{table}"
"#,
    );

    assert_eq!(
        outputs(&plan),
        [
            "full_name <- name",
            "customer_id <- id",
            "seen_at <- seen_at",
            "updated_at <- updated_at",
            "local_at <- local_at",
            "initial <- (upper(left(\"name\", 1)))",
            "l <- (\"Country\")",
        ]
    );
    let read = ["name", "id", "seen_at", "updated_at", "local_at", "Country"];
    assert_eq!(plan.read.columns, read);
    assert_eq!(plan.read.key, ["id"]);
    assert_eq!(plan.key, ["customer_id"]);
    assert_eq!(plan.target.to_string(), "crm.customers");
}

#[test]
fn rows_are_written_as_they_are_unless_something_is_computed_or_dropped() {
    let written = |settings: &str| {
        let plan = only(&format!(
            "tables:\n  customers:\n    columns: [id, name]\n{settings}"
        ));
        plan.read.all_written
    };

    assert!(written(
        "    rename: { name: full_name }\n    where: \"id > 5\"\n"
    ));
    assert!(written("    derive: { initial: \"upper(name)\" }\n"));
    assert!(!written("    derive: { remark: \"upper(note)\" }\n"));
    let dropped = "    where: \"upper(name) = 'A'\"\n    where_pushdown: best_effort\n";
    assert!(!written(dropped));
}

#[test]
fn excluded_columns_are_not_read() {
    let plan =
        only("tables: { customers: { columns: { exclude: [note, \"*_at\", \"none_*\"] } } }\n");

    assert_eq!(plan.read.columns, ["id", "name", "Country", "active"]);
}

#[test]
fn defaults_merge_by_key_and_lists_replace() {
    let plans = plans(
        r#"capture: { mode: cursor, column: updated_at, written_by: application, overlap: 10m }
rejects: { max_rows: 5 }
defaults:
  columns: [id]
  write: { mode: upsert, on_delete: keep }
tables:
  customers: { columns: [id, name], capture: { overlap: 1h } }
  public.ref_size: { capture: full, write: { on_delete: hard } }
  public.ref_colour: { capture: { mode: cursor, column: id, overlap: 100 }, rejects: { max_rows: 0 } }
"#,
    );

    let [customers, colour, size] = plans.as_slice() else {
        panic!("three plans were expected");
    };
    let Capture::Cursor(cursor) = &customers.read.capture else {
        panic!("a cursor was expected");
    };
    assert_eq!(cursor.written_by, Some(WrittenBy::Application));
    assert_eq!(
        cursor.overlap,
        Some(Overlap::Time(Duration::from_secs(3600)))
    );
    assert_eq!(customers.read.columns, ["id", "name"]);
    assert_eq!(
        (customers.on_delete, customers.max_rejects),
        (OnDelete::Keep, 5)
    );
    assert_eq!(
        (size.on_delete, &size.read.capture),
        (OnDelete::Hard, &Capture::Full)
    );
    assert_eq!(colour.max_rejects, 0);
}

#[test]
fn exact_conditions_are_pushed_whole() {
    let plan = only("tables: { customers: { where: \"country in ('DE') and id > 5\" } }\n");

    assert!(matches!(
        plan.read.filter,
        Filter::Predicate(Predicate::And(_))
    ));
    assert_eq!(plan.residual, None);
}

#[test]
fn best_effort_pushes_what_can_be_pushed_and_filters_the_rest_here() {
    let plan = only(
        r#"tables:
  customers:
    columns: [id]
    where: "id > 5 and note = 'x' and upper(Name) = 'A'"
    where_pushdown: best_effort
"#,
    );

    assert!(matches!(
        plan.read.filter,
        Filter::Predicate(Predicate::Compare { .. })
    ));
    assert_eq!(
        plan.residual.as_deref(),
        Some("\"id\" > 5 and \"note\" = 'x' and upper(\"name\") = 'A'")
    );
    assert_eq!(plan.read.columns, ["id", "note", "name"]);
    assert_eq!(outputs(&plan), ["id <- id"]);
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("read and dropped"))
    );
}

#[test]
fn source_sql_passes_as_it_is() {
    let plan = only("tables: { customers: { where: { source_sql: \"id in (select 1)\" } } }\n");

    assert_eq!(
        plan.read.filter,
        Filter::SourceSql("id in (select 1)".into())
    );
}

#[test]
fn parents_come_before_their_children() {
    let plans = plans("tables: { public.a_orders: {}, public.customers: {} }\n");

    let streams: Vec<_> = plans.iter().map(|plan| plan.stream.as_str()).collect();
    assert_eq!(streams, ["public.customers", "public.a_orders"]);
}

#[test]
fn views_are_read_with_a_named_key() {
    let plan = only("tables: { public.v_totals: { key: [day], capture: full } }\n");

    assert_eq!(plan.key, ["day"]);
    assert!(plan.notes[0].contains("unique"), "{:?}", plan.notes);
}

#[test]
fn tables_are_compared_by_hashes_unless_that_saves_nothing() {
    let note = |text: &str| {
        let plans = plan(text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let mode = plans[0].read.capture.mode();
        (mode, plans[0].notes[0].clone())
    };
    let (mode, told) = note(&with_tables("tables: { customers: {} }\n"));
    assert_eq!(mode, CaptureMode::Hash);
    assert!(told.contains("`capture` is not set: each run compares the hashes"));
    let soft = with_tables("tables: { a_keyed: { write: { on_delete: soft } } }\n");
    let tables = [keyed_twice()];
    let of = |text: &str| plan_of(text, &tables, None).expect("it can be planned")[0].clone();
    assert_eq!(of(&soft).read.capture, Capture::Hash);
    assert_eq!(
        of(&with_tables("tables: { a_keyed: { columns: [id] } }\n"))
            .read
            .capture,
        Capture::Hash
    );

    let keyed = of(&with_tables("tables: { a_keyed: {} }\n"));
    let mut told = vec![(keyed.read.capture.mode(), keyed.notes[0].clone())];
    let to_sqlite = "version: 1\nsource: crm\ntarget: sqlite:x.db\ntables: { customers: {} }\n";
    told.push(note(to_sqlite));
    for (of_pipeline, table) in [
        ("", "log: {}"),
        ("", "v_totals: { key: [day] }"),
        ("", "customers: { write: { mode: replace } }"),
        ("consistency: pipeline\n", "customers: {}"),
        ("", "customers: { derive: { initial: \"upper(name)\" } }"),
        (
            "",
            "customers: { where: \"upper(name) = 'A'\", where_pushdown: best_effort }",
        ),
    ] {
        let text = with_tables(&format!("{of_pipeline}tables: {{ public.{table} }}\n"));
        told.push(note(&text));
    }
    let mut reasons = Vec::new();
    for (mode, note) in &told {
        assert_eq!(*mode, CaptureMode::Full, "{note}");
        let reason = note
            .strip_prefix("`capture` is not set: every run reads the whole table (`full`), since ");
        reasons.push(reason.expect("it says why"));
    }
    insta::assert_snapshot!(reasons.join("\n"), @r"
    only so its unique keys can stay unique at the target
    the two stores have no hash of a row in common
    it has no key
    it is no plain table
    it is replaced whole (`mode: replace`)
    its pipeline is committed as one (`consistency: pipeline`)
    columns or conditions are computed by syncset
    columns or conditions are computed by syncset
    ");
}

/// A table with a further unique key.
fn keyed_twice() -> TableDescription {
    let columns = vec![
        column("id", DataType::Int64, false),
        column("code", DataType::Utf8, false),
    ];
    let mut keyed = table("public", "a_keyed", columns, &["id"]);
    keyed.unique_keys.push(UniqueKey {
        name: "a_keyed_code".into(),
        columns: vec!["code".into()],
        total: true,
        partial: false,
        nulls_distinct: true,
    });
    keyed
}

#[test]
fn tables_that_were_read_whole_go_on_by_hashes_without_a_load() {
    let chosen = only("tables: { customers: {} }\n");
    let whole = only("tables: { customers: { capture: full } }\n");

    assert_ne!(chosen.read.capture, whole.read.capture);
    assert_eq!(chosen.read.selection, whole.read.selection);
}

#[test]
fn targets_without_schemas_take_the_bare_name() {
    let plans = plan(
        "version: 1\nsource: crm\ntarget: sqlite:x.db\ntables:\n  customers: {}\n  \
         sales.customers: { to: \"{schema}_{table}\" }\n",
    )
    .expect("the file is right");

    let targets: Vec<_> = plans.iter().map(|plan| plan.target.to_string()).collect();
    assert_eq!(targets, ["customers", "sales_customers"]);
}

#[test]
fn the_selection_text_is_canonical() {
    let one = only("tables: { customers: { columns: [id, name], where: \"id > 5\" } }\n");
    let same = only("tables:\n  customers:\n    where: ' id > 5'\n    columns: [name, id]\n");
    let other = only("tables: { customers: { columns: [id, name], where: \"id > 6\" } }\n");

    insta::assert_snapshot!(one.selection_text, @r#"{"capture":{"column":null,"mode":"full"},"columns":[{"column":"id","to":"id"},{"column":"name","to":"name"}],"key":["id"],"to":"public.customers","where":"id > 5","choice":["id","name"],"source":{"columns":{"id":null,"name":null},"nullable":{"id":false,"name":true},"types":{"id":"int64","name":"utf8"}}}"#);
    // Of the text without how the columns were chosen: tables that are loaded already stay so.
    assert_eq!(
        one.read.selection,
        "f9952fafe38a7106eb097df415c87e52d02774c59208296ff8cb8c7ac8e826cc"
    );
    assert_eq!(one.read.selection, same.read.selection);
    assert_ne!(one.read.selection, other.read.selection);
}

#[test]
fn tables_without_a_key_are_replaced_and_say_so() {
    let plans = plan(&with_tables(
        "tables:\n  public.events: {}\n  public.v_totals: {}\n",
    ))
    .expect("both can be planned");

    let modes: Vec<_> = plans
        .iter()
        .map(|plan| (plan.write, plan.key.len()))
        .collect();
    assert_eq!(modes, [(WriteMode::Replace, 0); 2]);
    insta::assert_snapshot!(plans[0].notes.join("\n"), @r#"
    `capture` is not set: every run reads the whole table (`full`), since it has no key
    `public.events` has no key: every run compares it whole and deletes and inserts the rows that differ, 1000000 at most (`max_rewrite_rows`)
    its rows could be updated: use its unique key: `key: [code]`
    "#);
}

#[test]
fn appended_versions_of_a_row_have_no_key_at_the_target() {
    let append = "write: { mode: append }, capture: { mode: cursor, column: updated_at, written_by: database }";
    let plans = plan(&with_tables(&format!(
        "tables:\n  customers: {{ {append} }}\n"
    )))
    .expect("it can be planned");
    let keyed = plan(&with_tables(&format!(
        "tables:\n  customers: {{ key: [id], {append} }}\n"
    )))
    .expect("it can be planned");

    assert_eq!(
        (&plans[0].read.key[..], plans[0].key.len()),
        (&["id".to_owned()][..], 0)
    );
    assert_eq!(plans[0].on_delete, OnDelete::Keep);
    assert!(plans[0].read.capture.is_disjoint());
    assert_eq!(keyed[0].key, ["id"]);
    assert_ne!(plans[0].read.selection, keyed[0].read.selection);
    insta::assert_snapshot!(keyed[0].notes.join("\n"), @r#"
    rows of `public.customers` are added once each; a row that is changed is added again with its new cursor, changes between two runs are one, and nothing is deleted
    `id` is unique at the target: of rows with one key the first one stays
    "#);
}

#[test]
fn marks_are_part_of_the_selection_and_of_nothing_else() {
    let of = |write: &str| {
        only(&format!(
            "tables: {{ public.ref_size: {{ write: {write} }} }}\n"
        ))
    };
    let plain = of("{ mode: upsert }");
    let soft = of("{ on_delete: soft, synced_at: _synced_at }");

    assert_eq!(plain.marks, Marks::default());
    assert_eq!(
        plain.read.selection,
        of("{ on_delete: keep }").read.selection
    );
    assert_eq!(soft.on_delete, OnDelete::Soft);
    assert_eq!(soft.marks.deleted_at.as_deref(), Some("_deleted_at"));
    assert_eq!(soft.marks.synced_at.as_deref(), Some("_synced_at"));
    assert_eq!(outputs(&soft), outputs(&plain));
    insta::assert_snapshot!(soft.selection_text, @r#"{"capture":{"column":null,"mode":"full"},"columns":[{"column":"id","to":"id"}],"key":["id"],"to":"public.ref_size","where":null,"on_delete":"soft","synced_at":"_synced_at","choice":"*","source":{"columns":{"id":null},"nullable":{"id":false},"types":{"id":"int64"}}}"#);
}

#[test]
fn on_lossy_is_decided_for_each_column_and_part_of_the_selection() {
    let of = |defaults: &str, on_lossy: &str| {
        only(&format!(
            "defaults: {{ {defaults} }}\ntables: {{ public.customers: {{ columns: [id, name, active], \
             rename: {{ name: n }}, on_lossy: {on_lossy} }} }}\n"
        ))
    };
    let policies = |plan: &TablePlan| -> Vec<&str> {
        plan.lossy
            .iter()
            .map(|choice| choice.policy.name())
            .collect()
    };
    let nobody = of("", "error");
    let null = of("", "null");
    let named = of("on_lossy: warn", "{ columns: { name: text } }");
    let over = of(
        "on_lossy: { default: warn, columns: { name: text } }",
        "{ default: null }",
    );
    let word = of("on_lossy: { columns: { name: text } }", "~");

    assert_eq!(policies(&nobody), ["error", "error", "error"]);
    // The key keeps `error` whatever is written, and an unquoted `null` is the word.
    assert_eq!(policies(&null), ["error", "null", "null"]);
    assert_eq!(policies(&named), ["error", "text", "warn"]);
    assert_eq!(policies(&over), ["error", "text", "null"]);
    assert_eq!(policies(&word), ["error", "text", "error"]);
    assert!(named.lossy[1].is_named && !named.lossy[2].is_named);
    assert!(!nobody.selection_text.contains("on_lossy"));
    let part = |plan: &TablePlan| {
        let selection: serde_json::Value =
            serde_json::from_str(&plan.selection_text).expect("it is JSON");
        selection["on_lossy"].to_string()
    };
    assert_eq!(part(&null), r#""null""#);
    assert_eq!(
        part(&over),
        r#"{"columns":{"name":"text"},"default":"null"}"#
    );
}
