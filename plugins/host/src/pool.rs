//! Instances that wait for their next batch.

use crate::error::Fault;
use crate::instance::Instance;
use crate::plugin::Plugin;
use crate::settings::Config;
use arrow_schema::SchemaRef;
use std::sync::{Arc, Mutex, PoisonError};

/// Instances with one configuration. Each is used by one job at a time, and by none after it
/// stopped or returned what it may not. One that returned an error goes on: making another one
/// takes longer than most batches.
pub(crate) struct Pool {
    pub(crate) plugin: Arc<Plugin>,
    config: Config,
    /// The columns that are passed; `None` for functions.
    input: Option<SchemaRef>,
    idle: Mutex<Vec<Instance>>,
}

impl Pool {
    pub(crate) fn new(plugin: Arc<Plugin>, config: &Config, input: Option<SchemaRef>) -> Self {
        Self {
            plugin,
            config: config.clone(),
            input,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Does `work` with an instance.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Instance) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let waiting = self.waiting().pop();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => self.open()?,
        };
        let done = work(&mut instance);
        if done.as_ref().err().is_none_or(|fault| fault.is_answer) {
            self.waiting().push(instance);
        }
        done.map_err(|fault| fault.hidden(&self.config))
    }

    fn open(&self) -> Result<Instance, Fault> {
        let Some(input) = &self.input else {
            return self.plugin.open_functions(&self.config);
        };
        let (mut instance, _) = self.plugin.open(&self.config)?;
        instance
            .bind(input)
            .map_err(|fault| fault.hidden(&self.config))?;
        Ok(instance)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
