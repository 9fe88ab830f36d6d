//! What a server says about its tables.

mod query;

pub(crate) use query::{json_checks, partial};

use crate::changes::account;
use crate::connect::{MysqlStore, ServerFacts, Session, TextRow};
use crate::error;
use crate::sql::identifier;
use crate::state;
use crate::types::{self, Declared, Flavour, ReadRules, ZeroDates};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use syncset_connector::{
    Column, Comments, ErrorClass, ForeignKey, Generated, IndexForm, PlainIndex, Result,
    TableDescription, TableEntry, TableKind, TableName, UniqueKey,
};

/// Name of the index of every primary key.
const PRIMARY: &str = "PRIMARY";

/// All tables and views of the connection's database, sorted by name.
pub(crate) async fn list_tables(store: &MysqlStore) -> Result<Vec<TableEntry>> {
    let rows = store.control().await?.rows(&query::list()).await?;
    let entry = |row: &TextRow| {
        Ok(TableEntry {
            name: TableName::bare(row.required(0)?),
            kind: kind_of(row.required(1)?, row.text(2)),
        })
    };
    rows.iter().map(entry).collect()
}

fn kind_of(table_type: &str, options: Option<&str>) -> TableKind {
    match (table_type, options) {
        ("VIEW" | "SYSTEM VIEW", _) => TableKind::View,
        (_, Some(options)) if options.contains("partitioned") => TableKind::Partitioned,
        _ => TableKind::Table,
    }
}

/// Describes tables; `None` where there is none of that name. At most three round trips.
pub(crate) async fn describe(
    store: &MysqlStore,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    let mut session = store.control().await?;
    let (facts, rules) = (store.facts(), store.config.rules);
    describe_in(&mut session, (facts, rules), Detail::All, tables).await
}

/// Describes what is read of tables, without their keys, in a session of the caller's, whose
/// transaction sees the tables as they are.
pub(crate) async fn describe_columns_in(
    session: &mut Session,
    (facts, rules): (&ServerFacts, ReadRules),
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    describe_in(session, (facts, rules), Detail::Columns, tables).await
}

/// How much is asked of the catalogue, which answers slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Everything.
    All,
    /// No indexes, no foreign keys.
    Columns,
}

async fn describe_in(
    session: &mut Session,
    (facts, rules): (&ServerFacts, ReadRules),
    detail: Detail,
    tables: &[TableName],
) -> Result<Vec<Option<TableDescription>>> {
    let here = |table: &&TableName| {
        let same = |schema: &String| {
            *schema == facts.database
                || facts.ignores_case() && schema.eq_ignore_ascii_case(&facts.database)
        };
        table.schema.as_ref().is_none_or(same)
    };
    let names: Vec<&str> = tables
        .iter()
        .filter(here)
        .map(|table| table.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(vec![None; tables.len()]);
    }
    let mut catalog = Catalog::read(session, facts, detail, names).await?;
    catalog.facts = Some(facts.clone());
    tables
        .iter()
        .map(|table| match here(&table) {
            true => catalog.table(table, rules),
            false => Ok(None),
        })
        .collect()
}

/// Rows of information_schema, by table.
#[derive(Default)]
struct Catalog {
    facts: Option<ServerFacts>,
    tables: HashMap<String, TextRow>,
    columns: HashMap<String, Vec<TextRow>>,
    indexes: HashMap<String, Vec<TextRow>>,
    foreign_keys: HashMap<String, Vec<TextRow>>,
    /// Columns that hold JSON as text.
    json: BTreeSet<(String, String)>,
    /// InnoDB's numbers of the table and its partitions; empty without the right to see them.
    storage: HashMap<String, Vec<serde_json::Value>>,
    /// Tables to some columns of which this user has rights of their own: others are not shown.
    partial: BTreeSet<String>,
}

impl Catalog {
    async fn read(
        session: &mut Session,
        facts: &ServerFacts,
        detail: Detail,
        names: Vec<&str>,
    ) -> Result<Self> {
        let mut catalog = Self::default();
        let mut sql = query::columns(names.iter().copied());
        if detail == Detail::All {
            sql = format!("{sql}; {}", query::keys(names.iter().copied()));
        }
        let mut sets = session.result_sets(&sql).await?;
        if detail == Detail::Columns {
            sets.extend([Vec::new(), Vec::new(), Vec::new()]);
        }
        let [tables, columns, indexes, foreign_keys, partial] = <[Vec<TextRow>; 5]>::try_from(sets)
            .map_err(|_| error::unexpected("the server left out an answer about its tables"))?;
        for row in tables {
            catalog.tables.insert(row.required(0)?.to_owned(), row);
        }
        catalog.columns = by_table(columns)?;
        catalog.indexes = by_table(indexes)?;
        catalog.foreign_keys = by_table(foreign_keys)?;
        for row in partial {
            catalog.partial.insert(row.required(0)?.to_owned());
        }
        if facts.flavour == Flavour::MariaDb {
            for row in session
                .rows(&query::json_checks(names.iter().copied()))
                .await?
            {
                if let Some(column) = json_column(row.required(1)?) {
                    let table = row.required(0)?.to_owned();
                    catalog.json.insert((table, column));
                }
            }
        }
        catalog.storage = storage(session, facts).await?;
        Ok(catalog)
    }

    fn table(&self, table: &TableName, rules: ReadRules) -> Result<Option<TableDescription>> {
        let facts = self.facts.as_ref();
        let facts = facts.ok_or_else(|| error::unexpected("a catalogue was not read"))?;
        let found = match self.tables.get_key_value(&table.name) {
            None if facts.ignores_case() => self
                .tables
                .iter()
                .find(|(name, _)| name.to_lowercase() == table.name.to_lowercase()),
            found => found,
        };
        let Some((name, row)) = found else {
            return Ok(None);
        };
        let columns = self.columns(name, facts.flavour, rules)?;
        let indexes = self.indexes(name)?;
        let primary_key = match indexes.get(PRIMARY) {
            Some(index) => index.columns.clone(),
            None => Vec::new(),
        };
        let unique_keys = indexes
            .iter()
            .filter(|(name, index)| index.is_unique && name.as_str() != PRIMARY)
            .map(|(name, index)| UniqueKey {
                name: name.clone(),
                columns: index.columns.clone(),
                partial: false,
                nulls_distinct: true,
                total: index.columns.iter().all(|name| {
                    let column = columns.iter().find(|column| column.name == *name);
                    column.is_some_and(|column| !column.nullable)
                }),
            })
            .collect();
        let plain = indexes.iter();
        let plain = plain.filter(|(_, index)| !index.is_unique && index.is_ordered);
        let plain = plain.map(|(name, index)| PlainIndex {
            name: name.clone(),
            columns: index.columns.clone(),
            form: IndexForm::Columns,
        });
        let plain = plain.collect();
        let storage = self.storage.get(&storage_name(facts, name));
        Ok(Some(TableDescription {
            name: table.clone(),
            kind: kind_of(row.required(1)?, row.text(3)),
            columns,
            primary_key,
            unique_keys,
            indexes: plain,
            foreign_keys: self.foreign_keys(name, facts)?,
            comments: self.comments(name, row),
            row_estimate: row.parse_some(4)?,
            byte_estimate: row.parse_some(5)?,
            storage_identity: json!({ "created": row.text(6), "innodb": storage }),
            source_identity: json!({ "server": facts.server_uuid, "database": facts.database }),
            grant: self.partial.contains(name).then(|| {
                format!(
                    "GRANT SELECT ON {}.{} TO {}",
                    identifier(&facts.database),
                    identifier(name),
                    account(&facts.user)
                )
            }),
        }))
    }

    /// Comments; a view has one that is none.
    fn comments(&self, table: &str, row: &TextRow) -> Comments {
        let is_table = row.text(1).is_some_and(|kind| kind.ends_with("TABLE"));
        let own = row.text(8).filter(|_| is_table).map(state::without_mark);
        let rows = self.columns.get(table).into_iter().flatten();
        let columns = rows.filter_map(|row| {
            let comment = row.text(9).filter(|comment| !comment.is_empty())?;
            Some((row.text(1)?.to_owned(), comment.to_owned()))
        });
        Comments {
            table: own.filter(|comment| !comment.is_empty()).map(str::to_owned),
            columns: columns.collect(),
        }
    }

    fn columns(&self, table: &str, flavour: Flavour, rules: ReadRules) -> Result<Vec<Column>> {
        let rows = self.columns.get(table).map(Vec::as_slice);
        let column = |row: &TextRow| {
            let name = row.required(1)?.to_owned();
            let declared = Declared {
                column_type: row.required(2)?,
                collation: row.text(3),
                is_json: self.json.contains(&(table.to_owned(), name.clone())),
            };
            let (native, data_type) = types::of(declared, flavour, rules);
            let extra = row.text(6).unwrap_or_default().to_lowercase();
            let has_zero_dates = matches!(
                types::Parsed::of(&native.name).base.as_str(),
                "date" | "datetime" | "timestamp"
            );
            let reads_null = has_zero_dates && rules.zero_dates == ZeroDates::Null;
            Ok(Column {
                native,
                data_type,
                nullable: row.is_true(4) || reads_null,
                default: default_of(row.text(5), &extra),
                generated: generated_of(&extra),
                stable_id: None,
                readable: row
                    .text(7)
                    .is_some_and(|rights| rights.to_lowercase().contains("select")),
                name,
            })
        };
        rows.unwrap_or_default().iter().map(column).collect()
    }

    /// Indexes over whole columns, by name.
    fn indexes(&self, table: &str) -> Result<BTreeMap<String, Index>> {
        let mut indexes: BTreeMap<String, Index> = BTreeMap::new();
        for row in self.indexes.get(table).into_iter().flatten() {
            let index = indexes
                .entry(row.required(1)?.to_owned())
                .or_insert_with(|| Index {
                    is_unique: row.text(2) == Some("0"),
                    is_ordered: row.text(5) == Some("BTREE"),
                    is_whole: true,
                    columns: Vec::new(),
                });
            match (row.text(3), row.text(4)) {
                (None, Some(column)) => index.columns.push(column.to_owned()),
                // The start of a column, or an expression.
                _ => index.is_whole = false,
            }
        }
        indexes.retain(|_, index| index.is_whole);
        Ok(indexes)
    }

    fn foreign_keys(&self, table: &str, facts: &ServerFacts) -> Result<Vec<ForeignKey>> {
        let mut keys: Vec<ForeignKey> = Vec::new();
        for row in self.foreign_keys.get(table).into_iter().flatten() {
            let name = row.required(1)?;
            if keys.last().is_none_or(|key| key.name != name) {
                let schema = row.required(3)?;
                let changes = |index| {
                    matches!(
                        row.text(index),
                        Some("CASCADE" | "SET NULL" | "SET DEFAULT")
                    )
                };
                keys.push(ForeignKey {
                    name: name.to_owned(),
                    columns: Vec::new(),
                    parent: TableName {
                        schema: (schema != facts.database).then(|| schema.to_owned()),
                        name: row.required(4)?.to_owned(),
                    },
                    parent_columns: Vec::new(),
                    cascades: changes(6) || changes(7),
                    enforced: true,
                });
            }
            if let Some(key) = keys.last_mut() {
                key.columns.push(row.required(2)?.to_owned());
                key.parent_columns.push(row.required(5)?.to_owned());
            }
        }
        Ok(keys)
    }
}

struct Index {
    is_unique: bool,
    is_ordered: bool,
    is_whole: bool,
    columns: Vec<String>,
}

fn by_table(rows: Vec<TextRow>) -> Result<HashMap<String, Vec<TextRow>>> {
    let mut tables: HashMap<String, Vec<TextRow>> = HashMap::new();
    for row in rows {
        tables
            .entry(row.required(0)?.to_owned())
            .or_default()
            .push(row);
    }
    Ok(tables)
}

/// The default as DDL spells it, with what an UPDATE does to the column.
fn default_of(default: Option<&str>, extra: &str) -> Option<String> {
    let on_update = extra
        .find("on update ")
        .map(|place| extra[place..].replace("current_timestamp", "CURRENT_TIMESTAMP"));
    // MariaDB says NULL for a column that has no default.
    let default = default.filter(|default| *default != "NULL");
    match (default, on_update) {
        (Some(default), Some(on_update)) => Some(format!("{default} {on_update}")),
        (default, on_update) => default.map(str::to_owned).or(on_update),
    }
}

/// True if every UPDATE that changes a row stamps the column by the server's clock.
pub(crate) fn is_stamped_on_update(column: &Column) -> bool {
    let default = column.default.as_deref().unwrap_or_default();
    default.contains("on update CURRENT_TIMESTAMP")
}

fn generated_of(extra: &str) -> Option<Generated> {
    if extra.contains("auto_increment") {
        return Some(Generated::IdentityByDefault);
    }
    let words = [
        "virtual generated",
        "stored generated",
        "persistent generated",
    ];
    words
        .into_iter()
        .any(|words| extra.contains(words))
        .then_some(Generated::Expression)
}

/// The column of a check like ``json_valid(`c`)``.
pub(crate) fn json_column(check: &str) -> Option<String> {
    let inside = check.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
    Some(inside.replace("``", "`"))
}

/// InnoDB's numbers of all tables of the database. Nothing where the right PROCESS is missing.
async fn storage(
    session: &mut Session,
    facts: &ServerFacts,
) -> Result<HashMap<String, Vec<serde_json::Value>>> {
    let sql = query::innodb_tables(facts.flavour == Flavour::MariaDb);
    let rows = match session.rows(sql).await {
        Ok(rows) => rows,
        Err(error) if matches!(error.class, ErrorClass::Privilege) => return Ok(HashMap::new()),
        // Older servers do not count versions of rows.
        Err(error) if error.class == ErrorClass::Config => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let mut tables: HashMap<String, Vec<serde_json::Value>> = HashMap::new();
    for row in &rows {
        let name = row.required(0)?;
        // `database/table#p#partition`
        let table = name.split(['#']).next().unwrap_or(name);
        tables
            .entry(table.to_owned())
            .or_default()
            .push(json!([row.text(1), row.text(2)]));
    }
    for numbers in tables.values_mut() {
        numbers.sort_by_key(ToString::to_string);
    }
    Ok(tables)
}

/// How InnoDB calls a table: names of files, where other characters than these have a code.
fn storage_name(facts: &ServerFacts, table: &str) -> String {
    let encoded = |name: &str| {
        let mut file = String::with_capacity(name.len());
        for character in name.chars() {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => file.push(character),
                _ => file.push_str(&format!("@{:04x}", u32::from(character))),
            }
        }
        file
    };
    let name = format!("{}/{}", encoded(&facts.database), encoded(table));
    if facts.ignores_case() {
        name.to_lowercase()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_say_what_an_update_does() {
        let extra = "default_generated on update current_timestamp(6)";

        assert_eq!(
            default_of(Some("CURRENT_TIMESTAMP(6)"), extra).as_deref(),
            Some("CURRENT_TIMESTAMP(6) on update CURRENT_TIMESTAMP(6)")
        );
        assert_eq!(default_of(Some("NULL"), ""), None);
        assert_eq!(default_of(Some("0"), ""), Some("0".to_owned()));
    }

    #[test]
    fn columns_of_json_are_found_by_their_checks() {
        assert_eq!(json_column("json_valid(`a``b`)").as_deref(), Some("a`b"));
        assert_eq!(json_column("json_valid(`a`) and `a` <> ''"), None);
    }
}
