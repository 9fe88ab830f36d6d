//! What was made of target tables, stored with the DDL that made it.

use super::load::target_columns;
use super::text::{json_literal, key_is, key_values, literal};
use syncset_connector::{MadeTable, PipelineKey};

/// Makes the stream that is loaded into a table load it again: its columns are others now. In the
/// transaction of the DDL, so that no crash leaves an altered table that seems to be loaded.
pub(crate) fn reload_statement(key: &PipelineKey, made: &MadeTable) -> String {
    let (schema, table) = target_columns(&made.target);
    format!(
        "UPDATE _syncset.watermark SET selection = '' \
         WHERE {} AND target_schema = {} AND target_table = {}",
        key_is("", key),
        literal(schema),
        literal(table)
    )
}

/// Stores what is made of a target table; what another pipeline made of a table of this name is
/// gone with that table.
pub(crate) fn made_statement(key: &PipelineKey, made: &MadeTable) -> String {
    let (schema, table) = target_columns(&made.target);
    format!(
        "INSERT INTO _syncset.made (project, pipeline, target_schema, target_table, made) \
         VALUES ({}, {}, {}, {}) ON CONFLICT (target_schema, target_table) DO UPDATE SET \
         project = excluded.project, pipeline = excluded.pipeline, made = excluded.made",
        key_values(key),
        literal(schema),
        literal(table),
        json_literal(&serde_json::to_value(made).expect("names are plain JSON"))
    )
}
