//! OpenTelemetry: the trace and the numbers of runs, sent over OTLP where the environment names a
//! collector.
//!
//! Nothing here can fail a run. Spans leave while it goes on, in a thread of their own; at its end
//! what is left is waited for, but only so long. No failure's sentence is sent, as it may hold the
//! key of a refused row: only its class, its code and the exit code it means.

mod attributes;
mod numbers;
mod post;
mod settings;
mod spans;
mod traces;

use crate::cli::render;
use crate::metrics::Metrics;
use crate::observer::RunObserver;
use crate::stop::Stop;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use post::Loss;
use settings::{Destination, Settings};
use spans::RunSpans;
use std::sync::Arc;
use std::time::Duration;
use syncset_pipeline::PipelineSpec;
use tokio::sync::oneshot;
use traces::Traces;

/// Longest wait at the end of a process for a collector to take what is left.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The same once the process was asked to stop: service managers kill what does not end within
/// some ten seconds, and hooks may have taken half of them.
const STOPPED_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is sent, and where to.
pub(crate) struct Telemetry {
    traces: Option<Traces>,
    numbers: Option<Destination>,
    resource: Resource,
    /// The trace that runs join; an empty one makes each run a trace of its own.
    parent: Context,
}

impl Telemetry {
    /// What the environment asks for; `None` if it asks for nothing. `variable` looks a variable
    /// up. What cannot be done is said on stderr.
    pub(crate) fn start(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let mut settings = Settings::read(&variable);
        settings.leave_out(post::check);
        for warning in &settings.warnings {
            render::warning(warning, None);
        }
        if settings.traces.is_none() && settings.metrics.is_none() {
            return None;
        }
        let resource = resource(&settings);
        let start = |destination| Traces::start(destination, resource.clone());
        let traces = settings.traces.and_then(|destination| {
            start(destination).map_or_else(
                |problem| {
                    render::warning(&problem, None);
                    None
                },
                Some,
            )
        });
        let variables = Variables {
            traceparent: variable("TRACEPARENT"),
            tracestate: variable("TRACESTATE"),
        };
        Some(Self {
            traces,
            numbers: settings.metrics,
            resource,
            parent: TraceContextPropagator::new().extract_with_context(&Context::new(), &variables),
        })
    }

    /// Whoever follows one run. `spec`: its pipeline, if it could be read.
    pub(crate) fn observer(
        &self,
        project: &str,
        spec: Option<&PipelineSpec>,
    ) -> Option<Arc<dyn RunObserver>> {
        let traces = self.traces.as_ref()?;
        let spans = RunSpans::new(traces.tracer(), self.parent.clone(), project, spec);
        Some(Arc::new(spans))
    }

    /// Sends what is left, and the numbers if there are any. Waits no longer than
    /// [`FLUSH_TIMEOUT`]; says on stderr what did not arrive.
    pub(crate) async fn finish(self, metrics: Option<Metrics>, stop: &Stop) {
        let limit = match stop.is_requested() {
            true => STOPPED_FLUSH_TIMEOUT,
            false => FLUSH_TIMEOUT,
        };
        let traces = async {
            let traces = self.traces?;
            let (tally, flush) = (traces.tally(), traces.flush(limit));
            in_thread(limit, flush).await;
            tally.loss(limit)
        };
        let resource = self.resource;
        let numbers = async {
            let (destination, metrics) = (self.numbers?, metrics?);
            let timed_out = Loss::timed_out("the metrics", &destination, limit);
            let sent = in_thread(limit, move || {
                numbers::send(&metrics, &destination, resource, limit)
            });
            sent.await.unwrap_or(Some(timed_out))
        };
        let (traces, numbers) = tokio::join!(traces, numbers);
        if let Some(warning) = post::warning(traces.into_iter().chain(numbers).collect()) {
            render::warning(&warning, None);
        }
    }
}

/// Does blocking work in a thread that the end of the process does not wait for. `None` if it
/// takes too long.
async fn in_thread<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("telemetry".into());
    let started = thread.spawn(move || {
        // Nobody listens any more once it took too long.
        let _ = sender.send(work());
    });
    started.ok()?;
    tokio::time::timeout(limit, receiver).await.ok()?.ok()
}

/// What sends: this program, unless the environment calls it otherwise.
fn resource(settings: &Settings) -> Resource {
    let own = [
        ("service.name", "syncset"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let attribute = |(name, value): (&str, &str)| {
        opentelemetry::KeyValue::new(name.to_owned(), value.to_owned())
    };
    let given = settings.resource.iter();
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own.map(attribute))
        .with_attributes(given.map(|(name, value)| attribute((name, value))))
        .build()
}

/// The trace that whoever started us, such as a CI job, is part of.
struct Variables {
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl Extractor for Variables {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent.as_deref(),
            "tracestate" => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
