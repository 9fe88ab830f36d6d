//! What all expressions of a run share: the clock and the functions.

use crate::plugin_function;
use arrow_schema::DataType;
use chrono::{DateTime, Utc};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use syncset_plugin_host::PluginFunction;

/// Functions over a window of rows; known so that messages can say so.
const WINDOW_FUNCTIONS: [&str; 11] = [
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// What all transforms of one run share. Costs nothing until the first expression is compiled.
#[derive(Debug)]
pub struct TransformContext {
    now: DateTime<Utc>,
    plugins: Vec<Arc<PluginFunction>>,
    functions: OnceLock<Functions>,
}

impl TransformContext {
    /// `now` is what `now()`, `current_date` and `current_time` are in every table of the run.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            plugins: Vec::new(),
            functions: OnceLock::new(),
        }
    }

    /// Adds functions of plugins. Their names must not be [taken](is_function).
    #[must_use]
    pub fn with_functions(mut self, functions: Vec<Arc<PluginFunction>>) -> Self {
        self.plugins = functions;
        self
    }

    /// The instant of the run.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    #[cfg(test)]
    pub(crate) fn is_loaded(&self) -> bool {
        self.functions.get().is_some()
    }

    pub(crate) fn functions(&self) -> &Functions {
        self.functions
            .get_or_init(|| Functions::load(&self.plugins))
    }
}

/// Whether expressions have a function of this name without any plugin.
pub fn is_function(name: &str) -> bool {
    let functions = Functions::load(&[]);
    functions.scalar(name).is_some() || functions.needs_many_rows(name)
}

/// The functions expressions can call, and how SQL is read.
pub(crate) struct Functions {
    options: Arc<ConfigOptions>,
    scalar: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// Functions that compute one value from many rows; known so that messages can say so.
    many_rows: BTreeSet<String>,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Functions")
            .field("scalar", &self.scalar.len())
            .finish_non_exhaustive()
    }
}

impl Functions {
    fn load(plugins: &[Arc<PluginFunction>]) -> Self {
        let mut options = ConfigOptions::default();
        // Money is never a binary float.
        options.sql_parser.parse_float_as_decimal = true;
        // Names are resolved before planning; folding them again would break capitals.
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.target_partitions = 1;
        options.execution.time_zone = Some("UTC".to_owned());

        let mut scalar = HashMap::new();
        for function in datafusion_functions::all_default_functions() {
            for alias in function.aliases() {
                scalar.insert(alias.to_lowercase(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_lowercase(), function);
        }
        for function in plugins {
            let name = function.description().name.clone();
            scalar.insert(name, Arc::new(plugin_function::udf(function)));
        }
        let mut many_rows = BTreeSet::from(WINDOW_FUNCTIONS.map(str::to_owned));
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            many_rows.extend(function.aliases().iter().map(|name| name.to_lowercase()));
            many_rows.insert(function.name().to_lowercase());
        }
        Self {
            options: Arc::new(options),
            scalar,
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            ],
            many_rows,
        }
    }

    pub(crate) fn config(&self) -> &Arc<ConfigOptions> {
        &self.options
    }

    pub(crate) fn scalar(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.scalar.get(&name.to_lowercase())
    }

    pub(crate) fn needs_many_rows(&self, name: &str) -> bool {
        self.many_rows.contains(&name.to_lowercase())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.scalar.keys().map(String::as_str)
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("an expression cannot read table {name}")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
