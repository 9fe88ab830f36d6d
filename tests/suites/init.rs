//! `init`: the files it writes are valid at once, hold no secret, and replace nothing.

use crate::init_lab::Lab;
use kit::{Project, SqliteFile};
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn files_say_what_is_copied_and_what_to_look_at() {
    let lab = Lab::new().await;

    let output = lab.init(&["--project", "shop"]).await;

    insta::assert_snapshot!(lab.stable(&output.snapshot()), @r"
    exit: 0
    stdout:
    created .env: holds CRM_URL and REPORTS_URL
    created .gitignore: keeps .env out of version control
    created syncset.yaml
    created pipelines/p.yaml

    5 tables will be copied. To be looked at:
      public.customers: `password_hash` is left out: it looks like a secret
      public.customers: copied, though likely personal: name, email, birth_date
      public.v_totals: not copied: A view: name columns that are unique in it and never NULL, if you want it.

    Next:
      syncset doctor p         # is anything missing, such as a right?
      syncset pipeline plan p  # what would a run do? changes nothing
      syncset pipeline run p   # sync
    ");
    insta::assert_snapshot!(lab.stable(&lab.project.read("syncset.yaml")), @r#"
    # The project: which databases there are. What is copied is in pipelines/. Written by `syncset
    # init`; yours to edit.
    version: 1

    # Part of the name under which progress is stored at the target, so do not change it later.
    project: shop

    # ${NAME} comes from the environment, or from the file .env beside this one; what is in the
    # environment wins. Paths start at this folder. `syncset connection test` tries them all.
    connections:
      # PostgreSQL [version], database `crm`, user `postgres`.
      crm: { type: postgres, url: "${CRM_URL}" }
      # PostgreSQL [version], database `reports`, user `postgres`.
      reports: { type: postgres, url: "${REPORTS_URL}" }
    "#);
    insta::assert_snapshot!(lab.stable(&lab.project.read("pipelines/p.yaml")), @r#"
    # What is copied, and how. Written by `syncset init`; yours to edit. `syncset pipeline validate p`
    # checks it, `syncset pipeline plan p` shows what a run would do.
    version: 1

    # Connections of syncset.yaml. The source is only read.
    source: crm
    target: reports

    # How changes are found. Nothing is set, so each run brings the rows that differ, deleted ones
    # too, and needs no column, no trigger and no more rights than to read: between two PostgreSQL
    # databases both servers hash the rows of a table with a key and only what differs is read
    # (`hash`), otherwise the whole table is (`full`). To read less of a large table, set `capture`
    # there: `cursor`, with a column that grows with every change; `xmin`, which needs no column:
    # PostgreSQL looks at each row and sends only those that were changed. Neither sees deletes: rows
    # deleted at the source stay at the target until a run with `--full-refresh`.

    # One entry per table; tables that are not named are not copied. An entry without anything copies
    # every column and row; `where: "country in ('DE', 'FR')"` takes only some rows. Where a line
    # below is a proposal, delete the `# ` before it to accept it. A table that is missing at the
    # target is created.
    tables:
      "public.\"Odd.Name: #1\"":
        # About 1 row, [size]. Key: Key Column.
      public.countries:
        # About 2 rows, [size]. Key: code.
        # No primary key: this unique key without NULLs tells rows apart.
        key: [code]
      public.customers:
        # About 30 rows, [size]. Key: id.
        # Left out: `password_hash` looks like a secret.
        columns: { exclude: [password_hash] }
        # Likely personal, so perhaps to be added to that list: name, email, birth_date.
        # `updated_at` looks like a cursor (default `now()`; an index begins with it; trigger `stamp`
        # fires for updates). Whether every change moves it cannot be seen from outside. If it does:
        # capture: { mode: cursor, column: updated_at, written_by: database }
      public.keyless:
        # About 2 rows, [size]. No key.
        # Rows without a key are known by their values alone, so each run compares both sides whole. A
        # primary key at the source is cheaper.
      public.orders:
        # About 30 rows, [size]. Key: id.
        # Computed by the source, copied as plain data: doubled.
        # `modified` looks like a cursor (default `now()`). Whether every change moves it cannot be
        # seen from outside. If it does:
        # capture: { mode: cursor, column: modified, written_by: application, overlap: 10m, zone: UTC }

      # Not copied. Delete the `# ` before an entry to have it.
      # public.v_totals: { key: [..], capture: full }
        # A view: name columns that are unique in it and never NULL, if you want it.
    "#);
    insta::assert_snapshot!(lab.stable(&lab.project.read(".env")), @r"
    # Read by syncset; what is set in the environment wins. Holds passwords: keep it out of version
    # control.
    CRM_URL='postgres://postgres@127.0.0.1:[port]/crm'
    REPORTS_URL='postgres://postgres@127.0.0.1:[port]/reports'
    ");
    assert_eq!(lab.project.read(".gitignore"), ".env\n");
}

#[tokio::test]
async fn what_is_written_is_valid_and_runs_at_once() {
    let lab = Lab::new().await;
    lab.init(&[]).await.expect_success();

    for verb in [
        ["pipeline", "validate", "p"],
        ["pipeline", "plan", "p"],
        ["pipeline", "run", "p"],
    ] {
        lab.project.syncset(verb).await.expect_success();
    }

    let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) \
         FROM information_schema.columns WHERE table_name = 'customers'";
    assert_eq!(
        lab.target.value(columns).await,
        "id name email birth_date updated_at"
    );
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "30");
    assert_eq!(lab.target.value("SELECT count(*) FROM keyless").await, "2");
    assert_eq!(
        lab.target.value("SELECT count(*) FROM countries").await,
        "2"
    );
    assert_eq!(
        lab.target
            .value("SELECT count(*) FROM \"Odd.Name: #1\"")
            .await,
        "1"
    );
}

#[tokio::test]
async fn every_proposal_is_valid_when_it_is_accepted() {
    let lab = Lab::new().await;
    lab.init(&[]).await.expect_success();
    let text = lab.project.read("pipelines/p.yaml");
    let is_proposal =
        |line: &str| line.starts_with("    # capture: ") || line.starts_with("    # columns: ");
    let proposals: Vec<_> = text.lines().filter(|line| is_proposal(line)).collect();
    assert!(proposals.len() >= 2, "{text}");

    for proposal in proposals {
        let accepted = text.replace(proposal, &proposal.replacen("# ", "", 1));
        lab.project.pipeline("accepted", &accepted);

        let planned = lab.project.syncset(["pipeline", "plan", "accepted"]).await;

        assert_eq!(planned.code, 0, "{proposal}\n{}", planned.stderr);
    }
}

#[tokio::test]
async fn passwords_are_in_the_environment_file_alone() {
    let lab = Lab::new().await;
    let role = lab
        .source
        .role("init", &["pg_read_all_data", "pg_read_all_stats"])
        .await;
    let target = lab.target.url();
    let arguments = ["init", "--from", &role.url, "--to", &target, "--name", "p"];

    let output = lab.project.syncset(arguments).await.expect_success();

    let yaml = lab.project.read("syncset.yaml") + &lab.project.read("pipelines/p.yaml");
    let said = format!("{}{}{yaml}", output.stdout, output.stderr);
    assert!(
        !said.contains("secret@") && !said.contains(":secret"),
        "{said}"
    );
    assert!(lab.project.read(".env").contains(":secret@"));
    let mode = std::fs::metadata(lab.project.path().join(".env"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    lab.project
        .syncset(["connection", "test"])
        .await
        .expect_success();
}

#[tokio::test]
async fn project_that_exists_gets_one_more_pipeline() {
    let lab = Lab::new().await;
    lab.init(&["--tables", "countries"]).await.expect_success();
    let (source, target) = (lab.source.name(), lab.target.name());
    let project = lab.project.read("syncset.yaml");

    let arguments = [
        "init", "--from", source, "--to", target, "--name", "more", "--tables", "orders",
    ];
    lab.project.syncset(arguments).await.expect_success();

    assert_eq!(lab.project.read("syncset.yaml"), project);
    assert!(
        lab.project
            .read("pipelines/more.yaml")
            .contains("  public.orders:\n")
    );
    lab.project
        .syncset(["pipeline", "run", "p", "more"])
        .await
        .expect_success();
}

#[tokio::test]
async fn tables_that_the_target_has_already_are_left_alone() {
    let lab = Lab::new().await;
    lab.target
        .execute(
            "CREATE TABLE countries (code text PRIMARY KEY, label text); \
         INSERT INTO countries VALUES ('XX', 'mine')",
        )
        .await;

    let said = lab
        .init(&["--tables", "countries,orders,customers"])
        .await
        .expect_success();

    let text = lab.project.read("pipelines/p.yaml");
    let to = format!("{}.{{table}}", lab.source.name());
    assert!(text.contains(&format!("  to: \"{to}\"")), "{text}");
    let note = format!("note: `to: {to}`: The target has tables of the same name");
    assert!(said.stdout.contains(&note), "{}", said.stdout);
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(
        lab.target
            .value("SELECT string_agg(code, ' ') FROM public.countries")
            .await,
        "XX"
    );
}

#[tokio::test]
async fn sqlite_files_are_written_without_variables() {
    let project = Project::empty();
    project
        .sqlite("shop.db")
        .execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, any_thing,
               updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP);
             INSERT INTO orders (id) VALUES (1), (2)",
        )
        .await;

    let arguments = [
        "init",
        "--from",
        "sqlite:shop.db",
        "--to",
        "sqlite:copy.db",
        "--project",
        "shop",
    ];
    let output = project.syncset(arguments).await;

    insta::assert_snapshot!(output.snapshot(), @r"
    exit: 0
    stdout:
    created syncset.yaml
    created pipelines/shop_copy.yaml

    1 table will be copied. To be looked at:
      orders: copied, though likely personal: email

    Next:
      syncset doctor shop_copy         # is anything missing, such as a right?
      syncset pipeline plan shop_copy  # what would a run do? changes nothing
      syncset pipeline run shop_copy   # sync
    ");
    insta::assert_snapshot!(project.read("syncset.yaml"), @r#"
    # The project: which databases there are. What is copied is in pipelines/. Written by `syncset
    # init`; yours to edit.
    version: 1

    # Part of the name under which progress is stored at the target, so do not change it later.
    project: shop

    # ${NAME} comes from the environment, or from the file .env beside this one; what is in the
    # environment wins. Paths start at this folder. `syncset connection test` tries them all.
    connections:
      # SQLite 3.51.3.
      shop: { type: sqlite, url: "sqlite:shop.db" }
      # SQLite 3.51.3.
      copy: { type: sqlite, url: "sqlite:copy.db" }
    "#);
    insta::assert_snapshot!(project.read("pipelines/shop_copy.yaml"), @r#"
    # What is copied, and how. Written by `syncset init`; yours to edit. `syncset pipeline validate
    # shop_copy` checks it, `syncset pipeline plan shop_copy` shows what a run would do.
    version: 1

    # Connections of syncset.yaml. The source is only read.
    source: shop
    target: copy

    # How changes are found. Nothing is set, so each run brings the rows that differ, deleted ones
    # too, and needs no column, no trigger and no more rights than to read: between two PostgreSQL
    # databases both servers hash the rows of a table with a key and only what differs is read
    # (`hash`), otherwise the whole table is (`full`). To read less of a large table, set `capture`
    # there: `cursor`, with a column that grows with every change. Neither sees deletes: rows deleted
    # at the source stay at the target until a run with `--full-refresh`.

    # One entry per table; tables that are not named are not copied. An entry without anything copies
    # every column and row; `where: "country in ('DE', 'FR')"` takes only some rows. Where a line
    # below is a proposal, delete the `# ` before it to accept it. A table that is missing at the
    # target is created.
    tables:
      orders:
        # Rows not counted yet. Key: id.
        # Likely personal: email.
        # columns: { exclude: [email] }
        # `updated_at` looks like a cursor (default `CURRENT_TIMESTAMP`). Whether every change moves
        # it cannot be seen from outside. If it does:
        # capture: { mode: cursor, column: updated_at, overlap: 10m, zone: UTC }
    "#);
    assert!(!project.path().join(".env").exists());
    project
        .syncset(["pipeline", "run", "shop_copy"])
        .await
        .expect_success();
}

#[tokio::test]
async fn copies_within_one_database_get_names_of_their_own() {
    let lab = Lab::new().await;
    let url = lab.source.url();
    let arguments = [
        "init",
        "--from",
        &url,
        "--to",
        &url,
        "--name",
        "p",
        "--tables",
        "countries",
    ];

    lab.project.syncset(arguments).await.expect_success();

    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(
        lab.source
            .value("SELECT count(*) FROM public_copy.countries")
            .await,
        "2"
    );
}

#[tokio::test]
async fn new_folder_may_hold_the_files_of_its_stores() {
    let lab = Lab::new().await;
    let folder = lab.project.path();
    let file = SqliteFile::new(folder.join("shop.db"));
    file.execute("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await;
    let words = [
        "-C",
        "new",
        "init",
        "--from",
        "sqlite:../shop.db",
        "--to",
        "sqlite:copy.db",
        "--name",
        "p",
    ];

    lab.project.syncset(words).await.expect_success();
    lab.project
        .syncset(["-C", "new", "pipeline", "run", "p"])
        .await
        .expect_success();

    let copy = SqliteFile::new(folder.join("new/copy.db"));
    assert_eq!(copy.value("SELECT count(*) FROM t").await, "1");
}
