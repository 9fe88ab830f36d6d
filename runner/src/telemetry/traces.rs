//! Spans on their way to the collector: in batches, by a thread of their own.

use super::post::{Loss, Poster, Trouble, no_answer};
use super::settings::Destination;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_otlp::{
    Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Spans that wait for the collector at most, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
/// Those of all tables end at once, at the end of a run.
const QUEUE_SPANS: usize = 16 << 10;

/// The sender of all spans of the process.
pub(super) struct Traces {
    provider: SdkTracerProvider,
    tally: Tally,
}

impl Traces {
    /// Starts the thread that sends. Nothing is connected before the first batch.
    ///
    /// # Errors
    /// A sentence about a setting that cannot be used.
    pub(super) fn start(destination: Destination, resource: Resource) -> Result<Self, String> {
        let trouble = Trouble::default();
        let poster = Poster::new(&destination, trouble.clone())?;
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(poster)
            .with_endpoint(&destination.url)
            .with_timeout(destination.timeout)
            .with_protocol(Protocol::HttpBinary)
            .with_headers(destination.headers.clone())
            .build()
            // What it says may hold the URL.
            .map_err(|_| "no telemetry is sent: the settings of its spans cannot be used")?;
        let tally = Tally {
            counts: Arc::default(),
            trouble,
            origin: destination.origin,
        };
        let mut batches = BatchConfigBuilder::default();
        if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
            batches = batches.with_max_queue_size(QUEUE_SPANS);
        }
        let exporter = Counted {
            inner: exporter,
            counts: tally.counts.clone(),
        };
        let processor = BatchSpanProcessor::builder(exporter);
        let processor = Counted {
            inner: processor.with_batch_config(batches.build()).build(),
            counts: tally.counts.clone(),
        };
        let provider = SdkTracerProvider::builder();
        let provider = provider
            .with_resource(resource)
            .with_span_processor(processor);
        Ok(Self {
            provider: provider.build(),
            tally,
        })
    }

    /// What makes spans.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer_with_scope(scope())
    }

    /// What is known of spans that are sent.
    pub(super) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Work that sends what is left; it blocks for so long at most.
    pub(super) fn flush(self, limit: Duration) -> impl FnOnce() + Send + 'static {
        move || {
            // What it failed to send is counted.
            let _ = self.provider.shutdown_with_timeout(limit);
        }
    }
}

/// Who names spans and numbers.
pub(super) fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder("syncset");
    scope.with_version(env!("CARGO_PKG_VERSION")).build()
}

/// Counts spans. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    counts: Arc<Counts>,
    trouble: Trouble,
    origin: String,
}

impl Tally {
    /// Spans that did not reach the collector, which had so much time for the last of them.
    pub(super) fn loss(&self, limit: Duration) -> Option<Loss> {
        let ended = self.counts.ended.load(Ordering::Relaxed);
        let lost = ended.saturating_sub(self.counts.sent.load(Ordering::Relaxed));
        let reason = self.trouble.reason();
        (lost > 0).then(|| Loss {
            what: format!("{lost} of {ended} spans"),
            origin: self.origin.clone(),
            reason: reason.unwrap_or_else(|| no_answer(limit)),
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Spans that ended and are to be sent.
    ended: AtomicU64,
    /// Spans that the collector took.
    sent: AtomicU64,
}

/// Counts what passes.
#[derive(Debug)]
struct Counted<T> {
    inner: T,
    counts: Arc<Counts>,
}

impl SpanExporter for Counted<OtlpExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.inner.export(batch).await;
        if result.is_ok() {
            self.counts.sent.fetch_add(count, Ordering::Relaxed);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl SpanProcessor for Counted<BatchSpanProcessor> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.counts.ended.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
