//! One run as a trace: a span for the run, under it one for each table and hook, under each table
//! one for each unit.

use super::attributes::{self as say, count};
use crate::exit_code;
use crate::failure::Failure;
use crate::logging::{self, SpanIds};
use crate::observer::{RunObserver, UnitBegun, UnitEnd, UnitKind};
use crate::planned::PlannedTable;
use crate::report::{HookOutcome, HookReport, RunReport};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, Status, TraceContextExt, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use syncset_pipeline::PipelineSpec;

/// The spans of one run.
pub(super) struct RunSpans {
    tracer: SdkTracer,
    project: String,
    /// What both stores are, if that is known.
    stores: Option<(String, String)>,
    state: Mutex<State>,
}

struct State {
    /// What spans of the run belong to: before it begins, the trace that it joins.
    context: Context,
    run: Option<Span>,
    tables: BTreeMap<String, TableSpan>,
    units: HashMap<u64, UnitSpan>,
    units_begun: u64,
    hook: Option<Span>,
}

/// A table: a span from its first turn on.
#[derive(Default)]
struct TableSpan {
    facts: Vec<KeyValue>,
    span: Option<Span>,
    /// When it was through, or a unit that came later.
    ended: Option<SystemTime>,
    chunks: u64,
    windows: u64,
    units_failed: u64,
}

struct UnitSpan {
    span: Span,
    stream: String,
    kind: UnitKind,
}

impl RunSpans {
    /// For a run that joins the trace of `parent`, if that holds one.
    pub(super) fn new(
        tracer: SdkTracer,
        parent: Context,
        project: &str,
        spec: Option<&PipelineSpec>,
    ) -> Self {
        let systems = |spec: &PipelineSpec| {
            (
                say::system(&spec.source.kind),
                say::system(&spec.target.kind),
            )
        };
        Self {
            tracer,
            project: project.to_owned(),
            stores: spec.map(systems),
            state: Mutex::new(State {
                context: parent,
                run: None,
                tables: BTreeMap::new(),
                units: HashMap::new(),
                units_begun: 0,
                hook: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, name: String, attributes: Vec<KeyValue>, parent: &Context) -> Span {
        let builder = SpanBuilder::from_name(name).with_attributes(attributes);
        self.tracer.build_with_context(builder, parent)
    }

    /// The span of a table; begins it if its first turn is about to come.
    fn table<'a>(&self, state: &'a mut State, stream: &str) -> &'a mut TableSpan {
        let table = state.tables.entry(stream.to_owned()).or_default();
        if table.span.is_none() {
            let facts = std::mem::take(&mut table.facts);
            table.span = Some(self.start(format!("table {stream}"), facts, &state.context));
        }
        table
    }
}

/// The context of what happens within a span.
fn within(span: &SpanContext) -> Context {
    Context::new().with_remote_span_context(span.clone())
}

/// Marks a span as failed. Says the class and the code of the failure, never its sentence.
fn mark_failed(span: &mut Span, failure: &Failure) {
    let kind = say::error_type(failure);
    let mut description = kind.to_owned();
    span.set_attribute(KeyValue::new("error.type", kind));
    if let Some(code) = &failure.code {
        description = format!("{kind} ({code})");
        span.set_attribute(KeyValue::new("db.response.status_code", code.clone()));
    }
    span.set_status(Status::error(description));
}

/// The failure that says most about a run: what stopped all of it goes first.
fn first_failure(report: &RunReport) -> Option<&Failure> {
    let tables = report
        .tables
        .iter()
        .filter_map(|table| table.failure.as_ref());
    let hooks = report.hooks.iter().filter(|hook| hook.fails_the_run());
    let hooks = hooks.filter_map(|hook| hook.failure.as_ref());
    report.failures.iter().chain(tables).chain(hooks).next()
}

impl RunObserver for RunSpans {
    fn run_started(&self, report: &RunReport) {
        let mut attributes = say::of_run_begun(&self.project, report);
        if let Some((source, target)) = &self.stores {
            attributes.push(KeyValue::new("syncset.source_system", source.clone()));
            attributes.push(KeyValue::new("db.system.name", target.clone()));
        }
        let mut state = self.state();
        let name = format!("run {}", report.pipeline);
        let span = self.start(name, attributes, &state.context);
        let ids = span.span_context();
        if ids.is_valid() {
            logging::belongs_to(SpanIds {
                trace_id: ids.trace_id().to_string(),
                span_id: ids.span_id().to_string(),
            });
        }
        state.context = within(ids);
        state.run = Some(span);
    }

    fn table_planned(&self, table: &PlannedTable) {
        let target = self.stores.as_ref().map(|(_, target)| target.as_str());
        let facts = say::of_planned(table, target.unwrap_or_default());
        let mut state = self.state();
        let tables = &mut state.tables;
        tables.entry(table.stream().to_owned()).or_default().facts = facts;
    }

    fn table_started(&self, stream: &str) {
        self.table(&mut self.state(), stream);
    }

    fn table_finished(&self, stream: &str) {
        let mut state = self.state();
        self.table(&mut state, stream).ended = Some(SystemTime::now());
    }

    fn unit_started(&self, unit: &UnitBegun<'_>) -> u64 {
        let mut state = self.state();
        let kind = say::unit_name(unit.kind);
        let mut attributes = vec![
            KeyValue::new("syncset.unit", kind),
            count("syncset.attempt", u64::from(unit.attempts_failed) + 1),
        ];
        if let UnitKind::Chunk(index) = unit.kind {
            attributes.push(count("syncset.chunk", u64::from(index)));
        }
        let (name, parent) = match unit.kind {
            UnitKind::Together => (kind.to_owned(), state.context.clone()),
            _ => {
                let table = self.table(&mut state, unit.stream);
                let span = table.span.as_ref();
                let parent = span.map(|span| within(span.span_context()));
                let name = format!("{kind} {}", unit.stream);
                (name, parent.unwrap_or_default())
            }
        };
        if has_one_table(unit.kind) {
            attributes.push(KeyValue::new("syncset.table", unit.stream.to_owned()));
        }
        let span = self.start(name, attributes, &parent);
        state.units_begun += 1;
        let id = state.units_begun;
        let unit = UnitSpan {
            span,
            stream: unit.stream.to_owned(),
            kind: unit.kind,
        };
        state.units.insert(id, unit);
        id
    }

    fn unit_ended(&self, id: u64, end: UnitEnd<'_>) {
        let mut state = self.state();
        let Some(mut unit) = state.units.remove(&id) else {
            return;
        };
        match end {
            UnitEnd::Committed(counts) => {
                unit.span.set_attributes(say::of_rows(counts));
            }
            UnitEnd::Failed(failure) => mark_failed(&mut unit.span, failure),
            UnitEnd::Left => {
                unit.span.set_attribute(KeyValue::new("error.type", "left"));
                unit.span
                    .set_status(Status::error("left: it was rolled back"));
            }
        }
        let now = SystemTime::now();
        unit.span.end_with_timestamp(now);
        if !has_one_table(unit.kind) {
            return;
        }
        let table = self.table(&mut state, &unit.stream);
        match (end, unit.kind) {
            (UnitEnd::Committed(_), UnitKind::Chunk(_)) => table.chunks += 1,
            (UnitEnd::Committed(_), UnitKind::Window) => table.windows += 1,
            (UnitEnd::Committed(_), _) => {}
            (UnitEnd::Failed(_) | UnitEnd::Left, _) => table.units_failed += 1,
        }
        table.ended = table.ended.map(|_| now);
    }

    fn hook_started(&self, hook: &HookReport) -> Vec<(String, String)> {
        let mut state = self.state();
        let name = format!("hook {}", hook.hook);
        let span = self.start(name, say::of_hook(hook), &state.context);
        let mut variables = HashMap::new();
        let context = within(span.span_context());
        TraceContextPropagator::new().inject_context(&context, &mut variables);
        state.hook = Some(span);
        let variables = variables.into_iter();
        let variables = variables.filter(|(_, value)| !value.is_empty());
        variables
            .map(|(name, value)| (name.to_ascii_uppercase(), value))
            .collect()
    }

    fn hook_ended(&self, hook: &HookReport) {
        let Some(mut span) = self.state().hook.take() else {
            return;
        };
        let outcome = match hook.outcome {
            HookOutcome::Done => "done",
            HookOutcome::Failed => "failed",
            HookOutcome::NotRun => "not_run",
        };
        span.set_attribute(KeyValue::new("syncset.outcome", outcome));
        if let Some(failure) = &hook.failure {
            mark_failed(&mut span, failure);
        }
        span.end();
    }

    fn run_finished(&self, report: &RunReport) {
        let mut state = self.state();
        for (stream, mut table) in std::mem::take(&mut state.tables) {
            // One that had no turn, such as each of a dry run, has no span.
            let Some(mut span) = table.span.take() else {
                continue;
            };
            let mut reports = report.tables.iter();
            if let Some(report) = reports.find(|report| report.table == stream) {
                span.set_attributes(say::of_table(report));
                if let Some(failure) = &report.failure {
                    mark_failed(&mut span, failure);
                }
            }
            span.set_attributes([
                count("syncset.chunks", table.chunks),
                count("syncset.windows", table.windows),
                count("syncset.units_failed", table.units_failed),
            ]);
            span.end_with_timestamp(table.ended.unwrap_or_else(SystemTime::now));
        }
        let Some(mut span) = state.run.take() else {
            return;
        };
        let mut settled = report.clone();
        // The code of the report may be that of `--skip-exit-code`.
        settled.settle_exit_code();
        let is_good = settled.exit_code == exit_code::DONE;
        span.set_attributes(say::of_run(report, is_good));
        if !is_good {
            let kind = say::of_exit_code(report.exit_code);
            match first_failure(report) {
                Some(failure) => mark_failed(&mut span, failure),
                None => {
                    span.set_attribute(KeyValue::new("error.type", kind));
                    span.set_status(Status::error(kind));
                }
            }
        }
        span.end();
    }
}

/// Whether units of a kind belong to one table.
fn has_one_table(kind: UnitKind) -> bool {
    kind != UnitKind::Together
}
