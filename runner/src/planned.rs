//! From the files and what both stores say to a plan: what a run would do with each table.

use crate::cli::args::AllowedDeletes;
use crate::copied::{self, CopiedIndex};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::fit::{self, Fit};
use crate::foreign_keys::{self, Beside};
use crate::gone::{self, Gone};
use crate::open::Ends;
use crate::related;
use arrow_schema::DataType;
use std::sync::Arc;
use syncset_connector::{
    Exactness, Holds, Mask, OnDelete, OnLossy, PipelineState, ReadPlan, TableDescription,
    TargetColumn, TargetStatus, TargetTable, WriteMode,
};
use syncset_pipeline::{
    Condition, Consistency, OnPluginError, OutputValue, PipelineSpec, Place, PluginColumn, Problem,
    PushDown, Selected, TablePlan, TransformStep, gone_tables, plan_tables, select_tables,
};
use syncset_transform::{
    MaskedValue, OutputExpr, OutputSpec, Part, PluginStep, Transform, TransformContext,
    TransformSpec,
};

/// What `plan` says of `consistency: pipeline`.
const TOGETHER: &str = "the changes of all tables are committed in one transaction \
    (`consistency: pipeline`)";

/// One table of a plan, with everything a run needs.
#[derive(Clone)]
pub(crate) struct PlannedTable {
    /// What the files say.
    pub(crate) plan: TablePlan,
    /// Conditions and derived columns that are computed here.
    pub(crate) transform: Arc<Transform>,
    /// The target table.
    pub(crate) target: TargetTable,
    /// What happens to values that do not fit, for each of the target's columns.
    pub(crate) policies: Vec<OnLossy>,
    /// Makes them fit.
    pub(crate) fit: Arc<Fit>,
    /// Its name as SQL of the target spells it.
    pub(crate) target_sql: String,
    /// What the target says about it.
    pub(crate) status: TargetStatus,
    /// What the source would be asked, and its notes.
    pub(crate) statements: Vec<String>,
    /// Notes of the plan and the source.
    pub(crate) notes: Vec<String>,
    /// Bytes of the table at the source, if it says.
    pub(crate) byte_estimate: Option<u64>,
    /// Rows of the table at the source, if it says.
    pub(crate) row_estimate: Option<u64>,
    /// Streams of the tables that its rows refer to, itself left out.
    pub(crate) parents: Vec<String>,
    /// What the source's further unique keys become, if we create the table.
    pub(crate) indexes: Vec<CopiedIndex>,
    /// Whether its foreign keys could be decided by all tables of the pipeline.
    pub(crate) beside: Beside,
    /// What stops this table.
    pub(crate) failures: Vec<Failure>,
}

impl PlannedTable {
    /// The stream's name.
    pub(crate) fn stream(&self) -> &str {
        &self.plan.stream
    }

    /// How rows are written.
    pub(crate) fn write(&self) -> WriteMode {
        self.plan.write
    }

    /// Whether rows are told apart by a key at the target.
    pub(crate) fn has_key(&self) -> bool {
        !self.plan.key.is_empty()
    }

    /// Rows that a run may delete whatever the guard says: the greatest number that is given for
    /// the table.
    pub(crate) fn allowed_deletes(&self, allowed: &[AllowedDeletes]) -> Option<u64> {
        let own = allowed
            .iter()
            .filter(|allowed| self.is_named(&allowed.table));
        own.map(|allowed| allowed.row_count).max()
    }

    /// Whether a flag means this table.
    fn is_named(&self, name: &str) -> bool {
        self.plan.stream == name || self.plan.read.description.name.name == name
    }

    /// Whether rows that are gone are taken away: deleted, or marked.
    pub(crate) fn deletes(&self) -> bool {
        self.plan.on_delete != OnDelete::Keep
    }
}

/// The tables of `--allow-deletes` that the pipeline does not have.
pub(crate) fn unknown_tables(tables: &[PlannedTable], allowed: &[AllowedDeletes]) -> Vec<Failure> {
    let unknown = allowed
        .iter()
        .filter(|allowed| !tables.iter().any(|table| table.is_named(&allowed.table)));
    let failure = |allowed: &AllowedDeletes| {
        let streams: Vec<_> = tables.iter().map(PlannedTable::stream).collect();
        let message = format!(
            "`--allow-deletes` names table `{}`, which the run does not have",
            allowed.table
        );
        Failure::new(exit_code::CONFIG, message)
            .with_hint(format!("tables of this run: {}", streams.join(", ")))
    };
    unknown.map(failure).collect()
}

/// The plan of a pipeline.
pub(crate) struct Planned {
    /// Its tables, parents first.
    pub(crate) tables: Vec<PlannedTable>,
    /// What was stored of it when the plan was made.
    pub(crate) state: PipelineState,
    /// Tables that were loaded and that the source has no longer: each stops alone.
    pub(crate) gone: Vec<Gone>,
}

/// What the source can evaluate, for the pure planner.
struct Push<'a>(&'a Ends);

impl PushDown for Push<'_> {
    fn can_push(
        &self,
        table: &TableDescription,
        predicate: &syncset_connector::Predicate,
    ) -> Result<(), String> {
        self.0.source().can_push(table, predicate)
    }

    fn widens(&self, before: &str, after: &str) -> bool {
        self.0.source().widens(before, after)
    }
}

/// Makes the plan. Reads catalogues only; changes nothing. `only`: streams to keep, all if empty.
/// `slice`: a condition by which only some of the selected rows are read.
pub(crate) async fn plan(
    ends: &Ends,
    spec: &PipelineSpec,
    only: &[String],
    slice: Option<&str>,
) -> Result<Planned, Failures> {
    let (listed, state) = tokio::join!(
        ends.source_store().list_tables(),
        ends.state().load(&ends.key, 0)
    );
    let (listed, state) = (listed?, state?);
    let streams: Vec<_> = state.streams.iter().map(|it| it.stream.as_str()).collect();
    let gone = gone_tables(spec, &listed, &streams);
    let selected = select_tables(spec, &listed, &gone)?;
    let gone = gone::of(ends, spec, gone, (&listed, &selected), &state).await?;
    let gone: Vec<_> = gone.into_iter().filter(|gone| gone.is_of(only)).collect();
    let mut selected = keep_only(selected, only, &gone)?;
    remember(&mut selected, &state);
    let mut tables = draft(ends, spec, selected, slice).await?;
    if !only.is_empty() {
        tables.iter_mut().for_each(|it| it.beside = Beside::Some);
    }
    let rules = foreign_keys::Rules {
        target: ends.target(),
        consistency: spec.consistency,
        alike: spec.source.kind == spec.target.kind,
    };
    foreign_keys::add(&mut tables, &rules);
    let planned = complete(ends, spec, tables, state).await?;
    Ok(Planned { gone, ..planned })
}

/// Gives each table what its stream was loaded under.
pub(crate) fn remember(selected: &mut [Selected], state: &PipelineState) {
    for selected in selected {
        let mut streams = state.streams.iter();
        let stored = streams.find(|stored| stored.stream == selected.stream);
        selected.loaded_under = stored.and_then(|stored| stored.selection_text.clone());
    }
}

/// These tables as the files want them, after the source described them and before either store
/// was asked what it thinks of that. `slice` as for [`plan`].
pub(crate) async fn draft(
    ends: &Ends,
    spec: &PipelineSpec,
    selected: Vec<Selected>,
    slice: Option<&str>,
) -> Result<Vec<PlannedTable>, Failures> {
    let names: Vec<_> = selected
        .iter()
        .map(|selected| selected.table.clone())
        .collect();
    let descriptions = ends.source_store().describe(&names).await?;
    let mut described = Vec::with_capacity(selected.len());
    for (selected, description) in selected.into_iter().zip(descriptions) {
        let description = description.ok_or_else(|| {
            let message = format!("table `{}` is gone from the source", selected.table);
            Failure::new(exit_code::RETRY, message).with_hint("run again")
        })?;
        described.push((selected, description));
    }
    ends.plugins().prepare()?;
    let plans = plan_tables(spec, &described, &Push(ends), ends.plugins(), slice)?;

    let context = TransformContext::new(chrono::Utc::now());
    let silent = TransformContext::new(context.now());
    let silent = silent.with_functions(ends.plugins().silent_functions());
    let context = context.with_functions(ends.plugins().functions());
    let mut tables = Vec::with_capacity(plans.len());
    let alike = spec.source.kind == spec.target.kind;
    for plan in plans {
        let context = match has_masks(spec, &plan) {
            true => &silent,
            false => &context,
        };
        let mut table = compile(ends, spec, plan, context)?;
        table.indexes = copied::of(&table, ends.target(), alike);
        tables.push(table);
    }
    Ok(tables)
}

/// Whether the file masks columns of a table, also ones that are not copied.
fn has_masks(spec: &PipelineSpec, plan: &TablePlan) -> bool {
    let rule = spec.tables.iter().find(|rule| rule.place == plan.place);
    let settings = rule.and_then(|rule| rule.settings.as_ref());
    settings.is_some_and(|settings| !settings.mask.is_empty())
}

/// Completes a draft with what both stores say about it.
pub(crate) async fn complete(
    ends: &Ends,
    spec: &PipelineSpec,
    mut tables: Vec<PlannedTable>,
    state: PipelineState,
) -> Result<Planned, Failures> {
    ask_stores(ends, &mut tables).await?;
    let mut tables = related::arrange(tables);
    if spec.consistency == Consistency::Pipeline
        && let Some(first) = tables.first_mut()
    {
        first.notes.push(TOGETHER.to_owned());
    }
    Ok(Planned {
        tables,
        state,
        gone: Vec::new(),
    })
}

fn keep_only(
    selected: Vec<Selected>,
    only: &[String],
    gone: &[Gone],
) -> Result<Vec<Selected>, Failure> {
    if only.is_empty() {
        return Ok(selected);
    }
    let is_named = |selected: &Selected, name: &String| {
        selected.stream == *name || selected.table.name == *name
    };
    for name in only {
        let is_gone = gone
            .iter()
            .any(|gone| gone.is_of(std::slice::from_ref(name)));
        if !is_gone && !selected.iter().any(|selected| is_named(selected, name)) {
            let streams: Vec<_> = selected.iter().map(|one| one.stream.as_str()).collect();
            let message = format!("the pipeline has no table `{name}`");
            return Err(Failure::new(exit_code::CONFIG, message)
                .with_hint(format!("tables of this pipeline: {}", streams.join(", "))));
        }
    }
    let keep = |selected: &Selected| only.iter().any(|name| is_named(selected, name));
    Ok(selected.into_iter().filter(keep).collect())
}

/// Where the values of an output come from.
fn expression(value: &OutputValue, table: &TableDescription) -> OutputExpr {
    match value {
        OutputValue::Column(name) => OutputExpr::Input(name.clone()),
        OutputValue::Derived { sql, .. } => OutputExpr::Sql(sql.clone()),
        // Added by a plugin: nothing before it knows of such a column.
        OutputValue::Plugin { name, .. } => OutputExpr::Input(name.clone()),
        OutputValue::Masked(value, mask) => {
            let unread = value.column().filter(|_| !mask.reads_values());
            let unread = unread.and_then(|name| table.column(name));
            let value = match (unread, expression(value, table)) {
                (Some(column), _) => MaskedValue::Unread(column.data_type.clone()),
                (None, OutputExpr::Input(name)) => MaskedValue::Input(name),
                (None, OutputExpr::Sql(sql)) => MaskedValue::Sql(sql),
                // A mask is never put on another one.
                (None, masked @ OutputExpr::Masked(..)) => return masked,
            };
            OutputExpr::Masked(value, mask.clone())
        }
    }
}

/// What is computed here, and the plan with the columns that plugins add to it.
fn transformed(
    ends: &Ends,
    spec: &PipelineSpec,
    plan: TablePlan,
    context: &TransformContext,
) -> Result<(Transform, TablePlan), Failures> {
    let has_plugins = !plan.transforms.is_empty();
    let outputs = plan.outputs.iter().map(|output| OutputSpec {
        // Plugins know the names of the source.
        name: match has_plugins {
            true => output.value.source_name().to_owned(),
            false => output.name.clone(),
        },
        value: expression(&output.value, &plan.read.description),
    });
    let extras = plan.extras.iter();
    let extras = extras.map(|name| OutputSpec::input(name, name));
    let keys = plan
        .outputs
        .iter()
        .filter(|output| plan.key.contains(&output.name));
    let key: Vec<String> = keys
        .map(|output| output.value.source_name().to_owned())
        .collect();
    let steps = plan.transforms.iter().map(|step| {
        if plan.key.is_empty() && step.on_error == OnPluginError::SkipRow {
            let message = format!(
                "`on_error: skip_row` of plugin `{}` needs a key: `{}` has none",
                step.plugin, plan.stream
            );
            let problem = Problem::at(&spec.path, step.place, message);
            return Err(problem
                .with_hint("name one with `key:`, or use `on_error: fail`")
                .into());
        }
        let plugins = ends.plugins();
        let step = plugins.step(step, &plan.stream, context.now())?;
        Ok(PluginStep {
            key: key.clone(),
            ..step
        })
    });
    let transform_spec = TransformSpec {
        table: plan.stream.clone(),
        input: plan.read.schema(),
        condition: plan.residual.clone(),
        outputs: outputs.chain(extras).collect(),
        steps: steps.collect::<Result<_, Failure>>()?,
    };
    let transform = Transform::compile(&transform_spec, context).map_err(|error| {
        let part = error.part().cloned();
        let mut failure = Failure::from(error);
        failure.exit_code = exit_code::CONFIG;
        if let Some(place) = part.and_then(|part| place_of(spec, &plan, &part, &failure.message)) {
            let problem = Problem::at(&spec.path, place, failure.message.clone());
            failure.message = problem.to_string();
        }
        let mut failures = vec![failure];
        failures.extend(ends.plugins().failures());
        Failures(failures)
    })?;
    if !has_plugins {
        return Ok((transform, plan));
    }
    let returned = transform.returned().into_iter();
    let returned: Vec<_> = returned
        .map(|(name, plugin)| PluginColumn {
            name: name.to_owned(),
            plugin: plugin.to_owned(),
        })
        .collect();
    let plan = plan.with_plugin_columns(spec, &returned)?;
    let columns = plan.outputs.iter();
    let columns = columns.map(|output| (output.name.as_str(), output.value.source_name()));
    let transform = transform.choose(columns).map_err(Failure::from)?;
    Ok((transform, plan))
}

/// Where the file has the part of a table that cannot be used. `message`: names the plugin, if it
/// is one.
fn place_of(spec: &PipelineSpec, plan: &TablePlan, part: &Part, message: &str) -> Option<Place> {
    let rule = spec.tables.iter().find(|rule| rule.place == plan.place);
    let settings = rule.and_then(|rule| rule.settings.as_ref());
    // Without plugins a column is known by its name at the target.
    let own = |column: &str| {
        let mut outputs = plan.outputs.iter();
        let output = outputs.find(|output| output.name == column);
        output
            .map_or(column, |output| output.value.source_name())
            .to_owned()
    };
    match part {
        Part::Condition => match &settings?.condition {
            // That of a slice comes from the command line.
            Some(Condition::Sql(sql)) if plan.slice.is_none() => Some(sql.place),
            _ => None,
        },
        Part::Column(column) => {
            let (column, mut derived) = (own(column), settings?.derive.iter());
            let found = derived.find(|(name, _)| name.text == column);
            found.map(|(_, sql)| sql.place)
        }
        Part::Mask(_) => None,
        Part::Plugin => {
            let names =
                |step: &&TransformStep| message.contains(&format!("plugin `{}`", step.plugin));
            plan.transforms.iter().find(names).map(|step| step.place)
        }
    }
}

/// Compiles what is computed here and so learns the types of computed columns.
fn compile(
    ends: &Ends,
    spec: &PipelineSpec,
    plan: TablePlan,
    context: &TransformContext,
) -> Result<PlannedTable, Failures> {
    let (transform, plan) = transformed(ends, spec, plan, context)?;
    let schema = transform.schema();
    let description = &plan.read.description;
    let column = |(index, output): (usize, &syncset_pipeline::Output)| {
        let source = output.value.column();
        let source = source.and_then(|name| description.column(name));
        let field = schema.field(index);
        let mut column = match source {
            Some(source) => TargetColumn::of(source, &output.name),
            None => TargetColumn {
                name: output.name.clone(),
                data_type: field.data_type().clone(),
                native: None,
                nullable: field.is_nullable(),
            },
        };
        if matches!(output.value, OutputValue::Masked(_, Mask::Null)) {
            column.nullable = true;
        }
        if plan.key.contains(&output.name) {
            column.nullable = false;
        }
        column
    };
    let columns = plan.outputs.iter().enumerate().map(column);
    let carried = columns.zip(&plan.lossy).map(|(column, choice)| {
        fit::carried(&column, *choice, |column| ends.target().map_type(column))
    });
    let (columns, policies): (Vec<_>, Vec<_>) = carried.unzip();
    let target = TargetTable {
        name: plan.target.clone(),
        columns,
        key: plan.key.clone(),
        marks: plan.marks.clone(),
    };
    Ok(PlannedTable {
        fit: Arc::new(Fit::new(&schema, &target, &[], &[])),
        policies,
        transform: Arc::new(transform),
        target_sql: ends.target_store().quoted(&target.name),
        target,
        status: TargetStatus {
            exists: false,
            empty: true,
            columns: vec![],
            holds: vec![],
            differences: vec![],
            create: vec![],
            notes: vec![],
            parents: vec![],
            cascades: vec![],
        },
        statements: Vec::new(),
        notes: plan.notes.clone(),
        byte_estimate: description.byte_estimate,
        row_estimate: description.row_estimate,
        parents: Vec::new(),
        indexes: Vec::new(),
        beside: Beside::All,
        failures: Vec::new(),
        plan,
    })
}

/// Asks both stores at the same time what they say about the plan.
async fn ask_stores(ends: &Ends, tables: &mut [PlannedTable]) -> Result<(), Failures> {
    let reads: Vec<_> = tables.iter().map(|table| table.plan.read.clone()).collect();
    let targets: Vec<_> = tables.iter().map(|table| table.target.clone()).collect();
    let (read_plans, statuses) = tokio::join!(
        ends.source().prepare(&reads),
        ends.target().status(&targets)
    );
    let (read_plans, statuses) = (read_plans?, statuses?);
    for ((table, read_plan), status) in tables.iter_mut().zip(read_plans).zip(statuses) {
        let ReadPlan {
            statements,
            notes,
            problems,
        } = read_plan;
        table.statements = statements;
        table.notes.extend(notes);
        table.notes.extend(status.notes.iter().cloned());
        let stream = table.plan.stream.clone();
        table
            .failures
            .extend(problems.into_iter().map(Failure::from));
        let unfit = unfit_columns(ends, table, &status.holds);
        table.failures.extend(unfit);
        table.fit = Arc::new(Fit::new(
            &table.transform.schema(),
            &table.target,
            &table.policies,
            &status.holds,
        ));
        if table.write() == WriteMode::Replace && table.plan.on_delete == OnDelete::Hard {
            let refused = status.cascades.iter();
            table
                .failures
                .extend(refused.map(|key| cascades(&table.target, &stream, key)));
        }
        table.status = status;
    }
    Ok(())
}

/// A table that is replaced deletes rows that may come back changed: nothing of another table may
/// go with them.
fn cascades(target: &TargetTable, stream: &str, key: &str) -> Failure {
    let message = format!(
        "table `{stream}`: {key} deletes or changes rows there when rows of `{}` are deleted, \
         which `write: {{ mode: replace }}` does",
        target.name
    );
    Failure::new(exit_code::APPROVAL, message).with_hint(
        "make it ON DELETE NO ACTION at the target, or use `mode: upsert` for this table",
    )
}

/// Columns for which nothing can be written, or not what `on_lossy` says: refused before anything
/// is touched.
fn unfit_columns(ends: &Ends, table: &PlannedTable, holds: &[Holds]) -> Vec<Failure> {
    let stream = table.stream();
    let columns = table.target.columns.iter().zip(&table.plan.lossy);
    let refused = columns.zip(holds).filter_map(|((column, choice), holds)| {
        let name = &column.name;
        let mapping = ends.target().map_type(column);
        if mapping.exactness == Exactness::Refused {
            let note = mapping
                .note
                .map(|note| format!(": {note}"))
                .unwrap_or_default();
            let native = native_name(column);
            let message = format!(
                "table `{stream}`: column `{name}` of type `{native}` would lose values{note}"
            );
            return Some(Failure::new(exit_code::CONFIG, message).with_hint(format!(
                "carry it as text with `on_lossy: {{ columns: {{ {name}: text }} }}`, leave it out \
                 with `columns: {{ exclude: [{name}] }}`, or carry another form of it with `derive`"
            )));
        }
        if choice.policy == OnLossy::Null && choice.is_named && !holds.nullable {
            let message = format!(
                "table `{stream}`: column `{name}` is NOT NULL at the target, so `on_lossy: null` \
                 cannot empty it"
            );
            return Some(Failure::new(exit_code::CONFIG, message).with_hint(format!(
                "choose `error`, `warn` or `text` for it, or let `{name}` be NULL"
            )));
        }
        None
    });
    refused.collect()
}

/// What a column is at the source, or computed as.
pub(crate) fn native_name(column: &TargetColumn) -> String {
    match &column.native {
        Some(native) => native.name.clone(),
        None => computed_name(&column.data_type),
    }
}

/// The type of a computed column as SQL would spell it.
pub(crate) fn computed_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 => "text",
        DataType::Binary => "bytes",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Decimal128(precision, scale) => return format!("decimal({precision},{scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}
