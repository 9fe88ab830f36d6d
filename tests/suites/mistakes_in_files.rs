//! Mistakes in the files of a project: told by file, line and column, before any store is opened.

use crate::told::Told;
use kit::Project;
use std::fs;

const CONFIG: &str = "version: 1\nconnections:\n  shop: { type: sqlite, path: shop.db }\n  \
     copy: { type: sqlite, path: copy.db }\n";

const PIPELINE: &str = "version: 1\nsource: shop\ntarget: copy\ntables:\n  orders: {}\n";

/// What `pipeline validate` says about a project file.
async fn of_project(told: &mut Told, mistake: &str, config: &str) {
    let project = Project::new(config);
    project.pipeline("p", PIPELINE);
    told.about(mistake, &project.syncset(["pipeline", "validate"]).await);
}

/// What it says about a pipeline file.
async fn of_pipeline(told: &mut Told, mistake: &str, pipeline: &str) {
    let project = Project::new(CONFIG);
    project.pipeline("p", pipeline);
    told.about(
        mistake,
        &project.syncset(["pipeline", "validate", "p"]).await,
    );
}

#[tokio::test]
async fn slips_in_the_project_file_name_their_place() {
    let mut told = Told::default();
    let connection =
        |text: &str| format!("version: 1\nconnections:\n  {text}\n  copy: sqlite:copy.db\n");

    for (mistake, config) in [
        ("empty file", String::new()),
        ("key misspelt", CONFIG.replace("connections", "conections")),
        ("version forgotten", CONFIG.replace("version: 1\n", "")),
        (
            "version of another tool",
            CONFIG.replace("version: 1", "version: 2.1"),
        ),
        (
            "tab instead of spaces",
            "version: 1\nconnections:\n\tshop: { type: sqlite }\n".into(),
        ),
        ("indented too far", "version: 1\n  connections: {}\n".into()),
        ("key twice", format!("{CONFIG}version: 1\n")),
        ("quote left open", CONFIG.replace("shop.db", "\"shop.db")),
        (
            "unknown connector",
            connection("shop: { type: postgress, url: x }"),
        ),
        (
            "connector of a later version",
            connection("shop: { type: google_sheets, spreadsheet: x }"),
        ),
        (
            "key of a connection misspelt",
            connection("shop: { type: postgres, host: h, pasword: x }"),
        ),
        (
            "URL without a scheme",
            connection("shop: \"db.example.com/shop\""),
        ),
        (
            "URL with the scheme misspelt",
            connection("shop: \"postgrse://ann@db/shop\""),
        ),
        (
            "URL pasted with spaces",
            connection("shop: \" postgres://ann@db.example.com/shop \""),
        ),
        (
            "port that is a word",
            connection("shop: { type: postgres, host: db, port: default }"),
        ),
        (
            "sslmode misspelt",
            connection("shop: { type: postgres, host: db, sslmode: verify_full }"),
        ),
        (
            "shell's form of a variable",
            connection("shop: { type: postgres, url: \"$SHOP_URL\" }"),
        ),
        (
            "variable that is not set",
            connection("shop: { type: postgres, url: \"${NOBODY_SETS_THIS}\" }"),
        ),
        (
            "file of a secret that is not there",
            connection("shop: { type: postgres, host: h, password: \"${file:pw}\" }"),
        ),
        (
            "project with a space in its name",
            format!("{CONFIG}project: my shop\n"),
        ),
        (
            "lease that is far too short",
            format!("{CONFIG}lease: {{ expires: 1s }}\n"),
        ),
    ] {
        of_project(&mut told, mistake, &config).await;
    }

    insta::assert_snapshot!(told.text(), @"
    # empty file
      exit 2
    error: the project file must be a mapping, not nothing (syncset.yaml:1:1)
    hint: for example `version: 1`
    # key misspelt
      exit 2
    error: unknown key `conections` (syncset.yaml:2:1)
    hint: did you mean `connections`?
    # version forgotten
      exit 2
    error: `version` is missing (syncset.yaml:1:1)
    hint: write `version: 1` as the first line
    # version of another tool
      exit 2
    error: `version` must be a whole number of 0 or more (syncset.yaml:1:10)
    hint: for example `version: 1`
    # tab instead of spaces
      exit 2
    error: this is no YAML: tabs disallowed within this context (block indentation) (syncset.yaml:3:2)
    hint: indent with spaces, never with tabs
    # indented too far
      exit 2
    error: this is no YAML: mapping values are not allowed in this context (syncset.yaml:2:14)
    hint: check the indentation, colons and quotes here and just above
    # key twice
      exit 2
    error: `version` is written twice (syncset.yaml:5:1)
    hint: it is already on line 1: keep one of them
    # quote left open
      exit 2
    error: this is no YAML: while scanning a quoted scalar, found unexpected end of stream (syncset.yaml:3:31)
    hint: check the indentation, colons and quotes here and just above
    # unknown connector
      exit 2
    error: unknown type `postgress` (syncset.yaml:3:17)
    hint: did you mean `postgres`?
    # connector of a later version
      exit 2
    error: `type: google_sheets` is not supported by this version (syncset.yaml:3:17)
    hint: the types are `postgres`, `sqlite`, `mysql`, `mariadb`
    # key of a connection misspelt
      exit 2
    error: unknown key `pasword` (syncset.yaml:3:36)
    hint: did you mean `password`?
    # URL without a scheme
      exit 2
    error: a URL must start with its scheme (syncset.yaml:3:9)
    hint: for example `postgres://user@host/database` or `sqlite:shop.db`
    # URL with the scheme misspelt
      exit 2
    error: unknown URL scheme `postgrse:` (syncset.yaml:3:9)
    hint: did you mean `postgres:`?
    # URL pasted with spaces
      exit 2
    error: the URL has blanks around it (syncset.yaml:3:9)
    hint: take them out
    # port that is a word
      exit 2
    error: connection `shop`: `port` must be a number from 1 to 65535 (syncset.yaml:3:43)
    hint: values come from this file, from `--set`, the environment or `.env`
    # sslmode misspelt
      exit 2
    error: connection `shop`: `sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full (syncset.yaml:3:46)
    hint: values come from this file, from `--set`, the environment or `.env`
    # shell's form of a variable
      exit 2
    error: connection `shop`: `url` must look like `postgres://user:password@host:5432/database`, with `%2F` for a `/` in its parts, `%40` for `@`, `%23` for `#`, `%3F` for `?` and `%25` for `%` (syncset.yaml:3:32)
    hint: values come from this file, from `--set`, the environment or `.env`
    # variable that is not set
      exit 2
    error: the variable `NOBODY_SETS_THIS` is not set (syncset.yaml:3:32)
    hint: export NOBODY_SETS_THIS=..., or put it into the file `.env` beside `syncset.yaml`
    # file of a secret that is not there
      exit 2
    error: cannot read the file of `${file:pw}`: No such file or directory (os error 2) (syncset.yaml:3:46)
    hint: relative paths start at the project folder
    # project with a space in its name
      exit 2
    error: `project` may hold letters, digits, `_`, `-` and `.` only (syncset.yaml:5:10)
    hint: for example `project: shop`
    # lease that is far too short
      exit 2
    error: `expires` must be between [time] and 24h (syncset.yaml:5:19)
    hint: for example `lease: { expires: [time] }`
    ");
}

#[tokio::test]
async fn slips_in_a_pipeline_file_name_their_place() {
    let mut told = Told::default();
    let with = |old: &str, new: &str| PIPELINE.replace(old, new);

    for (mistake, pipeline) in [
        ("key misspelt", with("source:", "soruce:")),
        ("target forgotten", with("target: copy\n", "")),
        ("connection misspelt", with("source: shop", "source: shpo")),
        ("nothing under tables", with("  orders: {}\n", "")),
        (
            "list instead of a mapping",
            with("  orders: {}\n", "  - orders\n"),
        ),
        ("star without quotes", with("  orders: {}\n", "  *: {}\n")),
        ("boolean of YAML 1.1", with("orders: {}", "orders: no")),
        (
            "table twice",
            with("orders: {}", "orders: {}\n  orders: {}"),
        ),
        (
            "column list without brackets",
            with("{}", "{ columns: id, name }"),
        ),
        (
            "condition with the quotes forgotten",
            with("{}", "{ where: status in ('new', 'paid') }"),
        ),
        (
            "anchor to save typing",
            with("orders: {}", "orders: &all {}\n  other: *all"),
        ),
        (
            "mode misspelt",
            with("{}", "{ capture: { mode: curser, column: id } }"),
        ),
        (
            "cursor without its column",
            with("{}", "{ capture: cursor }"),
        ),
        (
            "variable in a condition",
            with("{}", "{ where: \"day = '${DAY}'\" }"),
        ),
        ("project file as a pipeline", CONFIG.into()),
        (
            "merge left half done",
            with(
                "source: shop",
                "<<<<<<< HEAD\nsource: shop\n=======\nsource: other\n>>>>>>> b",
            ),
        ),
    ] {
        of_pipeline(&mut told, mistake, &pipeline).await;
    }

    insta::assert_snapshot!(told.text(), @r#"
    # key misspelt
      exit 2
    error: `source` is missing (pipelines/p.yaml:1:1)
    hint: name a connection, as in `source: crm`, or write a URL
    error: unknown key `soruce` (pipelines/p.yaml:2:1)
    hint: did you mean `source`?
    # target forgotten
      exit 2
    error: `target` is missing (pipelines/p.yaml:1:1)
    hint: name a connection, as in `target: crm`, or write a URL
    # connection misspelt
      exit 2
    error: no connection `shpo` (pipelines/p.yaml:2:9)
    hint: did you mean `shop`?
    # nothing under tables
      exit 2
    error: `tables` is missing (pipelines/p.yaml:1:1)
    hint: for example `tables: { public.customers: { columns: [id, name] } }`
    # list instead of a mapping
      exit 2
    error: `tables` must be a mapping, not a list (pipelines/p.yaml:5:3)
    hint: for example `tables: { public.customers: { columns: [id, name] } }`
    # star without quotes
      exit 2
    error: this is no YAML: while parsing node, found unknown anchor (pipelines/p.yaml:5:3)
    hint: put a text that begins with `*` or `&` in quotes, as in `"*": {}`
    # boolean of YAML 1.1
      exit 2
    error: the entry of `orders` must be a mapping or `skip`, not a text (pipelines/p.yaml:5:11)
    hint: for example `public.customers: { columns: [id, name] }`
    # table twice
      exit 2
    error: `orders` is written twice (pipelines/p.yaml:6:3)
    hint: it is already on line 5: keep one of them
    # column list without brackets
      exit 2
    error: `columns` must be a list, or a mapping with `exclude`, not a text (pipelines/p.yaml:5:22)
    hint: for example `columns: [id, name] or columns: { exclude: [ssn, "tmp_*"] }`
    error: unknown key `name` (pipelines/p.yaml:5:26)
    hint: did you mean `rename`?
    # condition with the quotes forgotten
      exit 2
    error: this is no YAML: invalid trailing content after double-quoted scalar (pipelines/p.yaml:5:44)
    hint: check the indentation, colons and quotes here and just above
    # anchor to save typing
      exit 2
    error: anchors and aliases (`&`, `*`) are not supported (pipelines/p.yaml:5:11)
    hint: put what tables share under `defaults:`; quote a text that starts so
    error: anchors and aliases (`&`, `*`) are not supported (pipelines/p.yaml:6:10)
    hint: put what tables share under `defaults:`; quote a text that starts so
    # mode misspelt
      exit 2
    error: `curser` is no value of `mode` (pipelines/p.yaml:5:30)
    hint: did you mean `cursor`?
    # cursor without its column
      exit 2
    error: `mode: cursor` needs its `column` (pipelines/p.yaml:5:22)
    hint: for example `capture: { mode: cursor, column: updated_at, written_by: database }`
    # variable in a condition
      exit 2
    error: `${...}` is replaced in connections, `source` and `target` only (pipelines/p.yaml:5:20)
    hint: write the value itself, or `$${` for the two characters
    # project file as a pipeline
      exit 2
    error: `source` is missing (pipelines/p.yaml:1:1)
    hint: name a connection, as in `source: crm`, or write a URL
    error: `target` is missing (pipelines/p.yaml:1:1)
    hint: name a connection, as in `target: crm`, or write a URL
    error: `tables` is missing (pipelines/p.yaml:1:1)
    hint: for example `tables: { public.customers: { columns: [id, name] } }`
    error: unknown key `connections` (pipelines/p.yaml:2:1)
    hint: it belongs into `syncset.yaml`
    # merge left half done
      exit 2
    error: this is no YAML: simple key expect ':' (pipelines/p.yaml:3:1)
    hint: the file has the marks of a merge that was not finished: `<<<<<<<` and `>>>>>>>`
    "#);
}

#[tokio::test]
async fn wrong_names_and_folders_say_what_is_there() {
    let mut told = Told::default();
    let project = Project::new(CONFIG);
    project
        .pipeline("crm_reports", PIPELINE)
        .pipeline("crm_orders", PIPELINE);
    project.file("pipelines/prices.yml", PIPELINE);
    let folder = project.path();

    for (mistake, words) in [
        ("pipeline misspelt", "pipeline validate crm_report"),
        ("pipeline that never was", "pipeline validate invoices"),
        (
            "path instead of a name",
            "pipeline validate pipelines/crm_orders.yaml",
        ),
        ("file with the other ending", "pipeline validate prices"),
        ("tag that nobody has", "pipeline list --tag hourly"),
        ("no pipeline named", "pipeline run"),
        ("connection misspelt", "connection test shpo"),
        (
            "file instead of its folder",
            "-C syncset.yaml pipeline list",
        ),
        ("folder that is not there", "-C projects/shop pipeline list"),
        ("variable without a value", "--set SHOP_URL pipeline list"),
        ("kind of store misspelt", "types postgres sqllite"),
    ] {
        told.about(mistake, &project.syncset(words.split(' ')).await);
    }
    fs::rename(folder.join("syncset.yaml"), folder.join("syncset.yml")).unwrap();
    let renamed = project.syncset(["pipeline", "list"]).await;
    told.about("project file with the other ending", &renamed);
    fs::remove_file(folder.join("syncset.yml")).unwrap();
    told.about(
        "folder of another project",
        &project.syncset(["pipeline", "list"]).await,
    );
    fs::create_dir(folder.join("syncset.yaml")).unwrap();
    told.about(
        "project file that is a folder",
        &project.syncset(["pipeline", "list"]).await,
    );
    fs::remove_dir(folder.join("syncset.yaml")).unwrap();
    fs::write(
        folder.join("syncset.yaml"),
        b"version: 1\nproject: caf\xe9\n",
    )
    .unwrap();
    told.about(
        "file in the encoding of long ago",
        &project.syncset(["pipeline", "list"]).await,
    );
    fs::write(folder.join("syncset.yaml"), CONFIG).unwrap();
    fs::remove_dir_all(folder.join("pipelines")).unwrap();
    told.about(
        "folder of pipelines that is missing",
        &project.syncset(["pipeline", "list"]).await,
    );

    insta::assert_snapshot!(told.text(), @"
    # pipeline misspelt
      exit 2
    error: no pipeline `crm_report` in `pipelines`
    hint: did you mean `crm_reports`?
    # pipeline that never was
      exit 2
    error: no pipeline `invoices` in `pipelines`
    hint: the pipelines are `crm_orders`, `crm_reports`
    # path instead of a name
      exit 2
    error: no pipeline `pipelines/crm_orders.yaml` in `pipelines`
    hint: name it without folder and ending: `crm_orders`
    # file with the other ending
      exit 2
    error: no pipeline `prices` in `pipelines`
    hint: rename `pipelines/prices.yml` to `prices.yaml`
    # tag that nobody has
      exit 2
    error: no pipeline has the tag `hourly`
    hint: write `tags: [hourly]` into a pipeline file
    # no pipeline named
      exit 2
    error: no pipeline is named
    hint: name one of `crm_orders`, `crm_reports`, or say `--all` or `--tag TAG`
    # connection misspelt
      exit 2
    error: no connection `shpo` in syncset.yaml
    hint: did you mean `shop`?
    # file instead of its folder
      exit 2
    error: `-C syncset.yaml` is a file
    hint: name its folder: `-C .`
    # folder that is not there
      exit 2
    error: `-C projects/shop`: there is no such folder
    hint: name the folder that holds syncset.yaml, or one in it
    # variable without a value
      exit 2
    error: what was given is no value of `--set <NAME=VALUE>`: expected `NAME=value`, without spaces around `=`
    hint: see `syncset pipeline list --help`
    # kind of store misspelt
      exit 2
    error: unknown kind of store `sqllite`
    hint: kinds: mysql, mariadb, postgres, sqlite
    # project file with the other ending
      exit 2
    error: no syncset.yaml in `[folder]` or a folder above it
    hint: rename `syncset.yml` to `syncset.yaml`
    # folder of another project
      exit 2
    error: no syncset.yaml in `[folder]` or a folder above it
    hint: run in a project folder, or name one with `-C DIR`
    # project file that is a folder
      exit 2
    error: cannot read `syncset.yaml`: Is a directory (os error 21)
    hint: it must be a file, not a folder
    # file in the encoding of long ago
      exit 2
    error: cannot read `syncset.yaml`: stream did not contain valid UTF-8
    hint: save it as UTF-8 text
    # folder of pipelines that is missing
      exit 2
    error: the project has no pipeline
    hint: write one into `pipelines/NAME.yaml`
    ");
}

#[tokio::test]
async fn half_edited_dotenv_names_the_line_and_shows_no_value() {
    let mut told = Told::default();
    let project = Project::new(
        "version: 1\nconnections:\n  shop: { type: postgres, url: \"${SHOP_URL}\" }\n",
    );
    let url = "postgres://ann:hunter2@db/shop";
    project.pipeline("p", &PIPELINE.replace("copy", "\"sqlite:copy.db\""));

    for (mistake, text) in [
        ("value forgotten", "SHOP_URL\n".to_owned()),
        ("value empty", "SHOP_URL=\n".to_owned()),
        (
            "quote left open",
            format!("OTHER=1\nSHOP_URL='{url}\nNEXT=2\n"),
        ),
        ("colon instead of =", format!("SHOP_URL: {url}\n")),
        (
            "spaces that want quotes",
            format!("OTHER=two words\nSHOP_URL={url}\n"),
        ),
        ("name misspelt", format!("SHOP_ULR={url}\n")),
        (
            "merge left half done",
            format!("<<<<<<< HEAD\nSHOP_URL={url}\n=======\n"),
        ),
    ] {
        project.file(".env", &text);
        let output = project.syncset(["pipeline", "validate"]).await;
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        told.about(mistake, &output);
    }
    for fine in [
        format!("export SHOP_URL={url}\n"),
        format!("\u{feff}SHOP_URL={url}\r\n"),
        format!("# mine\n\nSHOP_URL='{url}'"),
    ] {
        project.file(".env", &fine);
        project
            .syncset(["pipeline", "validate"])
            .await
            .expect_success();
    }

    insta::assert_snapshot!(told.text(), @"
    # value forgotten
      exit 2
    error: a line is no `NAME=value` (.env:1)
    hint: write one `NAME=value` a line, and `#` before comments
    # value empty
      exit 2
    error: connection `shop`: `url` must look like `postgres://user:password@host:5432/database`, with `%2F` for a `/` in its parts, `%40` for `@`, `%23` for `#`, `%3F` for `?` and `%25` for `%` (syncset.yaml:3:32)
    hint: values come from this file, from `--set`, the environment or `.env`
    # quote left open
      exit 2
    error: the value of `SHOP_URL` cannot be read (.env:2)
    hint: put it into single quotes, which must be closed: NAME='value'; spaces, `#` and `$` are kept as they are in them
    # colon instead of =
      exit 2
    error: a line is no `NAME=value` (.env:1)
    hint: write one `NAME=value` a line, and `#` before comments
    # spaces that want quotes
      exit 2
    error: the value of `OTHER` cannot be read (.env:1)
    hint: put it into single quotes, which must be closed: NAME='value'; spaces, `#` and `$` are kept as they are in them
    # name misspelt
      exit 2
    error: the variable `SHOP_URL` is not set (syncset.yaml:3:32)
    hint: export SHOP_URL=..., or put it into the file `.env` beside `syncset.yaml`
    # merge left half done
      exit 2
    error: a line is no `NAME=value` (.env:1)
    hint: write one `NAME=value` a line, and `#` before comments
    ");
}

#[tokio::test]
async fn passwords_in_the_wrong_place_are_not_printed() {
    let project = Project::new("version: 1\nconnections: { a: 'sqlite:a.db' }\n");
    let hook = "{ sql: 'SELECT 1', connection: 'postgres://sync:geheim@db/crm' }";
    project.pipeline(
        "p",
        &format!("version: 1\nsource: a\ntarget: 'sqlite:b.db'\ntables: {{ t: {{}} }}\nhooks: {{ before: [ {hook} ] }}\n"),
    );

    let output = project.syncset(["pipeline", "validate"]).await;

    let output = output.expect_code(2);
    let said = "`connection` of a hook is a name, not a URL (pipelines/p.yaml:5:";
    assert!(output.stderr.contains(said), "{}", output.stderr);
    assert!(!output.stderr.contains("geheim"), "{}", output.stderr);
}

#[tokio::test]
async fn passwords_that_end_a_url_are_told_and_not_printed() {
    for url in [
        "postgres://sync:12#geheim@db/crm",
        "postgres://sync:12/geheim@db/crm",
        "postgres://sync:12?geheim@db/crm",
        "postgres://sync:12?geheim=1@db/crm",
    ] {
        for connection in [
            format!("'{url}'"),
            format!("{{ type: postgres, url: '{url}' }}"),
        ] {
            let project = Project::new(&format!(
                "version: 1\nconnections:\n  crm: {connection}\n  copy: sqlite:copy.db\n"
            ));
            let text = "version: 1\nsource: crm\ntarget: copy\ntables: { t: {} }\n";
            project.pipeline("p", text);
            for words in [
                "pipeline validate",
                "connection list",
                "connection test",
                "doctor",
            ] {
                let output = project.syncset(words.split(' ')).await.expect_code(2);
                let said = format!("{}{}", output.stdout, output.stderr);
                assert!(said.contains("(syncset.yaml:3:"), "{said}");
                assert!(
                    said.contains("hint: in a user or a password write `#`"),
                    "{said}"
                );
                assert!(!said.contains("geheim"), "{said}");
            }
        }
        let project = Project::empty();
        let init = ["init", "--from", url, "--to", "sqlite:copy.db"];
        let output = project.syncset(init).await.expect_code(2);
        assert!(!output.stderr.contains("geheim"), "{}", output.stderr);
    }
}
