//! What a target table really is, asked for any number of tables in one round trip.

use crate::connect::{MysqlStore, ServerFacts, Session, TextRow};
use crate::describe::{json_checks, json_column, partial};
use crate::encode::Form;
use crate::error;
use crate::sql::text;
use crate::types::{Flavour, Parsed};
use std::collections::HashMap;
use syncset_connector::{Result, TableName};

/// A table as the catalogue has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `BASE TABLE`, `VIEW`, ...
    pub(crate) kind: String,
    /// The storage engine.
    pub(crate) engine: String,
    /// The table's comment.
    pub(crate) comment: String,
    /// Columns in the table's order.
    pub(crate) columns: Vec<ActualColumn>,
    /// Indexes, the primary key first.
    pub(crate) indexes: Vec<Index>,
    /// Names of triggers.
    pub(crate) triggers: Vec<String>,
    /// Foreign keys of the table: constraint, column and parent.
    pub(crate) foreign_keys: Vec<(String, String, TableName)>,
    /// Foreign keys of other tables that delete or change their rows when ours are deleted:
    /// constraint and child.
    pub(crate) cascades: Vec<(String, TableName)>,
    /// True if this user has rights to some columns only: others are not shown.
    pub(crate) partial: bool,
    /// Columns of ours that foreign keys of other tables point to: column, constraint and child.
    pub(crate) pointed_at: Vec<(String, String, TableName)>,
}

/// A column as the catalogue has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ActualColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type as DDL spells it, without its collation.
    pub(crate) declared: String,
    /// The type taken apart.
    pub(crate) parsed: Parsed,
    /// What it takes; `None` for a type that is not known.
    pub(crate) form: Option<Form>,
    /// True for a text that a check of MariaDB keeps to JSON.
    pub(crate) is_json: bool,
    /// True if it refuses NULL.
    pub(crate) not_null: bool,
    /// True if it fills itself where no value is given.
    pub(crate) has_default: bool,
    /// True if it never fills itself with anything but NULL, neither in new rows nor in changed
    /// ones.
    pub(crate) stays_null: bool,
    /// True if the table computes it.
    pub(crate) generated: bool,
    /// What this user may do to it, with commas between: `select,insert`.
    pub(crate) rights: String,
}

/// An index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Its name.
    pub(crate) name: String,
    /// True if it refuses equal entries.
    pub(crate) unique: bool,
    /// Columns in order; an expression has no name.
    pub(crate) columns: Vec<Option<String>>,
    /// False if it holds the start of a column or an expression.
    pub(crate) whole: bool,
}

impl ActualColumn {
    /// What the column takes of texts: a checked one takes JSON.
    pub(crate) fn form_of_values(&self) -> Option<Form> {
        match self.is_json {
            true => Some(Form::Json(Flavour::MariaDb)),
            false => self.form.clone(),
        }
    }

    /// Whether this user has a right to the column, by its own or as one to the table.
    pub(crate) fn may(&self, right: &str) -> bool {
        let mut rights = self.rights.split(',');
        rights.any(|it| it.trim().eq_ignore_ascii_case(right))
    }

    /// True if its values differ as their bytes do: two keys of the source stay two.
    pub(crate) fn tells_bytes_apart(&self) -> bool {
        let Some(collation) = &self.parsed.collation else {
            return true;
        };
        // Texts of UUIDs have no trailing blanks that padding would hide.
        collation == "binary"
            || collation.ends_with("_0900_bin")
            || collation.ends_with("_nopad_bin")
            || (self.parsed.base == "char" && collation.ends_with("_bin"))
            || matches!(self.parsed.base.as_str(), "enum" | "set")
    }
}

impl Shape {
    /// True if this user has no right to any column: the catalogue then shows none.
    pub(crate) fn hides_columns(&self) -> bool {
        self.columns.is_empty()
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&ActualColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The unique index on exactly these columns, in any order.
    pub(crate) fn unique_index(&self, key: &[String]) -> Option<&Index> {
        self.indexes.iter().find(|index| {
            index.unique
                && index.whole
                && index.columns.len() == key.len()
                && key
                    .iter()
                    .all(|name| index.columns.iter().flatten().any(|it| it == name))
        })
    }

    /// Whether it has an index of this name.
    pub(crate) fn has_index(&self, name: &str) -> bool {
        let mut indexes = self.indexes.iter();
        indexes.any(|it| it.name.eq_ignore_ascii_case(name))
    }

    /// Whether a foreign key of this name and table points to it.
    pub(crate) fn is_pointed_at_by(&self, child: &TableName, name: &str) -> bool {
        let mut pointers = self.pointed_at.iter();
        pointers.any(|(_, it, of)| it == name && of.name.eq_ignore_ascii_case(&child.name))
    }

    /// Whether it has a foreign key of this name.
    pub(crate) fn has_foreign_key(&self, name: &str) -> bool {
        let mut keys = self.foreign_keys.iter();
        keys.any(|(it, ..)| it.eq_ignore_ascii_case(name))
    }

    /// Columns of the primary key.
    pub(crate) fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == "PRIMARY")
    }

    /// True if another unique index than that of this key could refuse a row, or take it for
    /// another one.
    pub(crate) fn has_further_unique_index(&self, key: &[String]) -> bool {
        let of_key = self.unique_index(key).map(|index| &index.name);
        let mut unique = self.indexes.iter().filter(|index| index.unique);
        unique.any(|index| Some(&index.name) != of_key)
    }
}

/// Asks for the shapes of tables; `None`: no such table. One round trip.
pub(crate) async fn shapes(
    session: &mut Session,
    facts: &ServerFacts,
    tables: &[&TableName],
) -> Result<Vec<Option<Shape>>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let children = children(session, facts, &quoted(tables)).await?;
    let sets = session
        .result_sets(&statements(tables, facts.flavour, &children))
        .await?;
    let mut found = Found::default();
    found.read(&sets, facts)?;
    let shapes = tables.iter().map(|table| found.take(&table.name, facts));
    Ok(shapes.collect())
}

/// The shape of one table through the control session.
pub(crate) async fn shape(store: &MysqlStore, table: &TableName) -> Result<Option<Shape>> {
    let mut session = store.control().await?;
    let shapes = shapes(&mut session, store.facts(), &[table]).await?;
    Ok(shapes.into_iter().next().flatten())
}

/// The statement that finds the foreign keys that point to tables of these quoted names.
///
/// To tell those of all databases MariaDB opens every table that it has, which takes seconds where
/// there are thousands: so it is asked once which databases have some.
async fn children(session: &mut Session, facts: &ServerFacts, names: &str) -> Result<String> {
    if facts.flavour == Flavour::MySql {
        return Ok(format!(
            "SELECT k.REFERENCED_TABLE_NAME, k.CONSTRAINT_NAME, k.REFERENCED_COLUMN_NAME,
               k.TABLE_SCHEMA, k.TABLE_NAME, r.DELETE_RULE
               FROM information_schema.KEY_COLUMN_USAGE k
               JOIN information_schema.REFERENTIAL_CONSTRAINTS r
                 ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME
                 AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
               WHERE k.REFERENCED_TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IN ({names})
               ORDER BY 1, 2, k.ORDINAL_POSITION"
        ));
    }
    let asked = facts.neighbours.get_or_try_init(|| async {
        let rows = session
            .rows(
                "SELECT DISTINCT k.TABLE_SCHEMA FROM information_schema.KEY_COLUMN_USAGE k
                   WHERE k.REFERENCED_TABLE_SCHEMA = DATABASE() AND k.TABLE_SCHEMA <> DATABASE()",
            )
            .await?;
        let schemas = rows.iter().map(|row| row.required(0).map(str::to_owned));
        schemas.collect::<Result<Vec<_>>>()
    });
    let neighbours = asked.await?.iter().map(|name| text(name));
    let own = std::iter::once("DATABASE()".to_owned());
    let schemas: Vec<_> = own.chain(neighbours).collect();
    let is_one = |column: &str| match schemas.as_slice() {
        // With a list it would look at all databases again.
        [own] => format!("{column} = {own}"),
        schemas => format!("{column} IN ({})", schemas.join(", ")),
    };
    // The limit keeps the server from asking both views for every table of ours: where there is no
    // such key, the second one is not asked at all.
    Ok(format!(
        "SELECT r.REFERENCED_TABLE_NAME, r.CONSTRAINT_NAME, k.REFERENCED_COLUMN_NAME,
           k.TABLE_SCHEMA, k.TABLE_NAME, r.DELETE_RULE
           FROM (SELECT c.* FROM information_schema.REFERENTIAL_CONSTRAINTS c
             WHERE {} AND c.REFERENCED_TABLE_NAME IN ({names}) LIMIT {ROWS_MAX}) r
           STRAIGHT_JOIN information_schema.KEY_COLUMN_USAGE k
             ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.TABLE_NAME = r.TABLE_NAME
             AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME
           WHERE {} AND k.REFERENCED_TABLE_SCHEMA = DATABASE()
           ORDER BY 1, 2, k.ORDINAL_POSITION",
        is_one("c.CONSTRAINT_SCHEMA"),
        is_one("k.TABLE_SCHEMA")
    ))
}

/// More foreign keys than point to any table.
const ROWS_MAX: u64 = 1_000_000_000;

/// A list of these names, quoted; never an empty one.
fn quoted(tables: &[&TableName]) -> String {
    let can_be = |name: &&str| name.chars().all(|it| u32::from(it) <= 0xffff);
    let names = tables.iter().map(|table| table.name.as_str());
    let mut names: Vec<_> = names.filter(can_be).map(text).collect();
    names.push("''".to_owned());
    names.join(", ")
}

fn statements(tables: &[&TableName], flavour: Flavour, children: &str) -> String {
    let names = quoted(tables);
    // Only MariaDB says which table a check is of, and only there JSON is a checked text.
    let checks = match flavour {
        Flavour::MySql => "SELECT NULL LIMIT 0".to_owned(),
        Flavour::MariaDb => json_checks(tables.iter().map(|table| table.name.as_str())),
    };
    format!(
        "SELECT t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, t.TABLE_COMMENT
           FROM information_schema.TABLES t
           WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME IN ({names});
         SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, c.COLLATION_NAME, c.IS_NULLABLE,
           c.COLUMN_DEFAULT, c.EXTRA, c.PRIVILEGES
           FROM information_schema.COLUMNS c
           WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME IN ({names})
           ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION;
         SELECT s.TABLE_NAME, s.INDEX_NAME, s.NON_UNIQUE, s.COLUMN_NAME, s.SUB_PART
           FROM information_schema.STATISTICS s
           WHERE s.TABLE_SCHEMA = DATABASE() AND s.TABLE_NAME IN ({names})
           ORDER BY s.TABLE_NAME, s.INDEX_NAME <> 'PRIMARY', s.INDEX_NAME, s.SEQ_IN_INDEX;
         SELECT g.EVENT_OBJECT_TABLE, g.TRIGGER_NAME FROM information_schema.TRIGGERS g
           WHERE g.EVENT_OBJECT_SCHEMA = DATABASE() AND g.EVENT_OBJECT_TABLE IN ({names})
           ORDER BY 1, 2;
         SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
           k.REFERENCED_TABLE_NAME
           FROM information_schema.KEY_COLUMN_USAGE k
           WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME IN ({names})
             AND k.REFERENCED_TABLE_NAME IS NOT NULL
           ORDER BY 1, 2, k.ORDINAL_POSITION;
         {children};
         {checks};
         {partial}",
        partial = partial(&names)
    )
}

/// Shapes by the names that the server gave.
#[derive(Default)]
struct Found(HashMap<String, Shape>);

impl Found {
    fn read(&mut self, sets: &[Vec<TextRow>], facts: &ServerFacts) -> Result<()> {
        let [
            tables,
            columns,
            indexes,
            triggers,
            parents,
            children,
            checks,
            partial,
        ] = sets
        else {
            return Err(error::unexpected(
                "the server left out an answer about its tables",
            ));
        };
        for row in tables {
            let shape = Shape {
                kind: row.required(1)?.to_owned(),
                engine: row.text(2).unwrap_or_default().to_owned(),
                comment: row.text(3).unwrap_or_default().to_owned(),
                ..Shape::default()
            };
            self.0.insert(row.required(0)?.to_owned(), shape);
        }
        for row in columns {
            let column = read_column(row, facts)?;
            self.each(row, facts, |shape| shape.columns.push(column.clone()))?;
        }
        for row in indexes {
            self.each(row, facts, |shape| read_index(row, shape))?;
        }
        for row in triggers {
            let name = row.required(1)?.to_owned();
            self.each(row, facts, |shape| shape.triggers.push(name.clone()))?;
        }
        for row in parents {
            let key = (
                row.required(1)?.to_owned(),
                row.required(2)?.to_owned(),
                named(row, 3, facts)?,
            );
            self.each(row, facts, |shape| shape.foreign_keys.push(key.clone()))?;
        }
        for row in partial {
            self.each(row, facts, |shape| shape.partial = true)?;
        }
        for row in children {
            let constraint = row.required(1)?.to_owned();
            let child = named(row, 3, facts)?;
            let cascades = matches!(row.text(5), Some("CASCADE" | "SET NULL" | "SET DEFAULT"));
            let column = row.text(2).unwrap_or_default().to_owned();
            self.each(row, facts, |shape| {
                let cascade = (constraint.clone(), child.clone());
                if cascades && !shape.cascades.contains(&cascade) {
                    shape.cascades.push(cascade);
                }
                let pointer = (column.clone(), constraint.clone(), child.clone());
                shape.pointed_at.push(pointer);
            })?;
        }
        for row in checks {
            let checked = json_column(row.required(1)?);
            self.each(row, facts, |shape| {
                let mut columns = shape.columns.iter_mut();
                if let Some(column) = columns.find(|it| Some(&it.name) == checked.as_ref()) {
                    column.is_json = true;
                }
            })?;
        }
        Ok(())
    }

    /// The shape that a row is about. A table may have come to be between two statements.
    fn each(
        &mut self,
        row: &TextRow,
        facts: &ServerFacts,
        change: impl FnOnce(&mut Shape),
    ) -> Result<()> {
        let name = row.required(0)?;
        let known = match self.0.contains_key(name) {
            true => Some(name.to_owned()),
            false => self.folded(name, facts),
        };
        if let Some(shape) = known.and_then(|name| self.0.get_mut(&name)) {
            change(shape);
        }
        Ok(())
    }

    fn folded(&self, name: &str, facts: &ServerFacts) -> Option<String> {
        let folded = name.to_lowercase();
        let mut names = self.0.keys();
        facts
            .ignores_case()
            .then(|| names.find(|known| known.to_lowercase() == folded).cloned())
            .flatten()
    }

    fn take(&self, name: &str, facts: &ServerFacts) -> Option<Shape> {
        let known = self.0.get(name).cloned();
        known.or_else(|| self.0.get(&self.folded(name, facts)?).cloned())
    }
}

fn named(row: &TextRow, index: usize, facts: &ServerFacts) -> Result<TableName> {
    let schema = row.required(index)?;
    Ok(TableName {
        schema: (schema != facts.database).then(|| schema.to_owned()),
        name: row.required(index + 1)?.to_owned(),
    })
}

fn read_column(row: &TextRow, facts: &ServerFacts) -> Result<ActualColumn> {
    let declared = row.required(2)?.to_owned();
    let mut parsed = Parsed::of(&declared);
    parsed.collation = row.text(3).map(str::to_owned);
    let extra = row.text(6).unwrap_or_default().to_lowercase();
    let words = [
        "virtual generated",
        "stored generated",
        "persistent generated",
    ];
    let not_null = row.text(4) == Some("NO");
    Ok(ActualColumn {
        name: row.required(1)?.to_owned(),
        form: Form::of(&parsed, facts.flavour, facts.version_numbers),
        is_json: false,
        has_default: row.text(5).is_some() || extra.contains("auto_increment"),
        // MariaDB spells out a default of NULL.
        stays_null: row.text(5).is_none_or(|default| default == "NULL")
            && !extra.contains("on update"),
        rights: row.text(7).unwrap_or_default().to_owned(),
        generated: words.iter().any(|words| extra.contains(words)),
        declared,
        parsed,
        not_null,
    })
}

fn read_index(row: &TextRow, shape: &mut Shape) {
    let name = row.text(1).unwrap_or_default();
    if shape.indexes.last().is_none_or(|index| index.name != name) {
        shape.indexes.push(Index {
            name: name.to_owned(),
            unique: row.text(2) == Some("0"),
            columns: Vec::new(),
            whole: true,
        });
    }
    let Some(index) = shape.indexes.last_mut() else {
        return;
    };
    index.columns.push(row.text(3).map(str::to_owned));
    index.whole &= row.text(3).is_some() && row.text(4).is_none();
}
