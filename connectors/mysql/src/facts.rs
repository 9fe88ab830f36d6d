//! What a table is, for plans that are carried out later.

use crate::connect::MysqlStore;
use crate::describe;
use crate::sql::{identifier, text};
use crate::write::catalog;
use syncset_connector::{Result, TableFacts, TableName};

/// Asks by the control session. No lock that this server has holds a table still while the
/// catalogue is asked and the table is altered after that.
pub(crate) async fn table_facts(
    store: &MysqlStore,
    table: &TableName,
) -> Result<Option<TableFacts>> {
    let described = describe::describe(store, std::slice::from_ref(table)).await?;
    let Some(description) = described.into_iter().next().flatten() else {
        return Ok(None);
    };
    let views = views_of(store, table).await?.into_iter();
    let mut dependents: Vec<String> = views.map(|view| view.dependent()).collect();
    if let Some(shape) = catalog::shape(store, table).await? {
        let indexes = shape.indexes.iter();
        let plain = indexes.filter(|index| !index.unique);
        dependents.extend(plain.map(|index| format!("index `{}`", index.name)));
        let triggers = shape.triggers.iter();
        dependents.extend(triggers.map(|name| format!("trigger `{name}`")));
        let keys = shape.foreign_keys.iter();
        dependents.extend(keys.map(|(name, ..)| format!("foreign key `{name}`")));
        let children = shape.pointed_at.iter();
        let of_child = |(_, name, child): &(String, String, TableName)| {
            format!("foreign key `{name}` of `{child}`")
        };
        dependents.extend(children.map(of_child));
    }
    Ok(Some(TableFacts::of(&description, dependents)))
}

/// A view that reads a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    name: TableName,
    /// Its query, in which the server has spelled out all names.
    definition: String,
}

impl View {
    /// What it is called among things that depend on a table.
    pub(crate) fn dependent(&self) -> String {
        format!("view `{}`", self.name)
    }

    /// Whether its query may read a column of this name. A column of another table that has the
    /// same name is taken for it.
    pub(crate) fn names(&self, column: &str) -> bool {
        self.definition.contains(&identifier(column))
    }
}

/// The views that read a table, as far as this user may see them.
pub(crate) async fn views_of(store: &MysqlStore, table: &TableName) -> Result<Vec<View>> {
    let database = &store.facts().database;
    let name = format!("{}.{}", identifier(database), identifier(&table.name));
    let sql = format!(
        "SELECT v.TABLE_SCHEMA, v.TABLE_NAME, v.VIEW_DEFINITION FROM information_schema.VIEWS v
           WHERE v.TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')
             AND LOCATE({}, v.VIEW_DEFINITION) > 0
           ORDER BY 1, 2",
        text(&name)
    );
    let rows = store.control().await?.rows(&sql).await?;
    let view = |row: &crate::connect::TextRow| {
        let schema = row.required(0)?;
        Ok(View {
            name: TableName {
                schema: (schema != database).then(|| schema.to_owned()),
                name: row.required(1)?.to_owned(),
            },
            definition: row.text(2).unwrap_or_default().to_owned(),
        })
    };
    rows.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_name_the_columns_that_they_read() {
        let view = View {
            name: TableName::bare("v"),
            definition: "select `d`.`t`.`id` AS `id` from `d`.`t`".to_owned(),
        };

        assert!(view.names("id"));
        assert!(!view.names("i"));
        assert!(!view.names("name"));
        assert_eq!(view.dependent(), "view `v`");
    }
}
