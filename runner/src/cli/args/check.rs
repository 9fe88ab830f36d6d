//! Arguments of the verbs that look for drift and mend it.

use super::values::{AllowedDeletes, OnLock, parse_allowed_deletes, parse_on_lock};
use crate::check::{Load, ModeChoice, Share};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Rows that differ to name for each table, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// How rows are compared
    #[arg(long, value_enum, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// Compare this part of the keys, such as `5%`: the same keys on both sides, chosen by their
    /// hashes
    #[arg(long, value_parser = Share::parse, value_name = "PERCENT")]
    pub(crate) sample: Option<Share>,
    /// Compare only the selected rows for which this is true, such as `day >= date '2025-01-01'`
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Rows that changed at the source so short a time ago are undecided, such as `10m`; by the time
    /// in their cursor
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) min_age: Option<Duration>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Stop after so many seconds, and exit with 9 if tables or rows are left
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_seconds: Option<u64>,
    /// Write the result as a page of HTML, too; it remembers the checks of the page it replaces
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckTablesArgs {
    /// `CONNECTION.TABLE`, `CONNECTION.SCHEMA.TABLE` or `URL#TABLE`
    pub(crate) left: String,
    /// The same for the table to compare it with
    pub(crate) right: String,
    /// Columns that tell rows apart, in both tables
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", required = true)]
    pub(crate) key: Vec<String>,
    /// Compare only these columns, and the key; default: all of LEFT
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    pub(crate) columns: Vec<String>,
    /// Compare only rows for which this is true on their side, as `where:` of a pipeline
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Rows that differ to name, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// Write the result as a page of HTML, too; it remembers the checks of the page it replaces
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Compare and print the writes as statements of the target, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only these tables, as the pipeline names them
    #[arg(long, value_delimiter = ',', value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Rows that differ to name for each table, at most
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) samples: usize,
    /// Compare and repair only the selected rows for which this is true, such as `day >= date '2025-01-01'`
    #[arg(long = "where", value_name = "EXPR")]
    pub(crate) condition: Option<String>,
    /// Rows that changed at the source so short a time ago are left alone, such as `10m`; by the time
    /// in their cursor
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) min_age: Option<Duration>,
    /// Keep each database busy for this part of the time at most, such as `25%`
    #[arg(long, value_parser = Load::parse, value_name = "PERCENT")]
    pub(crate) max_load: Option<Load>,
    /// Repair so many rows of a table at most; with more, write nothing and exit with 8
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub(crate) max_rows: u64,
    /// Repair this part of a table at most, if it is more than 50 rows
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    pub(crate) max_percent: f64,
    /// Delete up to N rows of a table where a guard would stop it; may be repeated
    #[arg(long, value_parser = parse_allowed_deletes, value_name = "TABLE=N")]
    pub(crate) allow_deletes: Vec<AllowedDeletes>,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
}

#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    /// Name of a file in pipelines/, without `.yaml`
    pub(crate) name: String,
    /// Id of a repair or revert, or the end of it that `history` shows
    pub(crate) run: String,
    /// Say what would be put back, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When another run holds the lease: `fail` (exit 7), `skip` (exit 0) or `wait=DURATION`
    #[arg(long, default_value = "fail", value_parser = parse_on_lock, value_name = "POLICY")]
    pub(crate) on_lock: OnLock,
}
