//! `rejected retry`: reads rejected rows again from the source and writes them, under the lease.

use super::of_tables;
use crate::cli::args::{Output, RejectedRetryArgs, RunArgs};
use crate::cli::pipeline::{open_state_of, state_of, write_rows};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::report::{RunReport, TableReport};
use crate::run::Extent;
use serde::Serialize;
use syncset_connector::RejectedRow;

#[derive(Serialize)]
struct Retried {
    table: String,
    /// Rows that waited.
    tried: usize,
    rows_written: u64,
    /// Rows that wait on.
    rejected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

/// Tries rejected rows again; everything else of the tables stays for the next run.
pub(crate) async fn retry(context: &Context, args: &RejectedRetryArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let (key, store) = open_state_of(context, &spec).await?;
    let waiting = state_of(store.as_ref()).load(&key, 0).await?.rejected;
    store.close().await;
    let waiting = of_tables(waiting, &args.tables, &args.name)?;
    if waiting.is_empty() {
        match context.output {
            Output::Text => render::text_out(&format!("{}: no rejected row waits\n", args.name)),
            _ => render::json(&document(&args.name, exit_code::DONE, &[], None)),
        }
        return Ok(exit_code::DONE);
    }
    let mut tables: Vec<String> = waiting.iter().map(|row| row.stream.clone()).collect();
    tables.dedup();
    let run_args = RunArgs {
        tables,
        ..RunArgs::of(&args.name)
    };
    let report = write_rows(context, &spec, &run_args, Extent::RejectedRows).await?;
    print(context, &report, &waiting);
    Ok(report.exit_code)
}

fn print(context: &Context, report: &RunReport, waiting: &[RejectedRow]) {
    let retried: Vec<Retried> = report
        .tables
        .iter()
        .map(|table| retried(table, waiting))
        .collect();
    if context.output != Output::Text {
        let document = document(&report.pipeline, report.exit_code, &retried, Some(report));
        return render::json(&document);
    }
    report.failures.iter().for_each(render::failure);
    for table in &retried {
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
        render::text_out(&format!(
            "{}: {} tried, {} written, {} rejected again\n",
            table.table, table.tried, table.rows_written, table.rejected
        ));
    }
}

fn retried(table: &TableReport, waiting: &[RejectedRow]) -> Retried {
    Retried {
        table: table.table.clone(),
        tried: waiting
            .iter()
            .filter(|row| row.stream == table.table)
            .count(),
        rows_written: table.rows_written,
        rejected: table.rows_rejected,
        failure: table.failure.clone(),
    }
}

fn document(
    pipeline: &str,
    code: i32,
    tables: &[Retried],
    report: Option<&RunReport>,
) -> serde_json::Value {
    serde_json::json!({
        "exit_code": code,
        "pipeline": pipeline,
        "tables": tables,
        "failures": report.map(|report| report.failures.as_slice()).unwrap_or_default(),
    })
}
