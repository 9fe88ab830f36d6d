//! Gives the state of one pipeline to another: it was renamed, or moved to another project.

use super::streams::of_control;
use super::text::key_is;
use crate::connect::MysqlStore;
use crate::sql::{identifier, text};
use syncset_connector::{Lease, Result};

/// Every table that belongs to pipelines, whichever version made it. Leases and fences stay: they
/// are what keeps a former run of the old name out.
const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.COLUMNS \
     WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'pipeline' \
     AND TABLE_NAME LIKE '\\\\_syncset\\\\_%' AND TABLE_NAME NOT IN ('_syncset_pipeline', \
     '_syncset_lease', '_syncset_lease_session', '_syncset_fence') ORDER BY TABLE_NAME";

/// Renames all rows of the one to the other, in one transaction under both fences.
pub(super) async fn adopt(store: &MysqlStore, from: &Lease, to: &Lease) -> Result<()> {
    let tables = store.control().await?.rows(TABLES).await?;
    let mut body = String::new();
    for table in &tables {
        body.push_str(&format!(
            "UPDATE {} SET project = {}, pipeline = {} WHERE {};\n",
            identifier(table.required(0)?),
            text(&to.key.project),
            text(&to.key.pipeline),
            key_is("", &from.key),
        ));
    }
    body.push_str(&format!(
        "DELETE FROM _syncset_pipeline WHERE {};\n",
        key_is("", &from.key)
    ));
    of_control(store, &[from, to], &body).await.map(drop)
}
