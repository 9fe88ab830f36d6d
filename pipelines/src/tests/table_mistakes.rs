//! Mistakes that only the source's tables show.

use super::lab::{plan, shown, with_tables};

fn mistakes(tables: &str) -> String {
    shown(plan(&with_tables(tables)))
}

#[test]
fn missing_tables_name_those_that_exist() {
    let tables = r#"tables:
  public.custmers: {}
  shop.*: {}
  "public.v_*": {}
  stock: {}
  public.Log: skip
"#;

    insta::assert_snapshot!(mistakes(tables), @r#"
    no table `public.custmers` in the source (p.yaml:5:3)
      hint: the source has `public.customers`, `public.events`, `public.a_orders`, `public.ref_size`, `public.ref_colour`, `public.log`, `public.v_totals`, `sales.customers`, `sales.stock`, `sales."Order.Items"`, `store.stock`, `store.shelf`
    `shop.*` matches no table of the source (p.yaml:6:3)
      hint: the source has `store.stock`, `store.shelf`, `public.log`, `sales.stock`, `public.events`, `public.a_orders`, `public.ref_size`, `public.v_totals`, `sales.customers`, `public.customers`, `public.ref_colour`, `sales."Order.Items"`
    `public.v_*` matches no table of the source (p.yaml:7:3)
      hint: globs do not match views and foreign tables; name them: `public.v_totals`
    several schemas have a table `stock` (p.yaml:8:3)
      hint: write one of `sales.stock`, `store.stock`
    no table `public.Log` in the source (p.yaml:9:3)
      hint: the source has `public.log`, `public.v_totals`, `public.a_orders`, `public.ref_colour`, `public.customers`, `public.events`, `public.ref_size`, `sales.customers`, `sales.stock`, `sales."Order.Items"`, `store.shelf`, `store.stock`
    "#);
}

#[test]
fn one_table_has_one_entry() {
    let tables = r#"tables:
  "public.ref_*": {}
  "ref_c*": {}
  customers: {}
  public.customers: {}
"#;

    insta::assert_snapshot!(mistakes(tables), @"
    `public.ref_*` and `ref_c*` both match `public.ref_colour` (p.yaml:6:3)
      hint: name the table in an entry of its own, or write narrower globs
    `customers` and `public.customers` name the same table (p.yaml:8:3)
      hint: remove one of them
    ");
}

#[test]
fn missing_columns_name_those_that_exist() {
    let tables = r#"tables:
  customers:
    columns: [id, nmae, "zip_*", "x["]
    rename: { contry: c, active: a }
    key: [ident]
    capture: { mode: cursor, column: updatedat, written_by: database }
  public.a_orders: { columns: { exclude: [secret, "tmp_*"] } }
  public.ref_size: { columns: { exclude: ["*"] } }
"#;

    insta::assert_snapshot!(mistakes(tables), @"
    `public.customers` has no column `nmae` (p.yaml:6:19)
      hint: the columns are `name`, `note`, `active`, `updated_at`, `seen_at`, `local_at`, `id`, `Country`
    `public.customers` has no column `zip_*` (p.yaml:6:25)
      hint: the columns are `id`, `updated_at`, `active`, `seen_at`, `local_at`, `name`, `Country`, `note`
    `x[` is not a glob: unclosed character class; missing ']' (p.yaml:6:34)
    `public.customers` has no column `contry` (p.yaml:7:15)
      hint: the columns are `Country`, `note`, `active`, `name`, `seen_at`, `updated_at`, `local_at`, `id`
    `rename` names `active`, which is not selected (p.yaml:7:26)
      hint: add it to `columns`, or remove it here
    `public.customers` has no column `ident` (p.yaml:8:11)
      hint: the columns are `id`, `seen_at`, `Country`, `updated_at`, `name`, `note`, `active`, `local_at`
    `public.customers` has no column `updatedat` for the cursor (p.yaml:9:38)
      hint: the columns are `updated_at`, `active`, `name`, `note`, `id`, `Country`, `seen_at`, `local_at`
    `public.a_orders` has no column `secret` (p.yaml:10:43)
      hint: the columns are `customer_id`, `id`
    the key column `id` of `public.ref_size` is not selected (p.yaml:11:3)
      hint: add `id` to `columns`, or name another key with `key: [..]`
    `exclude` leaves no column of `public.ref_size` (p.yaml:11:43)
      hint: exclude fewer columns, or `skip` the table
    ");
}

#[test]
fn keys_must_be_there_unique_and_selected() {
    let tables = r#"tables:
  public.log: { write: { mode: upsert } }
  public.events: { capture: xmin }
  customers: { columns: [name] }
  public.a_orders: { key: [customer_id] }
"#;

    insta::assert_snapshot!(mistakes(tables), @"
    `public.log` has no primary key (p.yaml:5:32)
      hint: name columns that are unique and never NULL: `key: [..]`; or leave `mode` out: such a table is replaced in place
    `public.events` has no primary key (p.yaml:6:3)
      hint: use its unique key: `key: [code]`; or `capture: full`, which replaces the table in place; or `write: { mode: append }`, which only adds rows
    the key column `id` of `public.customers` is not selected (p.yaml:7:3)
      hint: add `id` to `columns`, or name another key with `key: [..]`
    nothing makes `customer_id` unique in `public.a_orders` (p.yaml:8:27)
      hint: add a unique constraint over NOT NULL columns at the source, or name the columns of one
    the key column `customer_id` of `public.a_orders` may be NULL (p.yaml:8:28)
      hint: a key needs NOT NULL columns
    ");
}

#[test]
fn cursors_must_fit_their_column() {
    let cursor = |rest: &str| {
        mistakes(&format!(
            "tables:\n  customers: {{ capture: {{ mode: cursor, column: {rest} }} }}\n"
        ))
    };

    insta::assert_snapshot!(cursor("name"), @"
    `name` of `public.customers` is `utf8`, which is no cursor (p.yaml:5:49)
      hint: a cursor is a time or an integer that grows with every change; without one use `capture: full`
    ");
    insta::assert_snapshot!(cursor("seen_at, written_by: database"), @"
    the cursor `seen_at` of `public.customers` may be NULL (p.yaml:5:49)
      hint: make the column NOT NULL, or say what happens to such rows with `null_cursor: read`, `ignore` or `error`
    ");
    insta::assert_snapshot!(cursor("updated_at"), @"
    who stamps the cursor `updated_at`? `written_by` is missing (p.yaml:5:49)
      hint: write `written_by: database` if a default or trigger of the database sets it, else `written_by: application` with an `overlap`, such as `10m`
    ");
    insta::assert_snapshot!(cursor("updated_at, written_by: application"), @"
    the cursor `updated_at` is stamped by the application and needs an `overlap` (p.yaml:5:49)
      hint: make it longer than the longest transaction and the difference of the clocks, such as `overlap: 10m`
    ");
    insta::assert_snapshot!(cursor("updated_at, written_by: database, overlap: 1000"), @"
    the cursor `updated_at` is a time: `overlap` is a duration (p.yaml:5:92)
      hint: for example `overlap: 10m`
    ");
    insta::assert_snapshot!(cursor("local_at, written_by: database"), @"
    the cursor `local_at` has no time zone (p.yaml:5:49)
      hint: say in which zone it is written, such as `zone: UTC` or `zone: Europe/Berlin`
    ");
    insta::assert_snapshot!(cursor("id, overlap: 10m"), @"
    the cursor `id` is an integer: `overlap` counts its units (p.yaml:5:62)
      hint: for example `overlap: 1000`
    ");
}

#[test]
fn searches_and_comparisons_go_with_what_they_need() {
    let tables = "tables: { public.events: { capture: hash } }\n";
    insta::assert_snapshot!(mistakes(tables), @"
    `capture: hash` of `public.events` finds rows by their key, and there is none (p.yaml:4:37)
      hint: use its unique key: `key: [code]`; or use `capture: full`, which replaces the table in place
    ");

    let search = "capture: { mode: cursor, column: id, overlap: 5, find_deletes: hash }";
    let appended = format!("{search}, write: {{ mode: append }}");
    for (settings, top, expected) in [
        (
            "capture: hash, write: { mode: append }",
            "",
            "`mode: append` of `public.customers` does not go with `capture: hash`",
        ),
        (
            "capture: hash, write: { mode: replace }",
            "",
            "`mode: replace` of `public.customers` does not go with `capture: hash`",
        ),
        (
            appended.as_str(),
            "",
            "`find_deletes` of `public.customers` does not go with `mode: append`",
        ),
        (
            search,
            "consistency: pipeline\n",
            "`find_deletes` of `public.customers` does not go with `consistency: pipeline`",
        ),
    ] {
        let text = format!("{top}tables: {{ public.customers: {{ {settings} }} }}\n");
        let found = mistakes(&text);
        assert!(found.contains(expected), "{settings}: {found}");
    }
}

#[test]
fn captures_must_be_offered() {
    let text = "version: 1\nsource: sqlite:a.db\ntarget: replica\ntables:\n  \
                store.shelf: { capture: xmin }\n";
    insta::assert_snapshot!(shown(plan(text)), @"
    `capture: xmin` is not offered by `sqlite` (p.yaml:5:27)
      hint: it offers `full`, `hash`, `cursor`
    ");

    let tables = "tables: { public.v_totals: { key: [day], capture: xmin } }\n";
    insta::assert_snapshot!(mistakes(tables), @"
    `public.v_totals` is a view or a foreign table and has no `xmin` (p.yaml:4:51)
      hint: use `capture: full`, or a cursor column
    ");

    let text = "version: 1\nsource: sqlite:a.db\ntarget: replica\ntables:\n  customers: { capture: \
                { mode: cursor, column: updated_at, written_by: database } }\n";
    insta::assert_snapshot!(shown(plan(text)), @"
    `written_by: database` cannot be relied on with `sqlite` (p.yaml:5:73)
      hint: write `written_by: application` and an `overlap` longer than the longest transaction, such as `overlap: 10m`
    ");
}

#[test]
fn conditions_that_cannot_be_evaluated_are_refused() {
    let condition = |text: &str| {
        mistakes(&format!(
            "tables:\n  customers:\n    capture: xmin\n    where: {text}\n"
        ))
    };

    insta::assert_snapshot!(condition("\"lower(name) = 'x'\""), @r#"
    `where` of `public.customers` cannot be evaluated by the source with the same meaning: `lower(name) = 'x'` is not among the forms that every store evaluates alike (p.yaml:7:12)
      hint: use =, <>, <, <=, >, >=, IN, IS NULL, AND, OR and NOT over plain columns; or write the source's own SQL as `where: { source_sql: "..." }`; or set `where_pushdown: best_effort` to read more rows and drop them here
    "#);
    insta::assert_snapshot!(condition("\"note = 'x'\""), @r#"
    `where` of `public.customers` cannot be evaluated by the source with the same meaning: `note` has a collation that is not byte-equal (p.yaml:7:12)
      hint: use =, <>, <, <=, >, >=, IN, IS NULL, AND, OR and NOT over plain columns; or write the source's own SQL as `where: { source_sql: "..." }`; or set `where_pushdown: best_effort` to read more rows and drop them here
    "#);
    insta::assert_snapshot!(condition("\"nmae = 'x' or contry = 'DE'\""), @"
    `where` in `public.customers`: no column `nmae` (p.yaml:7:12)
      hint: the columns are `name`, `note`, `active`, `updated_at`, `seen_at`, `local_at`, `id`, `Country`
    `where` in `public.customers`: no column `contry` (p.yaml:7:12)
      hint: the columns are `Country`, `note`, `active`, `name`, `seen_at`, `updated_at`, `local_at`, `id`
    ");
    insta::assert_snapshot!(condition("\"name = 'x\""), @"
    `where` in `public.customers`: this is no SQL expression: Unterminated string literal at Line: 1, Column: 8 (p.yaml:7:12)
      hint: text goes in single quotes, names with capitals or blanks in double quotes
    ");
    insta::assert_snapshot!(condition("\"name = 'x' id\""), @"
    `where` in `public.customers`: this is no SQL expression: `id` at column 12 is one word too many (p.yaml:7:12)
      hint: text goes in single quotes, names with capitals or blanks in double quotes
    ");
    insta::assert_snapshot!(condition("\"country = 'DE' and\""), @"
    `where` in `public.customers`: this is no SQL expression: expected an expression, found the end (p.yaml:7:12)
      hint: text goes in single quotes, names with capitals or blanks in double quotes
    ");
    insta::assert_snapshot!(condition("\"\\\"country\\\" = 'DE'\""), @"
    `where` in `public.customers`: no column `country` (p.yaml:7:12)
      hint: the columns are `Country`, `note`, `active`, `seen_at`, `updated_at`, `local_at`, `id`, `name`
    ");
    insta::assert_snapshot!(condition("\"c.name = 'x'\""), @"
    `where` in `public.customers`: `c.name` has a table in front (p.yaml:7:12)
      hint: columns are written alone: `name`
    ");
    insta::assert_snapshot!(condition("\"updated_at > now()\""), @"
    `where` of `public.customers` reads the clock (`now`): rows enter and leave the selection without being changed, and `capture: xmin` does not see that (p.yaml:7:12)
      hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    ");
    insta::assert_snapshot!(condition("\"updated_at > current_date\""), @"
    `where` of `public.customers` reads the clock (`current_date`): rows enter and leave the selection without being changed, and `capture: xmin` does not see that (p.yaml:7:12)
      hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    ");
    insta::assert_snapshot!(condition("\"id in (select 1)\""), @"
    `where` of `public.customers` has a sub-query: rows enter and leave the selection without being changed, and `capture: xmin` does not see that (p.yaml:7:12)
      hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    ");
    insta::assert_snapshot!(condition("\"random() < 0.5\""), @"
    `where` of `public.customers` uses `random`, which answers differently each time (p.yaml:7:12)
      hint: select rows by their columns
    ");
    insta::assert_snapshot!(condition("{ source_sql: \"id in (select 1)\" }"), @"
    `where` of `public.customers` has a sub-query: rows enter and leave the selection without being changed, and `capture: xmin` does not see that (p.yaml:7:26)
      hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    ");
    insta::assert_snapshot!(condition("{ source_sql: \"d > date('now', '-1 day')\" }"), @"
    `where` of `public.customers` reads the clock (`date`): rows enter and leave the selection without being changed, and `capture: xmin` does not see that (p.yaml:7:26)
      hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    ");
}

#[test]
fn sub_queries_and_clocks_are_left_to_the_source() {
    let tables = "tables: { customers: { where: \"updated_at > now()\" } }\n";
    insta::assert_snapshot!(mistakes(tables), @r#"
    `where` of `public.customers` reads the clock (`now`) (p.yaml:4:31)
      hint: let the source read it: `where: { source_sql: "..." }`
    "#);

    let tables = "tables: { customers: { where: { source_sql: \"updated_at > now()\" } } }\n";
    insta::assert_snapshot!(mistakes(tables), @"no problem");

    let tables = "tables: { customers: { where: \"id in (select 1)\" } }\n";

    insta::assert_snapshot!(mistakes(tables), @r#"
    `where` in `public.customers`: a sub-query cannot be evaluated here (p.yaml:4:31)
      hint: let the source evaluate it: `where: { source_sql: "..." }`
    "#);
}

#[test]
fn computed_and_renamed_columns_must_not_collide() {
    let tables = r#"tables:
  customers:
    columns: [id, name, active]
    derive: { name: "upper(name)", x: "lower(nmae)", y: "random()", z: "1 +" }
    rename: { id: key, active: key, note: n }
"#;

    insta::assert_snapshot!(mistakes(tables), @"
    `public.customers` has a selected column `name` already (p.yaml:7:15)
      hint: give the computed column another name, or do not select that column
    `derive` of `x` in `public.customers`: no column `nmae` (p.yaml:7:39)
      hint: the columns are `name`, `note`, `active`, `updated_at`, `seen_at`, `local_at`, `id`, `Country`
    `y`: `random` answers differently each time (p.yaml:7:57)
      hint: the rows would change in every run; compute from columns only
    `derive` of `z` in `public.customers`: this is no SQL expression: expected an expression, found the end (p.yaml:7:72)
      hint: text goes in single quotes, names with capitals or blanks in double quotes
    `id` and `active` are both called `key` at the target (p.yaml:8:32)
      hint: give one of them another name with `rename`
    `rename` names `note`, which is not selected (p.yaml:8:37)
      hint: add it to `columns`, or remove it here
    ");
}

#[test]
fn two_tables_onto_one_target_are_refused() {
    let tables = r#"tables:
  public.customers: { to: "crm.{table}" }
  sales.customers: { to: "crm.{table}" }
"#;

    insta::assert_snapshot!(mistakes(tables), @r#"
    `public.customers` (p.yaml:5:3) and `sales.customers` both go to `crm.customers` (p.yaml:6:3)
      hint: give one of them another `to:`, such as `to: "{schema}_{table}"`
    "#);
}

#[test]
fn targets_must_fit_their_store() {
    let text = r#"version: 1
source: crm
target: sqlite:copy.db
tables:
  public.customers: { to: "crm.{table}" }
  sales.stock: { to: "main.{table}" }
  store.stock: {}
"#;

    insta::assert_snapshot!(shown(plan(text)), @r#"
    `crm.customers`: the target `target` has no schemas (p.yaml:5:3)
      hint: write a name without a dot, such as `to: "{schema}_{table}"`
    `sales.stock` (p.yaml:6:3) and `store.stock` both go to `stock` (p.yaml:7:3)
      hint: give one of them another `to:`, such as `to: "{schema}_{table}"`
    "#);
}

#[test]
fn a_table_is_not_written_onto_itself() {
    let text = "version: 1\nsource: crm\ntarget: crm\ntables: { public.customers: {} }\n";

    insta::assert_snapshot!(shown(plan(text)), @"
    `public.customers` would be written onto itself (p.yaml:4:11)
      hint: source and target are the same store: send it elsewhere with `to:`
    ");
}

#[test]
fn write_modes_must_fit_the_capture() {
    let tables = r#"defaults: { rejects: { max_rows: 5 } }
tables:
  public.a_orders: { write: { mode: append } }
  sales.stock:
    write: { mode: append }
    capture: { mode: cursor, column: id }
    rejects: { max_rows: 0 }
  customers:
    write: { mode: append }
    capture: { mode: cursor, column: seen_at, written_by: database, null_cursor: read }
    rejects: { max_rows: 0 }
"#;

    insta::assert_snapshot!(mistakes(tables), @r#"
    `rejects: { max_rows: 5 }` does not go with `mode: append` of `public.a_orders`: a row that is tried again could be added twice (p.yaml:6:3)
      hint: write `rejects: { max_rows: 0 }` for this table
    `mode: append` of `public.a_orders` does not go with `capture: full` (p.yaml:6:37)
      hint: every run would add the whole table once more; say which rows are new: `capture: { mode: cursor, column: .. }`
    `mode: append` of `sales.stock` needs an `overlap` for its cursor (p.yaml:9:38)
      hint: rows wait until the greatest number is that far above theirs, since numbers are not committed in their order: `overlap: 1000`; `overlap: 0` if one writer counts them
    `null_cursor: read` would append such rows of `public.customers` in every run (p.yaml:13:38)
      hint: write `null_cursor: ignore`, or `error`
    "#);
}

#[test]
fn rows_without_a_key_cannot_be_put_aside() {
    let tables = "tables:\n  public.log: { rejects: { max_rows: 5 }, max_rewrite_rows: 1_000 }\n";

    insta::assert_snapshot!(mistakes(tables), @r#"
    `rejects: { max_rows: 5 }` does not go with `mode: replace` of `public.log`: a row without a key cannot be tried again (p.yaml:5:3)
      hint: write `rejects: { max_rows: 0 }` for this table
    "#);
}

#[test]
fn columns_that_the_target_fills_need_a_name_and_a_key() {
    let tables = r#"defaults: { write: { on_delete: soft } }
tables:
  public.a_orders: { rename: { customer_id: _deleted_at } }
  public.ref_size: { derive: { _deleted_at: "id + 1" }, write: { synced_at: ID } }
  public.ref_colour: { write: { synced_at: _deleted_at } }
  sales.stock:
    write: { mode: append }
    capture: { mode: cursor, column: id, overlap: 10 }
  public.events: {}
  public.log: { write: { synced_at: line, on_delete: keep } }
"#;

    insta::assert_snapshot!(mistakes(tables), @"
    `on_delete: soft` of `public.events` needs a key: without one a row that changed is one that is gone and one that came (p.yaml:4:33)
      hint: use its unique key: `key: [code]`; or write `on_delete: hard`, or `keep`, for this table
    column `_deleted_at` of `public.ref_size` is called `_deleted_at` at the target, as the column that `on_delete: soft` fills (p.yaml:4:33)
      hint: give it another name with `rename: { _deleted_at: own_deleted_at }`
    `on_delete: soft` of `sales.stock` does not go with `mode: append`: rows that were appended are never taken away (p.yaml:4:33)
      hint: write `on_delete: keep` for this table
    column `customer_id` of `public.a_orders` is called `_deleted_at` at the target, as the column that `on_delete: soft` fills (p.yaml:6:45)
      hint: give it another name with `rename: { customer_id: source_deleted_at }`, or leave it out with `columns: { exclude: [customer_id] }`
    `synced_at` of `public.ref_colour` is called `_deleted_at`, which `on_delete: soft` fills (p.yaml:8:44)
      hint: give it another name, such as `write: { synced_at: _synced_at }`
    column `line` of `public.log` is called `line` at the target, as the column that `synced_at` fills (p.yaml:13:37)
      hint: give it another name with `rename: { line: source_line }`, or leave it out with `columns: { exclude: [line] }`
    ");
}

#[test]
fn stores_that_fold_names_fold_those_of_marks() {
    let text = "version: 1\nsource: crm\ntarget: sqlite:x.db\ndefaults: { write: { on_delete: soft } }\n\
                tables: { public.ref_size: { rename: { id: _DELETED_AT } } }\n";

    insta::assert_snapshot!(shown(plan(text)), @"
    column `id` of `public.ref_size` is called `_DELETED_AT` at the target, as the column that `on_delete: soft` fills (p.yaml:5:44)
      hint: give it another name with `rename: { id: source_deleted_at }`, or leave it out with `columns: { exclude: [id] }`
    ");
}

#[test]
fn on_lossy_names_columns_that_are_written_and_no_key() {
    let tables = r#"tables:
  public.customers:
    columns: [id, name]
    on_lossy: { default: warn, columns: { nmae: text, active: warn, id: text, name: maybe } }
"#;

    insta::assert_snapshot!(mistakes(tables), @r"
    `maybe` is no value of `columns` (p.yaml:7:85)
      hint: it is one of `error`, `warn`, `text`, `null`
    ");
    let mistakes = mistakes(&tables.replace("maybe", "text"));
    for sentence in [
        "`public.customers` has no column `nmae` (p.yaml:7:43)",
        "`on_lossy` names `active`, which is not selected (p.yaml:7:55)",
        "`id` is part of the key of `public.customers`: changed to fit, two rows could become one \
         (p.yaml:7:69)",
    ] {
        assert!(mistakes.contains(sentence), "{mistakes}");
    }
}
