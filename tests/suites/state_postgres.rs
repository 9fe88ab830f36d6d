//! The rights that the state needs at PostgreSQL.

use crate::postgres_lab::{lease_of, open, open_ready, state};
use syncset_connector::ErrorClass;

#[tokio::test]
async fn role_without_rights_is_told_which_grant_it_needs() {
    let database = kit::postgres().await.database("state").await;
    let role = database.role("plain", &[]).await;
    let store = open(&role.url).await;

    let no_create = state(&*store)
        .ensure()
        .await
        .expect_err("it may not create");
    database.execute("CREATE SCHEMA _syncset").await;
    let no_usage = state(&*store).ensure().await.expect_err("it may not use");

    assert_eq!(no_create.class, ErrorClass::Privilege);
    let hint = no_create.hint.unwrap_or_default();
    assert!(hint.contains("GRANT CREATE ON DATABASE"), "{hint}");
    assert_eq!(no_usage.class, ErrorClass::Privilege);
    let hint = no_usage.hint.unwrap_or_default();
    assert!(hint.contains("GRANT USAGE ON SCHEMA _syncset"), "{hint}");
}

#[tokio::test]
async fn schema_made_by_an_administrator_is_enough() {
    let database = kit::postgres().await.database("state").await;
    let role = database.role("plain", &[]).await;
    database
        .execute(&format!(
            "CREATE SCHEMA _syncset AUTHORIZATION \"{}\"",
            role.name
        ))
        .await;

    let store = open_ready(&role.url).await;

    assert_eq!(lease_of(&*store, "one").await.epoch, 1);
}
