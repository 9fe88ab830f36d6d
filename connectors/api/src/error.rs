//! Why a store refused, and what to do about it.

/// Results of this contract.
pub type Result<T, E = ConnectorError> = std::result::Result<T, E>;

/// What kind of failure it was: decides the retry and the exit code, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// A setting, a name or a selection that the store cannot serve as written (exit 2).
    Config,
    /// The store could not be reached or the link dropped before a commit was sent (retry, exit 9).
    Connection,
    /// Credentials were refused (exit 1).
    Authentication,
    /// A right is missing; the hint names the GRANT (exit 1).
    Privilege,
    /// Deadlock, serialisation, lock time-out, administrator's shutdown (retry, exit 9).
    Transient,
    /// Rows, quota or a transaction still in the way; a later run will do better (exit 9).
    NotYet,
    /// One row was refused by a type, a check or a NOT NULL.
    RowRefused,
    /// One row was refused by a unique or a foreign key: it may pass later in the same run.
    RowParked,
    /// The target table is not ours, holds rows, or differs from what the pipeline needs.
    TargetDiffers,
    /// The source's table changed while it was read: the unit starts again.
    SourceChanged,
    /// A shared snapshot is gone: the load starts over.
    SnapshotLost,
    /// Another runner holds a newer epoch: this one must write nothing more (exit 7).
    Fenced,
    /// Someone else holds the lease or a lock and could not be pushed aside (exit 7).
    Locked,
    /// The link dropped after COMMIT was sent: it may or may not have happened.
    CommitUnknown,
    /// The source is another database than the one the watermark belongs to.
    SourceReplaced,
    /// The disk of a store is full.
    DiskFull,
    /// State was written by a newer syncset.
    StateTooNew,
    /// A value or type that this store cannot carry.
    Unsupported,
    /// Anything else the store said.
    Store,
}

/// What the caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The same call may succeed soon: back off and try again.
    Retry,
    /// Only a person, or another run, can do something.
    GiveUp,
}

/// An error of a store: a sentence, what to do next, and the class that decides the rest.
///
/// `message` is a lower-case fragment that names the thing and the place and holds no cell value.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// What kind of failure it was.
    pub class: ErrorClass,
    /// What happened, without the cause.
    pub message: String,
    /// What a person can do next.
    pub hint: Option<String>,
    /// The store's own code, such as an SQLSTATE.
    pub code: Option<String>,
    /// The cause, printed as a `cause:` line of its own.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectorError {
    /// An error without cause and hint.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
            code: None,
            cause: None,
        }
    }

    /// Adds what a person can do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the store's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Whether the same call may succeed soon.
    pub fn advice(&self) -> Advice {
        match self.class {
            ErrorClass::Connection | ErrorClass::Transient | ErrorClass::SourceChanged => {
                Advice::Retry
            }
            _ => Advice::GiveUp,
        }
    }
}
