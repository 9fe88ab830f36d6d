//! Tables of MySQL and MariaDB that are altered while they are read.

use crate::mysql_lab::{FLAVOURS, MysqlLab, said};
use crate::mysql_loads::wide_table;
use crate::mysql_windows::{assert_equal, waits_for_a_table};
use crate::targets::Target;
use kit::compare;
use mysql_async::prelude::Queryable;

const CAPTURE: &str = "{ mode: cursor, column: updated_at, written_by: database }";

const RUN: [&str; 5] = ["pipeline", "run", "p", "--jobs", "1"];

fn stamped(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, v varchar(99), updated_at timestamp(6) NOT NULL
           DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at));
         INSERT INTO {table} (id, v) VALUES (1, 'one'), (2, 'two'), (3, 'three')"
    )
}

#[tokio::test]
async fn table_altered_between_a_snapshot_and_its_first_row_is_read_in_another() {
    for flavour in FLAVOURS {
        for change in [
            "ALTER TABLE b FORCE",
            "CREATE TABLE n LIKE b; INSERT INTO n SELECT * FROM b; \
             RENAME TABLE b TO old, n TO b",
        ] {
            let setup = format!("{}; {}", stamped("a"), stamped("b"));
            let lab = MysqlLab::new(flavour, Target::sqlite(), &setup).await;
            lab.pipeline(&format!(
                "  a: {{ capture: {CAPTURE} }}\n  b: {{ capture: {CAPTURE} }}"
            ));
            lab.run().await.expect_success();
            let change_rows = "UPDATE a SET v = 'new' WHERE id = 1; DELETE FROM b WHERE id = 3; \
                               UPDATE b SET v = 'new' WHERE id = 2";
            lab.source.execute(change_rows).await;
            let mut holder = lab.source.connect().await;
            let locked = holder.query_drop("LOCK TABLES a WRITE").await;
            locked.expect("nobody else has the table");

            // The snapshot is there; its session waits for the first table.
            let run = lab.project.spawn_with(RUN, &[("SYNCSET_LOG", "info")]);
            waits_for_a_table(&lab.source, "SELECT 1 FROM").await;
            lab.source.execute(change).await;
            let unlocked = holder.query_drop("UNLOCK TABLES").await;
            unlocked.expect("the lock is ours");
            let output = run.wait().await.expect_success();

            let altered = "a table was altered while it was read";
            assert!(said(&output).contains(altered), "{}", said(&output));
            for table in ["a", "b"] {
                let rows = format!("SELECT id, v FROM {table}");
                let Target::Sqlite(file, _) = &lab.target else {
                    panic!("the target is a file");
                };
                compare(&lab.source, file, &rows, &rows)
                    .await
                    .assert_equal();
            }
        }
    }
}

#[tokio::test]
async fn values_that_change_with_their_table_between_two_chunks_arrive() {
    for flavour in FLAVOURS {
        let lab = MysqlLab::postgres(flavour, &wide_table()).await;
        lab.pipeline(&format!("  t: {{ columns: [id, v], capture: {CAPTURE} }}"));
        let words = RUN.into_iter().chain(["--memory", "4MiB"]);
        let stop = [("SYNCSET_FAIL_POINT", "unit.committed=stop")];
        let run = lab.project.spawn_with(words, &stop);
        assert!(run.frozen().await, "{}", run.stderr_so_far());

        // Whoever reads the table now keeps it from being altered.
        let source = lab.source.clone();
        let change = "ALTER TABLE t DROP COLUMN v, ADD COLUMN v text NOT NULL DEFAULT ('other')";
        let altering = tokio::spawn(async move { source.execute(change).await });
        run.cont();
        let output = run.wait().await;
        altering.await.expect("the table is altered");

        assert!([0, 9].contains(&output.code), "{}", said(&output));
        lab.run().await.expect_success();
        assert_equal(&lab).await;
    }
}
