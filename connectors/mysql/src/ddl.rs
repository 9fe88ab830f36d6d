//! The types of a target table's columns, and the statement that creates it.

use crate::sql::{identifier, identifiers, table, text};
use crate::type_mapping::{collation_of, map_type};
use crate::types::{Flavour, Parsed};
use syncset_connector::{ConnectorError, ErrorClass, Result, TargetColumn, TargetTable};

/// Bytes that an index entry of InnoDB holds.
pub(crate) const KEY_BYTES_MAX: u32 = 3_072;

/// Bytes of a character of utf8mb4.
const CHARACTER_BYTES: u32 = 4;

/// Bytes that the columns of a row take at most, texts and blobs aside.
const ROW_BYTES_MAX: u32 = 65_535;

/// Bytes of a row that are left for everything that is not a `varchar`.
const ROW_BYTES_SPARED: u32 = 16_384;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// The types of all columns of a table as its DDL spells them, in their order.
///
/// # Errors
/// `Unsupported` for a key that no index can hold.
pub(crate) fn column_types(table: &TargetTable, flavour: Flavour) -> Result<Vec<String>> {
    let keys = key_types(table, flavour)?;
    let mut types = Vec::new();
    for column in &table.all_columns() {
        let of_key = table.key.iter().position(|name| *name == column.name);
        types.push(match of_key {
            Some(place) => keys[place].clone(),
            None => map_type(column, flavour).native,
        });
    }
    shorten_rows(table, &mut types);
    Ok(types)
}

/// Makes long texts of the longest `varchar`s until all of them fit into one row.
fn shorten_rows(table: &TargetTable, types: &mut [String]) {
    let bytes = |native: &str| varchar_length(native).unwrap_or(0) * CHARACTER_BYTES + 2;
    while types.iter().map(|native| bytes(native)).sum::<u32>() > ROW_BYTES_MAX - ROW_BYTES_SPARED {
        let free = (0..types.len()).filter(|place| {
            let column = table.columns.get(*place);
            let is_key = column.is_some_and(|column| table.key.contains(&column.name));
            !is_key && varchar_length(&types[*place]).is_some()
        });
        let Some(longest) = free.max_by_key(|place| varchar_length(&types[*place])) else {
            return;
        };
        let collation = types[longest].split_once(" collate ").map(|(_, it)| it);
        types[longest] = collation.map_or("longtext".to_owned(), |collation| {
            format!("longtext collate {collation}")
        });
    }
}

fn varchar_length(native: &str) -> Option<u32> {
    let rest = native.strip_prefix("varchar(")?;
    rest.split(')').next()?.parse().ok()
}

/// How a column of a key is stored.
enum KeyPart {
    /// As it is, in this many bytes.
    Fixed(String, u32),
    /// As a text of this many characters, if its source says how many.
    Text(Option<u32>),
    /// As bytes, of this many at most, if its source says how many.
    Bytes(Option<u32>),
}

/// The types of the key's columns, in key order. Texts differ by their bytes, and nothing is ever
/// cut: what is longer than its part of the index is refused.
fn key_types(table: &TargetTable, flavour: Flavour) -> Result<Vec<String>> {
    let mut parts = Vec::with_capacity(table.key.len());
    for name in &table.key {
        let column = table.columns.iter().find(|column| column.name == *name);
        let column = column.ok_or_else(|| not_selected(table, name))?;
        let native = map_type(column, flavour).native;
        parts.push(key_part(&native).ok_or_else(|| no_key(table, name, &native))?);
    }
    let (mut used, mut open) = (0, 0);
    for part in &parts {
        match part {
            KeyPart::Fixed(_, bytes) | KeyPart::Bytes(Some(bytes)) => used += bytes,
            KeyPart::Text(Some(length)) => used += length * CHARACTER_BYTES,
            KeyPart::Text(None) | KeyPart::Bytes(None) => open += 1,
        }
    }
    let left = KEY_BYTES_MAX
        .checked_sub(used)
        .filter(|left| open == 0 || left / open >= CHARACTER_BYTES)
        .ok_or_else(|| too_long(table))?;
    let share = left.checked_div(open).unwrap_or(0);
    let collation = collation_of(flavour);
    let spelled = parts.into_iter().map(|part| match part {
        KeyPart::Fixed(native, _) => native,
        KeyPart::Text(length) => {
            let length = length.unwrap_or(share / CHARACTER_BYTES);
            format!("varchar({length}) collate {collation}")
        }
        KeyPart::Bytes(length) => format!("varbinary({})", length.unwrap_or(share)),
    });
    Ok(spelled.collect())
}

/// Bytes that an index entry of a column of this type takes at most; `None` if no index holds it
/// whole.
pub(crate) fn index_bytes(native: &str) -> Option<u32> {
    let base = Parsed::of(native).base;
    if base.ends_with("text") || base.ends_with("blob") {
        return None;
    }
    match key_part(native)? {
        KeyPart::Fixed(_, bytes) => Some(bytes),
        KeyPart::Text(length) => Some(length?.saturating_mul(CHARACTER_BYTES)),
        KeyPart::Bytes(length) => length,
    }
}

/// Whether a foreign key of one type may point to a column of the other: InnoDB wants the very same
/// kind of number, and texts of one collation; lengths may differ.
pub(crate) fn can_refer(own: &str, parent: &str, flavour: Flavour) -> bool {
    let (own, parent) = (Parsed::of(own), Parsed::of(parent));
    let is_text = |it: &Parsed| matches!(it.base.as_str(), "char" | "varchar");
    let is_bytes = |it: &Parsed| matches!(it.base.as_str(), "binary" | "varbinary");
    if is_text(&own) && is_text(&parent) {
        let collation = |it: &Parsed| {
            let of_table = || collation_of(flavour).to_owned();
            it.collation.clone().unwrap_or_else(of_table)
        };
        return collation(&own) == collation(&parent);
    }
    is_bytes(&own) && is_bytes(&parent) || own == parent
}

fn key_part(native: &str) -> Option<KeyPart> {
    let parsed = Parsed::of(native);
    let length = parsed.arguments.first().copied();
    Some(match parsed.base.as_str() {
        // A text form of fixed length, such as that of a UUID.
        "char" if parsed.charset() == Some("ascii") => {
            KeyPart::Fixed(native.to_owned(), length.unwrap_or(1))
        }
        "char" | "varchar" => KeyPart::Text(length),
        "tinytext" => KeyPart::Text(Some(255)),
        "text" | "mediumtext" | "longtext" => KeyPart::Text(None),
        "binary" | "varbinary" => KeyPart::Bytes(length),
        "tinyblob" => KeyPart::Bytes(Some(255)),
        "blob" | "mediumblob" | "longblob" => KeyPart::Bytes(None),
        "decimal" | "numeric" => KeyPart::Fixed(native.to_owned(), 32),
        "uuid" | "inet6" => KeyPart::Fixed(native.to_owned(), 16),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "float" | "double" | "real"
        | "date" | "datetime" | "timestamp" | "time" | "year" | "bit" | "enum" | "set"
        | "inet4" => KeyPart::Fixed(native.to_owned(), 8),
        _ => return None,
    })
}

fn not_selected(table: &TargetTable, name: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Config,
        format!("key column `{name}` of `{}` is not selected", table.name),
    )
}

fn no_key(table: &TargetTable, name: &str, native: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "column `{name}` of `{}` becomes {native} at the target, which no key can hold",
            table.name
        ),
    )
    .with_hint("name another key with `key:`")
}

fn too_long(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "the key of `{}` ({}) is longer than the {KEY_BYTES_MAX} bytes that an index holds",
            table.name,
            table.key.join(", ")
        ),
    )
    .with_hint("name a shorter key with `key:`")
}

/// A column as DDL spells it.
pub(crate) fn column_definition(column: &TargetColumn, native: &str, nullable: bool) -> String {
    let null = if nullable { "NULL" } else { "NOT NULL" };
    format!("{} {native} {null}", identifier(&column.name))
}

/// The statement that creates a target table.
///
/// # Errors
/// `Unsupported` for a key that no index can hold, or a name that no table can have.
pub(crate) fn create_table(
    target: &TargetTable,
    flavour: Flavour,
    comment: &str,
) -> Result<String> {
    check_names(target)?;
    let types = column_types(target, flavour)?;
    let mut lines: Vec<String> = target
        .all_columns()
        .iter()
        .zip(&types)
        .map(|(column, native)| {
            let nullable = column.nullable && !target.key.contains(&column.name);
            format!("  {}", column_definition(column, native, nullable))
        })
        .collect();
    if !target.key.is_empty() {
        lines.push(format!("  PRIMARY KEY ({})", identifiers(&target.key)));
    }
    let comment = if comment.is_empty() {
        String::new()
    } else {
        // Not every place of the grammar takes a character set before a literal.
        format!(" COMMENT={}", text(comment).trim_start_matches("_utf8mb4"))
    };
    Ok(format!(
        "CREATE TABLE {} (\n{}\n) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {}{comment}",
        table(&target.name),
        lines.join(",\n"),
        collation_of(flavour)
    ))
}

fn check_names(target: &TargetTable) -> Result<()> {
    let columns = target.all_columns();
    let names = columns.iter().map(|column| &column.name);
    let cannot_be = |name: &&String| {
        name.chars().count() > NAME_CHARS_MAX
            || name.is_empty()
            || name.ends_with(' ')
            || name.chars().any(|it| it == '\0' || u32::from(it) > 0xffff)
    };
    let Some(name) = names.chain([&target.name.name]).find(cannot_be) else {
        return Ok(());
    };
    Err(ConnectorError::new(
        ErrorClass::Unsupported,
        format!("`{name}` cannot be a name at the target"),
    )
    .with_hint(
        "names have 1 to 64 characters of the first plane of Unicode and do not end in a blank: \
         choose another with `to:` or `rename:`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types;
    use arrow_schema::DataType;
    use syncset_connector::{NativeType, TableName};

    fn column(name: &str, data_type: DataType, native: Option<(&str, &str)>) -> TargetColumn {
        TargetColumn {
            name: name.into(),
            data_type,
            native: native.map(|(engine, name)| NativeType {
                engine: engine.into(),
                name: name.into(),
                as_text: false,
                definition: None,
            }),
            nullable: true,
        }
    }

    fn native(data_type: DataType, native: Option<(&str, &str)>, flavour: Flavour) -> String {
        map_type(&column("c", data_type, native), flavour).native
    }

    #[test]
    fn columns_become_types_that_hold_their_values() {
        use Flavour::{MariaDb, MySql};
        let utf8 = || DataType::Utf8;
        for (data_type, from, flavour, expected) in [
            (utf8(), Some(("postgres", "text")), MySql, "longtext"),
            (
                utf8(),
                Some(("postgres", "character varying(20)")),
                MySql,
                "varchar(20)",
            ),
            (
                utf8(),
                Some(("postgres", "character varying(9000)")),
                MySql,
                "longtext",
            ),
            (utf8(), Some(("sqlite", "VARCHAR(20)")), MySql, "longtext"),
            (utf8(), Some(("postgres", "jsonb")), MySql, "longtext"),
            (utf8(), Some(("postgres", "jsonb")), MariaDb, "json"),
            (utf8(), Some(("mysql", "json")), MySql, "json"),
            (
                utf8(),
                Some(("mysql", "char(3) collate latin1_swedish_ci")),
                MySql,
                "char(3) collate latin1_swedish_ci",
            ),
            (
                utf8(),
                Some(("mysql", "char(3) collate utf8mb4_0900_ai_ci")),
                MariaDb,
                "char(3)",
            ),
            (utf8(), Some(("mariadb", "inet6")), MySql, "varchar(45)"),
            (
                DataType::FixedSizeBinary(16),
                None,
                MySql,
                "char(36) collate ascii_bin",
            ),
            (DataType::FixedSizeBinary(16), None, MariaDb, "uuid"),
            (DataType::Decimal128(38, 38), None, MySql, "longtext"),
            (
                DataType::Decimal128(38, 38),
                None,
                MariaDb,
                "decimal(38,38)",
            ),
            (
                DataType::Decimal256(65, 30),
                Some(("mysql", "decimal(65,30)")),
                MariaDb,
                "decimal(65,30)",
            ),
            (
                types::instant(),
                Some(("mysql", "timestamp(3)")),
                MySql,
                "timestamp(3)",
            ),
            (types::instant(), None, MySql, "datetime(6)"),
        ] {
            assert_eq!(
                native(data_type, from, flavour),
                expected,
                "{from:?} {flavour:?}"
            );
        }
    }

    #[test]
    fn keys_fit_their_index_and_differ_by_their_bytes() {
        let mut table = TargetTable {
            name: TableName::bare("t"),
            columns: vec![
                column("a", DataType::Utf8, None),
                column("b", DataType::Int64, None),
                column("c", DataType::Binary, None),
            ],
            key: vec!["a".into()],
            marks: syncset_connector::Marks::default(),
        };
        let types = |table: &TargetTable| column_types(table, Flavour::MySql).expect("a key");

        assert_eq!(types(&table)[0], "varchar(768) collate utf8mb4_0900_bin");
        table.key = vec!["b".into(), "a".into()];
        assert_eq!(types(&table)[0], "varchar(766) collate utf8mb4_0900_bin");
        table.key = vec!["c".into(), "a".into()];
        assert_eq!(types(&table)[0], "varchar(384) collate utf8mb4_0900_bin");
        assert_eq!(types(&table)[2], "varbinary(1536)");
    }

    #[test]
    fn keys_that_no_index_holds_are_refused() {
        let table = TargetTable {
            name: TableName::bare("t"),
            columns: vec![column(
                "a",
                DataType::Utf8,
                Some(("postgres", "character varying(900)")),
            )],
            key: vec!["a".into()],
            marks: syncset_connector::Marks::default(),
        };

        let error = column_types(&table, Flavour::MySql).expect_err("too long");

        assert_eq!(error.class, ErrorClass::Unsupported);
    }

    #[test]
    fn rows_of_many_long_texts_still_fit() {
        let columns = (0..40).map(|number| {
            column(
                &format!("c{number}"),
                DataType::Utf8,
                Some(("postgres", "character varying(1000)")),
            )
        });
        let table = TargetTable {
            name: TableName::bare("t"),
            columns: columns.collect(),
            key: Vec::new(),
            marks: syncset_connector::Marks::default(),
        };

        let types = column_types(&table, Flavour::MySql).expect("types");

        let short = types.iter().filter(|native| *native == "varchar(1000)");
        assert_eq!(short.count(), 12);
    }

    #[test]
    fn tables_are_created_with_their_mark() {
        let table = TargetTable {
            name: TableName::bare("t"),
            columns: vec![column("id", DataType::Int32, None)],
            key: vec!["id".into()],
            marks: syncset_connector::Marks::default(),
        };

        let sql = create_table(&table, Flavour::MariaDb, "[syncset it's]").expect("a table");

        assert_eq!(
            sql,
            "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB \
             DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin COMMENT='[syncset it\\'s]'"
        );
    }
}
