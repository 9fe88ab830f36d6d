//! What past runs left is kept for its time, and rows that still wait are kept for ever.

use crate::targets::Target;
use kit::Project;

const CAPTURE: &str = "{ mode: cursor, column: updated_at, written_by: database }";

fn pipeline(tables: &[&str]) -> String {
    let tables: String = tables
        .iter()
        .map(|table| format!("  public.{table}: {{ to: {table}, capture: {CAPTURE} }}\n"))
        .collect();
    format!(
        "version: 1\nsource: source\ntarget: target\nrejects: {{ max_rows: 5 }}\ntables:\n{tables}"
    )
}

async fn rejected_rows_leave_with_their_table_and_not_before(target: Target) {
    let source = kit::postgres().await.database("retention").await;
    for table in ["stays", "leaves"] {
        source
            .execute(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, v int NOT NULL, \
                 updated_at timestamptz NOT NULL DEFAULT now()); \
                 INSERT INTO {table} VALUES (1, 1), (2, -2)"
            ))
            .await;
        let time = target.pick("timestamptz", "TEXT");
        let create = format!(
            "CREATE TABLE {table} (id INTEGER NOT NULL PRIMARY KEY, v INTEGER CHECK (v > 0), updated_at {time})"
        );
        target.place().execute(&create).await;
    }
    let project = Project::between(&source.url(), &target.place().url());
    project.pipeline("p", &pipeline(&["stays", "leaves"]));
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    let watermark = target.state_table("watermark");
    let past = target.pick(
        "updated_at = updated_at - interval '31 days'",
        "updated_at = updated_at - 31 * 86400",
    );
    let grow_old = format!("UPDATE {watermark} SET {past}");
    let streams = async || {
        let query = format!(
            "SELECT stream FROM {} ORDER BY stream",
            target.state_table("rejected")
        );
        let rows = target.place().rows(&query).await;
        let names = rows.into_iter().filter_map(|mut row| row.remove(0));
        names.collect::<Vec<_>>().join(",")
    };

    target.place().execute(&grow_old).await;
    let part = ["pipeline", "run", "p", "--tables", "public.stays"];
    project.syncset(part).await.expect_success();
    assert_eq!(streams().await, "public.leaves,public.stays");

    project.pipeline("p", &pipeline(&["stays"]));
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_success();
    assert_eq!(streams().await, "public.stays", "31 days are over");

    // A table that fails for months still has its rejected rows when it is mended.
    let rename = "ALTER TABLE stays RENAME COLUMN v TO w";
    target.place().execute(rename).await;
    target.place().execute(&grow_old).await;
    project
        .syncset(["pipeline", "run", "p"])
        .await
        .expect_code(5);
    assert_eq!(streams().await, "public.stays", "its table is selected");
}

#[tokio::test]
async fn rejected_rows_leave_postgres_with_their_table_and_not_before() {
    rejected_rows_leave_with_their_table_and_not_before(Target::postgres().await).await;
}

#[tokio::test]
async fn rejected_rows_leave_sqlite_with_their_table_and_not_before() {
    rejected_rows_leave_with_their_table_and_not_before(Target::sqlite()).await;
}
