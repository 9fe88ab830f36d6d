//! What columns of any source become here, and the statements that create a target table.

use crate::sql::{quote_ident, quote_idents, quote_literal};
use crate::types;
use crate::write::catalog::{schema_of, target_name};
use arrow_schema::{DataType, TimeUnit};
use syncset_connector::{
    Exactness, NativeType, Result, TargetColumn, TargetTable, TypeDefinition, TypeMapping,
};

/// Largest precision of `Decimal128` and `Decimal256`.
const DECIMAL_PRECISION_MAX: u8 = 76;

/// What a column becomes here. Types are spelled as the catalog spells them.
pub(crate) fn map_type(column: &TargetColumn) -> TypeMapping {
    match own(column) {
        Some(native) if types::is_of_names(&native.name) => TypeMapping {
            native: native.name.clone(),
            exactness: Exactness::Lossy,
            note: Some("by its name; one that the target lacks stops the table".into()),
            stops_table: true,
        },
        Some(native) => TypeMapping {
            native: native.name.clone(),
            exactness: Exactness::Exact,
            note: own_note(native),
            stops_table: false,
        },
        None => of_mysql(column)
            .or_else(|| of_sqlite(column))
            .unwrap_or_else(|| map_arrow(&column.data_type)),
    }
}

/// What a text may hold elsewhere.
const NUL: &str = "a NUL character does not fit";

/// Years that SQLite's texts can have.
const YEARS: &str = "years from 4714 BC on";

/// What types of SQLite become that hold more than those here; `None` for others.
fn of_sqlite(column: &TargetColumn) -> Option<TypeMapping> {
    let native = column.native.as_ref()?;
    if native.engine != "sqlite" {
        return None;
    }
    let note = match &column.data_type {
        DataType::Utf8 => NUL,
        DataType::Date32 => "years from 4714 BC to 5874897",
        DataType::Timestamp(..) => YEARS,
        _ => return None,
    };
    let native = map_arrow(&column.data_type).native;
    Some(mapping(&native, Exactness::Lossy, Some(note)))
}

/// What types of MySQL and MariaDB become that say more than their Arrow type; `None` for others.
fn of_mysql(column: &TargetColumn) -> Option<TypeMapping> {
    let native = column
        .native
        .as_ref()
        .filter(|native| matches!(native.engine.as_str(), "mysql" | "mariadb"))?;
    let end = native.name.find(['(', ' ']).unwrap_or(native.name.len());
    let exact = |native: &str| Some(mapping(native, Exactness::Exact, None));
    let widened = |native: &str, note: &str| Some(mapping(native, Exactness::Widened, Some(note)));
    match (&column.data_type, &native.name[..end]) {
        (DataType::Time64(_), "time") => {
            widened("interval", "a time may be negative or longer than a day")
        }
        (DataType::Utf8, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext") => {
            Some(mapping("text", Exactness::Lossy, Some(NUL)))
        }
        (DataType::Utf8, "json") if native.engine == "mariadb" => Some(mapping(
            "json",
            Exactness::Lossy,
            Some("its text; what only MariaDB takes for JSON, such as `1.`, does not fit"),
        )),
        (DataType::Utf8, "json") => exact("json"),
        (DataType::Utf8, "bit") => exact(&native.name),
        (DataType::Utf8, "inet4" | "inet6") => widened("inet", "it could hold networks too"),
        (DataType::Utf8, "enum") => widened("text", "its label"),
        (DataType::Utf8, "set") => widened("text", "its labels with commas between"),
        (DataType::Utf8, "date" | "datetime" | "timestamp") => widened("text", "its text form"),
        (DataType::Int16, "year") => widened("smallint", "it could hold other years too"),
        (DataType::Binary, "vector") => widened("bytea", "its floats of 32 bits"),
        (DataType::Binary, "binary" | "varbinary") => exact("bytea"),
        (DataType::Binary, name) if !name.ends_with("blob") => {
            widened("bytea", "the number of its reference system, then its WKB")
        }
        _ => None,
    }
}

/// The column's type at the source if that is PostgreSQL too.
pub(crate) fn own(column: &TargetColumn) -> Option<&NativeType> {
    column
        .native
        .as_ref()
        .filter(|native| native.engine == types::ENGINE)
}

fn own_note(native: &NativeType) -> Option<String> {
    match &native.definition {
        Some(TypeDefinition::Domain { .. }) => {
            Some("checks of the domain are not copied when it is created".into())
        }
        Some(TypeDefinition::Extension { extension }) => {
            Some(format!("needs the extension `{extension}`"))
        }
        _ if native.as_text => Some("travels as text and is cast back".into()),
        _ => None,
    }
}

fn map_arrow(data_type: &DataType) -> TypeMapping {
    let exact = |native: &str| mapping(native, Exactness::Exact, None);
    let widened = |native: &str, note: &str| mapping(native, Exactness::Widened, Some(note));
    match data_type {
        DataType::Boolean => exact("boolean"),
        DataType::Int16 => exact("smallint"),
        DataType::Int8 | DataType::UInt8 => widened("smallint", "there is no smaller integer"),
        DataType::Int32 => exact("integer"),
        DataType::UInt16 => widened("integer", "there are no unsigned integers"),
        DataType::Int64 => exact("bigint"),
        DataType::UInt32 => widened("bigint", "there are no unsigned integers"),
        DataType::UInt64 => widened("numeric(20,0)", "there are no unsigned integers"),
        DataType::Float32 => exact("real"),
        DataType::Float64 => exact("double precision"),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            decimal(*precision, *scale)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => exact("text"),
        DataType::Null => widened("text", "the column holds nothing but NULL"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => exact("bytea"),
        DataType::FixedSizeBinary(16) => exact("uuid"),
        DataType::FixedSizeBinary(_) => widened("bytea", "the length is not fixed"),
        DataType::Date32 => exact("date"),
        DataType::Timestamp(unit, zone) => {
            let native = match zone {
                Some(_) => "timestamp with time zone",
                None => "timestamp without time zone",
            };
            by_unit(native, *unit)
        }
        DataType::Time32(unit) | DataType::Time64(unit) => by_unit("time without time zone", *unit),
        other => mapping(
            "text",
            Exactness::Refused,
            Some(&format!("{other} has no type here and cannot be written")),
        ),
    }
}

fn decimal(precision: u8, scale: i8) -> TypeMapping {
    if scale >= 0 {
        mapping(
            &format!("numeric({precision},{scale})"),
            Exactness::Exact,
            None,
        )
    } else {
        let digits = precision
            .saturating_add(scale.unsigned_abs())
            .min(DECIMAL_PRECISION_MAX * 2);
        mapping(
            &format!("numeric({digits},0)"),
            Exactness::Widened,
            Some("older servers have no negative scale"),
        )
    }
}

fn by_unit(native: &str, unit: TimeUnit) -> TypeMapping {
    match unit {
        TimeUnit::Nanosecond => mapping(
            native,
            Exactness::Refused,
            Some("a value that is finer than a microsecond cannot be kept"),
        ),
        _ => mapping(native, Exactness::Exact, None),
    }
}

fn mapping(native: &str, exactness: Exactness, note: Option<&str>) -> TypeMapping {
    TypeMapping {
        native: native.to_owned(),
        exactness,
        note: note.map(str::to_owned),
        stops_table: false,
    }
}

/// One thing that a target table needs, in the order in which they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// What it is, for messages: "type `public.mood`".
    pub(crate) what: String,
    /// A condition that is true where it exists.
    pub(crate) exists: String,
    /// Creates it; `None`: only an administrator can.
    pub(crate) create: Option<String>,
    /// What to do where it is missing and cannot be created, or may not be.
    pub(crate) advice: String,
}

/// Everything a table needs, and the table itself as the last.
///
/// # Errors
/// `Unsupported` for a name that no PostgreSQL name can be.
pub(crate) fn needs(table: &TargetTable) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    push(&mut needs, schema(schema_of(&table.name))?);
    for native in table.columns.iter().filter_map(own) {
        if let Some(definition) = &native.definition {
            type_needs(&native.name, definition, &mut needs)?;
        }
    }
    let name = target_name(&table.name);
    push(
        &mut needs,
        Need {
            what: what_of(table),
            exists: format!("to_regclass({}) IS NOT NULL", quote_literal(&name)?),
            create: Some(create_table(table)),
            advice: format!(
                "GRANT USAGE, CREATE ON SCHEMA {} to this user, or create the table yourself",
                quote_ident(schema_of(&table.name))
            ),
        },
    );
    Ok(needs)
}

/// [`Need::what`] of a table.
pub(crate) fn what_of(table: &TargetTable) -> String {
    format!("table `{}`", table.name)
}

fn push(needs: &mut Vec<Need>, need: Need) {
    if !needs.contains(&need) {
        needs.push(need);
    }
}

fn schema(name: &str) -> Result<Need> {
    Ok(Need {
        what: format!("schema `{name}`"),
        exists: format!(
            "EXISTS (SELECT FROM pg_namespace WHERE nspname = {})",
            quote_literal(name)?
        ),
        create: Some(format!("CREATE SCHEMA {}", quote_ident(name))),
        advice: "GRANT CREATE ON DATABASE to this user, or create the schema yourself".into(),
    })
}

fn type_needs(name: &str, definition: &TypeDefinition, needs: &mut Vec<Need>) -> Result<()> {
    let created = |sql: String| (Some(sql), "GRANT USAGE, CREATE on its schema to this user");
    let (create, advice) = match definition {
        TypeDefinition::Enum { labels } => {
            let labels: Result<Vec<_>> = labels.iter().map(|label| quote_literal(label)).collect();
            created(format!(
                "CREATE TYPE {name} AS ENUM ({})",
                labels?.join(", ")
            ))
        }
        TypeDefinition::Composite {
            attributes,
            needs: inner,
        } => {
            for (name, definition) in inner {
                type_needs(name, definition, needs)?;
            }
            let attributes: Vec<_> = attributes
                .iter()
                .map(|(attribute, native)| format!("{} {native}", quote_ident(attribute)))
                .collect();
            created(format!("CREATE TYPE {name} AS ({})", attributes.join(", ")))
        }
        TypeDefinition::Domain { base, needs: inner } => {
            if let Some((name, definition)) = inner.as_deref() {
                type_needs(name, definition, needs)?;
            }
            created(format!("CREATE DOMAIN {name} AS {base}"))
        }
        TypeDefinition::Needs(inner) => {
            for (name, definition) in inner {
                type_needs(name, definition, needs)?;
            }
            if name.ends_with("[]") {
                return Ok(());
            }
            (None, "create the type at the target as it is at the source")
        }
        TypeDefinition::Extension { extension } => {
            let need = Need {
                what: format!("type `{name}`"),
                exists: type_exists(name)?,
                create: None,
                advice: format!("CREATE EXTENSION {} at the target", quote_ident(extension)),
            };
            push(needs, need);
            return Ok(());
        }
    };
    if let (Some(_), Some(schema_name)) = (&create, schema_part(name)) {
        push(needs, schema(&schema_name)?);
    }
    push(
        needs,
        Need {
            what: format!("type `{name}`"),
            exists: type_exists(name)?,
            create,
            advice: advice.to_owned(),
        },
    );
    if let TypeDefinition::Enum { labels } = definition {
        label_needs(name, labels, needs)?;
    }
    Ok(())
}

/// The labels of an enumeration that exists: it may be older than they are.
fn label_needs(name: &str, labels: &[String], needs: &mut Vec<Need>) -> Result<()> {
    let quoted = quote_literal(name)?;
    let mut place = String::new();
    for label in labels {
        let literal = quote_literal(label)?;
        let sql = format!("ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal}{place}");
        let need = Need {
            what: format!("label {literal} of type `{name}`"),
            exists: format!(
                "(to_regtype({quoted}) IS NULL OR EXISTS (SELECT FROM pg_enum \
                 WHERE enumtypid = to_regtype({quoted}) AND enumlabel = {literal}))"
            ),
            advice: format!("{sql}, as the owner of the type"),
            create: Some(sql),
        };
        push(needs, need);
        place = format!(" AFTER {literal}");
    }
    Ok(())
}

fn type_exists(name: &str) -> Result<String> {
    Ok(format!("to_regtype({}) IS NOT NULL", quote_literal(name)?))
}

/// The schema of a type's name as DDL spells it; `None` if it has none.
fn schema_part(name: &str) -> Option<String> {
    let Some(quoted) = name.strip_prefix('"') else {
        return name.split_once('.').map(|(schema, _)| schema.to_owned());
    };
    let mut schema = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => match characters.next()? {
                '"' => schema.push('"'),
                '.' => return Some(schema),
                _ => return None,
            },
            character => schema.push(character),
        }
    }
}

fn create_table(table: &TargetTable) -> String {
    let mut lines: Vec<_> = table
        .all_columns()
        .iter()
        .map(|column| {
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            let native = map_type(column).native;
            format!("  {} {native}{not_null}", quote_ident(&column.name))
        })
        .collect();
    if !table.key.is_empty() {
        let key = quote_idents(table.key.iter().map(String::as_str));
        lines.push(format!("  PRIMARY KEY ({key})"));
    }
    format!(
        "CREATE TABLE {} (\n{}\n)",
        target_name(&table.name),
        lines.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_connector::{Marks, TableName};

    fn column(name: &str, native: &str, definition: Option<TypeDefinition>) -> TargetColumn {
        TargetColumn {
            name: name.into(),
            data_type: DataType::Utf8,
            native: Some(NativeType {
                engine: "postgres".into(),
                name: native.into(),
                as_text: false,
                definition,
            }),
            nullable: false,
        }
    }

    #[test]
    fn types_are_created_before_what_needs_them() {
        let mood = TypeDefinition::Enum {
            labels: vec!["o'k".into()],
        };
        let composite = TypeDefinition::Composite {
            attributes: vec![("M".into(), "\"My.Types\".mood".into())],
            needs: vec![("\"My.Types\".mood".into(), mood.clone())],
        };
        let table = TargetTable {
            name: TableName::in_schema("crm", "t"),
            columns: vec![
                column("c", "public.pair", Some(composite)),
                column("m", "\"My.Types\".mood", Some(mood)),
            ],
            key: vec!["m".into()],
            marks: Marks::default(),
        };

        let created: Vec<_> = needs(&table)
            .expect("plain names")
            .into_iter()
            .filter_map(|need| need.create)
            .collect();

        assert_eq!(
            created,
            [
                "CREATE SCHEMA \"crm\"",
                "CREATE SCHEMA \"My.Types\"",
                "CREATE TYPE \"My.Types\".mood AS ENUM ('o''k')",
                "ALTER TYPE \"My.Types\".mood ADD VALUE IF NOT EXISTS 'o''k'",
                "CREATE SCHEMA \"public\"",
                "CREATE TYPE public.pair AS (\"M\" \"My.Types\".mood)",
                "CREATE TABLE \"crm\".\"t\" (\n  \"c\" public.pair NOT NULL,\n  \
                 \"m\" \"My.Types\".mood NOT NULL,\n  PRIMARY KEY (\"m\")\n)",
            ]
        );
    }

    #[test]
    fn schema_of_a_type_is_read_from_its_name() {
        for (name, schema) in [
            ("public.mood", Some("public")),
            ("\"A.\"\"b\".mood", Some("A.\"b")),
            ("integer", None),
            ("\"char\"", None),
        ] {
            assert_eq!(schema_part(name).as_deref(), schema, "{name}");
        }
    }
}
