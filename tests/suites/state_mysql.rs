//! What the state needs at MySQL and MariaDB: rights, and a log of rows.

use crate::mysql_target_lab::{on_both, open, plain, state};
use kit::MysqlServer;
use syncset_connector::ErrorClass;

on_both!(
    user_without_rights_is_told_which_grant_it_needs,
    server_that_logs_statements_is_refused,
);

async fn user_without_rights_is_told_which_grant_it_needs(server: &'static MysqlServer) {
    let database = server.database("state").await;
    let user = database.user("r", &["SELECT ON {database}.*"]).await;
    let store = open(&user.url()).await;

    let error = state(&*store)
        .ensure()
        .await
        .expect_err("it may not create");

    assert_eq!(error.class, ErrorClass::Privilege);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("GRANT SELECT, INSERT"), "{hint}");
}

async fn server_that_logs_statements_is_refused(server: &'static MysqlServer) {
    let own = MysqlServer::start_own(server.flavour(), "binlog_format = STATEMENT");
    let database = own.create_database("state").await;
    let store = open(&database.url()).await;

    let error = state(&*store)
        .ensure()
        .await
        .expect_err("rows must be logged");

    assert_eq!(error.class, ErrorClass::Config);
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("binlog_format = 'ROW'"), "{hint}");
    let (table, _) = plain(&[]);
    let status = store.target().expect("a target").status(&[table]).await;
    let notes = &status.expect("a status")[0].notes;
    assert!(notes[0].contains("binlog_format = 'ROW'"), "{notes:?}");
}
