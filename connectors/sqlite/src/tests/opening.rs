//! What opening a file changes, and how long a statement may take.

use super::lab::{Lab, acquired, key};
use std::time::Duration;
use syncset_connector::{ErrorClass, Marks, Role, TableName, TargetTable};

fn files(lab: &Lab) -> Vec<String> {
    let folder = std::fs::read_dir(lab.path(".")).expect("the folder is there");
    let names = folder.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn table() -> TargetTable {
    TargetTable {
        name: TableName::bare("t"),
        columns: Vec::new(),
        key: Vec::new(),
        marks: Marks::default(),
    }
}

#[tokio::test]
async fn looking_at_a_missing_target_makes_no_file() {
    let lab = Lab::new();
    let store = lab.open("new.db", Role::Target).await;

    store.server_info().await.expect("an answer");
    let tables = store.list_tables().await.expect("an answer");
    let target = store.target().expect("a target");
    let status = target.status(&[table()]).await.expect("an answer");
    let state = store.state().expect("state");
    let loaded = state.load(&key(), 5).await.expect("an answer");
    let owner = state.unlock(&key()).await.expect("an answer");
    store.close().await;

    assert_eq!(files(&lab), Vec::<String>::new());
    assert!(tables.is_empty() && loaded.streams.is_empty() && owner.is_none());
    assert!(!status[0].exists && status[0].empty);
}

#[tokio::test]
async fn first_write_makes_the_file_in_wal_mode() {
    let lab = Lab::new();
    let store = lab.open("new.db", Role::Target).await;
    store.list_tables().await.expect("an answer");

    acquired(&*store, "a").await;
    store.close().await;

    let mode = "SELECT journal_mode FROM pragma_journal_mode";
    assert_eq!(lab.value("new.db", mode).await, "wal");
}

#[tokio::test]
async fn looking_at_a_target_leaves_its_journal_mode() {
    let lab = Lab::new();
    lab.sql("old.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .await;
    let store = lab.open("old.db", Role::Target).await;

    let tables = store.list_tables().await.expect("an answer");
    store.close().await;

    assert_eq!(tables.len(), 1);
    assert_eq!(files(&lab), ["old.db"]);
    let mode = "SELECT journal_mode FROM pragma_journal_mode";
    assert_eq!(lab.value("old.db", mode).await, "delete");
}

#[tokio::test]
async fn missing_target_with_init_shows_what_it_will_hold() {
    let lab = Lab::new();
    let script = lab.path("setup.sql");
    std::fs::write(&script, "CREATE TABLE made (id INTEGER PRIMARY KEY);").expect("a script");
    let store = lab.try_open_from("new.db", "setup.sql", Role::Target).await;
    let store = store.expect("opens");

    let before = store.list_tables().await.expect("an answer");
    let seen = files(&lab);
    acquired(&*store, "a").await;
    let after = store.list_tables().await.expect("an answer");

    assert_eq!(seen, ["setup.sql"]);
    assert_eq!(before[0].name, TableName::bare("made"));
    assert_eq!(before, after);
}

#[tokio::test]
async fn missing_source_is_an_error_that_names_it() {
    let lab = Lab::new();

    let opened = lab.try_open("absent.db", Role::Source).await;

    let error = opened.err().expect("there is no such file");
    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.message.contains("absent.db"), "{}", error.message);
    assert_eq!(files(&lab), Vec::<String>::new());
}

#[tokio::test]
async fn statement_that_takes_too_long_is_ended() {
    let lab = Lab::new();
    lab.sql(
        "a.db",
        "CREATE TABLE n (id INTEGER PRIMARY KEY); \
         WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000) \
         INSERT INTO n SELECT i FROM c; \
         CREATE VIEW endless AS SELECT count(*) AS x FROM n a, n b, n c, n d",
    )
    .await;
    let limit = Duration::from_millis(50);
    let store = lab.open_within("a.db", Role::Source, limit).await;

    let endless = [TableName::bare("endless")];
    let described = tokio::time::timeout(Duration::from_secs(60), store.describe(&endless));
    let described = described.await.expect("the limit is far below a minute");
    let quick = store.describe(&[TableName::bare("n")]).await;

    let error = described.expect_err("it would take days");
    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    assert!(error.message.contains("interrupted"), "{error:?}");
    assert!(quick.expect("the session still works")[0].is_some());
}
