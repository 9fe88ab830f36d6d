//! Mistakes that the files alone show.

use super::lab::{pipeline, project, shown, with_tables};

#[test]
fn unknown_keys_of_the_project_name_the_nearest() {
    let text = "version: 1\nproject: shop\nconections: {}\nleese: {}\nqqq: 1\nstate: {}\n";

    insta::assert_snapshot!(shown(project(text)), @r#"
    unknown key `conections` (syncset.yaml:3:1)
      hint: did you mean `connections`?
    unknown key `leese` (syncset.yaml:4:1)
      hint: did you mean `lease`?
    unknown key `qqq` (syncset.yaml:5:1)
      hint: the keys of the project file are `version`, `project`, `connections`, `lease`, `retention`, `plugins`
    `state` is not supported by this version (syncset.yaml:6:1)
      hint: take it out: the state is kept at the target, in `_syncset`
    "#);
}

#[test]
fn times_of_retention_are_checked() {
    let text = "version: 1\nretention: { runs: 5m, rejected: forever, chunks: 1d }\n";

    insta::assert_snapshot!(shown(project(text)), @"
    `runs` must be between 1h and ten years (syncset.yaml:2:20)
      hint: for example `retention: { runs: 30d, rejected: 30d }`
    `rejected` must be a duration with its unit, such as `10m` or `24h` (syncset.yaml:2:34)
      hint: for example `retention: { runs: 30d, rejected: 30d }`
    unknown key `chunks` (syncset.yaml:2:43)
      hint: did you mean `runs`?
    ");
}

#[test]
fn version_is_required_and_known() {
    insta::assert_snapshot!(shown(project("project: shop\n")), @"
    `version` is missing (syncset.yaml:1:1)
      hint: write `version: 1` as the first line
    ");
    insta::assert_snapshot!(shown(project("version: 2\n")), @"
    this version of syncset reads `version: 1` only (syncset.yaml:1:10)
      hint: write `version: 1`, or use a newer syncset
    ");
    insta::assert_snapshot!(shown(project("version: one\n")), @"
    `version` must be a whole number of 0 or more (syncset.yaml:1:10)
      hint: for example `version: 1`
    ");
    insta::assert_snapshot!(shown(project("")), @"
    the project file must be a mapping, not nothing (syncset.yaml:1:1)
      hint: for example `version: 1`
    ");
}

#[test]
fn connections_are_checked_key_by_key() {
    let text = r#"version: 1
project: "a shop"
lease: { expires: 60 }
connections:
  a: { type: postgers }
  b: { host: db }
  c: { url: "posgres://ann:hunter2@db" }
  d: { type: sqlite, url: "postgres://ann:hunter2@db" }
  e: { type: postgres, hots: db, qqq: 1, host: [db] }
  f: [postgres]
  g: "hunter2"
  "sqlite:x": { type: sqlite }
"#;

    insta::assert_snapshot!(shown(project(text)), @r#"
    `project` may hold letters, digits, `_`, `-` and `.` only (syncset.yaml:2:10)
      hint: for example `project: shop`
    `expires` must be a duration with its unit, such as `10m` or `24h` (syncset.yaml:3:19)
      hint: for example `lease: { expires: 60s }`
    unknown type `postgers` (syncset.yaml:5:14)
      hint: did you mean `postgres`?
    the connection `b` has no `type` (syncset.yaml:6:6)
      hint: for example `crm: { type: postgres, url: "${CRM_URL}" }`
    unknown URL scheme `posgres:` (syncset.yaml:7:13)
      hint: did you mean `postgres:`?
    the URL is one of `postgres`, the type is `sqlite` (syncset.yaml:8:27)
      hint: write `type: postgres`, or leave `type` out
    unknown key `hots` (syncset.yaml:9:24)
      hint: did you mean `host`?
    unknown key `qqq` (syncset.yaml:9:34)
      hint: the keys of `type: postgres` are `type`, `url`, `read_replica`, `host`, `database`, `user`, `password`
    `host` must be a text, not a list (syncset.yaml:9:48)
      hint: for example `host: "..."`
    the connection `f` must be a mapping or a URL, not a list (syncset.yaml:10:6)
      hint: for example `crm: { type: postgres, url: "${CRM_URL}" }`
    a URL must start with its scheme (syncset.yaml:11:6)
      hint: for example `postgres://user@host/database` or `sqlite:shop.db`
    `sqlite:x` is no name of a connection (syncset.yaml:12:3)
      hint: a name is not empty and does not look like a URL
    "#);
}

#[test]
fn read_replica_is_another_connection_of_the_type() {
    let text = "version: 1\nconnections:\n  a: { type: postgres, host: h, read_replica: a }\n  \
                b: { type: postgres, host: h, read_replica: nobody }\n  \
                c: { type: postgres, host: h, read_replica: file }\n  \
                d: { type: postgres, host: h, read_replica: [a] }\n  \
                e: { type: sqlite, path: x.db, read_replica: a }\n  \
                file: { type: sqlite, path: y.db }\n";
    insta::assert_snapshot!(shown(project(text)), @r#"
    `read_replica` of `a`: it names itself (syncset.yaml:3:47)
      hint: the others of `type: postgres` are `b`, `c`, `d`
    `read_replica` of `b`: there is no connection `nobody` (syncset.yaml:4:47)
      hint: the others of `type: postgres` are `a`, `c`, `d`
    `read_replica` of `c`: `file` is of `type: sqlite` (syncset.yaml:5:47)
      hint: the others of `type: postgres` are `a`, `b`, `d`
    `read_replica` must be a text, not a list (syncset.yaml:6:47)
      hint: for example `read_replica: crm_standby`
    unknown key `read_replica` (syncset.yaml:7:34)
      hint: the keys of `type: sqlite` are `url`, `path`, `type`
    "#);

    let inline = "version: 1\nsource: { type: postgres, host: h, read_replica: crm }\n\
                  target: replica\ntables: { t: {} }\n";
    insta::assert_snapshot!(shown(pipeline(inline)), @"
    `read_replica` belongs to a connection of `syncset.yaml` (p.yaml:2:50)
      hint: give the connection a name there, as in `source: crm`
    ");

    let right = "version: 1\nconnections:\n  a: { type: postgres, host: h, read_replica: b }\n  \
                 b: { type: postgres, host: h2 }\n";
    let right = project(right).expect("it is right");
    let replica = right.connections["a"].read_replica.as_ref();
    let replica = replica.expect("it has one");
    assert_eq!(replica.name, "b");
    assert_eq!(replica.settings.value("host"), Some("h2"));
}

#[test]
fn missing_variables_and_files_are_named() {
    let text = r#"version: 1
connections:
  a: { type: postgres, host: "${HOST}", user: "${USER_NAME}", password: "${file:none}" }
  b: { url: "${NO_URL}" }
  c: { type: postgres, host: "${oops", user: "${a b}" }
"#;

    insta::assert_snapshot!(shown(project(text)), @"
    the variable `HOST` is not set (syncset.yaml:3:30)
      hint: export HOST=..., or put it into the file `.env` beside `syncset.yaml`
    the variable `USER_NAME` is not set (syncset.yaml:3:47)
      hint: export USER_NAME=..., or put it into the file `.env` beside `syncset.yaml`
    cannot read the file of `${file:none}`: no such file (syncset.yaml:3:73)
      hint: relative paths start at the project folder
    the variable `NO_URL` is not set (syncset.yaml:4:13)
      hint: export NO_URL=..., or put it into the file `.env` beside `syncset.yaml`
    `${` without its `}` (syncset.yaml:5:30)
      hint: write `${NAME}`, or `$${` for the two characters themselves
    `${a b}` is no name of a variable (syncset.yaml:5:46)
      hint: write `${NAME}` or `${file:PATH}`, or `$${` for the two characters themselves
    ");
}

#[test]
fn lease_has_bounds() {
    let text = "version: 1\nlease: { expires: 1s }\n";

    insta::assert_snapshot!(shown(project(text)), @"
    `expires` must be between 5s and 24h (syncset.yaml:2:19)
      hint: for example `lease: { expires: 60s }`
    ");
}

#[test]
fn unknown_keys_of_a_pipeline_name_the_nearest() {
    let text = r#"version: 1
soruce: crm
target: replica
capture: { mod: cursor }
defaults: { wher: "a = 1", clumns: [a] }
tables:
  public.customers:
    colums: [id]
    wirte: {}
    write: { on_delte: keep }
    rejects: { max_row: 1 }
    columns: { exclud: [a] }
    where: { sourcesql: "x" }
"#;

    insta::assert_snapshot!(shown(pipeline(text)), @r#"
    `source` is missing (p.yaml:1:1)
      hint: name a connection, as in `source: crm`, or write a URL
    unknown key `soruce` (p.yaml:2:1)
      hint: did you mean `source`?
    `capture` has no `mode` (p.yaml:4:10)
      hint: for example `capture: { mode: cursor, column: updated_at, written_by: database }`
    unknown key `mod` (p.yaml:4:12)
      hint: did you mean `mode`?
    unknown key `wher` (p.yaml:5:13)
      hint: did you mean `where`?
    unknown key `clumns` (p.yaml:5:28)
      hint: did you mean `columns`?
    unknown key `colums` (p.yaml:8:5)
      hint: did you mean `columns`?
    unknown key `wirte` (p.yaml:9:5)
      hint: did you mean `write`?
    unknown key `on_delte` (p.yaml:10:14)
      hint: did you mean `on_delete`?
    unknown key `max_row` (p.yaml:11:16)
      hint: did you mean `max_rows`?
    unknown key `exclud` (p.yaml:12:16)
      hint: did you mean `exclude`?
    `where` says nothing (p.yaml:13:12)
      hint: for example `where: "country in ('DE', 'FR')"` or `where: { source_sql: "country = 'DE'" }`
    unknown key `sourcesql` (p.yaml:13:14)
      hint: did you mean `source_sql`?
    "#);
}

#[test]
fn what_commits_together_puts_no_row_aside() {
    let text = "version: 1\nsource: crm\ntarget: replica\nconsistency: pipeline\n\
                rejects: { max_rows: 5 }\ntables:\n  public.customers: {}\n  \
                public.ref_size: { rejects: { max_rows: 0 } }\n";

    insta::assert_snapshot!(shown(pipeline(text)), @"
    `public.customers` puts rows aside (`rejects.max_rows`), which `consistency: pipeline` does not allow: others would be without them (p.yaml:7:3)
      hint: take `rejects` out, or use `consistency: table`
    ");
}

#[test]
fn what_later_versions_have_is_refused_as_such() {
    let text = r#"version: 1
source: crm
target: replica
consistency: table
guards: { max_delete_percent: 500, max_delete_rows_always_allowed: -1, empty_source: maybe }
capture: { mode: hash, find_deletes: { mode: hash, every: 24h } }
defaults:
  schema: { new_column: add, dropped_column: hide }
tables:
  public.customers:
    on_lossy: texts
  public.a_orders: { capture: log }
  public.events: { hooks: {} }
"#;

    insta::assert_snapshot!(shown(pipeline(text)), @r#"
    `max_delete_percent` must be a number from 0 to 100 (p.yaml:5:31)
      hint: for example `guards: { max_delete_percent: 5 }`; 100 lets every delete pass
    `max_delete_rows_always_allowed` must be a whole number of 0 or more (p.yaml:5:68)
      hint: for example `guards: { max_delete_rows_always_allowed: 50 }`
    `maybe` is no value of `empty_source` (p.yaml:5:86)
      hint: it is one of `stop`, `allow`
    `find_deletes` means nothing with `mode: hash` (p.yaml:6:38)
      hint: remove it: each run finds deleted rows
    `hide` is no value of `dropped_column` (p.yaml:8:46)
      hint: it is one of `keep`, `null`, `drop`, `approve`, `fail`
    `texts` is no value of `on_lossy` (p.yaml:11:15)
      hint: did you mean `text`?
    `mode: log` is not supported by this version (p.yaml:12:31)
      hint: use `hash`, `cursor` with a column that grows with every change, or `xmin` in PostgreSQL
    `hooks` is not supported by this version (p.yaml:13:20)
      hint: write `hooks:` at the top of the pipeline: the report that a command is given names each table
    "#);
}

#[test]
fn mistakes_in_hooks_name_what_to_write() {
    let text = r#"version: 1
source: crm
target: archive:x
tables: { t: {} }
hooks:
  befor: []
  before: { command: [x] }
  after:
    - { sql: "SELECT 1" }
    - { sql: "SELECT '${CRM_URL}'", connection: replica }
    - { sql: "SELECT 1", connection: replca }
    - { sql: "SELECT 1", connection: target }
    - { command: [tell, "${CRM_URL}"] }
    - { command: "tell ${CRM_URL}", connection: replica, timeout: 0s }
    - { command: [], sql: "SELECT 1", on_error: ignore }
    - { timeout: 30 }
    - notify
"#;

    insta::assert_snapshot!(shown(pipeline(text)), @r#"
    `archive` cannot be a target (p.yaml:3:9)
      hint: name a connection of another type
    unknown key `befor` (p.yaml:6:3)
      hint: did you mean `before`?
    `before` must be a list, not a mapping (p.yaml:7:11)
      hint: for example `before: [ { command: [./tell, ops] } ]`
    `sql` needs a `connection` (p.yaml:9:7)
      hint: for example `{ sql: "ANALYZE crm.customers", connection: target }`
    `${...}` is replaced in connections, `source` and `target` only (p.yaml:10:14)
      hint: write the value itself, or `$${` for the two characters
    there is no connection `replca` (p.yaml:11:38)
      hint: did you mean `replica`?
    `archive` runs no statements of yours (p.yaml:12:38)
      hint: use a command
    `${...}` is not replaced in a list (p.yaml:13:25)
      hint: let the command read its environment, write it as one text for `sh`, or write `$${` for the two characters
    `connection` is for `sql` (p.yaml:14:49)
      hint: take it out: a command finds what it needs in its environment
    `timeout` must be between 100ms and 24h (p.yaml:14:67)
      hint: for example `timeout: 30s`
    a hook is `sql` or `command`, not both (p.yaml:15:7)
      hint: write two hooks: they run one after another
    `ignore` is no value of `on_error` (p.yaml:15:49)
      hint: it is one of `fail`, `warn`
    a hook needs `sql` or `command` (p.yaml:16:7)
      hint: for example `{ command: [./tell, ops] }` or `{ sql: "ANALYZE crm.customers", connection: target }`
    `timeout` must be a duration with its unit, such as `10m` or `24h` (p.yaml:16:18)
      hint: for example `timeout: 30s`
    a hook must be a mapping, not a text (p.yaml:17:7)
      hint: for example `{ command: [./tell, ops] }`
    "#);
}

#[test]
fn two_way_pipelines_are_refused_as_such() {
    let text = "version: 1\nmode: two_way\nleft: { connection: crm }\nright: {}\nkey: [sku]\n";

    insta::assert_snapshot!(shown(pipeline(text)), @"
    `mode: two_way` is not supported by this version (p.yaml:2:7)
      hint: name a `source` and a `target`: this version copies one way
    `left` is not supported by this version (p.yaml:3:1)
      hint: name a `source` and a `target`: this version copies one way
    `right` is not supported by this version (p.yaml:4:1)
      hint: name a `source` and a `target`: this version copies one way
    `key` is not supported by this version (p.yaml:5:1)
      hint: name the key of each table: `tables: { NAME: { key: [id] } }`
    ");
}

#[test]
fn source_and_target_must_exist_and_fit() {
    let text = "version: 1\nsource: crn\ntarget: archive:x\ntables: { a: {} }\n";
    insta::assert_snapshot!(shown(pipeline(text)), @"
    no connection `crn` (p.yaml:2:9)
      hint: did you mean `crm`?
    `archive` cannot be a target (p.yaml:3:9)
      hint: name a connection of another type
    ");

    let text = "version: 1\nsource: \"${NONSENSE}\"\ntarget: msql://root:hunter2@h\n";
    insta::assert_snapshot!(shown(pipeline(text)), @"
    `tables` is missing (p.yaml:1:1)
      hint: for example `tables: { public.customers: { columns: [id, name] } }`
    no connection `${NONSENSE}` (p.yaml:2:9)
      hint: the connections are `crm`, `replica`
    unknown URL scheme `msql:` (p.yaml:3:9)
      hint: did you mean `sqlite:`?
    ");

    insta::assert_snapshot!(shown(pipeline("version: 1\ntables: {}\n")), @"
    `source` is missing (p.yaml:1:1)
      hint: name a connection, as in `source: crm`, or write a URL
    `target` is missing (p.yaml:1:1)
      hint: name a connection, as in `target: crm`, or write a URL
    `tables` is empty (p.yaml:2:9)
      hint: for example `tables: { public.customers: { columns: [id, name] } }`
    ");
}

#[test]
fn wrong_types_say_what_is_expected() {
    let tables = r#"tags: hourly
tables:
  public.customers:
    columns: id
    where: [a, b]
    where_pushdown: besteffort
    derive: [x]
    rename: { name: [x] }
    to: { table: x }
    key: id
    capture: [cursor]
    write: upsert
    rejects: { max_rows: -1 }
  public.a_orders: yes
  public.events: { columns: [], key: [], where: "", derive: { a: } }
  public.log: { columns: { exclude: id }, key: [id, id] }
"#;

    insta::assert_snapshot!(shown(pipeline(&with_tables(tables))), @r#"
    `tags` must be a list, not a text (p.yaml:4:7)
      hint: for example `tags: [hourly]`
    `columns` must be a list, or a mapping with `exclude`, not a text (p.yaml:7:14)
      hint: for example `columns: [id, name] or columns: { exclude: [ssn, "tmp_*"] }`
    `where` must be a text, not a list (p.yaml:8:12)
      hint: for example `where: "country in ('DE', 'FR')"`
    `besteffort` is no value of `where_pushdown` (p.yaml:9:21)
      hint: did you mean `best_effort`?
    `derive` must be a mapping, not a list (p.yaml:10:13)
      hint: for example `derive: { initials: "left(name, 1)" }`
    `name` must be a text, not a list (p.yaml:11:21)
      hint: for example `rename: { name: full_name }`
    `to` must be a text, not a mapping (p.yaml:12:9)
      hint: for example `to: "crm.{table}"`
    `key` must be a list, not a text (p.yaml:13:10)
      hint: for example `key: [id]`
    `capture` must be a mode or a mapping, not a list (p.yaml:14:14)
      hint: for example `capture: { mode: cursor, column: updated_at, written_by: database }`
    `write` must be a mapping, not a text (p.yaml:15:12)
      hint: for example `write: { mode: upsert, on_delete: keep }`
    `max_rows` must be a whole number of 0 or more (p.yaml:16:26)
      hint: for example `rejects: { max_rows: 100 }`
    the entry of `public.a_orders` must be a mapping or `skip`, not a text (p.yaml:17:20)
      hint: for example `public.customers: { columns: [id, name] }`
    `columns` is empty (p.yaml:18:29)
      hint: leave it out to select all columns
    `key` is empty (p.yaml:18:38)
      hint: leave it out to use the primary key
    `where` is empty (p.yaml:18:49)
      hint: for example `where: "country in ('DE', 'FR')"`
    `a` must be a text, not nothing (p.yaml:18:64)
      hint: for example `derive: { initials: "left(name, 1)" }`
    `exclude` must be a list, not a text (p.yaml:19:37)
      hint: for example `columns: [id, name] or columns: { exclude: [ssn, "tmp_*"] }`
    `key` names `id` twice (p.yaml:19:53)
    "#);
    insta::assert_snapshot!(shown(pipeline(&with_tables("tables: [a]\n"))), @"
    `tables` must be a mapping, not a list (p.yaml:4:9)
      hint: for example `tables: { public.customers: { columns: [id, name] } }`
    ");
    insta::assert_snapshot!(shown(pipeline(&with_tables("defaults: x\ntables: { a: {} }\n"))), @"
    a table's entry must be a mapping, not a text (p.yaml:4:11)
      hint: for example `public.customers: { columns: [id, name] }`
    ");
}

#[test]
fn captures_are_checked() {
    let tables = r#"tables:
  a: { capture: cursor }
  b: { capture: { column: updated_at } }
  c: { capture: { mode: full, column: updated_at } }
  d: { capture: { mode: cursor, column: c, written_by: db, overlap: ten, zone: Europe/Berln } }
  e: { capture: cursr }
  f: { capture: { mode: cursor, column: c, null_cursor: skip } }
"#;

    insta::assert_snapshot!(shown(pipeline(&with_tables(tables))), @"
    `mode: cursor` needs its `column` (p.yaml:5:17)
      hint: for example `capture: { mode: cursor, column: updated_at, written_by: database }`
    `capture` has no `mode` (p.yaml:6:17)
      hint: for example `capture: { mode: cursor, column: updated_at, written_by: database }`
    `column` means nothing with `mode: full` (p.yaml:7:39)
      hint: remove it, or use `mode: cursor`
    `db` is no value of `written_by` (p.yaml:8:56)
      hint: did you mean `database`?
    `overlap` must be a duration with its unit, such as `10m` or `24h` (p.yaml:8:69)
      hint: for example `overlap: 10m`
    unknown time zone `Europe/Berln` (p.yaml:8:80)
      hint: did you mean `Europe/Berlin`?
    `cursr` is no value of `mode` (p.yaml:9:17)
      hint: did you mean `cursor`?
    `skip` is no value of `null_cursor` (p.yaml:10:57)
      hint: it is one of `read`, `ignore`, `error`
    ");
}

#[test]
fn table_names_and_templates_are_checked() {
    let tables = r#"tables:
  a.b.c: {}
  '"open': {}
  a..b: {}
  "ref_[": {}
  e: { to: "crm.{tabel}" }
  f: { to: "a.b.{table}" }
  g: { to: "crm.{table" }
"#;

    insta::assert_snapshot!(shown(pipeline(&with_tables(tables))), @r#"
    `a.b.c` has more than two parts: a table is `schema.table`, and a name with a dot is quoted, as in 'public."Order.Items"' (p.yaml:5:3)
    `"open` has a double quote that is not closed (p.yaml:6:3)
    `a..b` has an empty part (p.yaml:7:3)
    `ref_[` is not a glob: unclosed character class; missing ']' (p.yaml:8:3)
    unknown placeholder `{tabel}` (p.yaml:9:12)
      hint: did you mean `{table}`?
    `a.b.{table}` has more than two parts: a target is `schema.table` (p.yaml:10:12)
      hint: for example `to: "crm.{table}"`
    `{table` has a brace that is not closed (p.yaml:11:12)
      hint: write `{schema}` or `{table}`
    "#);
}

#[test]
fn variables_outside_of_connections_are_refused() {
    let tables =
        "tables:\n  a: { where: \"country = '${COUNTRY}'\" }\n  b: { where: \"x = '$${y}'\" }\n";

    insta::assert_snapshot!(shown(pipeline(&with_tables(tables))), @"
    `${...}` is replaced in connections, `source` and `target` only (p.yaml:5:15)
      hint: write the value itself, or `$${` for the two characters
    ");
}

#[test]
fn a_mistake_in_the_defaults_counts_once() {
    let tables = "defaults: { where_pushdown: never }\ntables: { a: {}, b: {}, c: {} }\n";

    insta::assert_snapshot!(shown(pipeline(&with_tables(tables))), @"
    `never` is no value of `where_pushdown` (p.yaml:4:29)
      hint: it is one of `exact`, `best_effort`
    ");
}

#[test]
fn no_message_shows_a_value_of_a_connection() {
    let spec = pipeline(&with_tables("tables: { customers: {} }\n")).expect("it is right");

    assert!(!format!("{spec:?}").contains("hunter2"));
}

#[test]
fn keys_that_stand_too_high_are_told_where_they_belong() {
    let text = r#"version: 1
source: crm
target: replica
tables:
  a: { synced_at: written_at }
  b: { overlap: 10m, mode: append }
"#;

    insta::assert_snapshot!(shown(pipeline(text)), @"
    unknown key `synced_at` (p.yaml:5:8)
      hint: it belongs into `write:`
    unknown key `overlap` (p.yaml:6:8)
      hint: it belongs into `capture:`
    unknown key `mode` (p.yaml:6:22)
      hint: it belongs into `capture:` or `write:`
    ");
}

#[test]
fn settings_that_do_not_go_together_are_told_without_a_store() {
    let text = r#"version: 1
source: crm
target: replica
defaults: { capture: { mode: cursor, column: seen, written_by: application } }
tables:
  a: { capture: hash, write: { mode: append } }
  b: { capture: xmin, write: { mode: replace } }
  c: {}
  d: { capture: { overlap: 10m }, write: { mode: append } }
"#;

    insta::assert_snapshot!(shown(pipeline(text)), @"
    the cursor `seen` is stamped by the application and needs an `overlap` (p.yaml:4:46)
      hint: make it longer than the longest transaction and the difference of the clocks, such as `overlap: 10m`
    `mode: append` of `a` does not go with `capture: hash` (p.yaml:6:38)
      hint: it may read a row twice, and would add it twice; use `capture: { mode: cursor, column: .. }`
    `mode: replace` of `b` does not go with `capture: xmin` (p.yaml:7:38)
      hint: it replaces the whole table, so it has to read it whole: add `capture: full` to this table
    ");
}
