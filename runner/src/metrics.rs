//! What a run did, in numbers: for `--metrics-file` in the text form of Prometheus, and for
//! OpenTelemetry under the same names.
//!
//! Every value is about the last run, so all are gauges. Ages are written as instants too: an age
//! in a file that nobody writes any more would stand still.

use crate::exit_code;
use crate::failure::Failure;
use crate::report::{Outcome, RunReport, TableReport};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every user may read it: the exporter runs as another one.
const FILE_MODE: u32 = 0o644;

const LAST_SUCCESS: &str = "syncset_last_success_timestamp_seconds";

/// Families in the order of the file: name and help.
const FAMILIES: [(&str, &str); 15] = [
    (
        "syncset_build_info",
        "The version of syncset that wrote this file.",
    ),
    (
        "syncset_run_success",
        "1 if the last run was done, 0 if anything of it failed.",
    ),
    ("syncset_run_exit_code", "Exit code of the last run."),
    (
        "syncset_run_duration_seconds",
        "Time that the last run took.",
    ),
    (
        "syncset_run_finished_timestamp_seconds",
        "When the last run ended.",
    ),
    (
        LAST_SUCCESS,
        "When the last run that was done ended; kept while runs fail.",
    ),
    (
        "syncset_table_success",
        "1 if the table was synced by the last run, 0 if it failed.",
    ),
    (
        "syncset_table_read_rows",
        "Rows that left the source in the last run.",
    ),
    (
        "syncset_table_written_rows",
        "Rows inserted or changed at the target in the last run.",
    ),
    (
        "syncset_table_deleted_rows",
        "Rows deleted at the target in the last run.",
    ),
    (
        "syncset_table_rejected_rows",
        "Rows that the target refused and that wait.",
    ),
    (
        "syncset_table_read_bytes",
        "Size in memory of the rows read in the last run.",
    ),
    (
        "syncset_table_duration_seconds",
        "Time that the last run spent on the table.",
    ),
    (
        "syncset_table_watermark_timestamp_seconds",
        "Up to when the target has seen the source.",
    ),
    (
        "syncset_table_lag_seconds",
        "Age of the watermark when the run ended.",
    ),
];

/// Names and values of labels, in their order.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// One number of one run or table.
pub(crate) struct Sample {
    /// The name of its family.
    pub(crate) family: &'static str,
    /// Whose number it is.
    pub(crate) labels: Labels,
    /// The number, in the unit that the family's name ends with.
    pub(crate) value: f64,
}

/// Collects the samples of one process.
pub(crate) struct Metrics {
    /// When its runs were over, in seconds since the epoch.
    now: i64,
    samples: Vec<Sample>,
}

impl Metrics {
    /// What is known of every build. `now`: when its runs were over, in seconds since the epoch.
    pub(crate) fn at(now: i64) -> Self {
        let mut metrics = Self {
            now,
            samples: Vec::new(),
        };
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        metrics.add("syncset_build_info", &version, 1.0);
        metrics
    }

    /// Families that have samples, each with its help and them.
    pub(crate) fn families(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, Vec<&Sample>)> {
        FAMILIES.into_iter().filter_map(|(family, help)| {
            let samples = self.samples.iter();
            let samples: Vec<_> = samples.filter(|sample| sample.family == family).collect();
            (!samples.is_empty()).then_some((family, help, samples))
        })
    }

    fn add(&mut self, family: &'static str, labels: &Labels, value: f64) {
        debug_assert!(FAMILIES.iter().any(|known| known.0 == family));
        self.samples.push(Sample {
            family,
            labels: labels.clone(),
            value,
        });
    }

    /// Adds a run. `was_done`: it counts as a success. `former`: what stood in the file before.
    pub(crate) fn run(&mut self, project: &str, report: &RunReport, was_done: bool, former: &str) {
        let run = vec![
            ("project", project.to_owned()),
            ("pipeline", report.pipeline.clone()),
        ];
        let now = self.now;
        let known = report.last_success.map(seconds);
        let known = known.or_else(|| former_value(former, LAST_SUCCESS, &text_of(&run)));
        // A run that left its turn to another one says nothing about the pipeline.
        if report.skipped {
            return known
                .into_iter()
                .for_each(|at| self.add(LAST_SUCCESS, &run, at));
        }
        self.add("syncset_run_success", &run, f64::from(u8::from(was_done)));
        self.add("syncset_run_exit_code", &run, f64::from(report.exit_code));
        let duration = milliseconds(report.duration_ms);
        self.add("syncset_run_duration_seconds", &run, duration);
        self.add("syncset_run_finished_timestamp_seconds", &run, seconds(now));
        // A slice brings nothing up to date.
        let success = match was_done && !report.slice {
            true => Some(seconds(now)),
            false => known,
        };
        success
            .into_iter()
            .for_each(|at| self.add(LAST_SUCCESS, &run, at));
        for table in &report.tables {
            let mut labels = run.clone();
            labels.push(("table", table.table.clone()));
            self.table(&labels, table, now);
        }
    }

    /// Adds a run that could not begin.
    pub(crate) fn refused(&mut self, project: &str, pipeline: &str, code: i32, former: &str) {
        let mut report = RunReport::new(pipeline, "", false);
        report.exit_code = code;
        self.run(project, &report, false, former);
    }

    fn table(&mut self, labels: &Labels, table: &TableReport, now: i64) {
        let failed = matches!(table.outcome, Outcome::Failed | Outcome::Unfinished);
        let is_good = f64::from(u8::from(!failed));
        self.add("syncset_table_success", labels, is_good);
        let counts = [
            ("syncset_table_read_rows", table.rows_read),
            ("syncset_table_written_rows", table.rows_written),
            ("syncset_table_deleted_rows", table.rows_deleted),
            ("syncset_table_rejected_rows", table.rows_rejected),
            ("syncset_table_read_bytes", table.bytes_read),
        ];
        for (family, count) in counts {
            self.add(family, labels, count as f64);
        }
        let duration = milliseconds(table.duration_ms);
        self.add("syncset_table_duration_seconds", labels, duration);
        if let Some(at) = table.watermark_at {
            let at = at.timestamp_millis() as f64 / 1_000.0;
            let family = "syncset_table_watermark_timestamp_seconds";
            self.add(family, labels, at);
            // A clock that is behind the source's must not say that the future was seen.
            let lag = (seconds(now) - at).max(0.0);
            self.add("syncset_table_lag_seconds", labels, lag);
        }
    }

    /// The text of the file.
    fn text(&self) -> String {
        let mut text = String::new();
        for (family, help, samples) in self.families() {
            text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} gauge\n"));
            for sample in samples {
                let (labels, value) = (text_of(&sample.labels), sample.value);
                writeln!(text, "{family}{labels} {value}").expect("a String takes every text");
            }
        }
        text
    }

    /// Writes the file in one step: a reader sees the former one or this one.
    ///
    /// # Errors
    /// What the system says; the former file is left as it was.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let beside = beside(path);
        let written =
            write_new(&beside, &self.text()).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))
}

/// A name in the same folder that the exporter, which reads `*.prom`, does not look at.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// Refuses a path at which no file can be written, before anything is run.
pub(crate) fn check_path(path: &Path) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let problem = match path.is_dir() {
        true => "is a folder",
        false if path.file_name().is_none() => "names no file",
        false if !folder.is_dir() => "is in a folder that does not exist",
        false => return Ok(()),
    };
    let message = format!("`--metrics-file {}` {problem}", path.display());
    Err(Failure::new(exit_code::CONFIG, message).with_hint(
        "name a file that ends in `.prom`, in the folder that node_exporter's textfile collector reads",
    ))
}

/// The value of a sample in a file of ours.
fn former_value(text: &str, family: &str, labels: &str) -> Option<f64> {
    let start = format!("{family}{labels} ");
    let mut values = text.lines().filter_map(|line| line.strip_prefix(&start));
    values.next()?.trim().parse().ok()
}

fn text_of(labels: &Labels) -> String {
    let escaped = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        text.replace('\n', "\\n")
    };
    let pairs = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn seconds(whole: i64) -> f64 {
    whole as f64
}

fn milliseconds(count: u64) -> f64 {
    count as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_labels_are_escaped() {
        let labels = vec![("table", "a\"b\\c\nd".into()), ("project", "p".into())];

        let text = text_of(&labels);

        assert_eq!(text, r#"{table="a\"b\\c\nd",project="p"}"#);
    }

    #[test]
    fn last_success_of_the_former_file_is_kept_by_its_labels() {
        let file = "syncset_last_success_timestamp_seconds{project=\"p\",pipeline=\"a\"} 17\n\
                    syncset_last_success_timestamp_seconds{project=\"p\",pipeline=\"b\"} 18\n";
        let report = RunReport::new("b", "id", false);
        let mut metrics = Metrics::at(17);

        metrics.run("p", &report, false, file);

        let text = metrics.text();
        let kept = "syncset_last_success_timestamp_seconds{project=\"p\",pipeline=\"b\"} 18\n";
        assert!(text.contains(kept), "{text}");
        assert!(
            text.contains("syncset_run_success{project=\"p\",pipeline=\"b\"} 0\n"),
            "{text}"
        );
    }
}
