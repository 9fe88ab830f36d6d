//! What the suites stand on: throw-away servers, projects, the real binary, load and faults.
//!
//! Everything here panics with a sentence when it cannot do its work; none of it is used outside
//! of tests.

mod account;
mod any_database;
mod any_session;
mod bags;
mod browser;
mod chinook;
mod cluster;
mod collector;
mod commit_proxy;
mod database;
mod engine;
mod engine_state;
mod frames;
pub mod load;
pub mod mysql;
mod mysql_server;
mod plugins;
mod pooler;
pub mod postgres;
mod process;
mod project;
pub mod proxy;
mod rows;
mod sample_table;
mod small_disk;
mod sqlite;
mod statement_log;
mod terminal;
mod tls;
mod writer;
mod writer_session;

pub use any_database::AnyDatabase;
pub use any_session::AnySession;
pub use bags::assert_same_bag;
pub use browser::Browser;
pub use chinook::{
    CHINOOK_TABLES, ChinookTable, load_chinook, load_chinook_mysql, load_chinook_sqlite,
};
pub use collector::{Answer, Collector, Received, SeenSpan};
pub use commit_proxy::CommitProxy;
pub use database::{Database, Role};
pub use engine::{Engine, NameLength};
pub use load::{Ledger, Load, LoadOptions, RunningLoad, Stamp, Weights, eventually};
pub use mysql::{Flavour, MysqlDatabase, MysqlServer, mariadb, mysql};
pub use plugins::{PluginLanguage, build_plugin, run_plugin_tool};
pub use pooler::Pooler;
pub use postgres::{PostgresServer, StopMode, own_postgres, postgres};
pub use process::Process;
pub use project::{Output, Project, binary, workspace};
pub use proxy::{Cut, CutMoment, Proxy};
pub use rows::{Comparison, Place, TextRow, compare, compare_keyed};
pub use sample_table::{Kind, SampleTable, sorted, text_row};
pub use small_disk::SmallDisk;
pub use sqlite::SqliteFile;
pub use statement_log::LoggedStatement;
pub use terminal::{OnTerminal, Terminal};
pub use tls::Certificates;
