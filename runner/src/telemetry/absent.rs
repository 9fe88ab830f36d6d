//! A build without OpenTelemetry: says so where the environment asks for it.

use crate::cli::render;
use crate::metrics::Metrics;
use crate::observer::RunObserver;
use crate::stop::Stop;
use std::sync::Arc;
use syncset_pipeline::PipelineSpec;

/// Variables that ask for telemetry.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

/// Never there.
pub(crate) enum Telemetry {}

impl Telemetry {
    /// Nothing. `variable` looks a variable up.
    pub(crate) fn start(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if let Some(name) = ENDPOINTS.into_iter().find(|name| is_set(name)) {
            let warning = format!("`{name}` is set, but this build sends no telemetry");
            render::warning(&warning, None);
        }
        None
    }

    /// Nobody.
    pub(crate) fn observer(
        &self,
        _project: &str,
        _spec: Option<&PipelineSpec>,
    ) -> Option<Arc<dyn RunObserver>> {
        match *self {}
    }

    /// Nothing to send.
    pub(crate) async fn finish(self, _metrics: Option<Metrics>, _stop: &Stop) {
        match self {}
    }
}
