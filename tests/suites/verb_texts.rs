//! What verbs say to people, from a new project to a renamed pipeline. `init`, `doctor`,
//! `connection list|discover`, plans of edits and most mistakes have texts in suites of their own.

use crate::told::Told;
use kit::{Project, SqliteFile};

const SOURCE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, seq INTEGER NOT NULL); \
     INSERT INTO orders VALUES (1, 'new', 100), (2, 'bad', 200); \
     CREATE TABLE bills (id INTEGER PRIMARY KEY, status TEXT); \
     INSERT INTO bills VALUES (1, 'new'); CREATE TABLE secrets (id INTEGER PRIMARY KEY)";

/// The target refuses rows that are bad.
const TARGET: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'), seq INTEGER); \
     CREATE TABLE bills (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'bad'))";

const ORDERS: &str = "orders: { where: \"length(status) > 1\", where_pushdown: best_effort, \
     capture: { mode: cursor, column: seq, overlap: 1 }, rejects: { max_rows: 5 }, \
     guards: { max_delete_percent: 0, max_delete_rows_always_allowed: 0 } }";

struct Lab {
    project: Project,
    source: SqliteFile,
    told: Told,
}

impl Lab {
    async fn new() -> Self {
        let project = Project::new(
            "version: 1\nproject: shop\nlease: { expires: 5s }\nconnections:\n  \
             shop: { type: sqlite, path: shop.db }\n  copy: { type: sqlite, path: copy.db }\n",
        );
        let source = project.sqlite("shop.db");
        source.execute(SOURCE).await;
        project.sqlite("copy.db").execute(TARGET).await;
        let lab = Self {
            project,
            source,
            told: Told::default(),
        };
        lab.pipeline(&format!("{ORDERS}\n  bills: {{}}\n  secrets: skip"));
        lab
    }

    fn pipeline(&self, tables: &str) {
        let text = format!(
            "version: 1\nsource: shop\ntarget: copy\ntags: [hourly]\ntables:\n  {tables}\n"
        );
        self.project.pipeline("p", &text);
    }

    async fn says(&mut self, words: &str) {
        let output = self.project.syncset(words.split(' ')).await;
        self.told.about(words, &output);
    }
}

#[tokio::test]
async fn verbs_tell_people_what_is_and_what_they_did() {
    let mut lab = Lab::new().await;

    for words in [
        "connection test",
        "pipeline validate",
        "pipeline status p",
        "pipeline history p",
        "pipeline plan p --tables bills",
        "pipeline run p --dry-run",
        "pipeline run p",
        "pipeline run p",
        "pipeline status p",
        "pipeline history p --limit 1",
        "rejected list p",
        "rejected retry p",
        "rejected discard p --key 2",
        "rejected discard p --all",
        "rejected list p",
        "pipeline unlock p",
        "pipeline reset p --tables bills",
        "pipeline status p",
        "types sqlite sqlite",
    ] {
        lab.says(words).await;
    }

    insta::assert_snapshot!(lab.told.text(), @r#"
    # connection test
      exit 0
    stdout:
    copy: ok: SQLite 3.51.3, `[folder]/copy.db`, [time]; can be source and target
      note: journal_mode is `delete`: a long read makes writers wait; `PRAGMA journal_mode = wal` avoids that
    shop: ok: SQLite 3.51.3, `[folder]/shop.db`, [time]; can be source and target
      note: journal_mode is `delete`: a long read makes writers wait; `PRAGMA journal_mode = wal` avoids that
    # pipeline validate
      exit 0
    stdout:
    p: ok
    # pipeline status p
      exit 0
    stdout:
    pipeline: p
    last success: never
    no table has been loaded
    # pipeline history p
      exit 0
    stdout:
    p: no run is stored
    # pipeline plan p --tables bills
      exit 0
    stdout:
    bills -> bills: copy it whole, as in each run
      capture: full
      key: id
      exact: id, status
      source: SELECT "id", "status" FROM main."bills"
      note: `capture` is not set: every run reads the whole table (`full`), since the two stores have no hash of a row in common
    # pipeline run p --dry-run
      exit 0
    stdout:
    bills   loaded      1 read, up to 1 written, 0 deleted, [time]
    orders  loaded      2 read, up to 2 written, 0 deleted, [time]
    p: done in [time] (dry run: nothing was written)
    # pipeline run p
      exit 0
    stdout:
    bills   loaded      1 read, 1 written, 0 deleted, [time]
    orders  loaded      6 read, 1 written, 0 deleted, 1 rejected, [time]
    p: done in [time]
    warning: table `orders`: 1 rejected row waits; see `syncset rejected list p`
    # pipeline run p
      exit 0
    stdout:
    bills   unchanged   1 read, 0 written, 0 deleted, [time]
    orders  synced      0 read, 0 written, 0 deleted, 1 rejected, [time]
    p: done in [time]
    warning: table `orders`: 1 rejected row waits; see `syncset rejected list p`
    # pipeline status p
      exit 0
    stdout:
    pipeline: p
    last success: [time] ago
    table bills: following -> bills
    table orders: following -> orders, 1 rejected row waits
    run [run] of [instant]: exit 0 in [time], 0 rows written, 0 deleted, 1 rejected
    run [run] of [instant]: exit 0 in [time], 2 rows written, 0 deleted, 1 rejected
    # pipeline history p --limit 1
      exit 0
    stdout:
    run [run] of [instant]: exit 0 in [time], 0 rows written, 0 deleted, 1 rejected
    # rejected list p
      exit 0
    stdout:
    p: 1 rejected
      orders ["2"]: error returned from database: (code: 275) CHECK constraint failed: status <> 'bad'; since [instant], refused 4 times
    # rejected retry p
      exit 0
    stdout:
    orders: 1 tried, 0 written, 1 rejected again
    # rejected discard p --key 2
      exit 0
    stdout:
    p: 1 rejected row is forgotten: no run looks for them any more, and the target keeps what it has; one is tried again when a run reads it: when it changes at the source or is within the overlap of a cursor, in each run of `capture: full` and `hash`, and with `--full-refresh`
      orders ["2"]
    # rejected discard p --all
      exit 0
    stdout:
    p: no rejected row waits
    # rejected list p
      exit 0
    stdout:
    p: no rejected row waits
    # pipeline unlock p
      exit 0
    stdout:
    nobody holds the lease
    # pipeline reset p --tables bills
      exit 0
    stdout:
    bills: reset; the next run loads it again
    # pipeline status p
      exit 0
    stdout:
    pipeline: p
    last success: [time] ago
    table bills: reset, to be loaded again -> bills
    table orders: following -> orders
    run [run] of [instant]: exit 0 in [time], 0 rows written, 0 deleted, 1 rejected
    run [run] of [instant]: exit 0 in [time], 2 rows written, 0 deleted, 1 rejected
    # types sqlite sqlite
      exit 0
    stdout:
    sqlite                sqlite                fidelity
    INTEGER               INTEGER               exact
    BIGINT                BIGINT                exact
    BOOLEAN               BOOLEAN               exact
    REAL                  REAL                  exact
    DECIMAL(12, 2)        DECIMAL(12, 2)        exact
    DECIMAL_TEXT(30, 10)  DECIMAL_TEXT(30, 10)  exact
    NUMERIC_TEXT          NUMERIC_TEXT          exact
    NUMERIC               NUMERIC               exact
    TEXT                  TEXT                  exact
    VARCHAR(40)           VARCHAR(40)           exact
    BLOB                  BLOB                  exact
    DATE                  DATE                  exact
    TIME                  TIME                  exact
    DATETIME              DATETIME              exact
    TIMESTAMP             TIMESTAMP             exact
    TIMESTAMPTZ           TIMESTAMPTZ           exact
    UUID                  UUID                  exact
    JSON                  JSON                  exact
    "#);
}

#[tokio::test]
async fn verbs_tell_people_what_went_wrong_and_what_to_do() {
    let mut lab = Lab::new().await;
    lab.says("pipeline run p").await;
    let worse = "UPDATE orders SET status = 'x', seq = 300 WHERE id = 1; \
         INSERT INTO bills VALUES (2, 'bad')";
    lab.source.execute(worse).await;

    lab.says("pipeline run p").await;
    lab.says("pipeline plan p --tables orders").await;
    lab.says("pipeline status p").await;
    lab.pipeline("bills: {}");
    lab.says("pipeline reset p --tables orders").await;
    let folder = lab.project.path().join("pipelines");
    std::fs::rename(folder.join("p.yaml"), folder.join("q.yaml")).expect("the file is there");
    lab.says("pipeline run q").await;
    lab.says("pipeline adopt p q").await;
    lab.says("pipeline adopt p q").await;

    insta::assert_snapshot!(lab.told.text(), @r#"
    # pipeline run p
      exit 0
    stdout:
    bills   loaded      1 read, 1 written, 0 deleted, [time]
    orders  loaded      6 read, 1 written, 0 deleted, 1 rejected, [time]
    p: done in [time]
    warning: table `orders`: 1 rejected row waits; see `syncset rejected list p`
    # pipeline run p
      exit 8
    stdout:
    bills   failed      4 read, 0 written, 0 deleted, [time]
    orders  failed      4 read, 0 written, 0 deleted, 1 rejected, 1 delete waits, [time]
    p: 2 of 2 tables failed after [time], exit code 8
    error: table `bills`: the target refused the row with key ["2"]
    cause: error returned from database: (code: 275) CHECK constraint failed: status <> 'bad'
    hint: mend the row at the source, leave it out with `where`, or let up to N rows wait with `rejects: { max_rows: N }` (now 0)
    error: table `orders`: the run would delete 1 of the 1 rows of `orders` (100 %), and the guard allows 0 %
    hint: they are still there; if they are to go: `syncset pipeline run p --allow-deletes orders=1`; if not, look at the source and at `where`
    # pipeline plan p --tables orders
      exit 0
    stdout:
    orders -> orders: read what changed since the watermark
      capture: cursor
      key: id
      exact: id, status, seq
      unselected rows are read and dropped here: where length("status") > 1
      source: SELECT "id", "status", "seq", "seq", 1 FROM main."orders" WHERE "seq" >= ? ORDER BY "seq" COLLATE BINARY, "id" COLLATE BINARY
      note: rows deleted at the source stay: `capture: cursor` does not see deletes
      note: `where` is evaluated here: rows that are not selected are read and dropped
      note: 1 delete waits for the guard, which lets 0 rows or 0 % of the table pass; the next run counts them again; to let them go: `syncset pipeline run p --allow-deletes orders=1`
    # pipeline status p
      exit 0
    stdout:
    pipeline: p
    last success: [time] ago
    table bills: loading, 0 of 1 chunks -> bills
    table orders: following -> orders, 1 rejected row waits, 1 delete waits for the guard
    run [run] of [instant]: exit 8 in [time], 0 rows written, 0 deleted, 1 rejected
      error: table `bills`: the target refused the row with key ["2"]
      error: table `orders`: the run would delete 1 of the 1 rows of `orders` (100 %), and the guard allows 0 %
    run [run] of [instant]: exit 0 in [time], 2 rows written, 0 deleted, 1 rejected
    # pipeline reset p --tables orders
      exit 0
    stdout:
    orders: forgotten; its target table stays as it is, and is nobody's
    # pipeline run q
      exit 8
    stdout:
    bills  failed      0 read, 0 written, 0 deleted, [time]
    q: failed after [time], exit code 8
    error: table `bills`: target table `bills` belongs to pipeline `shop/p`
    hint: `pipelines/p.yaml` is gone: if it was renamed, or this one takes its place, `syncset pipeline adopt p q`; otherwise write to another table with `to:`
    # pipeline adopt p q
      exit 0
    stdout:
    `shop/q` has what was stored of `shop/p`: watermarks of bills, rejected rows and the history of runs
    # pipeline adopt p q
      exit 2
    error: nothing is stored of pipeline `shop/p`
    hint: pipelines with state there: `shop/q`
    "#);
}
