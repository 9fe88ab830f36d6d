//! A collector of OpenTelemetry that keeps what it is sent: OTLP over HTTP, with or without TLS.

use crate::Certificates;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as ProtoValue};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value as Number};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What a collector does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It takes them.
    Takes,
    /// It answers with this HTTP status.
    Refuses(u16),
    /// It reads them and never answers.
    Never,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its headers; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body, in protobuf.
    pub body: Vec<u8>,
}

/// One span.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// Its name.
    pub name: String,
    /// In hexadecimal digits, as the next two.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// The id of its parent; empty if it has none.
    pub parent_id: String,
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// Nanoseconds since the epoch.
    pub end: u64,
    /// What it says.
    pub attributes: BTreeMap<String, Value>,
    /// True if its status is an error.
    pub failed: bool,
    /// The sentence of the status.
    pub status: String,
}

/// A collector that listens as long as it lives.
#[derive(Debug)]
pub struct Collector {
    scheme: &'static str,
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    is_over: Arc<AtomicBool>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(answer: Answer) -> Self {
        Self::listen("http", answer, None)
    }

    /// Starts one that speaks TLS, as `localhost`.
    ///
    /// # Panics
    /// If it cannot listen or the certificate cannot be used.
    pub fn start_tls(certificates: &Certificates) -> Self {
        let (certificate, key) = certificates.server();
        let chain = CertificateDer::pem_file_iter(certificate).expect("the certificate is a file");
        let chain = chain
            .map(|it| it.expect("the certificate is PEM"))
            .collect();
        let key = PrivateKeyDer::from_pem_file(key).expect("the key is PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key is that of the certificate");
        Self::listen("https", Answer::Takes, Some(Arc::new(config)))
    }

    fn listen(scheme: &'static str, answer: Answer, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine is free");
        let collector = Self {
            scheme,
            address: listener.local_addr().expect("it listens"),
            received: Arc::default(),
            is_over: Arc::default(),
        };
        let (received, is_over) = (collector.received.clone(), collector.is_over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (received, tls) = (received.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, answer, &received),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("the config is good");
                        serve(StreamOwned::new(connection, stream), answer, &received);
                    }
                });
            }
        });
        collector
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub fn url(&self) -> String {
        // The certificate is that of a name.
        let host = if self.scheme == "https" {
            "localhost"
        } else {
            "127.0.0.1"
        };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.received.lock().expect("no thread panics").clone()
    }

    fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
        let requests = self.requests().into_iter();
        let requests = requests.filter(|request| request.path == path);
        requests.map(|request| request.body).collect()
    }

    /// All spans so far, in the order in which they began.
    ///
    /// # Panics
    /// If a body is not what OTLP says.
    pub fn spans(&self) -> Vec<SeenSpan> {
        let mut spans = Vec::new();
        for body in self.bodies("/v1/traces") {
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("it is OTLP");
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|it| it.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                let status = span.status.unwrap_or_default();
                spans.push(SeenSpan {
                    name: span.name,
                    trace_id: hex(&span.trace_id),
                    span_id: hex(&span.span_id),
                    parent_id: hex(&span.parent_span_id),
                    start: span.start_time_unix_nano,
                    end: span.end_time_unix_nano,
                    attributes: attributes(span.attributes),
                    failed: status.code == 2,
                    status: status.message,
                });
            }
        }
        spans.sort_by_key(|span| span.start);
        spans
    }

    /// The one span of this name.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[track_caller]
    pub fn span(&self, name: &str) -> SeenSpan {
        let mut found = self.spans();
        let names: Vec<_> = found.iter().map(|span| span.name.clone()).collect();
        found.retain(|span| span.name == name);
        assert_eq!(found.len(), 1, "spans called `{name}` among {names:?}");
        found.remove(0)
    }

    /// Attributes of the resource that sent the spans.
    ///
    /// # Panics
    /// If no span came.
    pub fn resource(&self) -> BTreeMap<String, Value> {
        let bodies = self.bodies("/v1/traces");
        let body = bodies.first().expect("spans came");
        let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("it is OTLP");
        let resource = request.resource_spans.into_iter().next();
        let resource = resource.and_then(|it| it.resource).unwrap_or_default();
        attributes(resource.attributes)
    }

    /// All gauges so far: `name{label=value,...}`, labels sorted, to the last number.
    ///
    /// # Panics
    /// If a body is not what OTLP says, or a metric is no gauge of floating-point numbers.
    pub fn gauges(&self) -> BTreeMap<String, f64> {
        let mut gauges = BTreeMap::new();
        for body in self.bodies("/v1/metrics") {
            let request = ExportMetricsServiceRequest::decode(body.as_slice()).expect("it is OTLP");
            let resources = request.resource_metrics.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_metrics);
            for metric in scopes.flat_map(|scope| scope.metrics) {
                let Some(Data::Gauge(gauge)) = metric.data else {
                    panic!("{} is no gauge", metric.name);
                };
                for point in gauge.data_points {
                    let labels = attributes(point.attributes).into_iter();
                    let label = |(name, value): (String, Value)| {
                        format!("{name}={}", value.as_str().expect("labels are text"))
                    };
                    let labels: Vec<_> = labels.map(label).collect();
                    let Some(Number::AsDouble(number)) = point.value else {
                        panic!("{} has no number", metric.name);
                    };
                    gauges.insert(format!("{}{{{}}}", metric.name, labels.join(",")), number);
                }
            }
        }
        gauges
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves one connection until the client closes it.
fn serve(stream: impl Read + Write, answer: Answer, received: &Mutex<Vec<Received>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        received.lock().expect("no thread panics").push(request);
        let status = match answer {
            Answer::Takes => 200,
            Answer::Refuses(status) => status,
            Answer::Never => {
                // Until the client gives up.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                return;
            }
        };
        let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: 0\r\n\r\n");
        let stream = stream.get_mut();
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

/// The next request; `None` once the client has gone.
fn read_request(stream: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    let mut next = |stream: &mut dyn BufRead| {
        line.clear();
        stream
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next(stream)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let line = next(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received {
        path,
        headers,
        body,
    })
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let pairs = pairs.into_iter();
    pairs.map(|pair| (pair.key, plain(pair.value))).collect()
}

fn plain(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(ProtoValue::StringValue(text)) => text.into(),
        Some(ProtoValue::BoolValue(flag)) => flag.into(),
        Some(ProtoValue::IntValue(number)) => number.into(),
        Some(ProtoValue::DoubleValue(number)) => number.into(),
        _ => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
