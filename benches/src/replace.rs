//! `write: { mode: replace }` while a reader polls.

use super::{Bench, COLUMNS, ROUNDS, TARGET_TABLE, report};
use crate::measured::{median, run_shell};
use kit::Database;
use kit::postgres::rows_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Pause between two looks of the reader.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// Another version of a tenth of the rows; a hundredth goes and as many come.
const CHANGE: &str = "
    DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT :gone);
    INSERT INTO orders SELECT (SELECT max(id) FROM orders) + row_number() OVER (), customer_id,
      status, amount, quantity, note, created_at, updated_at FROM orders ORDER BY id LIMIT :gone;
    UPDATE orders SET quantity = coalesce(quantity, 0) + 1 WHERE id % 10 = 0";

/// What a reader saw.
struct Seen {
    polls: u64,
    versions: u64,
    longest: Duration,
}

impl Bench {
    /// A copy of the table, to be changed.
    async fn replace_source(&self) -> Database {
        let source = self.server.database("bench_replace_source").await;
        source.execute(TARGET_TABLE).await;
        run_shell(&format!(
            "psql -qX '{}' -c 'COPY (SELECT {COLUMNS} FROM orders) TO STDOUT (FORMAT binary)' | \
             psql -qX '{}' -c 'COPY orders FROM STDIN (FORMAT binary)'",
            self.source.url(),
            source.url()
        ));
        source.execute("VACUUM ANALYZE").await;
        source
    }

    /// Rows of the copied table: the works before may have added some to those asked for.
    async fn replaced_rows(source: &Database) -> u64 {
        let count = source.value("SELECT count(*) FROM orders").await;
        count.parse().expect("a count is a number")
    }

    /// A changed table, an unchanged one, and one that is polled meanwhile; with a key or without.
    pub(super) async fn replace(&self, keyed: bool) {
        let source = self.replace_source().await;
        let rows = Self::replaced_rows(&source).await;
        let what = if keyed {
            "replace"
        } else {
            source
                .execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
                .await;
            "replace without a key"
        };
        let target = self.server.database("bench_replace").await;
        self.write_replace(&source, &target);
        let first = self.syncset("replace");
        println!("{what}, first load: {first}");
        target.execute("VACUUM ANALYZE orders").await;
        target.execute("CREATE EXTENSION pg_walinspect").await;

        let (mut by_hand, mut ours, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let gone = (rows / 100).to_string();
            source.execute(&CHANGE.replace(":gone", &gone)).await;
            let reference = self.server.database("bench_replace_reference").await;
            reference.execute(TARGET_TABLE).await;
            source.execute("CHECKPOINT").await;
            by_hand.push(run_shell(&format!(
                "psql -qX '{}' -c 'COPY (SELECT {COLUMNS} FROM orders) TO STDOUT (FORMAT binary)' | \
                 psql -qX '{}' -c 'COPY orders FROM STDIN (FORMAT binary)'",
                source.url(),
                reference.url()
            )));
            source.execute("CHECKPOINT").await;
            let stop = Arc::new(AtomicBool::new(false));
            let polling = tokio::spawn(poll(target.connect().await, rows, stop.clone()));
            let measured = tokio::task::block_in_place(|| self.syncset("replace"));
            stop.store(true, Ordering::Relaxed);
            ours.push(measured);
            seen.push(polling.await.expect("every answer was a whole table"));
        }
        report(
            &format!("{what}, a tenth changed, against `COPY` piped to `COPY`"),
            by_hand,
            ours,
        );
        let polls: u64 = seen.iter().map(|seen| seen.polls).sum();
        let versions: u64 = seen.iter().map(|seen| seen.versions).sum();
        let longest = seen
            .iter()
            .map(|seen| seen.longest)
            .max()
            .unwrap_or_default();
        println!(
            "  a reader polled {polls} times: {versions} versions of {} rows, none empty or mixed; \
             longest answer {:.2} s",
            rows,
            longest.as_secs_f64()
        );

        let versions = "SELECT sum(hashtextextended(ctid::text || xmin || xmax, 0)) FROM orders";
        // Autovacuum would write records of its own while we look.
        target
            .execute("ALTER TABLE orders SET (autovacuum_enabled = false)")
            .await;
        target.execute("VACUUM orders").await;
        let before = target.value(versions).await;
        let (mut idle, mut wal) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = target.value("SELECT pg_current_wal_insert_lsn()").await;
            idle.push(self.syncset("replace"));
            let written = format!("SELECT pg_current_wal_insert_lsn() - '{start}'::pg_lsn");
            wal.push(target.value(&written).await);
            let records = format!(
                "SELECT coalesce(string_agg(DISTINCT w.resource_manager || ' ' || w.record_type, ', '), 'none')
                 FROM pg_get_wal_records_info_till_end_of_wal('{start}') w, pg_class c
                 LEFT JOIN pg_index i ON i.indexrelid = c.oid
                 WHERE 'orders'::regclass IN (c.oid, i.indrelid)
                   AND w.block_ref LIKE '%/' || pg_relation_filenode(c.oid) || ' %'"
            );
            assert_eq!(target.value(&records).await, "none", "records of the table");
        }
        assert_eq!(target.value(versions).await, before);
        println!(
            "{what}, nothing changed: {}; no record of the table in the log, {} bytes of it in all \
             (state, catalogue of the stage)",
            median(idle),
            wal.join(", ")
        );
    }

    fn write_replace(&self, source: &Database, target: &Database) {
        let folder = self.folder.path();
        std::fs::create_dir_all(folder.join("pipelines")).expect("the folder is ours");
        let text = format!(
            "version: 1\nsource: \"{}\"\ntarget: \"{}\"\ntables:\n  public.orders:\n    \
             columns: [{COLUMNS}]\n    max_rewrite_rows: 1000000000\n    \
             write: {{ mode: replace }}\n",
            source.url(),
            target.url()
        );
        std::fs::write(folder.join("syncset.yaml"), "version: 1\n").expect("the folder is ours");
        std::fs::write(folder.join("pipelines/replace.yaml"), text).expect("the folder is ours");
    }
}

/// Looks at the whole table again and again: its rows, and a sum that each version has for itself.
async fn poll(mut session: sqlx::PgConnection, rows: u64, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen {
        polls: 0,
        versions: 0,
        longest: Duration::ZERO,
    };
    let mut sums = std::collections::BTreeSet::new();
    // One more look after the run has ended: its version must be there.
    let mut is_last = false;
    while !is_last {
        is_last = stop.load(Ordering::Relaxed);
        let started = std::time::Instant::now();
        let answer = rows_of(
            &mut session,
            "SELECT count(*), sum(quantity::int8), sum(id) FROM orders",
        )
        .await;
        seen.longest = seen.longest.max(started.elapsed());
        assert_eq!(answer[0][0].as_deref(), Some(rows.to_string().as_str()));
        sums.insert(answer[0].clone());
        seen.polls += 1;
        tokio::time::sleep(POLL_PAUSE).await;
    }
    seen.versions = sums.len() as u64;
    assert!(
        seen.versions == 2,
        "a run shows the table before it and after it, not {sums:?}"
    );
    seen
}
