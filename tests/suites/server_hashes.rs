//! `pipeline check` by hashes that PostgreSQL computes: it finds what reading every row finds.

use kit::{Database, Project};
use serde_json::{Value, json};

/// Rows of the larger tables: enough that parts are split twice.
const ROWS: u32 = 20_000;

const COLUMNS: &str = "v text, a int, b int, big bigint, at timestamptz, price numeric, \
    letters citext, padded char(6), free bpchar, ratio double precision, day date, j json, \
    spent interval, cash money, tags text[], moments timestamptz[]";

const VALUES: &str = "'v ' || i, i, i + 1, i::bigint, \
    timestamptz '2024-02-29 12:00:00.25+00' + i * interval '1 day', (i || '.50')::numeric, \
    'L' || i, 'p' || i % 100, 'f', i / 7.0, date '2024-02-29' + i, '{\"b\": 1,  \"a\": null}', \
    i * interval '1 hour', i::money, ARRAY['x', NULL, i::text], \
    ARRAY[timestamptz '2024-02-29 12:00:00+00', NULL]";

struct Lab {
    source: Database,
    target: Database,
    project: Project,
}

impl Lab {
    /// A source whose table `t` holds rows 1 to `rows`, and a target that a run has filled.
    /// `key`: the key of row `i` as SQL.
    async fn with_rows(rows: u32, key_type: &str, key: &str) -> Self {
        let server = kit::postgres().await;
        let lab = Self::between(
            server.database("hash_source").await,
            server.database("hash_target").await,
        );
        lab.source
            .execute(&format!(
                "CREATE EXTENSION citext; CREATE TABLE t (id {key_type} PRIMARY KEY, seq bigint NOT \
                 NULL, {COLUMNS}); INSERT INTO t SELECT {key}, i, {VALUES} \
                 FROM generate_series(1::int, {rows}) i"
            ))
            .await;
        lab.target.execute("CREATE EXTENSION citext").await;
        lab.pipeline("public.t: { capture: { mode: cursor, column: seq, overlap: 1 } }");
        lab.run().await;
        lab
    }

    fn between(source: Database, target: Database) -> Self {
        let project = Project::between(&source.url(), &target.url());
        Self {
            source,
            target,
            project,
        }
    }

    fn pipeline(&self, table: &str) {
        let text = format!("version: 1\nsource: source\ntarget: target\ntables:\n  {table}\n");
        self.project.pipeline("p", &text);
    }

    async fn run(&self) {
        let run = ["pipeline", "run", "p", "--output", "json"];
        self.project.syncset(run).await.expect_success();
    }

    /// The exit code and the only table of a check.
    async fn checked(&self, mode: &str) -> (i32, Value) {
        let check = format!("pipeline check p --samples 1000 --mode {mode} --output json");
        let output = self.project.syncset(check.split(' ')).await;
        (output.code, output.json()["tables"][0].clone())
    }

    /// What a check by hashes finds, which is what one finds that reads every row.
    async fn found(&self) -> Value {
        let (code, mut hashed) = self.checked("auto").await;
        assert_eq!(hashed["mode"], "hash", "{hashed}");
        assert_eq!(hashed.get("mode_reason"), None, "{hashed}");
        let (same, mut streamed) = self.checked("stream").await;
        assert_eq!(streamed["mode"], "stream", "{streamed}");
        for report in [&mut hashed, &mut streamed] {
            let report = report.as_object_mut().expect("an object");
            for key in ["mode", "mode_reason", "duration_ms"] {
                report.remove(key);
            }
        }
        assert_eq!((code, &hashed), (same, &streamed));
        hashed
    }

    async fn drift(&self, sql: &str) {
        self.target.execute(sql).await;
    }
}

/// Different, missing, extra, undecided.
fn counts(table: &Value) -> [u64; 4] {
    ["different", "missing", "extra", "undecided"]
        .map(|key| table[key].as_u64().expect("a number of rows"))
}

/// The columns in which each row differs, by their keys.
fn columns(table: &Value, key: &str) -> Value {
    let samples = table["samples"].as_array().expect("rows are named");
    let row = samples.iter().find(|row| row["key"] == json!([key]));
    row.map_or(Value::Null, |row| row["columns"].clone())
}

/// Pairs of rows that exchange all their values.
const PAIRS: u64 = 16;

/// Rows that exchange all values but their keys, which differ in their last two bits alone: however
/// a table is split by its keys, the sum of hashes that do not depend on the key stays what it was.
fn exchanged_pairs() -> String {
    let columns = COLUMNS
        .split(", ")
        .filter_map(|column| column.split(' ').next());
    let columns: Vec<_> = std::iter::once("seq").chain(columns).collect();
    let values: Vec<_> = columns.iter().map(|name| format!("o.{name}")).collect();
    format!(
        "UPDATE t SET ({}) = ROW({}) FROM t o WHERE (t.id - 12) % 2880 IN (0, 3) \
         AND t.id BETWEEN 2880 AND 2880 * {PAIRS} + 15 \
         AND o.id = t.id + CASE (t.id - 12) % 2880 WHEN 0 THEN 3 ELSE -3 END",
        columns.join(", "),
        values.join(", ")
    )
}

#[tokio::test]
async fn scattered_drift_is_found_in_a_large_table() {
    let lab = Lab::with_rows(ROWS, "bigint", "i * 3").await;
    assert_eq!(counts(&lab.found().await), [0; 4]);

    lab.drift(
        "UPDATE t SET v = 'other' WHERE id % 9999 = 0 AND id < 50000; DELETE FROM t WHERE id IN (3, 30003); \
         INSERT INTO t SELECT -5, seq, v FROM t WHERE id = 6; \
         UPDATE t SET a = CASE id WHEN 300 THEN 101 ELSE 100 END WHERE id IN (300, 303); \
         UPDATE t SET id = 9223372036854775807 WHERE id = 59991",
    )
    .await;
    lab.drift(&exchanged_pairs()).await;
    let found = lab.found().await;

    // One has another key, far from all others; two neighbours have each other's value, and are
    // part of one sum.
    assert_eq!(counts(&found), [7 + 2 * PAIRS, 3, 2, 0], "{found}");
    assert_eq!(found["rows_source"], ROWS);
    assert_eq!(columns(&found, "9999"), json!(["v"]));
    assert_eq!(columns(&found, "300"), json!(["a"]));
}

#[tokio::test]
async fn values_that_hash_alike_are_told_apart() {
    let lab = Lab::with_rows(60, "int", "i").await;

    // A sum of hashes does not see an exchange; 64 bits are folded into 32; `=` calls some equal.
    lab.drift(
        "UPDATE t SET v = CASE id WHEN 1 THEN 'v 2' ELSE 'v 1' END WHERE id IN (1, 2); \
         UPDATE t SET a = b, b = a WHERE id = 3; \
         UPDATE t SET big = 4::bigint << 32 WHERE id = 4; \
         UPDATE t SET price = 5.500 WHERE id = 5; \
         UPDATE t SET letters = 'l6' WHERE id = 6; \
         UPDATE t SET free = 'f ' WHERE id = 7; \
         UPDATE t SET j = '{\"b\":1,\"a\":null}' WHERE id = 8; \
         UPDATE t SET spent = '9:00:00.000001' WHERE id = 9; \
         UPDATE t SET at = at + interval '1 microsecond' WHERE id = 10; \
         UPDATE t SET spent = '30 days' WHERE id = 11; \
         UPDATE t SET tags = ARRAY['x', 'NULL', '12'] WHERE id = 12; \
         UPDATE t SET v = NULL WHERE id = 13; \
         UPDATE t SET ratio = ratio + 1e-15 WHERE id = 14; \
         UPDATE t SET padded = NULL, cash = '15.01' WHERE id = 15",
    )
    .await;
    let found = lab.found().await;

    assert_eq!(counts(&found), [15, 0, 0, 0], "{found}");
    for (key, column) in [
        ("1", "v"),
        ("2", "v"),
        ("4", "big"),
        ("5", "price"),
        ("6", "letters"),
        ("7", "free"),
        ("8", "j"),
        ("9", "spent"),
        ("10", "at"),
        ("11", "spent"),
        ("12", "tags"),
        ("13", "v"),
        ("14", "ratio"),
    ] {
        assert_eq!(columns(&found, key), json!([column]), "row {key}");
    }
    assert_eq!(columns(&found, "3"), json!(["a", "b"]));
    assert_eq!(columns(&found, "15"), json!(["padded", "cash"]));
}

#[tokio::test]
async fn values_that_a_collation_calls_equal_are_told_apart() {
    let server = kit::postgres().await;
    let lab = Lab::between(
        server.database("hash_source").await,
        server.database("hash_target").await,
    );
    // Upper and lower case, and accents written in two ways, are equal.
    let table = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', \
        deterministic = false); \
        CREATE TABLE t (id text COLLATE loose PRIMARY KEY, seq int NOT NULL, v text COLLATE loose)";
    // As in a large table, an index finds the rows.
    let by_index = "DO $$ BEGIN \
        EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); \
        EXECUTE format('ALTER DATABASE %I SET enable_hashjoin = off', current_database()); \
        EXECUTE format('ALTER DATABASE %I SET enable_mergejoin = off', current_database()); END $$";
    for database in [&lab.source, &lab.target] {
        database.execute(table).await;
        database.execute(by_index).await;
    }
    let rows = "INSERT INTO t SELECT 'key ' || i, i, 'a' FROM generate_series(1, 100) i";
    lab.source.execute(rows).await;
    lab.pipeline("public.t: { capture: { mode: cursor, column: seq, overlap: 1 } }");
    lab.run().await;
    assert_eq!(counts(&lab.found().await), [0; 4]);

    lab.drift("UPDATE t SET v = 'A' WHERE seq = 7; UPDATE t SET id = 'KEY 9' WHERE seq = 9")
        .await;
    let found = lab.found().await;

    assert_eq!(columns(&found, "key 7"), json!(["v"]), "{found}");
    assert_eq!(counts(&found), [1, 1, 1, 0], "{found}");
}

#[tokio::test]
async fn settings_of_a_database_do_not_change_its_hashes() {
    let lab = Lab::with_rows(60, "int", "i").await;
    for (name, value) in [
        ("timezone", "America/Caracas"),
        ("datestyle", "German"),
        ("intervalstyle", "sql_standard"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-10"),
    ] {
        let set = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET NAME = %L', \
            current_database(), 'VALUE'); END $$";
        let set = set.replace("NAME", name).replace("VALUE", value);
        lab.source.execute(&set).await;
    }

    assert_eq!(counts(&lab.found().await), [0; 4]);
    lab.drift("UPDATE t SET at = at + interval '1 hour' WHERE id = 3")
        .await;
    let found = lab.found().await;

    assert_eq!(counts(&found), [1, 0, 0, 0], "{found}");
    assert_eq!(columns(&found, "3"), json!(["at"]));
}

/// A table of three ranges of keys whose last row but a few differs.
async fn large_lab() -> Lab {
    let server = kit::postgres().await;
    let lab = Lab::between(
        server.database("hash_source").await,
        server.database("hash_target").await,
    );
    let copy = "CREATE TABLE t (id int PRIMARY KEY, seq int NOT NULL, v text)";
    let rows = "INSERT INTO t SELECT i, i, repeat('x', 1800) FROM generate_series(1, 10000) i";
    lab.source
        .execute(&format!("{copy}; {rows}; ANALYZE t"))
        .await;
    lab.pipeline("public.t: { capture: { mode: cursor, column: seq, overlap: 1 } }");
    lab.run().await;
    lab.drift("UPDATE t SET v = 'other' WHERE id = 9900").await;
    lab
}

#[tokio::test]
async fn check_whose_time_is_up_goes_on_where_it_ended() {
    let lab = large_lab().await;
    let stop = [("SYNCSET_FAIL_POINT", "check.part:2=stop")];
    let mut seconds = 1;
    let output = loop {
        let words = format!("pipeline check p --output json --max-seconds {seconds}");
        let check = lab.project.spawn_with(words.split(' '), &stop);
        // Frozen, it has compared one range; a slow machine needs more time for that.
        if check.frozen().await {
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            check.cont();
            break check.wait().await;
        }
        check.wait().await;
        seconds *= 2;
        assert!(seconds < 64, "one range is never compared");
    };
    let begun = output.json()["tables"][0].clone();

    let verdict = (output.code, &begun["verdict"], &begun["complete"]);
    assert_eq!(verdict, (9, &json!("unfinished"), &json!(false)), "{begun}");
    let rest = begun["rest"].as_str().expect("a condition").to_owned();
    assert!(rest.starts_with("id > "), "{rest}");
    let words = [
        "pipeline", "check", "p", "--output", "json", "--where", &rest,
    ];
    let output = lab.project.syncset(words).await;
    let ended = output.json()["tables"][0].clone();
    assert_eq!((output.code, counts(&ended)), (4, [1, 0, 0, 0]), "{ended}");
    let rows = |table: &Value| table["rows_source"].as_u64().expect("a number");
    assert!(rows(&begun) > 0 && rows(&ended) > 0, "{begun} {ended}");
    assert_eq!(rows(&begun) + rows(&ended), 10_000);
}

#[tokio::test]
async fn large_table_is_compared_in_ranges_under_a_bound_of_its_load() {
    let lab = large_lab().await;

    for mode in ["auto", "stream"] {
        let (code, table) = lab.checked(&format!("{mode} --max-load 90%")).await;

        let by = match mode {
            "auto" => "hash",
            mode => mode,
        };
        assert_eq!((code, &table["mode"]), (4, &json!(by)), "{table}");
        assert_eq!(counts(&table), [1, 0, 0, 0], "{table}");
        assert_eq!(table["rows_source"], 10_000, "{table}");
        assert_eq!(table["rows_target"], 10_000, "{table}");
    }
}

#[tokio::test]
async fn keys_of_every_kind_are_found_again() {
    for (key_type, key, other) in [
        ("smallint", "i - 200", "-32768"),
        ("bigint", "i * 92233720368547758", "-9223372036854775808"),
        (
            "uuid",
            "md5(i::text)::uuid",
            "'00000000-0000-0000-0000-000000000000'",
        ),
        ("text", "'ä ' || i", "'A 1'"),
        ("citext", "'ä ' || i", "'A 1'"),
        ("char(8)", "'k' || i", "'K1'"),
        ("date", "date '2024-02-29' + i", "'infinity'"),
        ("numeric", "i + 0.50", "0.5"),
    ] {
        let lab = Lab::with_rows(100, key_type, key).await;
        assert_eq!(counts(&lab.found().await), [0; 4], "{key_type}");

        lab.drift(&format!(
            "UPDATE t SET v = 'other' WHERE seq = 7; DELETE FROM t WHERE seq = 8; \
             UPDATE t SET id = {other} WHERE seq = 9"
        ))
        .await;
        let found = lab.found().await;

        assert_eq!(counts(&found), [1, 2, 1, 0], "{key_type}: {found}");
    }
}

#[tokio::test]
async fn scattered_drift_is_found_among_many_text_keys() {
    let server = kit::postgres().await;
    let lab = Lab::between(
        server.database("hash_source").await,
        server.database("hash_target").await,
    );
    lab.source
        .execute(
            "CREATE TABLE t (id text PRIMARY KEY, seq int NOT NULL, v int); \
             INSERT INTO t SELECT 'key ' || i, i, i FROM generate_series(1, 100000) i",
        )
        .await;
    lab.pipeline("public.t: { capture: { mode: cursor, column: seq, overlap: 1 } }");
    lab.run().await;
    lab.drift("UPDATE t SET v = 0 WHERE seq % 400 = 1; DELETE FROM t WHERE seq = 2")
        .await;

    let (code, table) = lab.checked("auto").await;

    assert_eq!((code, counts(&table)), (4, [250, 1, 0, 0]), "{table}");
    assert_eq!(table["mode"], "hash", "{table}");
}

#[tokio::test]
async fn table_that_differs_everywhere_is_counted() {
    let lab = Lab::with_rows(3_000, "bigint", "i").await;
    lab.drift("UPDATE t SET b = b + 1").await;

    let found = lab.found().await;

    // The last rows are in the overlap of the watermark.
    let [different, missing, extra, undecided] = counts(&found);
    assert_eq!((different + undecided, missing, extra), (3_000, 0, 0));
    assert!(undecided < 10, "{undecided}");
}

#[tokio::test]
async fn rows_that_are_not_selected_or_marked_do_not_count() {
    let lab = Lab::with_rows(100, "bigint", "i").await;
    let project = Project::between(&lab.source.url(), &lab.target.url());
    let lab = Lab { project, ..lab };
    lab.pipeline(
        "public.t: { to: picked, where: \"a <= 50\", rename: { v: label }, \
         write: { on_delete: soft }, capture: { mode: cursor, column: seq, overlap: 1 } }",
    );
    lab.run().await;
    lab.source.execute("DELETE FROM t WHERE id = 3").await;
    let again = ["pipeline", "run", "p", "--full-refresh"];
    lab.project.syncset(again).await.expect_success();
    assert_eq!(counts(&lab.found().await), [0; 4]);

    lab.drift("UPDATE picked SET label = 'other' WHERE id = 5")
        .await;
    let found = lab.found().await;

    assert_eq!(counts(&found), [1, 0, 0, 0], "{found}");
    assert_eq!(columns(&found, "5"), json!(["label"]));
    assert_eq!(found["rows_target"], 49);
}

#[tokio::test]
async fn tables_whose_hashes_do_not_compare_are_read() {
    let lab = Lab::with_rows(10, "int", "i").await;
    let capture = "capture: { mode: cursor, column: seq, overlap: 1 }";
    let wide = format!("public.t: {{ to: wide, {capture}, columns: [id, seq, a] }}");
    let derived =
        format!("public.t: {{ to: derived, {capture}, derive: {{ loud: \"upper(v)\" }} }}");
    let exists = "CREATE TABLE wide (id bigint PRIMARY KEY, seq bigint, a bigint)";
    lab.target.execute(exists).await;
    for (table, mode, expected) in [
        (&derived, "hash", "computed by syncset"),
        (&wide, "auto", "column `id` is kept in another form"),
    ] {
        lab.pipeline(table);
        lab.run().await;

        let (code, checked) = lab.checked(mode).await;

        assert_eq!((code, &checked["mode"]), (0, &json!("stream")), "{checked}");
        let reason = checked["mode_reason"].as_str().expect("a reason");
        assert!(reason.contains(expected), "{reason}");
        // Whoever asks for hashes is told.
        let note = checked["notes"][0].as_str();
        let is_told = note.is_some_and(|note| note.contains(reason));
        assert_eq!(is_told, mode == "hash", "{checked}");
    }

    // The types differ, their values do not: there is a form for both.
    let (code, checked) = lab.checked("hash").await;
    assert_eq!((code, &checked["mode"]), (0, &json!("hash")), "{checked}");
    lab.drift("UPDATE wide SET a = 0 WHERE id = 3").await;
    let (code, checked) = lab.checked("hash").await;
    assert_eq!((code, counts(&checked)), (4, [1, 0, 0, 0]), "{checked}");
}

#[tokio::test]
async fn sample_is_of_the_same_keys_on_both_sides() {
    let lab = Lab::with_rows(3_000, "bigint", "i").await;
    lab.drift("UPDATE t SET v = 'other' WHERE id % 10 = 0 AND id < 2900")
        .await;

    for mode in ["auto", "stream"] {
        let (code, table) = lab.checked(&format!("{mode} --sample 25%")).await;

        // Which keys are chosen is the hash's own affair; how many is not.
        let [different, missing, extra, undecided] = counts(&table);
        assert_eq!((code, missing, extra, undecided), (4, 0, 0, 0), "{table}");
        assert!((30..120).contains(&different), "{mode}: {different}");
        let rows = table["rows_source"].as_u64().expect("a number");
        assert!((500..1_000).contains(&rows), "{mode}: {rows}");
        assert_eq!(table["rows_target"], rows, "{table}");
        let note = table["notes"][0].as_str().expect("a note");
        assert!(note.contains("a sample was compared: 25 %"), "{note}");
    }
}

#[tokio::test]
async fn check_without_time_names_what_is_left() {
    let lab = Lab::with_rows(10, "bigint", "i").await;
    let check = "pipeline check p --max-seconds 0 --output json";

    let output = lab.project.syncset(check.split(' ')).await;
    let table = output.json()["tables"][0].clone();
    let in_time = lab.checked("auto --max-seconds 600").await;

    assert_eq!((output.code, &table["verdict"]), (9, &json!("unfinished")));
    assert_eq!(
        (&table["complete"], table.get("mode")),
        (&json!(false), None)
    );
    assert_eq!(in_time.0, 0);
    let text = "pipeline check p --max-seconds 0".split(' ');
    let text = lab.project.syncset(text).await.expect_code(9);
    let hint = "syncset pipeline check p --tables public.t";
    assert!(text.stdout.contains(hint), "{}", text.stdout);
}
