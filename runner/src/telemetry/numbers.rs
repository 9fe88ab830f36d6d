//! The metrics of all runs of the process, sent once, at its end. Names and numbers are those of
//! `--metrics-file`.

use super::post::{Loss, Poster, Trouble, no_answer};
use super::settings::Destination;
use super::traces::scope;
use crate::metrics::{Metrics, Sample};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream};
use std::time::Duration;

/// Longer than a process that only sends once lives: the SDK knows no reader that sends on demand
/// alone.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Sends the numbers; blocks for so long at most. Returns what was lost.
pub(super) fn send(
    metrics: &Metrics,
    destination: &Destination,
    resource: Resource,
    limit: Duration,
) -> Option<Loss> {
    let trouble = Trouble::default();
    let sent = try_send(metrics, destination, resource, &trouble);
    // Where nothing failed, the SDK has stopped to wait before we did.
    let reason = sent.err()?.unwrap_or_else(|| no_answer(limit));
    Some(Loss {
        what: "the metrics".to_owned(),
        origin: destination.origin.clone(),
        reason: trouble.reason().unwrap_or(reason),
    })
}

fn try_send(
    metrics: &Metrics,
    destination: &Destination,
    resource: Resource,
    trouble: &Trouble,
) -> Result<(), Option<String>> {
    let poster = Poster::new(destination, trouble.clone())?;
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(poster)
        .with_endpoint(&destination.url)
        .with_timeout(destination.timeout)
        .with_protocol(Protocol::HttpBinary)
        .with_headers(destination.headers.clone())
        .build()
        // What it says may hold the URL.
        .map_err(|_| Some("its settings cannot be used".to_owned()))?;
    let reader = PeriodicReader::builder(exporter)
        .with_interval(NEVER)
        .build();
    let families: Vec<_> = metrics.families().collect();
    let most = families.iter().map(|(_, _, samples)| samples.len()).max();
    let most = most.unwrap_or_default().max(1);
    // The SDK would fold tables beyond a number of its own into one.
    let every_table = move |_: &Instrument| {
        let stream = Stream::builder().with_cardinality_limit(most);
        stream.build().ok()
    };
    let provider = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader)
        .with_view(every_table)
        .build();
    let meter = provider.meter_with_scope(scope());
    for (family, help, samples) in families {
        let gauge = meter.f64_gauge(family).with_description(help);
        let gauge = gauge.with_unit(unit(family)).build();
        for sample in samples {
            gauge.record(sample.value, &attributes(sample));
        }
    }
    // Collects and sends.
    provider.shutdown().map_err(|_| None)
}

/// The unit that a name ends with, in the code that OpenTelemetry uses. What has none gets none:
/// `1` would become a suffix of the name in Prometheus.
fn unit(family: &str) -> &'static str {
    match family.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("rows") => "{row}",
        _ => "",
    }
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter();
    labels
        .map(|(name, value)| KeyValue::new(*name, value.clone()))
        .collect()
}
