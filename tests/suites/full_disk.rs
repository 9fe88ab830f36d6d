//! Disks that are full: of a PostgreSQL target, of an SQLite target, of whoever keeps our output.

use kit::{Database, Output, Place, PostgresServer, Project, SmallDisk, SqliteFile, compare};
use std::fs::OpenOptions;
use std::process::{Command, Stdio};

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

const IMAGE: &str = "SELECT id, v, updated_at FROM t";
/// SQLite keeps an instant as text.
const IMAGE_FOR_SQLITE: &str = "SELECT id, v FROM t";

/// Room for the catalogue and the first rows, not for all of them.
const TOO_LITTLE: u64 = 8 << 20;

/// About 20 MB.
async fn source() -> Database {
    let source = kit::postgres().await.database("disk_source").await;
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, \
             updated_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
             CREATE INDEX ON t (updated_at); \
             INSERT INTO t (id, v) SELECT n, repeat(md5(n::text), 32) \
             FROM generate_series(1, 20000) n",
        )
        .await;
    source
}

fn project(source: &Database, target: &str, to: &str) -> Project {
    let project = Project::between(&source.url(), target);
    let text = format!(
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: {{ to: {to}, capture: \
         {{ mode: cursor, column: updated_at, written_by: database }} }}\n"
    );
    project.pipeline("p", &text);
    project
}

fn assert_full(output: &Output, named: &[&str]) {
    assert_eq!(output.code, 1, "{}\n{}", output.stdout, output.stderr);
    let report = output.json();
    let failure = report["tables"][0]["failure"].to_string() + &report["failures"].to_string();
    for part in named {
        assert!(failure.contains(part), "no {part} in {report}");
    }
}

/// A load and a window each meet the full disk; after room is made the next run is right.
async fn full_and_freed(
    disk: &SmallDisk,
    project: &Project,
    source: &Database,
    target: Place<'_>,
    named: &[&str],
    reach: impl Fn(),
) {
    let image = match target {
        Place::Postgres(_) | Place::Mysql(_) => IMAGE,
        Place::Sqlite(_) => IMAGE_FOR_SQLITE,
    };
    disk.fill_but(TOO_LITTLE);
    assert_full(&project.syncset(RUN).await, named);
    disk.free();
    project.syncset(RUN).await.expect_success();
    reach();
    compare(source, target, image, image).await.assert_equal();

    source
        .execute("UPDATE t SET v = upper(v), updated_at = clock_timestamp()")
        .await;
    disk.fill_but(1 << 20);
    assert_full(&project.syncset(RUN).await, named);
    disk.free();
    project.syncset(RUN).await.expect_success();
    reach();
    compare(source, target, image, image).await.assert_equal();
}

#[tokio::test]
async fn full_disk_of_a_postgres_target_stops_the_run_and_loses_nothing() {
    for state_too in [false, true] {
        let disk = SmallDisk::mount();
        let server = PostgresServer::start_own("");
        let target = server.database("disk_target").await;
        let folder = disk.server_folder("tables");
        let space = format!("CREATE TABLESPACE small LOCATION '{}'", folder.display());
        server.execute(&space).await;
        let name = target.name();
        let moved = match state_too {
            true => format!("ALTER DATABASE \"{name}\" SET TABLESPACE small"),
            false => format!("ALTER DATABASE \"{name}\" SET default_tablespace = small"),
        };
        server.execute(&moved).await;
        let source = source().await;
        let project = project(&source, &target.url(), "public.t");

        let named = [
            "a disk of `target` is full",
            "No space left on device",
            "53100",
        ];
        full_and_freed(&disk, &project, &source, (&target).into(), &named, || ()).await;
    }
}

#[tokio::test]
async fn target_that_has_no_room_for_its_log_is_loaded_after_its_recovery() {
    let disk = SmallDisk::mount();
    let server = PostgresServer::start_own("max_wal_size = 32MB\nmin_wal_size = 32MB");
    server.move_wal_to(&disk.server_folder("wal"));
    let target = server.database("disk_target").await;
    let source = source().await;
    let project = project(&source, &target.url(), "public.t");

    disk.fill_but(1 << 20);
    let failed = project.syncset(RUN).await;
    disk.free();
    server.recover().await;
    project.syncset(RUN).await.expect_success();

    // The server crashes; whether it can still say why is up to it.
    assert!([1, 9].contains(&failed.code), "{}", failed.stdout);
    compare(&source, &target, IMAGE, IMAGE).await.assert_equal();
}

#[tokio::test]
async fn full_disk_of_an_sqlite_target_stops_the_run_and_loses_nothing() {
    let disk = SmallDisk::mount();
    let on_disk = SqliteFile::new(disk.folder_inside().join("target.db"));
    let source = source().await;
    let mut project = project(&source, &on_disk.url(), "t");
    let words = disk.enter(project.path());
    project.start_by(words);
    let target = project.sqlite("seen.db");
    // Only the runs are where the file is.
    let fetch = || {
        for suffix in ["", "-wal"] {
            let from = disk.folder().join(format!("target.db{suffix}"));
            let to = project.path().join(format!("seen.db{suffix}"));
            let _ = std::fs::remove_file(&to);
            if from.exists() {
                std::fs::copy(from, to).expect("a file can be copied");
            }
        }
    };

    let named = ["no space is left for", "target.db"];
    full_and_freed(&disk, &project, &source, (&target).into(), &named, fetch).await;
}

/// Runs the binary with its output going to a full device.
fn into_full(project: &Project, arguments: &[&str], stdout: bool, stderr: bool) -> (i32, String) {
    let full = || {
        let device = OpenOptions::new().write(true).open("/dev/full");
        Stdio::from(device.expect("Linux has this device"))
    };
    let ended = Command::new(kit::binary())
        .args(arguments)
        .current_dir(project.path())
        .env("SYNCSET_LOG", "debug")
        .stdin(Stdio::null())
        .stdout(if stdout { full() } else { Stdio::piped() })
        .stderr(if stderr { full() } else { Stdio::piped() })
        .output()
        .expect("the binary can be started");
    let code = ended.status.code().expect("it ends by itself");
    (code, String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[tokio::test]
async fn output_that_cannot_be_written_is_no_panic_and_told_by_the_exit_code() {
    let source = source().await;
    let target = kit::postgres().await.database("disk_target").await;
    let project = project(&source, &target.url(), "public.t");
    let verbs: [&[&str]; 7] = [
        &["pipeline", "run", "p"],
        &["pipeline", "run", "p", "--output", "json"],
        &["pipeline", "run", "p", "--output", "ndjson"],
        &["pipeline", "plan", "p"],
        &["pipeline", "status", "p"],
        &["connection", "test"],
        &["types", "postgres", "sqlite"],
    ];
    for arguments in verbs {
        let project = &project;
        let (code, said) = into_full(project, arguments, true, false);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        let told = said.matches("error: the result could not be written");
        assert_eq!(told.count(), 1, "{arguments:?}: {said}");
        assert!(said.contains("No space left on device"), "{said}");

        assert_eq!(into_full(project, arguments, false, true).0, 0);
        assert_eq!(into_full(project, arguments, true, true).0, 1);
        source
            .execute("UPDATE t SET updated_at = clock_timestamp() WHERE id < 10")
            .await;
    }

    project.syncset(RUN).await.expect_success();
    compare(&source, &target, IMAGE, IMAGE).await.assert_equal();
}

#[tokio::test]
async fn reader_that_went_away_is_no_failure() {
    let source = source().await;
    let target = kit::postgres().await.database("disk_target").await;
    let project = project(&source, &target.url(), "public.t");
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);

    let ended = Command::new(kit::binary())
        .args(RUN)
        .current_dir(project.path())
        .stdout(writer)
        .output()
        .expect("the binary can be started");

    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    compare(&source, &target, IMAGE, IMAGE).await.assert_equal();
}
