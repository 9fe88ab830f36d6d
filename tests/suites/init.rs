//! `init`: the files it writes are valid at once, hold no secret, and replace nothing.

use kit::{Database, Output, Project};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text, email text, birth_date date,
      password_hash text, updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON customers (updated_at);
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN NEW.updated_at = clock_timestamp(); RETURN NEW; END $$;
    CREATE TRIGGER stamp BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers,
      total numeric(12,2), doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
      modified timestamp NOT NULL DEFAULT now());
    CREATE TABLE countries (code text NOT NULL UNIQUE, label text);
    CREATE TABLE keyless (at timestamptz, line text);
    CREATE TABLE \"Odd.Name: #1\" (\"Key Column\" int PRIMARY KEY, \"no\" text);
    CREATE VIEW v_totals AS SELECT customer_id, sum(total) FROM orders GROUP BY 1;
    INSERT INTO customers SELECT i, 'n' || i, 'e' || i, '2000-01-01', 'p' FROM generate_series(1, 30) i;
    INSERT INTO orders (id, customer_id, total) SELECT i, i, i FROM generate_series(1, 30) i;
    INSERT INTO keyless VALUES (NULL, 'a'), (NULL, 'a');
    INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
    INSERT INTO \"Odd.Name: #1\" VALUES (1, 'x');
    ANALYZE";

/// Two databases, of which the first has tables.
struct Lab {
    source: Database,
    target: Database,
    project: Project,
}

impl Lab {
    async fn new() -> Self {
        let server = kit::postgres().await;
        let lab = Self {
            source: server.database("init_source").await,
            target: server.database("init_target").await,
            project: Project::empty(),
        };
        lab.source.execute(SHOP).await;
        lab
    }

    async fn init(&self, more: &[&str]) -> Output {
        let (from, to) = (self.source.url(), self.target.url());
        let arguments = ["init", "--from", &from, "--to", &to, "--name", "p"];
        self.project
            .syncset(arguments.into_iter().chain(more.iter().copied()))
            .await
    }

    /// A text without what changes from run to run.
    fn stable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, plain) in [(self.source.name(), "crm"), (self.target.name(), "reports")] {
            text = text.replace(name, plain);
            text = text.replace(&name.to_ascii_uppercase(), &plain.to_ascii_uppercase());
        }
        let filters = [
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"\b\d+ (B|KiB)\b", "[size]"),
            (r"PostgreSQL \d[^,]*", "PostgreSQL [version]"),
            (r"syncset-project-\w+", "[folder]"),
        ];
        for (pattern, replacement) in filters {
            let pattern = regex::Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, replacement).into_owned();
        }
        text
    }
}

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

    # How changes are found. `full` reads the whole table in each run and writes only rows that
    # differ; it needs no column, no trigger and no more rights than to read, and it is the only mode
    # that also notices deleted rows, so it is the one to start with. Faster for large tables, set per
    # table: `cursor`, with a column that grows with every change; `xmin`, which needs no column:
    # PostgreSQL looks at each row and sends only those that were changed. Neither sees deletes: rows
    # deleted at the source stay at the target until a run with `--full-refresh`.
    capture: full

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
async fn files_that_exist_are_never_overwritten() {
    let lab = Lab::new().await;
    lab.project
        .file(".env", "MINE=1")
        .file(".gitignore", "target\n");
    lab.init(&["--tables", "countries"]).await.expect_success();
    let written = ["syncset.yaml", "pipelines/p.yaml", ".env", ".gitignore"]
        .map(|path| (path, lab.project.read(path)));
    assert!(lab.project.read(".env").starts_with("MINE=1\n"));
    assert_eq!(lab.project.read(".gitignore"), "target\n.env\n");

    let again = lab.init(&["--tables", "countries"]).await;
    let (source, target) = (lab.source.name(), lab.target.name());
    let arguments = ["init", "--from", source, "--to", target, "--name", "p"];
    let same_name = lab.project.syncset(arguments).await;

    insta::assert_snapshot!(lab.stable(&again.snapshot()), @r"
    exit: 2
    stderr:
    error: the folder holds a project already, and this is none of its connections
    hint: name two of its connections (init_source, init_target) to add a pipeline, add the new one to syncset.yaml, or choose another folder with `-C DIR`
    ");
    insta::assert_snapshot!(lab.stable(&same_name.snapshot()), @r"
    exit: 2
    stderr:
    error: `pipelines/p.yaml` exists, and no file is ever overwritten
    hint: name the new pipeline with `--name NAME`, or move the old file away
    ");
    for (path, text) in written {
        assert_eq!(lab.project.read(path), text, "{path}");
    }
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
async fn what_a_user_may_not_read_is_left_out_with_its_grant() {
    let lab = Lab::new().await;
    let role = lab
        .source
        .role(
            "init",
            &[
                "SELECT (id, name, updated_at) ON customers",
                "SELECT ON countries",
            ],
        )
        .await;
    let target = lab.target.url();
    let arguments = ["init", "--from", &role.url, "--to", &target, "--name", "p"];

    lab.project.syncset(arguments).await.expect_success();

    let text = lab.project.read("pipelines/p.yaml");
    let one_line = text.replace("\n    #", "").replace("\n  #", "");
    let grant = format!(
        "GRANT SELECT ON \"public\".\"orders\" TO \"{}\";",
        role.name
    );
    assert!(one_line.contains(&grant), "{one_line}");
    assert!(
        text.contains("    columns: { exclude: [email, birth_date, password_hash] }\n"),
        "{text}"
    );
    lab.project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
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

    # How changes are found. `full` reads the whole table in each run and writes only rows that
    # differ; it needs no column, no trigger and no more rights than to read, and it is the only mode
    # that also notices deleted rows, so it is the one to start with. Faster for large tables, set per
    # table: `cursor`, with a column that grows with every change. Neither sees deletes: rows deleted
    # at the source stay at the target until a run with `--full-refresh`.
    capture: full

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
async fn mistakes_are_told_and_nothing_is_written() {
    let lab = Lab::new().await;
    let (from, to) = (lab.source.url(), lab.target.url());
    let wrong_password = lab.source.url_as("nobody", "geheim");
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (
            &[],
            2,
            &["`--from` is missing", "no terminal", "--from postgres://"],
        ),
        (&["--from", &from], 2, &["`--to` is missing"]),
        (
            &["--from", "crm", "--to", &to],
            2,
            &["no URL", "postgres://user:password@host"],
        ),
        (
            &["--from", "mysql://u:geheim@h/d", "--to", &to],
            2,
            &["no URL"],
        ),
        (
            &["--from", &wrong_password, "--to", &to],
            1,
            &["cannot open"],
        ),
        (
            &["--from", "${NOT_SET}", "--to", &to],
            2,
            &["`${NOT_SET}` is not set"],
        ),
        (
            &["--from", &from, "--to", &to, "--tables", "shop.*"],
            2,
            &["no table", "`public.*`"],
        ),
        (
            &["--from", &from, "--to", &to, "--tables", "v_totals"],
            2,
            &["none of the tables", "A view"],
        ),
        (
            &["--from", &from, "--to", &to, "--name", "a/b"],
            2,
            &["`a/b` cannot be the name"],
        ),
    ];

    for (arguments, code, fragments) in cases {
        let folder = lab.project.path().join("new");
        let words = ["-C", "new", "init"]
            .into_iter()
            .chain(arguments.iter().copied());
        let output = lab.project.syncset(words).await;

        assert_eq!(output.code, code, "{arguments:?}: {}", output.stderr);
        for fragment in fragments {
            assert!(
                output.stderr.contains(fragment),
                "{fragment}: {}",
                output.stderr
            );
        }
        assert!(output.stderr.contains("hint: "), "{}", output.stderr);
        assert!(!output.stderr.contains("geheim"), "{}", output.stderr);
        assert!(!folder.exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn variable_that_is_set_stays_a_variable() {
    let mut lab = Lab::new().await;
    let (from, to) = (lab.source.url(), lab.target.url());
    lab.project.set("CRM", &from);
    let arguments = [
        "-C", "new", "init", "--from", "${CRM}", "--to", &to, "--name", "p",
    ];

    lab.project.syncset(arguments).await.expect_success();

    assert!(
        lab.project
            .read("new/syncset.yaml")
            .contains("url: \"${CRM}\"")
    );
    assert!(!lab.project.read("new/.env").contains(&from));
    lab.project
        .syncset(["-C", "new", "pipeline", "plan", "p"])
        .await
        .expect_success();
}

#[tokio::test]
async fn questions_on_a_terminal_lead_to_the_same_files() {
    let lab = Lab::new().await;
    let answers = [
        "nonsense".to_owned(),
        lab.source.url(),
        lab.target.url(),
        "public.countries, public.orders".to_owned(),
        "asked".to_owned(),
    ];
    // `script` gives the program a terminal; the lines wait in its buffer until they are read.
    let command = format!("{} init", kit::binary().display());
    let mut session = tokio::process::Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--echo",
            "never",
            "--command",
            &command,
            "/dev/null",
        ])
        .current_dir(lab.project.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("`script` of util-linux can be started");
    let mut input = session.stdin.take().unwrap();
    for answer in answers {
        input
            .write_all(format!("{answer}\n").as_bytes())
            .await
            .unwrap();
    }

    let output = session.wait_with_output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("this is no URL"), "{said}");
    assert!(said.contains("public: 6 tables and views"), "{said}");
    let text = lab.project.read("pipelines/asked.yaml");
    assert!(
        text.contains("  public.countries:\n") && text.contains("  public.orders:\n"),
        "{text}"
    );
    assert!(!text.contains("customers:"), "{text}");
}
