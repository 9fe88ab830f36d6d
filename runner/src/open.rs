//! Opens the stores of a pipeline.

use crate::check::Reader;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::plugins::PluginSet;
use crate::registry;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{OpenOptions, PipelineKey, Role, Source, StateStore, Store, Target};
use syncset_pipeline::{ConnectionSpec, PipelineSpec};
use tokio::sync::OnceCell;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait for a lock of a store before the unit is tried again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Both ends of a pipeline, opened. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ends {
    /// Whose state it is.
    pub(crate) key: PipelineKey,
    source: Arc<Box<dyn Store>>,
    target: Arc<Box<dyn Store>>,
    /// Opens the target once more, to be read.
    reader: Arc<ReaderOnce>,
    plugins: Arc<PluginSet>,
}

/// The target as it is read, opened when somebody asks for it.
struct ReaderOnce {
    target: ConnectionSpec,
    jobs: usize,
    opened: OnceCell<Reader>,
}

impl Ends {
    /// Opens source and target at the same time. `jobs`: units at the same time.
    pub(crate) async fn open(
        spec: &PipelineSpec,
        project: &str,
        jobs: usize,
    ) -> Result<Self, Failures> {
        let key = PipelineKey {
            project: project.to_owned(),
            pipeline: spec.name.clone(),
        };
        let (source, target) = tokio::join!(
            open_store(&spec.source, Role::Source, &key, jobs),
            open_store(&spec.target, Role::Target, &key, jobs),
        );
        let (source, target) = match (source, target) {
            (Ok(source), Ok(target)) => (source, target),
            (Err(source), Err(target)) => return Err(Failures(vec![source, target])),
            (Err(failure), _) | (_, Err(failure)) => return Err(failure.into()),
        };
        let ends = Self {
            key,
            source: Arc::new(source),
            target: Arc::new(target),
            reader: Arc::new(ReaderOnce {
                target: spec.target.clone(),
                jobs,
                opened: OnceCell::new(),
            }),
            plugins: Arc::new(PluginSet::of(spec)),
        };
        let missing = |what: &str, spec: &ConnectionSpec| {
            let kind = &spec.kind;
            Failure::new(
                exit_code::CONFIG,
                format!("`{kind}` cannot be the {what} of a pipeline"),
            )
        };
        if ends.source.source().is_none() {
            return Err(missing("source", &spec.source).into());
        }
        if ends.target.target().is_none() || ends.target.state().is_none() {
            return Err(missing("target", &spec.target).into());
        }
        Ok(ends)
    }

    /// The store that is read.
    pub(crate) fn source_store(&self) -> &dyn Store {
        self.source.as_ref().as_ref()
    }

    /// The store that is written.
    pub(crate) fn target_store(&self) -> &dyn Store {
        self.target.as_ref().as_ref()
    }

    /// The plugins of the project.
    pub(crate) fn plugins(&self) -> &PluginSet {
        &self.plugins
    }

    /// The reading side.
    pub(crate) fn source(&self) -> &dyn Source {
        self.source.source().expect("checked when it was opened")
    }

    /// The writing side.
    pub(crate) fn target(&self) -> &dyn Target {
        self.target.target().expect("checked when it was opened")
    }

    /// The target in sessions that only read it.
    pub(crate) async fn target_reader(&self) -> Result<&Reader, Failure> {
        let ReaderOnce {
            target,
            jobs,
            opened,
        } = self.reader.as_ref();
        let open = || Reader::open(target, &self.key, *jobs);
        opened.get_or_try_init(open).await
    }

    /// The state.
    pub(crate) fn state(&self) -> &dyn StateStore {
        self.target.state().expect("checked when it was opened")
    }

    /// Closes both in an orderly way, if nobody else uses them.
    pub(crate) async fn close(self) {
        let reader = Arc::into_inner(self.reader);
        if let Some(reader) = reader.and_then(|once| once.opened.into_inner()) {
            reader.close().await;
        }
        for store in [self.source, self.target] {
            if let Some(store) = Arc::into_inner(store) {
                store.close().await;
            }
        }
    }
}

/// Opens one connection.
pub(crate) async fn open_store(
    spec: &ConnectionSpec,
    role: Role,
    key: &PipelineKey,
    jobs: usize,
) -> Result<Box<dyn Store>, Failure> {
    let connector = registry::connector(&spec.kind).ok_or_else(|| {
        Failure::new(
            exit_code::CONFIG,
            format!("this build has no connector `{}`", spec.kind),
        )
    })?;
    let options = OpenOptions {
        role,
        application: format!("syncset:{key}"),
        // Each job reads and writes in one session, and the main task has one more.
        sessions_max: jobs + 1,
        connect_timeout: CONNECT_TIMEOUT,
        lock_timeout: LOCK_TIMEOUT,
        statement_timeout: Duration::ZERO,
    };
    connector
        .open(&spec.settings, &options)
        .await
        .map_err(|error| Failure::from(error).while_doing(format!("cannot open `{}`", spec.name)))
}
