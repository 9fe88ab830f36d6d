//! Hooks: statements and commands of the user's own, before and after a run.
//!
//! They run one after another while the run holds the lease, so hooks of two runs of one pipeline
//! never overlap. They never change what a run writes.

mod command;
mod environment;
mod redact;

pub(crate) use environment::HookEnvironment;

use crate::exit_code;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use crate::progress::Progress;
use crate::registry;
use crate::report::{HookOutcome, HookReport, RunReport};
use crate::stop::Stop;
use command::{Ended, Program};
use std::sync::Arc;
use std::time::{Duration, Instant};
use syncset_connector::{OpenOptions, PipelineKey, Role};
use syncset_pipeline::{ConnectionSpec, Hook, HookAction, HookError, HookWhen, PipelineSpec};

/// How long a hook may take at most once the run was asked to stop: service managers kill what
/// does not end within some ten seconds.
const STOPPED_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a connection of a hook.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The hooks of one run.
pub(crate) struct Hooks<'a> {
    pub(crate) spec: &'a PipelineSpec,
    pub(crate) key: &'a PipelineKey,
    pub(crate) environment: &'a HookEnvironment,
    pub(crate) stop: &'a Stop,
    pub(crate) progress: &'a Progress,
}

/// What a command is told in its environment besides whose hook it is.
struct Told<'a> {
    run_id: &'a str,
    exit_code: Option<i32>,
    /// Of whoever looks on, such as the trace that the command may join.
    observed: Vec<(String, String)>,
}

impl Hooks<'_> {
    fn of(&self, when: HookWhen) -> impl Iterator<Item = &Hook> {
        let hooks = self.environment.enabled.then_some(&self.spec.hooks);
        let hooks = hooks.into_iter().flatten();
        hooks.filter(move |hook| hook.when == when)
    }

    /// Whether any hook follows the run.
    pub(crate) fn has_after(&self) -> bool {
        let after = [HookWhen::OnSuccess, HookWhen::OnFailure, HookWhen::After];
        after.iter().any(|when| self.of(*when).next().is_some())
    }

    /// Lists all hooks as not run, for a run that writes nothing.
    pub(crate) fn list(&self, report: &mut RunReport) {
        if self.environment.enabled {
            report.hooks = listed(self.spec);
        }
    }

    /// Runs what comes before the run; the first one that fails the run ends it.
    pub(crate) async fn before(
        &self,
        report: &mut RunReport,
        planned: &[Arc<PlannedTable>],
    ) -> Result<(), Failure> {
        let tables = planned.iter().map(|table| {
            serde_json::json!({
                "table": table.stream(),
                "target": table.target.name.to_string(),
            })
        });
        let input = serde_json::json!({
            "project": self.key.project,
            "pipeline": report.pipeline,
            "run_id": report.run_id,
            "hook": HookWhen::Before.key(),
            "tables": tables.collect::<Vec<_>>(),
        });
        let mut failed = None;
        for hook in self.of(HookWhen::Before) {
            if failed.is_some() {
                report.hooks.push(entry(self.spec, hook));
                continue;
            }
            let ran = self.run(hook, &input, None, &report.run_id).await;
            if hook.on_error == HookError::Fail || self.stop.is_requested() {
                failed = ran.failure.clone();
            }
            report.hooks.push(ran);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs what follows the run. `holds_lease` says whether it is still ours.
    pub(crate) async fn after(&self, report: &mut RunReport, holds_lease: bool) {
        if !holds_lease {
            let warning = "hooks after the run were left out: the lease is not held any more, and \
                           another run may be running its own";
            report.warnings.push(warning.to_owned());
        }
        let outcome = match report.exit_code {
            exit_code::DONE => HookWhen::OnSuccess,
            _ => HookWhen::OnFailure,
        };
        for when in [outcome, HookWhen::After] {
            for hook in self.of(when) {
                if !holds_lease {
                    report.hooks.push(entry(self.spec, hook));
                    continue;
                }
                let mut input = serde_json::to_value(&*report).unwrap_or_default();
                input["project"] = self.key.project.clone().into();
                input["hook"] = when.key().into();
                let code = Some(report.exit_code);
                let ran = self.run(hook, &input, code, &report.run_id).await;
                let stopped = ran.failure.clone();
                let stopped = stopped.filter(|failure| failure.exit_code != exit_code::FAILED);
                if report.exit_code == exit_code::DONE {
                    report.failures.extend(stopped);
                }
                report.hooks.push(ran);
                report.settle_exit_code();
            }
        }
    }

    async fn run(
        &self,
        hook: &Hook,
        input: &serde_json::Value,
        exit_code: Option<i32>,
        run_id: &str,
    ) -> HookReport {
        let mut report = entry(self.spec, hook);
        tracing::info!(hook = report.hook, place = report.place, "hook started");
        let told = Told {
            run_id,
            exit_code,
            observed: self.progress.hook_started(&report),
        };
        let started = Instant::now();
        let timeout = match self.stop.is_requested() {
            true => hook.timeout.min(STOPPED_TIMEOUT),
            false => hook.timeout,
        };
        let ended = match &hook.action {
            HookAction::Sql { text, connection } => self.execute(connection, text, timeout).await,
            HookAction::Command(words) => {
                let (first, rest) = words.split_first().expect("the reader refuses no words");
                self.start(hook, (first, rest), input, told, timeout).await
            }
            HookAction::Shell(text) => {
                let words = ["-c".to_owned(), text.clone()];
                self.start(hook, ("sh", &words), input, told, timeout).await
            }
        };
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        report.outcome = match &ended {
            Ended::Done => HookOutcome::Done,
            _ => HookOutcome::Failed,
        };
        report.failure = failure(&report, ended, timeout);
        self.progress.hook_ended(&report);
        tracing::info!(
            hook = report.hook,
            place = report.place,
            outcome = ?report.outcome,
            duration_ms = report.duration_ms,
            "hook ended"
        );
        report
    }

    async fn start(
        &self,
        hook: &Hook,
        (program, arguments): (&str, &[String]),
        input: &serde_json::Value,
        told: Told<'_>,
        timeout: Duration,
    ) -> Ended {
        let mut variables = self.environment.variables.clone();
        variables.extend([
            ("SYNCSET_PROJECT".to_owned(), self.key.project.clone()),
            ("SYNCSET_PIPELINE".to_owned(), self.key.pipeline.clone()),
            ("SYNCSET_RUN_ID".to_owned(), told.run_id.to_owned()),
            ("SYNCSET_HOOK".to_owned(), hook.when.key().to_owned()),
        ]);
        variables.extend(told.observed);
        variables.extend(
            told.exit_code
                .map(|code| ("SYNCSET_EXIT_CODE".to_owned(), code.to_string())),
        );
        let program = Program {
            program,
            arguments,
            variables,
            folder: &self.environment.folder,
            input: input.to_string(),
            timeout,
        };
        let (ended, output) = program.run(self.stop).await;
        output.log(
            hook.when.key(),
            matches!(ended, Ended::Done),
            &self.environment.redactor,
        );
        ended
    }

    /// Runs statements in a session of their own.
    async fn execute(&self, spec: &ConnectionSpec, sql: &str, timeout: Duration) -> Ended {
        let Some(connector) = registry::connector(&spec.kind) else {
            let message = format!("this build has no connector `{}`", spec.kind);
            return Ended::Failed(Failure::new(exit_code::CONFIG, message));
        };
        let options = OpenOptions {
            role: Role::Target,
            application: format!("syncset:{} hook", self.key),
            sessions_max: 1,
            connect_timeout: CONNECT_TIMEOUT.min(timeout),
            lock_timeout: timeout,
            // Its end may be told by the server or by our own clock, whichever is first.
            statement_timeout: timeout,
        };
        let started = Instant::now();
        tokio::select! {
            ended = connector.execute(&spec.settings, &options, sql) => match ended {
                Ok(()) => Ended::Done,
                Err(_) if started.elapsed() >= timeout => Ended::TimedOut,
                Err(error) => Ended::Failed(error.into()),
            },
            () = tokio::time::sleep(timeout) => Ended::TimedOut,
            reason = self.stop.asked_again() => Ended::Stopped(reason),
        }
    }
}

/// All hooks of a pipeline, not run.
pub(crate) fn listed(spec: &PipelineSpec) -> Vec<HookReport> {
    spec.hooks.iter().map(|hook| entry(spec, hook)).collect()
}

fn entry(spec: &PipelineSpec, hook: &Hook) -> HookReport {
    HookReport {
        hook: hook.when.key(),
        kind: match hook.action {
            HookAction::Sql { .. } => "sql",
            HookAction::Command(_) => "command",
            HookAction::Shell(_) => "shell",
        },
        place: format!("{}:{}:{}", spec.path, hook.place.line, hook.place.column),
        outcome: HookOutcome::NotRun,
        duration_ms: 0,
        fails_run: hook.on_error == HookError::Fail,
        failure: None,
    }
}

/// What a hook's end means for the run. A hook's own words are in the log, never here: the report
/// is stored and sent on.
fn failure(report: &HookReport, ended: Ended, timeout: Duration) -> Option<Failure> {
    let (hook, place) = (report.hook, &report.place);
    let refused = |what: String| {
        let message = format!("hook `{hook}` {what} ({place})");
        Failure::new(exit_code::FAILED, message)
    };
    let failure = match ended {
        Ended::Done => return None,
        Ended::Exited(code) => {
            let hint = "what it printed is in the log above; `--no-hooks` runs without hooks";
            refused(format!("exited with {code}")).with_hint(hint)
        }
        Ended::Signalled(signal) => refused(format!("was ended by signal {signal}")),
        Ended::TimedOut => {
            let limit = humantime::format_duration(timeout);
            refused(format!("did not end within {limit}"))
                .with_hint("mend it, or give it more time with `timeout: 5m`")
        }
        // What stopped it, a signal or a lost lease, decides the exit code.
        Ended::Stopped(reason) => reason,
        Ended::Failed(cause) => {
            let mut failure = cause.while_doing(format!("hook `{hook}` failed ({place})"));
            failure.exit_code = exit_code::FAILED;
            failure
        }
    };
    Some(failure)
}
