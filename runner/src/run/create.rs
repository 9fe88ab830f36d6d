//! Creates target tables that are missing.

use crate::failure::Failure;
use crate::reshape::made_whole;
use crate::run::context::RunContext;
use crate::run::table::TableRun;

/// Creates all of them together; if that fails, one by one, so that one table cannot stop the
/// others.
pub(crate) async fn missing(context: &RunContext, tables: &mut [TableRun]) {
    let is_missing = |table: &&mut TableRun| !table.planned.status.exists && !table.has_failed();
    let missing: Vec<&mut TableRun> = tables.iter_mut().filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let planned: Vec<_> = missing.iter().map(|table| table.planned.clone()).collect();
    let targets: Vec<_> = planned
        .iter()
        .map(|planned| (&planned.target, made_whole(planned)))
        .collect();
    let target = context.ends.target();
    let Err(error) = target.create(&context.lease, &targets).await else {
        return;
    };
    tracing::debug!(%error, "creating tables one by one");
    for (table, target_table) in missing.into_iter().zip(targets) {
        let created = target.create(&context.lease, &[target_table]).await;
        if let Err(error) = created {
            table.fail(Failure::from(error));
        }
    }
}
