//! Why a verb or a table did not succeed, in the one form that is printed and reported.

use crate::exit_code;
use serde::Serialize;
use syncset_connector::{Advice, ConnectorError, ErrorClass, PipelineKey};
use syncset_pipeline::Problem;
use syncset_plugin_host::PluginError;
use syncset_transform::TransformError;

/// What else stops a table, besides the first thing, is told up to this number.
const OTHERS_TOLD_MAX: usize = 4;

/// A failure: what happened, why, what to do next, and the exit code it means.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    /// What happened: a lower-case fragment that names the thing and the place.
    pub(crate) message: String,
    /// The chain of causes, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<String>,
    /// What a person can do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The store's own code, such as an SQLSTATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The exit code this failure alone means.
    pub(crate) exit_code: i32,
    /// What the store called it; decides retries.
    #[serde(skip)]
    pub(crate) class: Option<ErrorClass>,
    /// The pipeline that has the target table, if that is what is wrong.
    #[serde(skip)]
    pub(crate) owner: Option<Box<PipelineKey>>,
    /// Whether the same unit may succeed at once.
    #[serde(skip)]
    pub(crate) retry: bool,
}

impl Failure {
    /// A failure of our own.
    pub(crate) fn new(exit_code: i32, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            code: None,
            exit_code,
            class: None,
            owner: None,
            retry: false,
        }
    }

    /// Adds what a person can do next.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done; the former message becomes the first cause.
    pub(crate) fn while_doing(mut self, action: impl Into<String>) -> Self {
        let message = std::mem::replace(&mut self.message, action.into());
        self.causes.insert(0, message);
        self
    }

    /// Adds what another failure said as its cause.
    pub(crate) fn because_of(mut self, other: Self) -> Self {
        self.causes.push(other.message);
        self.causes.extend(other.causes);
        self
    }

    /// Whether it is of this class.
    pub(crate) fn is(&self, class: ErrorClass) -> bool {
        self.class == Some(class)
    }
}

/// The exit code a class of store errors means.
pub(crate) fn exit_code_of(class: ErrorClass) -> i32 {
    match class {
        ErrorClass::Config | ErrorClass::Unsupported | ErrorClass::StateTooNew => exit_code::CONFIG,
        ErrorClass::Connection
        | ErrorClass::Transient
        | ErrorClass::NotYet
        | ErrorClass::SourceChanged
        | ErrorClass::SnapshotLost
        | ErrorClass::CommitUnknown => exit_code::RETRY,
        ErrorClass::Fenced | ErrorClass::Locked => exit_code::LOCKED,
        _ => exit_code::FAILED,
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        let mut causes = Vec::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Drivers repeat the inner sentence in the outer one.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            cause = inner.source();
        }
        Self {
            exit_code: exit_code_of(error.class),
            retry: error.advice() == Advice::Retry,
            class: Some(error.class),
            owner: None,
            message: error.message,
            causes,
            hint: error.hint,
            code: error.code,
        }
    }
}

impl From<TransformError> for Failure {
    fn from(error: TransformError) -> Self {
        let code = match &error {
            _ if error.is_config() => exit_code::CONFIG,
            TransformError::Stopped { .. } => exit_code::INTERRUPTED,
            _ => exit_code::FAILED,
        };
        let mut failure = Self::new(code, error.to_string());
        failure.hint = error.hint().map(str::to_owned);
        failure
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let code = match error {
            PluginError::Refused { .. } => exit_code::CONFIG,
            _ => exit_code::FAILED,
        };
        let mut failure = Self::new(code, error.to_string());
        failure.hint = error.hint().map(str::to_owned);
        failure
    }
}

/// Everything that stops a verb: one or more failures.
#[derive(Debug, Clone)]
pub(crate) struct Failures(pub(crate) Vec<Failure>);

impl Failures {
    /// The exit code of the verb.
    pub(crate) fn exit_code(&self) -> i32 {
        exit_code::of_tables(
            &self
                .0
                .iter()
                .map(|failure| failure.exit_code)
                .collect::<Vec<_>>(),
        )
    }
}

impl Failures {
    /// What stops one table, as one failure: the first one, with what others say besides.
    pub(crate) fn of_one_table(self) -> Failure {
        let mut failures = self.0.into_iter();
        let mut one = failures.next().expect("a table is stopped by something");
        let table = one.message.split_once("`: ").map(|(table, _)| table.len());
        let table = table.map_or(0, |length| length + "`: ".len());
        let table = one.message[..table].to_owned();
        for other in failures.by_ref().take(OTHERS_TOLD_MAX) {
            let said = other.message.strip_prefix(&table);
            let said = said.unwrap_or(&other.message);
            one.message.push_str(&format!("; {said}"));
            if let Some(more) = other.hint {
                let hint = one.hint.get_or_insert_default();
                if !hint.contains(&more) {
                    let more = more.strip_prefix("at the target: ").unwrap_or(&more);
                    hint.push_str(&format!("; {more}"));
                }
            }
        }
        let left = failures.count();
        if left > 0 {
            one.message.push_str(&format!("; and {left} more"));
        }
        one
    }
}

impl<T: Into<Failure>> From<T> for Failures {
    fn from(failure: T) -> Self {
        Self(vec![failure.into()])
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut failure = Self::new(exit_code::CONFIG, problem.to_string());
        failure.hint = problem.hint;
        failure
    }
}

impl From<Vec<Problem>> for Failures {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems.into_iter().map(Failure::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_table_is_told_at_once() {
        let failure = |message: &str, hint: &str| {
            Failure::new(exit_code::APPROVAL, message).with_hint(format!("at the target: {hint}"))
        };
        let failures = Failures(vec![
            failure("table `t`: this user may not INSERT on `t`", "GRANT INSERT"),
            failure("table `t`: this user may not UPDATE on `t`", "GRANT UPDATE"),
        ]);

        let one = failures.of_one_table();

        assert_eq!(
            one.message,
            "table `t`: this user may not INSERT on `t`; this user may not UPDATE on `t`"
        );
        assert_eq!(
            one.hint.as_deref(),
            Some("at the target: GRANT INSERT; GRANT UPDATE")
        );
    }
}
