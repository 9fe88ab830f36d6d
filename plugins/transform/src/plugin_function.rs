//! Functions of plugins as DataFusion calls them: on whole columns.

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use syncset_plugin_host as host;

/// A function of a plugin.
#[derive(Debug)]
struct PluginUdf {
    function: Arc<host::PluginFunction>,
    signature: Signature,
}

/// DataFusion's form of a function.
pub(crate) fn udf(function: &Arc<host::PluginFunction>) -> ScalarUDF {
    let description = function.description();
    let volatility = match description.volatility {
        host::Volatility::Immutable => Volatility::Immutable,
        host::Volatility::Stable => Volatility::Stable,
        host::Volatility::Volatile => Volatility::Volatile,
    };
    let signature = match description.args.as_slice() {
        [] => Signature::nullary(volatility),
        args => Signature::exact(args.to_vec(), volatility),
    };
    ScalarUDF::from(PluginUdf {
        function: Arc::clone(function),
        signature,
    })
}

/// The function of a plugin that is called, if it is one.
pub(crate) fn of(function: &ScalarUDF) -> Option<&host::PluginFunction> {
    let own = function.inner().downcast_ref::<PluginUdf>()?;
    Some(&own.function)
}

impl PluginUdf {
    fn identity(&self) -> (&str, &str) {
        (
            self.function.plugin().sha256(),
            &self.function.description().name,
        )
    }
}

impl PartialEq for PluginUdf {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for PluginUdf {}

impl Hash for PluginUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl ScalarUDFImpl for PluginUdf {
    fn name(&self) -> &str {
        &self.function.description().name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.function.description().returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|argument| match argument {
            ColumnarValue::Array(values) => Ok((Arc::clone(values), false)),
            ColumnarValue::Scalar(value) => Ok((value.to_array()?, true)),
        });
        let columns: Vec<(ArrayRef, bool)> = columns.collect::<Result<_>>()?;
        let values = self.function.call(args.number_rows, &columns);
        let values = values.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(values))
    }
}
