//! What windows make of conditions, and of tables that cannot be followed.

use crate::capture_lab::{CaptureLab, cursor};
use syncset_connector::{Capture, CursorSpec, Filter, NullCursor, Predicate};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text,
    updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON t (updated_at);
    INSERT INTO t SELECT g, 'old' FROM generate_series(1, 100) g";

fn by_time() -> Capture {
    Capture::Cursor(cursor("updated_at"))
}

#[tokio::test]
async fn row_that_leaves_the_selection_arrives_as_a_key() {
    let filter = Filter::Predicate(Predicate::Compare {
        column: "v".into(),
        comparison: syncset_connector::Comparison::Equal,
        literal: syncset_connector::Literal::Text("old".into()),
    });
    let mut lab = CaptureLab::with_filter(TABLE, by_time(), filter)
        .await
        .loaded()
        .await;

    lab.database
        .execute(
            "UPDATE t SET v = 'gone', updated_at = now() WHERE id = 1;
             UPDATE t SET v = NULL, updated_at = now() WHERE id = 2;
             INSERT INTO t VALUES (101, 'old')",
        )
        .await;
    let mut run = lab.run().await;

    run.deletes.sort_unstable();
    assert_eq!(run.deletes, [1, 2]);
    assert_eq!(run.upserts, [101]);
}

#[tokio::test]
async fn row_that_is_not_selected_leaves_with_key_and_cursor_only() {
    let filter = Filter::SourceSql("v = 'old'".into());
    let lab = CaptureLab::with_filter(TABLE, by_time(), filter).await;
    lab.database
        .execute("UPDATE t SET v = 'secret' WHERE id = 1")
        .await;

    let plan = lab.prepare().await;

    let sql = plan.statements[1].replace("$watermark", "'-infinity'");
    let rows = lab.database.rows(&sql).await;
    assert_eq!(rows.len(), 100);
    let value = |row: &Vec<Option<String>>| row[1].clone();
    let (selected, others): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| row.last().and_then(Option::as_deref) == Some("t"));
    assert!(
        selected
            .iter()
            .all(|row| value(row).as_deref() == Some("old"))
    );
    assert_eq!(others.len(), 1);
    assert_eq!(
        (others[0][0].as_deref(), value(others[0])),
        (Some("1"), None)
    );
}

#[tokio::test]
async fn tables_whose_writers_cannot_be_followed_are_refused() {
    let view = "CREATE TABLE base (id bigint, v text); CREATE VIEW t AS SELECT * FROM base";
    let kept = "CREATE TABLE base (id bigint, v text, updated_at timestamptz);
        CREATE MATERIALIZED VIEW t AS SELECT * FROM base";
    let foreign = "CREATE EXTENSION postgres_fdw;
        CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw;
        CREATE FOREIGN TABLE t (id bigint, v text, updated_at timestamptz NOT NULL) SERVER other";
    let read_null = Capture::Cursor(CursorSpec {
        null_cursor: NullCursor::Read,
        ..cursor("updated_at")
    });
    for (ddl, capture, wanted) in [
        (view, Capture::Xmin, "no `xmin`"),
        (kept, read_null, "materialised view"),
        (foreign, by_time(), "foreign table"),
    ] {
        let lab = CaptureLab::new(ddl, capture).await;

        let plan = lab.prepare().await;

        let messages: Vec<_> = plan.problems.iter().map(|one| &one.message).collect();
        assert!(
            messages.iter().any(|text| text.contains(wanted)),
            "{messages:?}"
        );
    }
}

#[tokio::test]
async fn conditions_that_change_without_the_row_are_refused() {
    for (sql, wanted) in [
        ("updated_at > now() - interval '1 day'", "clock"),
        ("random() < 0.5", "random"),
        ("v = 'a'; DROP TABLE t", ";"),
        ("nonsense = 1", "refuses"),
    ] {
        let filter = Filter::SourceSql(sql.into());
        let lab = CaptureLab::with_filter(TABLE, by_time(), filter).await;

        let plan = lab.prepare().await;

        assert_eq!(plan.problems.len(), 1, "{sql}: {:?}", plan.problems);
        assert!(
            plan.problems[0].message.contains(wanted),
            "{}",
            plan.problems[0].message
        );
    }
}

#[tokio::test]
async fn sub_query_in_a_condition_is_said_in_the_plan() {
    let filter = Filter::SourceSql("id in (select id from t where id < 50)".into());
    let lab = CaptureLab::with_filter(TABLE, by_time(), filter).await;

    let plan = lab.prepare().await;

    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("reads other tables"))
    );
    assert_eq!(plan.statements.len(), 2);
    assert!(
        plan.statements[1].contains("OFFSET 0"),
        "{}",
        plan.statements[1]
    );
}
