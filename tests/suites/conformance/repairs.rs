//! `pipeline repair` and `pipeline revert`: what they write, what they leave alone, and what they
//! keep.

use super::checks::{row, synced};
use super::pair::{KILLED, Pair};
use kit::{Engine, Kind, Output, SampleTable, TextRow, sorted, text_row};
use serde_json::{Value, json};

for_every_engine!(
    repair_leaves_rows_that_changed_since_its_check,
    repair_locks_rows_while_it_compares_and_writes_them,
    revert_puts_rows_back_but_for_those_that_changed_since,
    repairs_and_reverts_that_are_killed_are_done_again,
    dry_run_prints_the_statements_that_mend_the_target,
    dry_run_marks_rows_and_takes_marks_away,
    dry_run_knows_keys_that_are_the_same_to_the_target,
    state_of_an_older_version_learns_to_keep_rows,
);

const REPAIR: &str = "pipeline repair p --max-percent 100 --on-lock wait=60s --output json";

/// Pairs with this target; what is read is the same for all.
async fn pair_to(engine: Engine) -> (Pair, SampleTable) {
    let pair = Pair::new(Engine::Sqlite, engine).await;
    let (_, copy) = synced(&pair, &pair.capture_by("updated_at")).await;
    (pair, copy)
}

/// Changes, deletes and adds rows at the target: three different, two missing, one extra.
async fn drift(pair: &Pair, copy: &SampleTable) {
    let target = &pair.target;
    target
        .update(copy, ("name", Some("it's \\ \"x\"")), ("id", "3"))
        .await;
    target.update(copy, ("amount", None), ("id", "5")).await;
    target
        .update(copy, ("picture", Some("0001fe")), ("id", "8"))
        .await;
    target.delete(copy, ("id", "11")).await;
    let name = target.engine().quoted("copied");
    target
        .execute(&format!("UPDATE {name} SET id = 1000 WHERE id = 13"))
        .await;
}

fn source_rows() -> Vec<TextRow> {
    (1..=60).map(row).collect()
}

/// The binary, stopped or killed at a fail point.
fn spawn(pair: &Pair, words: &str, fail_point: &str) -> kit::Process {
    let words: Vec<_> = words.split(' ').collect();
    pair.project
        .spawn_with(words, &[("SYNCSET_FAIL_POINT", fail_point)])
}

pub(super) async fn killed(pair: &Pair, words: &str, point: &str) {
    let killed = spawn(pair, words, &format!("{point}=exit9")).wait().await;
    assert_eq!(
        killed.code, KILLED,
        "{point}: {}{}",
        killed.stdout, killed.stderr
    );
}

async fn repaired(pair: &Pair) -> Value {
    let output: Output = pair.project.syncset(REPAIR.split(' ')).await;
    output.expect_success().json()
}

async fn revert(pair: &Pair, run_id: &str, flags: &str) -> Output {
    let words = format!("pipeline revert p {run_id} --on-lock wait=60s{flags}");
    pair.syncset(&words).await
}

async fn repair_leaves_rows_that_changed_since_its_check(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    drift(&pair, &copy).await;

    let mut repair = spawn(&pair, REPAIR, "repair.begins=stop");
    assert!(repair.frozen().await, "the repair never began to write");
    let target = &pair.target;
    target
        .update(&copy, ("name", Some("newer")), ("id", "3"))
        .await;
    target
        .update(&copy, ("name", Some("kept")), ("id", "1000"))
        .await;
    let mut inserted = row(11);
    inserted[1] = Some("somebody".into());
    target.insert(&copy, &[inserted.clone()]).await;
    repair.cont();
    assert!(!repair.has_ended());
    let told = repair.wait().await;

    assert_eq!(told.code, 4, "{}{}", told.stdout, told.stderr);
    let report = told.json();
    let table = &report["repaired"][0];
    let outcomes = &table["row_outcomes"];
    assert_eq!(outcomes["changed_meanwhile"], 3, "{table}");
    assert_eq!(
        (&table["rows_written"], &table["rows_deleted"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(outcomes["rows_kept"], 3, "{table}");
    let history = pair.told("pipeline history p").await;
    assert_eq!(history["runs"][0]["verb"], "repair", "{history}");
    assert_eq!(history["runs"][0]["exit_code"], 4, "{history}");
    let mut left: Vec<_> = outcomes["left"].as_array().expect("keys").clone();
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, [json!(["1000"]), json!(["11"]), json!(["3"])]);
    let mut rows = source_rows();
    rows[2][1] = Some("newer".into());
    rows[10] = inserted;
    let mut extra = row(13);
    extra[0] = Some("1000".into());
    extra[1] = Some("kept".into());
    rows.push(extra);
    pair.holds(&copy, &rows).await;

    repaired(&pair).await;
    pair.holds(&copy, &source_rows()).await;
    assert_eq!(pair.run().await, (0, 0), "watermarks are where they were");
}

async fn repair_locks_rows_while_it_compares_and_writes_them(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    drift(&pair, &copy).await;
    let mut session = pair.target.session().await;
    session.wait_shortly().await;
    let table = engine.quoted("copied");
    let update = format!("UPDATE {table} SET name = 'newer' WHERE id = 3");

    let mut repair = spawn(&pair, REPAIR, "repair.locked=stop");
    assert!(repair.frozen().await, "the repair never locked its rows");
    let refused = session.try_execute(&update).await;
    repair.cont();
    assert!(!repair.has_ended());
    let told = repair.wait().await;

    let words = refused.expect_err("the row is locked").to_lowercase();
    assert!(words.contains("lock"), "{words}");
    assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
    pair.holds(&copy, &source_rows()).await;
}

async fn revert_puts_rows_back_but_for_those_that_changed_since(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    drift(&pair, &copy).await;
    let before = sorted(pair.target.content(&copy).await);
    let repair = repaired(&pair).await;
    let run_id = repair["run_id"].as_str().expect("the run's id");
    let short = &run_id[run_id.len() - 8..];
    pair.holds(&copy, &source_rows()).await;

    let history = pair.told("pipeline history p").await;
    assert_eq!(history["runs"][0]["run_id"], run_id, "{history}");
    assert_eq!(history["runs"][0]["verb"], "repair");
    let status = pair.told("pipeline status p").await;
    assert!(
        !status["last_success_at"].is_null(),
        "the first run, and no repair, is the last success"
    );

    pair.target
        .update(&copy, ("name", Some("newer")), ("id", "5"))
        .await;
    let mut expected = before.clone();
    for row in &mut expected {
        if row[0].as_deref() == Some("5") {
            row[1] = Some("newer".into());
            row[2] = Some("5.5".into());
        }
    }
    let now = sorted(pair.target.content(&copy).await);
    let tried = revert(&pair, short, " --dry-run").await;
    assert_eq!(tried.code, 4, "{}{}", tried.stdout, tried.stderr);
    assert_eq!(
        tried.json()["tables"][0]["rows_written"],
        3,
        "{}",
        tried.stdout
    );
    assert!(
        sorted(pair.target.content(&copy).await) == now,
        "a dry run writes nothing"
    );

    let reverted = revert(&pair, short, "").await;
    assert_eq!(reverted.code, 4, "{}{}", reverted.stdout, reverted.stderr);
    let history = pair.told("pipeline history p").await;
    assert_eq!(history["runs"][0]["verb"], "revert", "{history}");
    assert_eq!(history["runs"][0]["exit_code"], 4, "{history}");
    let report = reverted.json();
    let exact = &report["tables"][0]["row_outcomes"];
    assert_eq!(
        (&exact["changed_meanwhile"], &exact["left"]),
        (&json!(1), &json!([["5"]]))
    );
    assert_eq!(exact["rows_kept"], 5, "{report}");
    pair.holds(&copy, &expected).await;

    // Done again, it finds nothing to do.
    let again = revert(&pair, run_id, "").await.json();
    assert_eq!(
        again["tables"][0]["row_outcomes"]["already_reverted"], 5,
        "{again}"
    );
    assert_eq!(again["tables"][0]["rows_written"], 0, "{again}");
    pair.holds(&copy, &expected).await;

    // A revert can be reverted.
    let undone = revert(&pair, report["run_id"].as_str().expect("an id"), "").await;
    assert_eq!(undone.code, 0, "{}{}", undone.stdout, undone.stderr);
    assert!(sorted(pair.target.content(&copy).await) == now);
    let history = pair.told("pipeline history p").await;
    assert_eq!(history["runs"][0]["verb"], "revert", "{history}");
    // What the first run wrote is there again, and that it was reverted is not forgotten.
    let again = revert(&pair, run_id, "").await.json();
    assert_eq!(again["tables"][0]["rows_written"], 0, "{again}");
    assert!(sorted(pair.target.content(&copy).await) == now);

    let unknown = revert(&pair, "nothing", "").await;
    assert_eq!(unknown.code, 2, "{}", unknown.stdout);
}

async fn repairs_and_reverts_that_are_killed_are_done_again(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    drift(&pair, &copy).await;
    let before = pair.target.content(&copy).await;

    killed(&pair, REPAIR, "unit.before_commit").await;
    pair.holds(&copy, &before).await;
    killed(&pair, REPAIR, "unit.committed").await;
    pair.holds(&copy, &source_rows()).await;
    // The killed run is found, as are the rows that it kept.
    let history = pair.told("pipeline history p").await;
    assert_eq!(history["runs"][0]["exit_code"], Value::Null, "{history}");
    let run_id = history["runs"][0]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(history["runs"][0]["finished_at"], Value::Null, "{history}");
    assert_eq!(
        repaired(&pair).await["repaired"],
        json!([]),
        "nothing is left to repair"
    );

    let words = format!("pipeline revert p {run_id} --on-lock wait=60s");
    killed(&pair, &words, "revert.put_back").await;
    pair.holds(&copy, &source_rows()).await;
    killed(&pair, &words, "unit.committed").await;
    pair.holds(&copy, &before).await;
    let again = revert(&pair, &run_id, "").await;
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    let table = &again.json()["tables"][0];
    assert_eq!(
        (&table["rows_written"], &table["rows_deleted"]),
        (&json!(0), &json!(0))
    );
    pair.holds(&copy, &before).await;

    // Whoever has the lease knows that those before it are over.
    let history = pair.told("pipeline history p").await;
    let runs = history["runs"].as_array().expect("runs");
    assert!(
        runs.iter().all(|run| !run["finished_at"].is_null()),
        "{history}"
    );
    let text = pair.project.syncset(["pipeline", "history", "p"]).await;
    let killed = |line: &&str| line.contains(": killed,");
    assert_eq!(
        text.stdout.lines().filter(killed).count(),
        4,
        "{}",
        text.stdout
    );

    // Each kept once: by the repair, and by the revert.
    let kept = pair.target.engine();
    let kept = format!("SELECT COUNT(*) FROM {}", kept.state_table("before_image"));
    assert_eq!(pair.target.value(&kept).await, "12");
}

/// What a dry run prints, which is run at the target, and its writes by kinds: updates, inserts,
/// deletes.
async fn done_by_hand(pair: &Pair) -> [usize; 3] {
    let dry = ["pipeline", "repair", "p", "--dry-run"];
    let text = pair.project.syncset(dry).await;
    let json = pair.syncset("pipeline repair p --dry-run").await;

    let told = format!("{}{}", text.stdout, text.stderr);
    assert_eq!((text.code, json.code), (4, 4), "{told}");
    assert!(text.stderr.starts_with("table "), "{told}");
    let writes = json.json()["writes"][0]["writes"].clone();
    let writes = writes.as_array().expect("a list").clone();
    let settings = pair.target.own("", "", "SET time_zone = '+00:00';");
    let statements: Vec<_> = text.stdout.lines().collect();
    let counted = statements.iter().filter(|line| **line != settings).count();
    assert_eq!(counted, writes.len(), "{told}");
    assert_eq!(
        statements.first().is_some_and(|line| *line == settings),
        !settings.is_empty(),
        "{told}"
    );
    for statement in statements {
        pair.target.execute(statement).await;
    }
    let check = pair.syncset("pipeline check p").await;
    assert_eq!(check.code, 0, "{told}{}", check.stdout);
    ["update", "insert", "delete"]
        .map(|kind| writes.iter().filter(|write| write["kind"] == kind).count())
}

async fn dry_run_prints_the_statements_that_mend_the_target(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    drift(&pair, &copy).await;

    assert_eq!(done_by_hand(&pair).await, [3, 2, 1]);

    pair.holds(&copy, &source_rows()).await;
}

async fn dry_run_marks_rows_and_takes_marks_away(engine: Engine) {
    let pair = Pair::new(Engine::Sqlite, engine).await;
    let table = SampleTable::new("t", &[("id", Kind::BigInt), ("name", Kind::Text)], &["id"]);
    let rows: Vec<_> = (1..=6).map(|id| text_row([&id.to_string(), "a"])).collect();
    pair.source.fill(&table, &rows).await;
    pair.pipeline("  t: { write: { on_delete: soft, synced_at: written }, capture: hash }");
    assert_eq!(pair.run().await, (6, 0));
    assert_eq!(
        pair.run().await,
        (0, 0),
        "it is known what the source holds"
    );
    // Marked, marked and changed, not there, extra, changed; and one that stays marked.
    let now = pair.target.own("now()", "'2026-05-01'", "now()");
    let name = engine.quoted("t");
    for sql in [
        format!("UPDATE {name} SET _deleted_at = {now} WHERE id IN (1, 2)"),
        format!("UPDATE {name} SET name = 'b' WHERE id IN (2, 3)"),
        format!("DELETE FROM {name} WHERE id = 4"),
        format!(
            "INSERT INTO {name} (id, name, _deleted_at) VALUES (7, 'a', NULL), (8, 'a', {now})"
        ),
        format!("UPDATE {name} SET written = NULL"),
    ] {
        pair.target.execute(&sql).await;
    }

    assert_eq!(done_by_hand(&pair).await, [4, 1, 0]);

    let told = format!(
        "SELECT id, CASE WHEN _deleted_at IS NULL THEN 'there' ELSE 'gone' END, \
         CASE WHEN written IS NULL THEN 'old' ELSE 'new' END FROM {name} ORDER BY id"
    );
    let expected = [
        ["1", "there", "new"],
        ["2", "there", "new"],
        ["3", "there", "new"],
        ["4", "there", "new"],
        ["5", "there", "old"],
        ["6", "there", "old"],
        ["7", "gone", "new"],
        ["8", "gone", "old"],
    ];
    assert_eq!(pair.target.rows(&told).await, expected.map(text_row));
    assert_eq!(pair.run().await, (0, 0), "a run finds nothing to do");
}

/// Columns of a key that the target compares by more than their bytes, three values of them, and
/// another spelling of each.
fn keys_of_many_spellings(engine: Engine) -> Vec<[&'static str; 3]> {
    let letters = "'a', 'b', 'c'";
    match engine {
        Engine::Postgres => vec![
            ["numeric", "1, 2.5, 3.50", "k * 1.000"],
            [
                "interval",
                "'1 day', '2 days', '3 days'",
                "k - '1 day' + '24:00:00'",
            ],
            ["text COLLATE any_case", letters, "upper(k)"],
        ],
        // A run refuses any collation but BINARY there, and a number has one form.
        Engine::Sqlite => Vec::new(),
        Engine::Mysql | Engine::Mariadb => {
            vec![[
                "varchar(20) COLLATE utf8mb4_general_ci",
                letters,
                "upper(k)",
            ]]
        }
    }
}

async fn dry_run_knows_keys_that_are_the_same_to_the_target(engine: Engine) {
    const ANY_CASE: &str = "CREATE COLLATION any_case (provider = icu, \
                            locale = 'und-u-ks-level2', deterministic = false)";
    // Deleted and inserted as a repair does it, or updated where nothing is deleted.
    let policies = [
        ("hard", [1, 2, 2]),
        ("soft", [3, 0, 0]),
        ("keep", [3, 0, 0]),
    ];
    for [column, values, other] in keys_of_many_spellings(engine) {
        for (on_delete, expected) in policies {
            let pair = Pair::new(engine, engine).await;
            for database in [&pair.source, &pair.target] {
                if engine == Engine::Postgres {
                    database.execute(ANY_CASE).await;
                }
                let table = format!("CREATE TABLE t (k {column} NOT NULL PRIMARY KEY, v int)");
                database.execute(&table).await;
            }
            if on_delete == "soft" {
                let mark = pair.target.own("timestamptz", "text", "datetime(6)");
                let column = format!("ALTER TABLE t ADD COLUMN _deleted_at {mark}");
                pair.target.execute(&column).await;
            }
            for value in values.split(", ") {
                let row = format!("INSERT INTO t VALUES ({value}, 1)");
                pair.source.execute(&row).await;
            }
            pair.pipeline(&format!(
                "  t: {{ write: {{ on_delete: {on_delete} }}, capture: hash }}"
            ));
            assert_eq!(pair.run().await, (3, 0));
            assert_eq!(
                pair.run().await,
                (0, 0),
                "it is known what the source holds"
            );
            let last = values.rsplit(", ").next().expect("three values");
            for sql in [
                format!("UPDATE t SET k = {other} WHERE k <> {last}"),
                format!("UPDATE t SET v = 2 WHERE k = {last}"),
            ] {
                pair.target.execute(&sql).await;
            }

            assert_eq!(done_by_hand(&pair).await, expected, "{column} {on_delete}");

            assert_eq!(pair.run().await, (0, 0), "{column} {on_delete}");
        }
    }
}

async fn state_of_an_older_version_learns_to_keep_rows(engine: Engine) {
    let (pair, copy) = pair_to(engine).await;
    let target = &pair.target;
    let version = format!("SELECT version FROM {}", engine.version_table());
    let newest: u64 = target.value(&version).await.parse().expect("a version");
    // What came with the versions since.
    let since = ["before_image", "search"];
    for table in since {
        let table = engine.state_table(table);
        target.execute(&format!("DROP TABLE {table}")).await;
    }
    let older = newest - since.len() as u64;
    target
        .execute(&format!(
            "UPDATE {} SET version = {older}",
            engine.version_table()
        ))
        .await;
    drift(&pair, &copy).await;

    let looked = revert(&pair, "nothing", "").await;
    assert_eq!(looked.code, 2, "{}{}", looked.stdout, looked.stderr);
    let repair = repaired(&pair).await;

    assert_eq!(
        repair["repaired"][0]["row_outcomes"]["rows_kept"], 6,
        "{repair}"
    );
    assert_eq!(target.value(&version).await, newest.to_string());
    pair.holds(&copy, &source_rows()).await;
}
