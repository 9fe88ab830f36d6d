//! Gives the state of one pipeline to another: it was renamed, or moved to another project.

use super::streams::{must_be_ours, under_fence};
use super::text::{key_is, literal};
use crate::connect::PgStore;
use crate::sql::quote_ident;
use syncset_connector::{Lease, Result};

/// Every table that belongs to pipelines, whichever version made it. Leases and fences stay: they
/// are what keeps a former run of the old name out.
const TABLES: &str = "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
     WHERE c.relnamespace = '_syncset'::regnamespace AND c.relkind = 'r' \
     AND a.attname = 'pipeline' AND NOT a.attisdropped \
     AND c.relname NOT IN ('pipeline', 'lease', 'lease_session', 'fence') ORDER BY c.relname";

/// Renames all rows of the one to the other, in one transaction under both fences.
pub(super) async fn adopt(store: &PgStore, from: &Lease, to: &Lease) -> Result<()> {
    let mut session = store.control().await?;
    let tables = session.rows(TABLES).await?;
    let mut body = must_be_ours(to);
    for table in &tables {
        body.push_str(&format!(
            "UPDATE _syncset.{} SET project = {}, pipeline = {} WHERE {};\n",
            quote_ident(table.required(0)?),
            literal(&to.key.project),
            literal(&to.key.pipeline),
            key_is("", &from.key),
        ));
    }
    body.push_str(&format!(
        "DELETE FROM _syncset.pipeline WHERE {};\n",
        key_is("", &from.key)
    ));
    under_fence(&mut session, from, &body).await.map(drop)
}
