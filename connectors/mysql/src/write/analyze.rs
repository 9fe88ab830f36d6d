//! Statistics of tables that were filled for the first time.

use crate::connect::{ServerFacts, Session};
use crate::sql::table as table_name;
use crate::types::Flavour;
use syncset_connector::{ConnectorError, ErrorClass, Result, TableName};

/// Older versions of MySQL make whoever reads an analyzed table next wait for those who read it
/// already.
const HARMLESS_SINCE: (u16, u16, u16) = (8, 0, 24);

/// Renews the statistics of these tables in one round trip; replicas renew their own. Where this
/// user may not, InnoDB does so by itself some seconds later.
///
/// # Errors
/// What the server says of a table; the others are looked at all the same.
pub(crate) async fn analyze(
    session: &mut Session,
    facts: &ServerFacts,
    tables: &[&TableName],
) -> Result<()> {
    let blocks = facts.flavour == Flavour::MySql && facts.version_numbers < HARMLESS_SINCE;
    if tables.is_empty() || blocks {
        return Ok(());
    }
    let names: Vec<_> = tables.iter().map(|table| table_name(table)).collect();
    let analyze = format!("ANALYZE NO_WRITE_TO_BINLOG TABLE {}", names.join(", "));
    let rows = match session.rows(&analyze).await {
        Ok(rows) => rows,
        Err(error) if error.class == ErrorClass::Privilege => return Ok(()),
        Err(error) => return Err(error),
    };
    // Table, operation, kind of message, message: errors are rows like any other.
    let is_error = |kind: &str| kind.eq_ignore_ascii_case("error");
    let failed = rows.iter().find(|row| row.text(2).is_some_and(is_error));
    match failed {
        Some(row) => Err(ConnectorError::new(
            ErrorClass::Store,
            format!(
                "the server said of `{}`: {}",
                row.text(0).unwrap_or_default(),
                row.text(3).unwrap_or_default()
            ),
        )),
        None => Ok(()),
    }
}
