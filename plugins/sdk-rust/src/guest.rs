//! The exports of a plugin: between the contract and what `plugin!` names.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::bindings::exports::syncset::plugin as exports;
use crate::bindings::syncset::plugin::types;
use crate::instance::Instance;
pub use crate::instance::{AnyFilter, AnyTransform};
use crate::scalar::{self, Function};
use crate::{Column, Context, Error, Result, log, wire};

/// What `plugin!` names.
pub trait Plugin: 'static {
    const NAME: &'static str;
    const VERSION: &'static str;
    const DOC: &'static str;
    const FUNCTIONS: &'static [Function];
    const TRANSFORM: Option<Part<dyn AnyTransform>>;
    const FILTER: Option<Part<dyn AnyFilter>>;
    /// JSON Schema of the configuration; empty if the author wrote none.
    fn config_schema() -> String;
}

/// A transform or filter before it has a configuration.
pub struct Part<T: ?Sized> {
    pub(crate) is_configured: bool,
    pub(crate) new: fn(&str) -> Result<Box<T>>,
}

impl Part<dyn AnyTransform> {
    pub const fn transform<T: crate::Transform>() -> Self {
        Self {
            is_configured: T::CONFIGURED,
            new: |json| Ok(Box::new(config::<T>(json)?)),
        }
    }
}

impl Part<dyn AnyFilter> {
    pub const fn filter<T: crate::Filter>() -> Self {
        Self {
            is_configured: T::CONFIGURED,
            new: |json| Ok(Box::new(config::<T>(json)?)),
        }
    }
}

/// The configuration of a part.
///
/// # Errors
/// If it is not as the part wants it.
pub(crate) fn config<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    serde_json::from_str(json).map_err(|error| {
        let message = error.to_string();
        // Its author wrote YAML: a place in this text says nothing.
        let said = match message.rsplit_once(" at line ") {
            Some((said, _)) if error.is_data() => said,
            _ => &message,
        };
        Error::new(format!("configuration: {said}"))
    })
}

/// What is exported for a plugin.
pub struct Component<P>(PhantomData<P>);

thread_local! {
    /// A component has one instance; native tests have one for each thread.
    static INSTANCE: RefCell<Option<Instance>> = const { RefCell::new(None) };
}

fn with_instance<T>(call: impl FnOnce(&mut Instance) -> Result<T>) -> Result<T> {
    INSTANCE.with_borrow_mut(|instance| match instance {
        Some(instance) => call(instance),
        None => Err(Error::new("the plugin is not configured")),
    })
}

impl<P: Plugin> exports::plugin::Guest for Component<P> {
    fn describe() -> exports::plugin::Description {
        log::hook_panics();
        describe::<P>()
    }

    fn configure(json: String) -> Result<Option<Vec<exports::plugin::Column>>, types::PluginError> {
        log::hook_panics();
        let instance = Instance::configure(P::TRANSFORM, P::FILTER, &json)?;
        let reads = instance.reads();
        INSTANCE.set(Some(instance));
        Ok(reads.map(|columns| columns.into_iter().map(Into::into).collect()))
    }

    fn bind(input: Vec<types::Field>) -> Result<Vec<types::Field>, types::PluginError> {
        log::hook_panics();
        let input: SchemaRef = Arc::new(wire::schema_from(input)?);
        let output = with_instance(|instance| instance.bind(input))?;
        Ok(wire::schema_to(&output)?)
    }
}

impl<P: Plugin> exports::transform::Guest for Component<P> {
    fn transform(
        context: types::Context,
        input: types::Batch,
    ) -> Result<exports::transform::Output, types::PluginError> {
        log::hook_panics();
        let context = Context::from(context);
        let output = with_instance(|instance| {
            let input = wire::batch_from(input, instance.input()?)?;
            instance.transform(&context, &input)
        })?;
        Ok(exports::transform::Output {
            batch: wire::batch_to(&output.batch)?,
            origins: output.origins,
        })
    }
}

impl<P: Plugin> exports::filter::Guest for Component<P> {
    fn keep(context: types::Context, input: types::Batch) -> Result<Vec<u8>, types::PluginError> {
        log::hook_panics();
        let context = Context::from(context);
        let mask = with_instance(|instance| {
            let input = wire::batch_from(input, instance.input()?)?;
            instance.keep(&context, &input)
        })?;
        Ok(wire::mask_to(&mask))
    }
}

impl<P: Plugin> exports::scalar::Guest for Component<P> {
    fn call(
        function: String,
        rows: u32,
        args: Vec<exports::scalar::Argument>,
    ) -> Result<types::Array, types::PluginError> {
        log::hook_panics();
        let known = P::FUNCTIONS
            .iter()
            .find(|known| (known.signature)().name == function);
        let known =
            known.ok_or_else(|| Error::new(format!("there is no function `{function}`")))?;
        let args = args
            .into_iter()
            .map(|argument| (argument.is_constant, argument.values));
        Ok(scalar::call(known, wire::length(rows)?, args.collect())?)
    }
}

fn describe<P: Plugin>() -> exports::plugin::Description {
    let provide = |flag, is_there| match is_there {
        true => flag,
        false => exports::plugin::Provides::empty(),
    };
    let provides = provide(exports::plugin::Provides::TRANSFORM, P::TRANSFORM.is_some())
        | provide(exports::plugin::Provides::FILTER, P::FILTER.is_some())
        | provide(exports::plugin::Provides::SCALAR, !P::FUNCTIONS.is_empty());
    let is_configured = P::TRANSFORM.is_some_and(|part| part.is_configured)
        || P::FILTER.is_some_and(|part| part.is_configured);
    let mut config_schema = P::config_schema();
    if config_schema.is_empty() && is_configured {
        // None would say that there is no configuration.
        config_schema = r#"{"type":"object"}"#.into();
    }
    let functions = P::FUNCTIONS.iter().map(|function| {
        let signature = (function.signature)();
        exports::plugin::Function {
            name: signature.name.into(),
            args: signature.args.into_iter().map(Into::into).collect(),
            returns: signature.returns.into(),
            volatility: signature.volatility,
            strict: signature.strict,
            doc: signature.doc.into(),
        }
    });
    exports::plugin::Description {
        name: P::NAME.into(),
        version: P::VERSION.into(),
        sdk: concat!("syncset-plugin (Rust) ", env!("CARGO_PKG_VERSION")).into(),
        doc: P::DOC.into(),
        provides,
        config_schema,
        functions: functions.collect(),
    }
}

impl From<Column> for exports::plugin::Column {
    fn from(column: Column) -> Self {
        Self {
            name: column.name,
            formats: column.formats,
        }
    }
}
