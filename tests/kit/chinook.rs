//! The Chinook database: a music shop of 11 tables and some 15,600 rows.
//!
//! Its licence is beside the data, in `tests/data/chinook_LICENSE.md`.

use crate::{Database, MysqlDatabase, SqliteFile};
use std::io::Read;

const POSTGRES: &[u8] = include_bytes!("../data/chinook_postgresql.sql.gz");
const MYSQL: &[u8] = include_bytes!("../data/chinook_mysql.sql.gz");
const SQLITE: &[u8] = include_bytes!("../data/chinook_sqlite.sql.gz");

/// A table of Chinook under its name in both forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChinookTable {
    /// Name in PostgreSQL.
    pub postgres: &'static str,
    /// Name in SQLite, MySQL and MariaDB.
    pub sqlite: &'static str,
    /// Columns of the primary key; they come first in the table.
    pub key_columns: usize,
    /// How many rows it has.
    pub row_count: u64,
}

const fn table(
    postgres: &'static str,
    sqlite: &'static str,
    key_columns: usize,
    row_count: u64,
) -> ChinookTable {
    ChinookTable {
        postgres,
        sqlite,
        key_columns,
        row_count,
    }
}

/// All tables, by name.
pub const CHINOOK_TABLES: [ChinookTable; 11] = [
    table("album", "Album", 1, 347),
    table("artist", "Artist", 1, 275),
    table("customer", "Customer", 1, 59),
    table("employee", "Employee", 1, 8),
    table("genre", "Genre", 1, 25),
    table("invoice", "Invoice", 1, 412),
    table("invoice_line", "InvoiceLine", 1, 2240),
    table("media_type", "MediaType", 1, 5),
    table("playlist", "Playlist", 1, 18),
    table("playlist_track", "PlaylistTrack", 2, 8715),
    table("track", "Track", 1, 3503),
];

/// Creates and fills the tables in an empty PostgreSQL database.
pub async fn load_chinook(database: &Database) {
    let script = unpack(POSTGRES);
    // What comes before is for `psql`: it creates the database and connects to it.
    let (_, script) = script
        .split_once("\\c chinook;")
        .expect("the script connects to its database");
    database.execute(script).await;
}

/// Creates and fills the tables in an empty database of MySQL or MariaDB.
pub async fn load_chinook_mysql(database: &MysqlDatabase) {
    let script = unpack(MYSQL);
    // What comes before creates a database of its own.
    let (_, script) = script
        .split_once("USE `Chinook`;")
        .expect("the script uses its database");
    database.execute(script).await;
}

/// Creates and fills the tables in an empty SQLite file.
pub async fn load_chinook_sqlite(file: &SqliteFile) {
    let script = unpack(SQLITE);
    let script = script.trim_start_matches('\u{feff}');
    file.execute(&format!("BEGIN;\n{script}\nCOMMIT;")).await;
}

fn unpack(packed: &[u8]) -> String {
    let mut script = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut script)
        .expect("the script is UTF-8 packed with gzip");
    script
}
