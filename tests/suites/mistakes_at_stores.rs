//! Mistakes that only a store can tell: names, logins, files, and what became of tables meanwhile.

use crate::told::Told;
use kit::{Database, Project};

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL, \
     amount numeric(12,2), updated_at timestamptz NOT NULL DEFAULT now(), seen_at timestamptz); \
     INSERT INTO orders (id, status) SELECT i, 'new' FROM generate_series(1, 20) i; \
     CREATE TABLE keyless (a int, b text)";

/// A project between two databases, with a pipeline over `orders`.
struct Lab {
    source: Database,
    target: Database,
    project: Project,
}

impl Lab {
    async fn new(name: &str) -> Self {
        let server = kit::postgres().await;
        let source = server.database(&format!("{name}_from")).await;
        let target = server.database(&format!("{name}_to")).await;
        source.execute(TABLES).await;
        let project = Project::between(&source.url(), &target.url());
        let lab = Self {
            source,
            target,
            project,
        };
        lab.tables("public.orders: {}");
        lab
    }

    fn tables(&self, tables: &str) {
        let head = "version: 1\nsource: source\ntarget: target\ntables:\n";
        self.project.pipeline("p", &format!("{head}  {tables}\n"));
    }

    async fn said(&self, told: &mut Told, mistake: &str, words: &str) {
        told.about(mistake, &self.project.syncset(words.split(' ')).await);
    }
}

/// Nothing of ours is there, and no table.
async fn assert_untouched(database: &Database) {
    let count = "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN \
         (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')";
    assert_eq!(database.value(count).await, "0");
}

#[tokio::test]
async fn selections_that_do_not_fit_the_source_touch_nothing() {
    let lab = Lab::new("slips").await;
    let mut told = Told::default();
    let orders = |text: &str| format!("public.orders: {{ {text} }}");

    for (mistake, tables) in [
        ("table misspelt", "public.order: {}".to_owned()),
        ("schema misspelt", "pubic.orders: {}".to_owned()),
        (
            "capitals that are not there",
            "public.Orders: {}".to_owned(),
        ),
        (
            "glob that matches nothing",
            "\"public.inv*\": {}".to_owned(),
        ),
        ("column misspelt", orders("columns: [id, stauts]")),
        (
            "column of the condition misspelt",
            orders("where: \"stauts = 'new'\""),
        ),
        ("condition cut off", orders("where: \"status = \"")),
        ("text without its quotes", orders("where: \"status = new\"")),
        (
            "condition in the source's own words misspelt",
            orders("where: { source_sql: \"stauts = 'new'\" }"),
        ),
        (
            "statement instead of a condition",
            orders("where: { source_sql: \"true; DROP TABLE orders\" }"),
        ),
        (
            "clock in a condition of changes",
            orders("capture: xmin, where: { source_sql: \"updated_at > now()\" }"),
        ),
        (
            "function that is not there",
            orders("derive: { short: \"lefft(status, 1)\" }"),
        ),
        (
            "column of an expression misspelt",
            orders("derive: { short: \"upper(stauts)\" }"),
        ),
        (
            "computed column with the name of another",
            orders("derive: { status: \"upper(status)\" }"),
        ),
        (
            "two columns with one name",
            orders("rename: { status: amount }"),
        ),
        (
            "cursor misspelt",
            orders("capture: { mode: cursor, column: update_at, written_by: database }"),
        ),
        (
            "cursor that may be NULL",
            orders("capture: { mode: cursor, column: seen_at, written_by: database }"),
        ),
        (
            "cursor that is a text",
            orders("capture: { mode: cursor, column: status, written_by: database }"),
        ),
        (
            "writer of the cursor not said",
            orders("capture: { mode: cursor, column: updated_at }"),
        ),
        (
            "table without a key",
            "public.keyless: { write: { mode: upsert } }".to_owned(),
        ),
        ("key that is not unique", orders("key: [status]")),
        ("key not selected", orders("columns: [status]")),
    ] {
        lab.tables(&tables);
        lab.said(&mut told, mistake, "pipeline run p").await;
    }
    lab.tables("public.orders: {}");
    lab.said(
        &mut told,
        "table of the command line misspelt",
        "pipeline run p --tables public.order",
    )
    .await;

    insta::assert_snapshot!(told.text(), @r#"
    # table misspelt
      exit 2
    error: no table `public.order` in the source (pipelines/p.yaml:5:3)
    hint: the source has `public.orders`, `public.keyless`
    # schema misspelt
      exit 2
    error: no table `pubic.orders` in the source (pipelines/p.yaml:5:3)
    hint: the source has `public.orders`, `public.keyless`
    # capitals that are not there
      exit 2
    error: no table `public.Orders` in the source (pipelines/p.yaml:5:3)
    hint: the source has `public.orders`, `public.keyless`
    # glob that matches nothing
      exit 2
    error: `public.inv*` matches no table of the source (pipelines/p.yaml:5:3)
    hint: the source has `public.orders`, `public.keyless`
    # column misspelt
      exit 2
    error: `public.orders` has no column `stauts` (pipelines/p.yaml:5:34)
    hint: the columns are `status`, `amount`, `seen_at`, `updated_at`, `id`
    # column of the condition misspelt
      exit 2
    error: `where` in `public.orders`: no column `stauts` (pipelines/p.yaml:5:27)
    hint: the columns are `status`, `amount`, `seen_at`, `updated_at`, `id`
    # condition cut off
      exit 2
    error: `where` in `public.orders`: this is no SQL expression: expected an expression, found the end (pipelines/p.yaml:5:27)
    hint: text goes in single quotes, names with capitals or blanks in double quotes
    # text without its quotes
      exit 2
    error: `where` in `public.orders`: no column `new` (pipelines/p.yaml:5:27)
    hint: the columns are `seen_at`, `updated_at`, `id`, `status`, `amount`
    # condition in the source's own words misspelt
      exit 2
    error: the server refuses the `where` of `public.orders`
    cause: the server said: column "stauts" does not exist
    hint: mend the condition: it is passed on as SQL of this server
    # statement instead of a condition
      exit 2
    error: `where` of `public.orders` holds a `;`
    hint: write one condition of SQL
    # clock in a condition of changes
      exit 2
    error: `where` of `public.orders` reads the clock (`now`): rows enter and leave the selection without being changed, and `capture: xmin` does not see that (pipelines/p.yaml:5:56)
    hint: use `capture: full` for this table, or a condition over its columns only
    # function that is not there
      exit 2
    error: derived column `short` of `public.orders`: there is no function `lefft`
    hint: did you mean `left`, `least`, `length`?
    # column of an expression misspelt
      exit 2
    error: `derive` of `short` in `public.orders`: no column `stauts` (pipelines/p.yaml:5:37)
    hint: the columns are `status`, `amount`, `seen_at`, `updated_at`, `id`
    # computed column with the name of another
      exit 2
    error: `public.orders` has a selected column `status` already (pipelines/p.yaml:5:30)
    hint: give the computed column another name, or do not select that column
    # two columns with one name
      exit 2
    error: `status` and `amount` are both called `amount` at the target (pipelines/p.yaml:5:38)
    hint: give one of them another name with `rename`
    # cursor misspelt
      exit 2
    error: `public.orders` has no column `update_at` for the cursor (pipelines/p.yaml:5:53)
    hint: the columns are `updated_at`, `id`, `seen_at`, `amount`, `status`
    # cursor that may be NULL
      exit 2
    error: the cursor `seen_at` of `public.orders` may be NULL (pipelines/p.yaml:5:53)
    hint: make the column NOT NULL, or say what happens to such rows with `null_cursor: read`, `ignore` or `error`
    # cursor that is a text
      exit 2
    error: `status` of `public.orders` is `text`, which is no cursor (pipelines/p.yaml:5:53)
    hint: a cursor is a time or an integer that grows with every change; without one use `capture: full`
    # writer of the cursor not said
      exit 2
    error: who stamps the cursor `updated_at`? `written_by` is missing (pipelines/p.yaml:5:53)
    hint: write `written_by: database` if a default or trigger of the database sets it, else `written_by: application` with an `overlap`, such as `10m`
    # table without a key
      exit 2
    error: `public.keyless` has no primary key (pipelines/p.yaml:5:36)
    hint: name columns that are unique and never NULL: `key: [..]`; or leave `mode` out: such a table is replaced in place
    # key that is not unique
      exit 2
    error: nothing makes `status` unique in `public.orders` (pipelines/p.yaml:5:25)
    hint: add a unique constraint over NOT NULL columns at the source, or name the columns of one
    # key not selected
      exit 2
    error: the key column `id` of `public.orders` is not selected (pipelines/p.yaml:5:3)
    hint: add `id` to `columns`, or name another key with `key: [..]`
    # table of the command line misspelt
      exit 2
    error: the pipeline has no table `public.order`
    hint: tables of this pipeline: public.orders
    "#);
    assert_untouched(&lab.target).await;
}

#[tokio::test]
async fn connections_that_do_not_work_say_what_to_look_at() {
    let lab = Lab::new("logins").await;
    let role = lab.source.role("reader", &[]).await;
    let mut told = Told::default();
    let url = lab.source.url();
    let name = lab.source.name();
    let host = url
        .split_once('@')
        .unwrap()
        .1
        .split_once('/')
        .unwrap()
        .0
        .to_owned();

    for (mistake, url) in [
        ("wrong password", role.url.replace(":secret@", ":hunter2@")),
        ("password forgotten", role.url.replace(":secret@", "@")),
        (
            "role that is not there",
            format!("postgres://nobody_here:hunter2@{host}/{name}"),
        ),
        (
            "database misspelt",
            format!("postgres://postgres@{host}/no_such_database"),
        ),
        (
            "port where nobody listens",
            format!("postgres://postgres@127.0.0.1:1/{name}"),
        ),
        (
            "host that is not there",
            format!("postgres://postgres@db.invalid/{name}"),
        ),
        (
            "encryption that the server has not",
            format!("{url}?sslmode=require"),
        ),
        ("right to read missing", role.url.clone()),
    ] {
        let project = Project::between(&url, &lab.target.url());
        project.pipeline(
            "p",
            "version: 1\nsource: source\ntarget: target\ntables: { public.orders: {} }\n",
        );
        let output = project.syncset(["pipeline", "run", "p"]).await;
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        told.about(mistake, &output);
    }
    let read_only = lab.target.role("onlooker", &[]).await;
    let project = Project::between(&url, &read_only.url);
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: {} }\n",
    );
    told.about(
        "right to write missing",
        &project.syncset(["pipeline", "run", "p"]).await,
    );
    let project = Project::between(&url, &url);
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: {} }\n",
    );
    told.about(
        "source that is its own target",
        &project.syncset(["pipeline", "run", "p"]).await,
    );

    insta::assert_snapshot!(told.text().replace(&role.name, "reader").replace(&read_only.name, "onlooker"), @r#"
    # wrong password
      exit 1
    error: cannot open `source`
    cause: the server said: password authentication failed for user "reader_logins_from"
    hint: check user and password, and the server's `pg_hba.conf`
    # password forgotten
      exit 1
    error: cannot open `source`
    cause: the server said: password authentication failed for user "reader_logins_from"
    hint: check user and password, and the server's `pg_hba.conf`
    # role that is not there
      exit 1
    error: cannot open `source`
    cause: the server said: password authentication failed for user "nobody_here"
    hint: check user and password, and the server's `pg_hba.conf`
    # database misspelt
      exit 2
    error: cannot open `source`
    cause: the server said: database "no_such_database" does not exist
    hint: check the name of the database
    # port where nobody listens
      exit 9
    error: cannot open `source`
    cause: cannot reach the server of `source` at 127.0.0.1:[port]
    cause: Connection refused (os error 111)
    hint: check host, port, `sslmode`, and whether the server runs
    # host that is not there
      exit 9
    error: cannot open `source`
    cause: cannot reach the server of `source` at db.invalid:5432
    cause: failed to lookup address information: Name or service not known
    hint: check host, port, `sslmode`, and whether the server runs
    # encryption that the server has not
      exit 2
    error: cannot open `source`
    cause: the server of `source` at 127.0.0.1:[port] does not encrypt its links, as `sslmode` asks for
    hint: set `ssl = on` at the server; `sslmode: prefer` goes on without
    # right to read missing
      exit 1
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 1
    error: user `reader_logins_from` may not read `id`, `status`, `amount`, `updated_at`, `seen_at` of `public.orders`
    hint: GRANT SELECT ("id", "status", "amount", "updated_at", "seen_at") ON "public"."orders" TO "reader_logins_from"
    # right to write missing
      exit 1
    error: role "onlooker_logins_to" may not use the schema `_syncset` of database "logins_to"
    cause: the server said: permission denied for schema _syncset
    hint: run as its owner: GRANT USAGE ON SCHEMA _syncset TO "onlooker_logins_to"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA _syncset TO "onlooker_logins_to"
    # source that is its own target
      exit 2
    error: `public.orders` would be written onto itself (pipelines/p.yaml:4:11)
    hint: source and target are the same store: send it elsewhere with `to:`
    "#);
}

#[tokio::test]
async fn sqlite_files_that_do_not_work_say_what_to_look_at() {
    let mut told = Told::default();
    let project = Project::new(
        "version: 1\nconnections:\n  shop: { type: sqlite, path: shop.db }\n  \
         copy: { type: sqlite, path: copy.db }\n",
    );
    let pipeline = "version: 1\nsource: shop\ntarget: copy\ntables: { orders: {} }\n";
    project.pipeline("p", pipeline);
    let run = ["pipeline", "run", "p"];
    let shop = project.path().join("shop.db");

    told.about("file that is not there", &project.syncset(run).await);
    std::fs::create_dir(&shop).unwrap();
    told.about("folder instead of a file", &project.syncset(run).await);
    std::fs::remove_dir(&shop).unwrap();
    std::fs::write(&shop, "id,status\n1,new\n".repeat(100)).unwrap();
    told.about(
        "table of a spreadsheet instead of a database",
        &project.syncset(run).await,
    );
    std::fs::remove_file(&shop).unwrap();
    project
        .sqlite("shop.db")
        .execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, paid_at TIMESTAMP)")
        .await;
    project
        .sqlite("shop.db")
        .execute("INSERT INTO orders VALUES (1, 'yesterday')")
        .await;
    told.about("value that is not of its type", &project.syncset(run).await);
    project
        .sqlite("shop.db")
        .execute("DELETE FROM orders")
        .await;
    project.pipeline(
        "p",
        &pipeline.replace("copy\n", "\"sqlite:no/such/folder/copy.db\"\n"),
    );
    told.about(
        "folder of the target that is not there",
        &project.syncset(run).await,
    );
    project.pipeline("p", &pipeline.replace("copy\n", "shop\n"));
    told.about("source that is its own target", &project.syncset(run).await);

    insta::assert_snapshot!(told.text(), @"
    # file that is not there
      exit 2
    error: cannot open `shop`
    cause: `[folder]/shop.db` does not exist or cannot be reached
    cause: No such file or directory (os error 2)
    hint: check the path; relative paths start at the project folder, and a file that is only a target is made by the first run
    # folder instead of a file
      exit 2
    error: cannot open `shop`
    cause: `[folder]/shop.db` is a folder
    cause: error returned from database: (code: 266) disk I/O error
    cause: (code: 266) disk I/O error
    hint: name a file in it
    # table of a spreadsheet instead of a database
      exit 2
    error: cannot open `shop`
    cause: `[folder]/shop.db` is damaged or is not a SQLite database (opening)
    cause: error returned from database: (code: 26) file is not a database
    cause: (code: 26) file is not a database
    hint: check the path, or run `PRAGMA integrity_check` and restore a backup
    # value that is not of its type
      exit 1
    stdout:
    orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 1
    error: column `paid_at` of `orders` holds text that does not fit a column declared `TIMESTAMP`, in the row 1
    hint: only ISO text such as `[instant]` is read here (with a zone only where the type has one); read numbers through a view that converts or casts them, or exclude the column
    # folder of the target that is not there
      exit 2
    error: cannot open `target`
    cause: `[folder]/no/such/folder/copy.db` does not exist or cannot be reached
    cause: No such file or directory (os error 2)
    hint: check the path; relative paths start at the project folder, and a file that is only a target is made by the first run
    # source that is its own target
      exit 2
    error: `orders` would be written onto itself (pipelines/p.yaml:4:11)
    hint: source and target are the same store: send it elsewhere with `to:`
    ");
}

#[tokio::test]
async fn what_changed_behind_our_back_is_told_and_loses_nothing() {
    let lab = Lab::new("behind").await;
    let mut told = Told::default();
    let run = "pipeline run p";
    lab.tables("public.orders: { columns: [id, status, amount], capture: xmin }");
    lab.project.syncset(run.split(' ')).await.expect_success();

    lab.target
        .execute("ALTER TABLE orders ALTER status TYPE int USING 1")
        .await;
    lab.said(&mut told, "type changed at the target", run).await;
    lab.target
        .execute("ALTER TABLE orders ALTER status TYPE text")
        .await;
    lab.source
        .execute("ALTER TABLE orders RENAME status TO state")
        .await;
    lab.said(&mut told, "column renamed at the source", run)
        .await;
    lab.source
        .execute("ALTER TABLE orders RENAME state TO status; ALTER TABLE orders RENAME TO bills")
        .await;
    lab.said(&mut told, "table renamed at the source", run)
        .await;
    lab.source
        .execute("ALTER TABLE bills RENAME TO orders")
        .await;
    lab.project.pipeline(
        "second",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: { columns: [id, status, amount] } }\n",
    );
    lab.said(
        &mut told,
        "target table of another pipeline",
        "pipeline run second",
    )
    .await;
    std::fs::remove_file(lab.project.path().join("pipelines/p.yaml")).unwrap();
    lab.said(
        &mut told,
        "target table of a pipeline that was deleted",
        "pipeline run second",
    )
    .await;
    lab.tables("public.orders: { columns: [id, status, amount], capture: xmin }");
    let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
    let words = ["pipeline", "run", "p", "--full-refresh"];
    let frozen = lab.project.spawn_with(words, &stop);
    assert!(frozen.frozen().await);
    lab.said(&mut told, "run while another one runs", run).await;
    lab.said(&mut told, "reset while a run runs", "pipeline reset p")
        .await;
    frozen.kill9();
    drop(frozen);
    lab.target
        .execute("UPDATE _syncset.meta SET version = 99")
        .await;
    lab.said(&mut told, "state of a newer syncset", run).await;
    lab.said(
        &mut told,
        "look at the state of a newer syncset",
        "pipeline status p",
    )
    .await;
    lab.target.execute("DELETE FROM _syncset.meta").await;
    lab.said(&mut told, "state damaged by hand", run).await;
    lab.target.execute("DROP SCHEMA _syncset CASCADE").await;
    lab.said(&mut told, "state dropped by hand", run).await;
    lab.said(&mut told, "history that is gone", "pipeline history p")
        .await;
    lab.said(
        &mut told,
        "table that was never loaded",
        "pipeline reset p --tables public.orders",
    )
    .await;

    insta::assert_snapshot!(told.text(), @r#"
    # type changed at the target
      exit 5
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 5
    error: table `public.orders`: column `status` of `public.orders` is integer at the target and needs to be text
    hint: at the target: ALTER TABLE "public"."orders" ALTER COLUMN "status" TYPE text
    # column renamed at the source
      exit 2
    error: `public.orders` has no column `status` (pipelines/p.yaml:5:34)
    hint: the columns are `state`, `amount`, `updated_at`, `seen_at`, `id`
    # table renamed at the source
      exit 2
    error: no table `public.orders` in the source (pipelines/p.yaml:5:3)
    hint: the source has `public.keyless`, `public.bills`
    # target table of another pipeline
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    second: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` belongs to pipeline `default/p`
    hint: write to another table with `to:`; two pipelines never write one table
    # target table of a pipeline that was deleted
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    second: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` belongs to pipeline `default/p`
    hint: `pipelines/p.yaml` is gone: if it was renamed, or this one takes its place, `syncset pipeline adopt p second`; otherwise write to another table with `to:`
    # run while another one runs
      exit 7
    error: pipeline `default/p` is being run by [host] pid [pid] (run [run])
    hint: its lease lasts [time] unless it is renewed; wait with `--on-lock wait=5m`, or end it with `pipeline unlock`
    # reset while a run runs
      exit 7
    error: pipeline `default/p` is being run by [host] pid [pid] (run [run])
    hint: its lease lasts [time] unless it is renewed; wait with `--on-lock wait=5m`, or end it with `pipeline unlock`
    # state of a newer syncset
      exit 2
    error: the state in schema `_syncset` has version 99, this syncset knows [version]
    hint: use the newest syncset that ever wrote to this database, or a later one
    # look at the state of a newer syncset
      exit 2
    error: the state in schema `_syncset` has version 99, this syncset knows [version]
    hint: use the newest syncset that ever wrote to this database, or a later one
    # state damaged by hand
      exit 1
    error: table `_syncset.meta` does not hold one version number
    hint: restore the schema `_syncset` from a backup, or drop it: the next runs load every table again
    # state dropped by hand
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` holds rows that syncset did not write
    hint: write to another table with `to:`, or empty this one; nothing was changed
    # history that is gone
      exit 0
    stdout:
    run [run] of [instant]: exit 8 in [time], 0 rows written, 0 deleted
      error: table `public.orders`: target table `public.orders` holds rows that syncset did not write
    # table that was never loaded
      exit 2
    error: nothing is stored of table `public.orders`
    hint: no table of this pipeline was ever loaded into this target
    "#);
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "20");
}

#[tokio::test]
async fn copies_of_a_project_cannot_spoil_each_other() {
    let lab = Lab::new("copies").await;
    let other = Lab::new("copies_other").await;
    let run = ["pipeline", "run", "p"];
    let xmin = "version: 1\nsource: source\ntarget: target\ntables: { public.orders: { capture: xmin } }\n";
    lab.project.pipeline("p", xmin);
    lab.project.syncset(run).await.expect_success();
    // The same folder once more, and once with another target.
    let twin = Project::between(&lab.source.url(), &lab.target.url());
    twin.pipeline("p", xmin);
    let elsewhere = Project::between(&lab.source.url(), &other.target.url());
    elsewhere.pipeline("p", xmin);

    let again = twin.syncset(run).await;
    let independent = elsewhere.syncset(run).await;

    again.expect_success();
    independent.expect_success();
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "20");
    assert_eq!(
        other.target.value("SELECT count(*) FROM orders").await,
        "20"
    );
}

#[tokio::test]
async fn clock_that_went_back_reads_again_and_says_so() {
    let lab = Lab::new("clock").await;
    lab.tables(
        "public.orders: { capture: { mode: cursor, column: updated_at, written_by: database } }",
    );
    let run = ["pipeline", "run", "p"];
    lab.project.syncset(run).await.expect_success();
    let later = "UPDATE _syncset.watermark SET position = jsonb_set(position::jsonb, '{bound,cursor}', \
         to_jsonb((position::jsonb #>> '{bound,cursor}')::bigint + 86400000000))::json";
    lab.target.execute(later).await;
    lab.source
        .execute("INSERT INTO orders (id, status) VALUES (21, 'late')")
        .await;

    let output = lab.project.syncset(run).await;

    assert!(output.stderr.contains("clock"), "{}", output.stderr);
    output.expect_success();
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "21");
}
