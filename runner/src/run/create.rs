//! Creates target tables that are missing.

use crate::failure::Failure;
use crate::reshape::made_whole;
use crate::run::context::RunContext;
use crate::run::table::TableRun;
use crate::schema_history::note_created;

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
        .zip(&missing)
        .map(|(planned, table)| {
            let mut made = made_whole(planned);
            note_created(&mut made, table.made.as_ref());
            (&planned.target, made)
        })
        .collect();
    let target = context.ends.target();
    let together = target.create(&context.lease, &targets).await;
    if let Err(error) = &together {
        tracing::debug!(%error, "creating tables one by one");
    }
    for (table, target_table) in missing.into_iter().zip(targets) {
        let made = target_table.1.clone();
        let created = match together {
            Ok(()) => Ok(()),
            Err(_) => target.create(&context.lease, &[target_table]).await,
        };
        match created {
            Ok(()) => table.made = Some(made),
            Err(error) => table.fail(Failure::from(error)),
        }
    }
}
