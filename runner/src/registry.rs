//! The one place that names concrete connectors.

use syncset_connector::{Connector, ConnectorInfo};

/// The connectors of this build.
pub(crate) const CONNECTORS: &[&dyn Connector] = &[
    #[cfg(feature = "mysql")]
    syncset_mysql::MYSQL,
    #[cfg(feature = "mysql")]
    syncset_mysql::MARIADB,
    #[cfg(feature = "postgres")]
    syncset_postgres::CONNECTOR,
    #[cfg(feature = "sqlite")]
    &syncset_sqlite::SqliteConnector,
];

/// What `pipelines` needs to know of them.
pub(crate) fn catalog() -> Vec<&'static ConnectorInfo> {
    CONNECTORS
        .iter()
        .map(|connector| connector.info())
        .collect()
}

/// The connector of a kind.
pub(crate) fn connector(kind: &str) -> Option<&'static dyn Connector> {
    CONNECTORS
        .iter()
        .copied()
        .find(|connector| connector.info().kind == kind)
}
