//! Requests to a collector, and what is said of those that failed.

use super::settings::Destination;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls_native_certs::load_native_certs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// What is read of an answer: it holds a sentence at most.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Why the last request that failed did so, for people. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn note(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// The reason, if any request failed.
    pub(super) fn reason(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Sends requests one after another; blocks the thread it is called in.
#[derive(Debug)]
pub(super) struct Poster {
    agent: Agent,
    trouble: Trouble,
}

impl Poster {
    /// A client for one destination. Notes failures in `trouble`.
    ///
    /// # Errors
    /// A sentence about a certificate that cannot be read.
    pub(super) fn new(destination: &Destination, trouble: Trouble) -> Result<Self, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Headers with credentials go nowhere else.
            .max_redirects(0)
            .timeout_global(Some(destination.timeout));
        if destination.origin.starts_with("https:") {
            config = config.tls_config(tls(destination)?);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            trouble,
        })
    }
}

/// Says why nothing can be sent there, as far as that is known without asking.
pub(super) fn check(destination: &Destination) -> Result<(), String> {
    let path = destination.certificate.as_ref();
    path.map_or(Ok(()), |path| certificates(path).map(drop))
}

fn tls(destination: &Destination) -> Result<TlsConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = match &destination.certificate {
        Some(path) => certificates(path)?,
        None => {
            let found = load_native_certs().certs.into_iter();
            found
                .map(|it| Certificate::from_der(&it).to_owned())
                .collect()
        }
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// The certificates of a PEM file.
fn certificates(path: &str) -> Result<Vec<Certificate<'static>>, String> {
    let wrong = |why: String| {
        format!("no telemetry is sent: `OTEL_EXPORTER_OTLP_CERTIFICATE` names `{path}`, {why}")
    };
    let bytes =
        std::fs::read(path).map_err(|error| wrong(format!("which cannot be read: {error}")))?;
    let items = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = items.collect();
    match found.is_empty() {
        true => Err(wrong("which holds no certificate in PEM form".into())),
        false => Ok(found),
    }
}

#[async_trait]
impl HttpClient for Poster {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(Vec::from);
        let answer = match self.agent.run(request) {
            Ok(answer) => answer,
            Err(error) => {
                self.trouble.note(reason(&error));
                return Err(Box::new(error));
            }
        };
        if !answer.status().is_success() {
            self.trouble
                .note(format!("it answered {}", answer.status()));
        }
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Response::from_parts(head, body.unwrap_or_default().into()))
    }
}

/// Why a request failed, without anything of the URL.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "its host is not known".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        ureq::Error::Tls(problem) => format!("TLS: {problem}"),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
            "what answers does not speak HTTP".to_owned()
        }
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            "the proxy did not connect".to_owned()
        }
        // The others repeat the URL or cannot happen to a POST.
        _ => "the request could not be sent".to_owned(),
    }
}

/// Something that did not reach its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// What it is, such as `the metrics`.
    pub(super) what: String,
    /// Scheme, host and port of the collector.
    pub(super) origin: String,
    /// Why, for people.
    pub(super) reason: String,
}

impl Loss {
    /// Something the collector was given too little time for.
    pub(super) fn timed_out(what: &str, destination: &Destination, limit: Duration) -> Self {
        Self {
            what: what.to_owned(),
            origin: destination.origin.clone(),
            reason: no_answer(limit),
        }
    }
}

/// The reason of what was waited for in vain.
pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// One sentence about all that was lost, if anything was.
pub(super) fn warning(losses: Vec<Loss>) -> Option<String> {
    let sentence = |what: &str, loss: &Loss| {
        let (origin, reason) = (&loss.origin, &loss.reason);
        format!("{what} did not reach `{origin}`: {reason}")
    };
    match losses.as_slice() {
        [] => None,
        [loss] => Some(sentence(&loss.what, loss)),
        [first, second, ..]
            if (&first.origin, &first.reason) == (&second.origin, &second.reason) =>
        {
            let what = format!("{} and {}", first.what, second.what);
            Some(sentence(&what, first))
        }
        [first, second, ..] => Some(format!(
            "{}; {}",
            sentence(&first.what, first),
            sentence(&second.what, second)
        )),
    }
}
