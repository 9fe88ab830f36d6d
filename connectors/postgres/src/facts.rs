//! What a table is, for plans that are carried out later.

use crate::connect::{CATALOG_PATH, ServerFacts, Session};
use crate::describe::describe_in;
use crate::sql::quote_literal;
use crate::write::catalog::{schema_of, target_name};
use syncset_connector::{Result, TableFacts, TableName};

/// Asks by this session, so within its transaction and under its locks if it has some.
pub(crate) async fn facts_in(
    session: &mut Session,
    server: &ServerFacts,
    table: &TableName,
) -> Result<Option<TableFacts>> {
    let named = TableName::in_schema(schema_of(table), table.name.as_str());
    let described = describe_in(session, server, &[named]).await?;
    let Some(description) = described.into_iter().next().flatten() else {
        return Ok(None);
    };
    let relation = quote_literal(&target_name(table))?;
    // A view depends on a table by its rule. Defaults are told with their columns.
    let rows = session
        .rows(&format!(
            "{CATALOG_PATH}
             SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass
               THEN (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0)
                 FROM pg_rewrite r WHERE r.oid = d.objid)
               ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
             FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass
               AND d.refobjid = to_regclass({relation}) AND d.deptype IN ('n', 'a')
               AND d.classid <> 'pg_attrdef'::regclass"
        ))
        .await?;
    let dependents = rows.iter().map(|row| row.required(0).map(str::to_owned));
    let dependents = dependents.collect::<Result<_>>()?;
    Ok(Some(TableFacts::of(&description, dependents)))
}
