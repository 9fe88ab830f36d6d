//! Why a plugin cannot be used, or did not do what it was asked.

use crate::settings::Config;

/// Lines of a guest's backtrace that are told.
const FRAMES_MAX: usize = 12;

/// Characters of a text of a guest that are told.
const TEXT_CHARS_MAX: usize = 500;

/// Why a plugin cannot be used as the files say, or failed at a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file, or what it exports, is not what the project says.
    #[error("plugin `{plugin}`: {reason}")]
    Refused {
        /// Its name in the project.
        plugin: String,
        /// What is wrong.
        reason: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A call failed. Nothing of its batch may be used.
    #[error("plugin `{plugin}`: {fault}")]
    Failed {
        /// Its name in the project.
        plugin: String,
        /// What happened.
        fault: Box<Fault>,
    },
}

/// What happened in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub reason: String,
    /// The column that the plugin blames.
    pub column: Option<String>,
    /// Row of the batch that was passed in, counted from zero, if one row alone fails.
    pub row: Option<usize>,
    /// What a person can do next.
    pub hint: Option<String>,
    /// Functions of the guest that were running, innermost first.
    pub backtrace: Vec<String>,
    /// Whether one row may be to blame: false for limits of time and for answers that are wrong.
    pub divisible: bool,
    /// Whether the call was ended because everything is to end.
    pub stopped: bool,
    /// Whether the guest said so itself, and goes on.
    pub(crate) is_answer: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(column) = &self.column {
            write!(formatter, "column `{column}`: ")?;
        }
        formatter.write_str(&self.reason)?;
        if !self.backtrace.is_empty() {
            write!(formatter, " (in {})", self.backtrace.join(" < "))?;
        }
        Ok(())
    }
}

impl Fault {
    /// A fault that no row is known for.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            column: None,
            row: None,
            hint: None,
            backtrace: Vec::new(),
            divisible: true,
            stopped: false,
            is_answer: false,
        }
    }

    /// The end of a call that was interrupted.
    pub(crate) fn stopped() -> Self {
        let mut fault = Self::new("its call was ended, since the run was told to stop");
        fault.divisible = false;
        fault.stopped = true;
        fault
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something that the contract does not allow a plugin to return.
    pub(crate) fn contract(reason: impl std::fmt::Display) -> Self {
        let mut fault = Self::new(format!("it returned {reason}")).with_hint(
            "this is a mistake of the plugin: `syncset plugin test` shows it with fewer rows",
        );
        // What is wrong with the answer to all rows says nothing about one of them.
        fault.divisible = false;
        fault
    }

    /// Without secrets of the configuration.
    pub(crate) fn hidden(mut self, config: &Config) -> Self {
        self.reason = config.hidden(self.reason);
        self.column = self.column.map(|column| config.hidden(column));
        self
    }

    pub(crate) fn with_backtrace(mut self, frames: Vec<String>) -> Self {
        self.backtrace = frames.into_iter().take(FRAMES_MAX).collect();
        self
    }
}

impl PluginError {
    pub(crate) fn refused(plugin: &str, reason: impl Into<String>) -> Self {
        Self::Refused {
            plugin: plugin.to_owned(),
            reason: reason.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(plugin: &str, fault: Fault) -> Self {
        Self::Failed {
            plugin: plugin.to_owned(),
            fault: Box::new(fault),
        }
    }

    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Refused { hint, .. } => *hint = Some(text.into()),
            Self::Failed { fault, .. } => fault.hint = Some(text.into()),
        }
        self
    }

    /// What a person can do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => hint.as_deref(),
            Self::Failed { fault, .. } => fault.hint.as_deref(),
        }
    }
}

/// A text of a guest as messages show it: one line of bounded length, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let line = text.trim().chars();
    let mut line: String = line
        .map(|it| if it.is_control() { ' ' } else { it })
        .take(TEXT_CHARS_MAX + 1)
        .collect();
    if line.chars().count() > TEXT_CHARS_MAX {
        line.pop();
        line.push('…');
    }
    line
}
