//! A transaction pooler (PgBouncer) before the source, before the target, before both.
//!
//! Our transactions find any of its connections and must need nothing that another one set; its
//! other clients must not notice that we were there.

use kit::postgres::{raw, rows_of};
use kit::{Database, Load, LoadOptions, Pooler, Project};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Sessions of a pooler; all of them are looked at.
const SIZE: u32 = 5;

const RUN: [&str; 7] = [
    "pipeline",
    "run",
    "p",
    "--on-lock",
    "wait=170s",
    "--jobs",
    "3",
];

/// Which side a pooler stands before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Source,
    Target,
    Both,
}

struct Lab {
    source: Database,
    target: Database,
    pooler: Pooler,
    project: Project,
    load: Load,
}

impl Lab {
    /// A source of more than one chunk.
    async fn new(before: Before) -> Self {
        let server = kit::postgres().await;
        let source = server.database("pool_source").await;
        let target = server.database("pool_target").await;
        let options = LoadOptions {
            initial_rows: 10_000,
            label_bytes: 1_000,
            ..LoadOptions::default()
        };
        let load = Load::create(&source, options).await;
        let pooler = Pooler::before(server.url(), SIZE);
        let url = |database: &Database, other| match before {
            side if side == other => database.url(),
            _ => pooler.url(database),
        };
        let project =
            Project::between(&url(&source, Before::Target), &url(&target, Before::Source));
        project.pipeline("p", &pipeline());
        Self {
            source,
            target,
            pooler,
            project,
            load,
        }
    }

    async fn run(&self) {
        self.project.syncset(RUN).await.expect_success();
    }

    async fn kill_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let killed = self.project.spawn_with(RUN, &variables).wait().await;
        assert_eq!(killed.code, 137, "{point}: {}", killed.stderr);
    }

    async fn assert_complete(&self) {
        let ledger = self.load.ledger();
        ledger.assert_at(&self.source, &self.target).await;
    }

    /// Lets writers commit while `during` is under way.
    async fn while_writing(mut self, during: impl AsyncFnOnce(&Self)) -> Self {
        let options = LoadOptions {
            initial_rows: 1,
            ..LoadOptions::default()
        };
        let nothing = kit::postgres().await.database("pool_unused").await;
        let load = std::mem::replace(&mut self.load, Load::create(&nothing, options).await);
        let running = load.start();
        running.commits(10).await;
        during(&self).await;
        self.load = running.stop().await;
        self
    }
}

fn pipeline() -> String {
    format!(
        "version: 1\nsource: source\ntarget: target\n\
         guards: {{ max_delete_percent: 99, max_delete_rows_always_allowed: 0, empty_source: allow }}\n\
         tables:\n  public.{}:\n    \
         columns: [id, label, amount, region, revision]\n    where: \"{}\"\n    \
         capture: {{ mode: cursor, column: updated_at, written_by: database }}\n",
        Load::TABLE,
        Load::WHERE,
    )
}

/// Another client of the pooler, of the same user.
async fn client(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url)
        .expect("the URL is valid")
        // As libpq does; poolers refuse it.
        .extra_float_digits(None)
        .connect()
        .await
        .expect("the pooler takes a client")
}

/// All settings of a session but its name, which a pooler sets itself, and the settings of ours
/// that no server knows.
async fn settings(session: &mut PgConnection) -> Vec<Vec<Option<String>>> {
    let sql = "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' \
        AND name NOT LIKE 'transaction\\_%' UNION ALL \
        SELECT 'ours', coalesce(current_setting('syncset.session', true), '') ORDER BY 1";
    rows_of(session, sql).await
}

/// Looks at every connection of the pooler, each held in a transaction, so that the next client
/// gets another one.
async fn assert_untouched(pooler: &Pooler, database: &Database) {
    let mut direct = client(&database.url()).await;
    let expected = settings(&mut direct).await;
    let (mut held, mut pids) = (Vec::new(), BTreeSet::new());
    for _ in 0..SIZE {
        let mut other = client(&pooler.url(database)).await;
        other.execute(raw("BEGIN")).await.expect("it may begin");
        pids.extend(rows_of(&mut other, "SELECT pg_backend_pid()").await);
        let found = settings(&mut other).await;
        let changed: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        assert!(changed.is_empty(), "left behind: {changed:?}");
        other
            .execute(raw(
                "CREATE TEMP TABLE w (id int) ON COMMIT DROP; INSERT INTO w VALUES (1)",
            ))
            .await
            .expect("other clients may write");
        held.push(other);
    }
    assert_eq!(
        pids.len(),
        held.len(),
        "some connections were not looked at"
    );
    for mut other in held {
        other.execute(raw("ROLLBACK")).await.expect("it lives");
        let _ = other.close().await;
    }
}

async fn load_changes_and_kills_are_right(before: Before) {
    let lab = Lab::new(before).await;

    lab.kill_at("chunk.batch:2").await;
    let lab = lab.while_writing(async |lab| lab.run().await).await;
    lab.run().await;
    lab.assert_complete().await;

    let lab = lab.while_writing(async |_| ()).await;
    lab.kill_at("unit.before_commit").await;
    lab.run().await;
    lab.assert_complete().await;
}

#[tokio::test]
async fn runs_through_a_pooler_before_the_source_lose_nothing() {
    load_changes_and_kills_are_right(Before::Source).await;
}

#[tokio::test]
async fn runs_through_a_pooler_before_the_target_lose_nothing() {
    load_changes_and_kills_are_right(Before::Target).await;
}

#[tokio::test]
async fn runs_through_poolers_on_both_sides_lose_nothing() {
    load_changes_and_kills_are_right(Before::Both).await;
}

#[tokio::test]
async fn other_clients_of_a_pooler_find_their_settings() {
    let lab = Lab::new(Before::Both).await;

    // The very first session is told apart from one of our own: the pooler opens it for us.
    lab.project
        .syncset(["connection", "test"])
        .await
        .expect_success();
    assert_untouched(&lab.pooler, &lab.source).await;
    assert_untouched(&lab.pooler, &lab.target).await;

    lab.kill_at("unit.before_commit:2").await;
    assert_untouched(&lab.pooler, &lab.source).await;
    assert_untouched(&lab.pooler, &lab.target).await;

    lab.run().await;
    assert_untouched(&lab.pooler, &lab.source).await;
    assert_untouched(&lab.pooler, &lab.target).await;
}

#[tokio::test]
async fn values_are_exact_whatever_the_pooled_sessions_are_set_to() {
    let server = kit::postgres().await;
    let source = server.database("pool_source").await;
    let target = server.database("pool_target").await;
    for database in [&source, &target] {
        let odd = [
            "extra_float_digits = '-10'",
            "IntervalStyle = 'sql_standard'",
            "bytea_output = 'escape'",
            "DateStyle = 'SQL, DMY'",
            "TimeZone = 'Asia/Kolkata'",
            "xmloption = 'document'",
            "default_transaction_isolation = 'serializable'",
        ];
        for setting in odd {
            let name = database.name();
            let sql = format!("ALTER DATABASE \"{name}\" SET {setting}");
            server.execute(&sql).await;
        }
    }
    source
        .execute(
            "SET extra_float_digits = 3; CREATE TABLE t (id float8 PRIMARY KEY, p point, \
             r tstzrange, i interval, b bytea, x xml); \
             INSERT INTO t SELECT n / 3.0::float8, point(n / 7.0, n / 11.0), \
             tstzrange('2024-03-04 05:06:07+00', '2024-12-11 10:09:08.123456+00'), \
             make_interval(months => -n, days => n, secs => (-n / 9.0)::float8), \
             decode(md5(n::text), 'hex'), xmlparse(content '<a/>' || n) \
             FROM generate_series(1, 500) n",
        )
        .await;
    let pooler = Pooler::before(server.url(), SIZE);
    let project = Project::between(&pooler.url(&source), &pooler.url(&target));
    let text = "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: \
                { capture: full }\n";
    project.pipeline("p", text);

    project.syncset(RUN).await.expect_success();
    let image = "SELECT id, p::text, r, i, b, x::text FROM t";
    kit::compare(&source, &target, image, image)
        .await
        .assert_equal();
    source
        .execute("UPDATE t SET i = '1 day -00:00:01', p = point(0.1, 1e-9) WHERE id < 1")
        .await;
    let second = project.syncset(RUN).await.expect_success();

    kit::compare(&source, &target, image, image)
        .await
        .assert_equal();
    assert!(second.stdout.contains("2 written"), "{}", second.stdout);
}

#[tokio::test]
async fn poolers_are_named_by_test_plan_and_doctor() {
    let lab = Lab::new(Before::Both).await;

    let fresh = lab.project.syncset(["connection", "test"]).await;
    let used = lab.project.syncset(["connection", "test"]).await;
    let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
    let doctor = lab.project.syncset(["doctor", "p"]).await;

    for side in ["source", "target"] {
        let found = format!("warning  {side}.pooler: a connection pooler stands before");
        assert!(doctor.stdout.contains(&found), "{}", doctor.stdout);
    }
    for tested in [fresh.expect_success(), used.expect_success()] {
        let told = tested.stdout.matches("a connection pooler stands before");
        assert_eq!(told.count(), 2, "{}", tested.stdout);
    }
    let plan = plan.expect_success().stdout;
    assert!(plan.contains("pooler stands before the source"), "{plan}");
    assert!(plan.contains("target: a connection pooler"), "{plan}");
}

#[tokio::test]
async fn direct_connections_are_not_taken_for_pooled_ones() {
    let server = kit::postgres().await;
    let database = server.database("pool_none").await;
    let proxy = kit::Proxy::before(server.host(), server.port()).await;
    let role = database.role("rôle", &[]).await;
    let project = Project::between(&database.url_through(proxy.port()), &role.url);

    let tested = project.syncset(["connection", "test"]).await;

    let text = tested.expect_success().stdout;
    assert!(!text.contains("pooler"), "{text}");
}

#[tokio::test]
async fn missing_sessions_behind_a_pooler_do_not_free_the_lease() {
    let lab = Lab::new(Before::Target).await;
    let config = |target: &str| {
        format!(
            "version: 1\nlease: {{ expires: 10m }}\nconnections:\n  source: {{ type: postgres, \
             url: \"{}\" }}\n  target: {{ type: postgres, url: \"{target}\" }}\n",
            lab.source.url()
        )
    };
    let pooled = Project::new(&config(&lab.pooler.url(&lab.target)));
    let direct = Project::new(&config(&lab.target.url()));
    pooled.pipeline("p", &pipeline());
    direct.pipeline("p", &pipeline());
    let run = ["pipeline", "run", "p"];
    let frozen = pooled.spawn_with(run, &[("SYNCSET_FAIL_POINT", "load.begun=stop")]);
    assert!(frozen.frozen().await);

    lab.target
        .execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    let through_it = pooled.syncset(run).await;
    let past_it = direct.syncset(run).await;
    frozen.cont();
    let first = frozen.wait().await;

    assert_eq!(through_it.code, 7, "{}", through_it.stderr);
    assert_eq!(past_it.code, 7, "{}", past_it.stderr);
    first.expect_success();
    lab.assert_complete().await;
}
