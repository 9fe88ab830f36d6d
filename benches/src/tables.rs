//! Many tables over distant links: time, round trips and memory of a first load, of runs in which
//! nothing has changed, and of one in which every table has.

use crate::measured::{Measured, median, run_syncset};
use kit::{Database, PostgresServer, Proxy};
use std::path::Path;
use std::time::Duration;

/// Half of a round trip.
const ONE_WAY: Duration = Duration::from_millis(10);

/// Runs in which nothing is to do.
const IDLE_RUNS: usize = 5;

/// How many tables, and how their changes are found.
const CAPTURES: [(&str, &str); 2] = [
    (
        "cursor",
        "{ mode: cursor, column: updated_at, written_by: database }",
    ),
    ("xmin", "xmin"),
];

/// Two servers with a proxy before each.
struct Distant {
    source: Database,
    before_source: Proxy,
    before_target: Proxy,
}

impl Distant {
    fn trips(&self) -> (u64, u64) {
        (
            self.before_source.round_trips(),
            self.before_target.round_trips(),
        )
    }

    /// Runs the pipeline and prints what it cost.
    fn run(&self, what: &str, binary: &Path, folder: &Path) -> Measured {
        let before = self.trips();
        let cost = run_syncset(binary, folder, "many");
        let after = self.trips();
        println!(
            "{what}: {cost}; round trips: {} to the source, {} to the target",
            after.0 - before.0,
            after.1 - before.1
        );
        cost
    }
}

/// Measures so many tables with each capture mode.
pub(crate) async fn measure(config: &str, table_count: u32, binary: &Path) {
    let source_server = PostgresServer::start_own(config);
    let target_server = PostgresServer::start_own(config);
    for (name, capture) in CAPTURES {
        let source = source_server.database("bench_many").await;
        let target = target_server.database("bench_many_target").await;
        // A password makes connecting as long as it is in earnest.
        let reader = source.role("reader", &["pg_read_all_stats"]).await;
        let writer = target.role("writer", &[]).await;
        fill(&source, table_count, &reader.name).await;
        let database = target.name();
        let grant = format!(
            "GRANT ALL ON DATABASE \"{database}\" TO \"{}\"",
            writer.name
        );
        target.execute(&grant).await;
        let grant = format!("GRANT ALL ON SCHEMA public TO \"{}\"", writer.name);
        target.execute(&grant).await;
        let before_source = Proxy::before(source_server.host(), source_server.port()).await;
        let before_target = Proxy::before(target_server.host(), target_server.port()).await;
        before_source.set_delay(ONE_WAY, ONE_WAY);
        before_target.set_delay(ONE_WAY, ONE_WAY);
        let folder = tempfile::tempdir().expect("a folder for the project can be made");
        let through = |url: &str, port: u16, by: &Proxy| {
            url.replace(&format!(":{port}/"), &format!(":{}/", by.port()))
        };
        write_project(
            folder.path(),
            &through(&reader.url, source_server.port(), &before_source),
            &through(&writer.url, target_server.port(), &before_target),
            capture,
        );
        let distant = Distant {
            source,
            before_source,
            before_target,
        };
        println!(
            "{table_count} tables, `{name}`, {} ms round trip",
            2 * ONE_WAY.as_millis()
        );
        distant.run("first load", binary, folder.path());
        let idle = (0..IDLE_RUNS).map(|_| distant.run("nothing changed", binary, folder.path()));
        println!("nothing changed, median: {}", median(idle.collect()));
        distant.source.execute(CHANGE).await;
        distant.run("a row of each table changed", binary, folder.path());
    }
}

async fn fill(source: &Database, table_count: u32, reader: &str) {
    source
        .execute(&format!(
            "DO $$ BEGIN FOR n IN 1..{table_count} LOOP
               EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, name text, note text,
                 amount numeric(12,2), active boolean, created_at timestamptz,
                 updated_at timestamptz NOT NULL DEFAULT clock_timestamp())', n);
               EXECUTE format('CREATE INDEX ON t%s (updated_at)', n);
               EXECUTE format('INSERT INTO t%s SELECT i, ''name'', ''note'', i, true, now()
                 FROM generate_series(1, 20) i', n);
             END LOOP; END $$;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{reader}\""
        ))
        .await;
}

const CHANGE: &str = "DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$' LOOP
      EXECUTE format('UPDATE %I SET note = ''changed'', updated_at = clock_timestamp()
        WHERE id = 7', t);
    END LOOP; END $$";

fn write_project(folder: &Path, source: &str, target: &str, capture: &str) {
    std::fs::create_dir_all(folder.join("pipelines")).expect("the folder is ours");
    let write = |path: &str, text: &str| {
        std::fs::write(folder.join(path), text).expect("the folder is ours");
    };
    write("syncset.yaml", "version: 1\n");
    write(
        "pipelines/many.yaml",
        &format!(
            "version: 1\nsource: \"{source}\"\ntarget: \"{target}\"\ncapture: {capture}\n\
             tables: {{ \"public.*\": {{}} }}\n"
        ),
    );
}
