//! Memory stays within bounds in bytes, however large a row is.

use kit::{Project, SqliteFile};

/// Bytes of memory that a run may have, as the kernel counts what a process can write.
const LIMIT_KIB: u32 = 640 * 1024;

/// Rows of 10 MB, which together need more than a run may have.
const ROWS: u32 = 100;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--memory", "32MiB"];

/// Loads all rows, then follows a change of each, under the limit.
async fn rows_of_ten_megabytes_pass(target_url: impl FnOnce(&Project) -> String) {
    let source = kit::postgres().await.database("memory_source").await;
    source
        .execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, body text NOT NULL, \
             updated_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO t SELECT i, repeat(md5(i::text), 312500) \
             FROM generate_series(1, {ROWS}) i"
        ))
        .await;
    let mut project = Project::new("version: 1\n");
    let target = target_url(&project);
    project.file(
        "syncset.yaml",
        &format!(
            "version: 1\nconnections:\n  source: {{ url: \"{}\" }}\n  target: {{ url: \"{target}\" }}\n",
            source.url()
        ),
    );
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\n\
         capture: { mode: cursor, column: updated_at, written_by: database }\n\
         tables: { public.t: { to: copy } }\n",
    );
    let limited = format!("ulimit -d {LIMIT_KIB} && exec \"$0\" \"$@\"");
    project.start_by(vec!["/bin/sh".to_owned(), "-c".to_owned(), limited]);

    let loaded = project.syncset(RUN).await.expect_success();
    source
        .execute("UPDATE t SET updated_at = clock_timestamp()")
        .await;
    let followed = project.syncset(RUN).await.expect_success();

    let rows = format!("{ROWS} read, {ROWS} written");
    assert!(loaded.stdout.contains(&rows), "{}", loaded.stdout);
    assert!(followed.stdout.contains(&rows), "{}", followed.stdout);
}

#[tokio::test]
async fn rows_of_ten_megabytes_pass_to_postgres() {
    let target = kit::postgres().await.database("memory_target").await;

    rows_of_ten_megabytes_pass(|_| target.url()).await;
}

#[tokio::test]
async fn rows_of_ten_megabytes_pass_to_sqlite() {
    rows_of_ten_megabytes_pass(|project| SqliteFile::new(project.path().join("target.db")).url())
        .await;
}
