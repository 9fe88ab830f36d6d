//! Mistakes that only a store can tell: names, logins, files.

use crate::mistakes_lab::Lab;
use crate::told::Told;
use kit::{Database, Project};

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
    hint: use `capture: hash` or `full` for this table, or a condition over its columns only
    # function that is not there
      exit 2
    error: derived column `short` of `public.orders`: there is no function `lefft` (pipelines/p.yaml:5:37)
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
    cause: the folder of `[folder]/no/such/folder/copy.db` does not exist or cannot be reached
    cause: No such file or directory (os error 2)
    hint: make the folder, or check the path: relative paths start at the project folder; the file itself is made by the first run
    # source that is its own target
      exit 2
    error: `orders` would be written onto itself (pipelines/p.yaml:4:11)
    hint: source and target are the same store: send it elsewhere with `to:`
    ");
}
