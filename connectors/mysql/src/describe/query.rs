//! The statements that describe tables.
//!
//! Names are compared on our side: whether information_schema ignores their case depends on the
//! server.

use crate::sql;

/// Tables of the user: not ours.
const USER_TABLES: &str = "t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME NOT LIKE '\\_syncset\\_%'";

/// All tables and views: name, type, options.
pub(super) fn list() -> String {
    format!(
        "SELECT t.TABLE_NAME, t.TABLE_TYPE, t.CREATE_OPTIONS, t.ENGINE
           FROM information_schema.TABLES t WHERE {USER_TABLES}
             AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')
           ORDER BY t.TABLE_NAME"
    )
}

/// `'a', 'b'`, never empty. No table's name holds a character beyond the first 65,536, and the
/// server would not compare one.
fn names<'a>(tables: impl IntoIterator<Item = &'a str>) -> String {
    let can_be = |name: &&str| name.chars().all(|character| u32::from(character) <= 0xffff);
    let names: Vec<_> = tables.into_iter().filter(can_be).map(sql::text).collect();
    if names.is_empty() {
        "NULL".to_owned()
    } else {
        names.join(", ")
    }
}

/// Two answers: tables, columns.
pub(super) fn columns<'a>(tables: impl IntoIterator<Item = &'a str>) -> String {
    let names = names(tables);
    format!(
        "SELECT t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, t.CREATE_OPTIONS, t.TABLE_ROWS,
           t.DATA_LENGTH, t.CREATE_TIME, t.TABLE_COLLATION, t.TABLE_COMMENT
           FROM information_schema.TABLES t
           WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME IN ({names});
         SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, c.COLLATION_NAME, c.IS_NULLABLE,
           c.COLUMN_DEFAULT, c.EXTRA, c.PRIVILEGES, c.ORDINAL_POSITION, c.COLUMN_COMMENT
           FROM information_schema.COLUMNS c
           WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME IN ({names})
           ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION"
    )
}

/// Three answers: indexes, foreign keys, and tables of which only some columns may be shown.
pub(super) fn keys<'a>(tables: impl IntoIterator<Item = &'a str>) -> String {
    let names = names(tables);
    format!(
        "SELECT s.TABLE_NAME, s.INDEX_NAME, s.NON_UNIQUE, s.SUB_PART, s.COLUMN_NAME,
             s.INDEX_TYPE
           FROM information_schema.STATISTICS s
           WHERE s.TABLE_SCHEMA = DATABASE() AND s.TABLE_NAME IN ({names})
           ORDER BY s.TABLE_NAME, s.INDEX_NAME, s.SEQ_IN_INDEX;
         SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
           k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
           FROM information_schema.KEY_COLUMN_USAGE k
           JOIN information_schema.REFERENTIAL_CONSTRAINTS r
             ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME
             AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
           WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME IN ({names})
             AND r.CONSTRAINT_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL
           ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION;
         {partial}",
        partial = partial(&names),
    )
}

/// Tables to some columns of which this user has rights of their own, of a list of quoted names.
pub(crate) fn partial(names: &str) -> String {
    format!(
        "SELECT DISTINCT p.TABLE_NAME FROM information_schema.COLUMN_PRIVILEGES p
           WHERE p.TABLE_SCHEMA = DATABASE() AND p.TABLE_NAME IN ({names})"
    )
}

/// MariaDB's JSON is a text with a check: table, the check.
pub(crate) fn json_checks<'a>(tables: impl IntoIterator<Item = &'a str>) -> String {
    format!(
        "SELECT k.TABLE_NAME, k.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS k
           WHERE k.CONSTRAINT_SCHEMA = DATABASE() AND k.TABLE_NAME IN ({})
             AND k.CHECK_CLAUSE LIKE 'json_valid(%'",
        names(tables)
    )
}

/// What InnoDB calls tables: `database/table`, its number, how often its rows changed form. Needs
/// the right PROCESS.
pub(super) fn innodb_tables(is_mariadb: bool) -> &'static str {
    // Names are stored in a character set of file names, so they are compared on our side.
    if is_mariadb {
        "SELECT i.NAME, i.TABLE_ID, NULL FROM information_schema.INNODB_SYS_TABLES i
           WHERE i.NAME LIKE CONCAT(REPLACE(DATABASE(), '_', '\\_'), '/%')"
    } else {
        "SELECT i.NAME, i.TABLE_ID, i.TOTAL_ROW_VERSIONS FROM information_schema.INNODB_TABLES i
           WHERE i.NAME LIKE CONCAT(REPLACE(DATABASE(), '_', '\\_'), '/%')"
    }
}
