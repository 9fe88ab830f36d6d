//! What the standard variables of OpenTelemetry ask for.

use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::time::Duration;
use url::Url;

/// Longest wait for one request, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: the
/// standard's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The only protocol there is: a second one would bring another HTTP stack.
const PROTOCOL: &str = "http/protobuf";

/// Where one signal goes.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    /// The whole URL, perhaps with credentials: for requests only.
    pub(super) url: String,
    /// Scheme, host and port: for people.
    pub(super) origin: String,
    /// Names and values that each request carries. Values are secrets.
    pub(super) headers: HashMap<String, String>,
    /// Longest wait for one request.
    pub(super) timeout: Duration,
    /// PEM file of the authority that signs the collector's certificate, instead of those that the
    /// system trusts.
    pub(super) certificate: Option<String>,
}

/// Everything that is asked for.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Where spans go.
    pub(super) traces: Option<Destination>,
    /// Where numbers go.
    pub(super) metrics: Option<Destination>,
    /// What the resource is called, the name of the service included.
    pub(super) resource: Vec<(String, String)>,
    /// What was asked for and cannot be done, for people. Holds no value of a variable that may be
    /// a secret.
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// Reads the variables; `variable` looks one up. An empty one is as good as none.
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut settings = Self::default();
        let disabled = variable("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return settings;
        }
        settings.traces = settings.destination(&variable, "TRACES", "v1/traces");
        settings.metrics = settings.destination(&variable, "METRICS", "v1/metrics");
        if settings.traces.is_none() && settings.metrics.is_none() {
            return settings;
        }
        if let Some(list) = variable("OTEL_RESOURCE_ATTRIBUTES") {
            let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let pairs = pairs(&list);
            settings.resource = pairs.map(|(name, value)| (name, decoded(&value))).collect();
        }
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            settings.resource.push(("service.name".into(), name));
        }
        settings
    }

    /// Leaves out what cannot be sent; `check` says why.
    pub(super) fn leave_out(&mut self, check: fn(&Destination) -> Result<(), String>) {
        let [traces, metrics] = [self.traces.take(), self.metrics.take()].map(|destination| {
            let destination = destination?;
            match check(&destination) {
                Ok(()) => Some(destination),
                Err(warning) => self.give_up(warning),
            }
        });
        (self.traces, self.metrics) = (traces, metrics);
    }

    /// Where one signal goes, if anywhere.
    fn destination(
        &mut self,
        variable: &dyn Fn(&str) -> Option<String>,
        signal: &str,
        path: &str,
    ) -> Option<Destination> {
        // The one of the signal wins over the one of all signals.
        let either = |name: &str| {
            let own = format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
            let common = format!("OTEL_EXPORTER_OTLP_{name}");
            let names = [own, common].into_iter();
            let mut found = names.filter_map(|name| variable(&name).map(|value| (name, value)));
            found.next()
        };
        let (name, endpoint) = either("ENDPOINT")?;
        let exporter = format!("OTEL_{signal}_EXPORTER");
        match variable(&exporter).as_deref().map(str::trim) {
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(_) => {
                let warning =
                    format!("`{exporter}` knows `otlp` and `none` only; it sends nothing");
                return self.give_up(warning);
            }
        }
        if let Some((name, protocol)) = either("PROTOCOL")
            && protocol.trim() != PROTOCOL
        {
            return self.give_up(format!(
                "no telemetry is sent: `{name}` is `{protocol}`, and only `{PROTOCOL}` is spoken \
                 here, which collectors take on port 4318"
            ));
        }
        let whole = match name.ends_with(&format!("{signal}_ENDPOINT")) {
            true => endpoint.trim().to_owned(),
            false => format!("{}/{path}", endpoint.trim().trim_end_matches('/')),
        };
        let url = Url::parse(&whole);
        let url = url
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return self.give_up(format!(
                "no telemetry is sent: `{name}` is no URL such as `http://localhost:4318`"
            ));
        };
        let headers = either("HEADERS").map(|(_, list)| pairs(&list).collect());
        Some(Destination {
            origin: url.origin().ascii_serialization(),
            url: url.into(),
            headers: headers.unwrap_or_default(),
            timeout: self.timeout(either("TIMEOUT")),
            certificate: either("CERTIFICATE").map(|(_, path)| path),
        })
    }

    fn timeout(&mut self, found: Option<(String, String)>) -> Duration {
        let Some((name, text)) = found else {
            return TIMEOUT;
        };
        match text.trim().parse() {
            Ok(ms @ 1..) => Duration::from_millis(ms),
            _ => {
                let seconds = TIMEOUT.as_secs();
                self.warn(format!(
                    "`{name}` is no number of milliseconds; {seconds} s is used"
                ));
                TIMEOUT
            }
        }
    }

    fn give_up(&mut self, warning: String) -> Option<Destination> {
        self.warn(warning);
        None
    }

    /// Both signals may be wrong for the same reason.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// The pairs of `name=value,name=value`, as they are written.
fn pairs(list: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    pairs.filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(&|name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    fn urls(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let settings = read(variables);
        [settings.traces, settings.metrics].map(|it| it.map(|destination| destination.url))
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
    const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x?y=1");

    #[test]
    fn endpoints_are_resolved_as_the_standard_says() {
        let both = ["http://c:4318/v1/traces", "http://c:4318/v1/metrics"].map(str::to_owned);
        let [traces, metrics] = both.map(Some);
        let own = Some("https://t/x?y=1".to_owned());

        assert_eq!(urls(&[ALL]), [traces.clone(), metrics.clone()]);
        assert_eq!(urls(&[TRACES]), [own.clone(), None]);
        assert_eq!(urls(&[ALL, TRACES]), [own, metrics.clone()]);
        assert_eq!(
            urls(&[ALL, ("OTEL_TRACES_EXPORTER", "none")]),
            [None, metrics]
        );
        assert_eq!(
            urls(&[ALL, ("OTEL_METRICS_EXPORTER", "none")]),
            [traces, None]
        );
        for off in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ALL, ("OTEL_SDK_DISABLED", "TRUE")],
        ] {
            assert_eq!(urls(off), [None, None], "{off:?}");
            assert_eq!(read(off).warnings, Vec::<String>::new(), "{off:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_once_and_without_the_url() {
        let cases = [
            (
                vec![ALL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "`http/protobuf`",
            ),
            (
                vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "secret:4318")],
                "no URL such as",
            ),
            (
                vec![TRACES, ("OTEL_TRACES_EXPORTER", "console")],
                "`OTEL_TRACES_EXPORTER`",
            ),
        ];
        for (variables, expected) in cases {
            let settings = read(&variables);

            let [warning] = settings.warnings.as_slice() else {
                panic!("{variables:?}: {:?}", settings.warnings);
            };
            assert!(warning.contains(expected), "{warning}");
            assert!(!warning.contains("secret"), "{warning}");
            assert!(settings.traces.is_none() && settings.metrics.is_none());
        }
    }

    #[test]
    fn settings_of_a_signal_win_over_those_of_all() {
        let settings = read(&[
            ALL,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b = x%20y ,broken,=c"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "m=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=other"),
            ("OTEL_SERVICE_NAME", "mine"),
        ]);

        let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
        let headers = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect()
        };
        let expected: HashMap<String, String> = headers(&[("a", "1"), ("b", "x%20y")]);
        assert_eq!(traces.headers, expected);
        assert_eq!(metrics.headers, headers(&[("m", "2")]));
        assert_eq!(traces.timeout, Duration::from_millis(1500));
        assert_eq!(metrics.timeout, TIMEOUT);
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
        let names: Vec<_> = settings
            .resource
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(names, ["a,b", "other", "mine"], "the last of a name counts");
    }
}
