//! One instance of a plugin, and the calls of the contract.

use crate::arrays::{self, Buffers};
use crate::bindings::exports::syncset::plugin as exported;
use crate::bindings::syncset::plugin::types::{
    ArrayParam, ArrayResult, BatchParam, Context, FieldParam, PluginError as Said,
};
use crate::description::Description;
use crate::error::{Fault, shown};
use crate::format::{data_type_of, format_of};
use crate::guest::{Guest, fault_of};
use crate::settings::Limits;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, Schema};
use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::Store;

/// Columns that a plugin may return.
const COLUMNS_MAX: usize = 4096;

/// A column that a plugin reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnNeed {
    /// Its name.
    pub name: String,
    /// The format strings that will do, which may end in `*`; empty: any.
    pub formats: Vec<String>,
}

/// What a plugin may know of where its rows come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The pipeline.
    pub pipeline: String,
    /// The table, as the source names it.
    pub table: String,
    /// When the run began, in microseconds since 1970.
    pub run_time_us: i64,
}

/// An instance. One call at a time; after a failure it is thrown away.
pub(crate) struct Instance {
    store: Store<Guest>,
    limits: Limits,
    plugin: exported::plugin::Guest,
    transform: Option<exported::transform::Guest>,
    filter: Option<exported::filter::Guest>,
    scalar: Option<exported::scalar::Guest>,
}

/// What `transform` returned.
pub(crate) struct Transformed {
    /// One for each column that `bind` promised.
    pub(crate) columns: Vec<ArrayRef>,
    /// The row that each row was made from; `None`: all rows in their order.
    pub(crate) origins: Option<Vec<u32>>,
}

/// An argument of a function.
pub(crate) struct Argument<'a> {
    /// A single value that stands for every row.
    pub(crate) is_constant: bool,
    pub(crate) values: &'a dyn Array,
}

impl Instance {
    pub(crate) fn new(
        mut store: Store<Guest>,
        limits: Limits,
        found: &wasmtime::component::Instance,
        indices: &Indices,
    ) -> wasmtime::Result<Self> {
        let plugin = indices.plugin.load(&mut store, found)?;
        let transform = indices.transform.as_ref();
        let transform = transform.map(|it| it.load(&mut store, found)).transpose()?;
        let filter = indices.filter.as_ref();
        let filter = filter.map(|it| it.load(&mut store, found)).transpose()?;
        let scalar = indices.scalar.as_ref();
        let scalar = scalar.map(|it| it.load(&mut store, found)).transpose()?;
        Ok(Self {
            store,
            limits,
            plugin,
            transform,
            filter,
            scalar,
        })
    }

    pub(crate) fn describe(&mut self) -> Result<Description, Fault> {
        let plugin = self.plugin.clone();
        let found = self.call(|store| plugin.call_describe(store))?;
        let has = |flag, exported: bool| !found.provides.contains(flag) || exported;
        let provided = [
            (
                "transform",
                has(
                    exported::plugin::Provides::TRANSFORM,
                    self.transform.is_some(),
                ),
            ),
            (
                "filter",
                has(exported::plugin::Provides::FILTER, self.filter.is_some()),
            ),
            (
                "scalar",
                has(exported::plugin::Provides::SCALAR, self.scalar.is_some()),
            ),
        ];
        if let Some((interface, _)) = provided.iter().find(|(_, exported)| !exported) {
            return Err(Fault::new(format!(
                "it says that it provides `{interface}`, and does not export it"
            )));
        }
        Description::of(found).map_err(Fault::new)
    }

    /// The columns that it reads with this configuration, in JSON; `None`: all.
    pub(crate) fn configure(&mut self, config: &str) -> Result<Option<Vec<ColumnNeed>>, Fault> {
        let plugin = self.plugin.clone();
        let reads = self
            .call(|store| plugin.call_configure(store, config))?
            .map_err(|said| self.blamed(said, None))?;
        for column in reads.iter().flatten() {
            if shown(&column.name) != column.name || column.name.is_empty() {
                let name = self.store.data().shown(&column.name);
                return Err(Fault::contract(format!("a column with the name `{name}`")));
            }
        }
        let need = |column: exported::plugin::Column| ColumnNeed {
            name: column.name,
            formats: column.formats,
        };
        Ok(reads.map(|columns| columns.into_iter().map(need).collect()))
    }

    /// The columns that `transform` returns if it is given these.
    pub(crate) fn bind(&mut self, input: &Schema) -> Result<Vec<Field>, Fault> {
        let formats: Vec<String> = input
            .fields()
            .iter()
            .map(|field| {
                format_of(field.data_type()).ok_or_else(|| {
                    Fault::new(format!(
                        "column `{}` of type {} cannot be passed to plugins",
                        field.name(),
                        field.data_type()
                    ))
                    .with_hint("derive it as text, or leave it out")
                })
            })
            .collect::<Result<_, _>>()?;
        let fields: Vec<FieldParam<'_>> = input
            .fields()
            .iter()
            .zip(&formats)
            .map(|(field, format)| FieldParam {
                name: field.name(),
                format,
                nullable: field.is_nullable(),
            })
            .collect();
        let plugin = self.plugin.clone();
        let found = self
            .call(|store| plugin.call_bind(store, &fields))?
            .map_err(|said| self.blamed(said, None))?;
        if found.len() > COLUMNS_MAX {
            return Err(Fault::contract(format!("{} columns", found.len())));
        }
        let mut output: Vec<Field> = Vec::with_capacity(found.len());
        for field in found {
            let guest = self.store.data();
            let name = guest.shown(&field.name);
            let data_type = data_type_of(&field.format).ok_or_else(|| {
                Fault::contract(format!(
                    "column `{name}` of type `{}`, which the contract does not have",
                    guest.shown(&field.format)
                ))
            })?;
            if shown(&field.name) != field.name || field.name.is_empty() {
                return Err(Fault::contract(format!("a column with the name `{name}`")));
            }
            if output.iter().any(|other| *other.name() == field.name) {
                return Err(Fault::contract(format!("column `{name}` twice")));
            }
            output.push(Field::new(field.name, data_type, field.nullable));
        }
        Ok(output)
    }

    /// `output`: what [`Self::bind`] promised.
    pub(crate) fn transform(
        &mut self,
        scope: &Scope,
        rows: &RecordBatch,
        output: &[Field],
    ) -> Result<Transformed, Fault> {
        let guest = self.transform.clone();
        let guest = guest.ok_or_else(|| Fault::new("it does not export `transform`"))?;
        let context = scope.context();
        let input = Input::of(rows)?;
        let found = input.with(rows, |batch| {
            self.call(|store| guest.call_transform(store, context, batch))
        })?;
        let found = found.map_err(|said| self.blamed(said, Some(rows.num_rows())))?;
        let batch = found.batch;
        let row_count = usize::try_from(batch.rows).unwrap_or(usize::MAX);
        check_origins(found.origins.as_deref(), row_count, rows.num_rows())?;
        if batch.arrays.len() != output.len() {
            return Err(Fault::contract(format!(
                "{} columns instead of the {} that it promised",
                batch.arrays.len(),
                output.len()
            )));
        }
        let columns = batch.arrays.into_iter().zip(output);
        let columns = columns
            .map(|(array, field)| column(array, field, row_count))
            .collect::<Result<_, _>>()?;
        Ok(Transformed {
            columns,
            origins: found.origins,
        })
    }

    /// True for each row that stays.
    pub(crate) fn keep(
        &mut self,
        scope: &Scope,
        rows: &RecordBatch,
    ) -> Result<BooleanBuffer, Fault> {
        let guest = self.filter.clone();
        let guest = guest.ok_or_else(|| Fault::new("it does not export `filter`"))?;
        let context = scope.context();
        let input = Input::of(rows)?;
        let found = input.with(rows, |batch| {
            self.call(|store| guest.call_keep(store, context, batch))
        })?;
        let row_count = rows.num_rows();
        let bitmap = found.map_err(|said| self.blamed(said, Some(row_count)))?;
        if bitmap.len() < row_count.div_ceil(8) {
            return Err(Fault::contract(format!(
                "a bitmap of {} bytes for {row_count} rows",
                bitmap.len()
            )));
        }
        Ok(BooleanBuffer::new(bitmap.into(), 0, row_count))
    }

    /// Values of a function, one for each row.
    pub(crate) fn evaluate(
        &mut self,
        function: &str,
        row_count: usize,
        args: &[Argument<'_>],
        returns: &DataType,
    ) -> Result<ArrayRef, Fault> {
        let guest = self.scalar.clone();
        let guest = guest.ok_or_else(|| Fault::new("it does not export `scalar`"))?;
        let rows = u32::try_from(row_count).map_err(|_| Fault::new("too many rows"))?;
        let buffers = args.iter().map(|argument| Buffers::of(argument.values));
        let buffers: Vec<_> = buffers.collect::<Result<_, _>>().map_err(Fault::new)?;
        let slices: Vec<Vec<&[u8]>> = buffers.iter().map(Buffers::slices).collect();
        let args: Vec<_> = args
            .iter()
            .zip(&buffers)
            .zip(&slices)
            .map(|((argument, buffers), slices)| exported::scalar::Argument {
                is_constant: argument.is_constant,
                values: buffers.param(slices),
            })
            .collect();
        let found = self.call(|store| guest.call_call(store, function, rows, &args))?;
        let found = found.map_err(|said| self.blamed(said, Some(row_count)))?;
        arrays::array(found, returns, row_count).map_err(Fault::contract)
    }

    /// Which row and column a plugin blames, and why.
    fn blamed(&self, said: Said, row_count: Option<usize>) -> Fault {
        let guest = self.store.data();
        let mut fault = Fault::new(match guest.shown(&said.message) {
            message if message.is_empty() => "it failed without a word".to_owned(),
            message => message,
        });
        fault.column = said.column.as_deref().map(|column| guest.shown(column));
        let row = said.row.and_then(|row| usize::try_from(row).ok());
        fault.row = row.filter(|row| row_count.is_some_and(|count| *row < count));
        fault.is_answer = true;
        fault
    }

    /// One call within the limits.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        self.store.data_mut().begin();
        // The guest's state says when the call has to end.
        self.store.set_epoch_deadline(1);
        if let Some(fuel) = self.limits.fuel {
            self.store
                .set_fuel(fuel)
                .map_err(|error| Fault::new(format!("{error:#}")))?;
        }
        let store = &mut self.store;
        aside(|| call(store)).map_err(|error| fault_of(&error, self.store.data_mut(), &self.limits))
    }
}

/// Lets other tasks of this thread go on elsewhere: a call may take long.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The interfaces that a component exports.
pub(crate) struct Indices {
    pub(crate) plugin: exported::plugin::GuestIndices,
    pub(crate) transform: Option<exported::transform::GuestIndices>,
    pub(crate) filter: Option<exported::filter::GuestIndices>,
    pub(crate) scalar: Option<exported::scalar::GuestIndices>,
}

impl Scope {
    fn context(&self) -> Context<'_> {
        Context {
            pipeline: &self.pipeline,
            table: &self.table,
            run_time_us: self.run_time_us,
        }
    }
}

/// The columns of a batch, as a call takes them.
struct Input {
    columns: Vec<Buffers>,
}

impl Input {
    fn of(rows: &RecordBatch) -> Result<Self, Fault> {
        let columns = rows.columns().iter().map(|column| Buffers::of(column));
        Ok(Self {
            columns: columns.collect::<Result<_, _>>().map_err(Fault::new)?,
        })
    }

    fn with<T>(&self, rows: &RecordBatch, call: impl FnOnce(BatchParam<'_>) -> T) -> T {
        let slices: Vec<Vec<&[u8]>> = self.columns.iter().map(Buffers::slices).collect();
        let arrays: Vec<ArrayParam<'_>> = self
            .columns
            .iter()
            .zip(&slices)
            .map(|(column, slices)| column.param(slices))
            .collect();
        call(BatchParam {
            rows: u32::try_from(rows.num_rows()).unwrap_or(u32::MAX),
            arrays: &arrays,
        })
    }
}

fn column(found: ArrayResult, field: &Field, row_count: usize) -> Result<ArrayRef, Fault> {
    let name = field.name();
    let array = arrays::array(found, field.data_type(), row_count)
        .map_err(|wrong| Fault::contract(format!("{wrong}, in column `{name}`")))?;
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(Fault::contract(format!(
            "NULL in column `{name}`, which it promised to fill"
        )));
    }
    Ok(array)
}

/// Rows come back in their order, each at most once, or all of them.
fn check_origins(
    origins: Option<&[u32]>,
    row_count: usize,
    input_count: usize,
) -> Result<(), Fault> {
    let Some(origins) = origins else {
        return match row_count == input_count {
            true => Ok(()),
            false => Err(Fault::contract(format!(
                "{row_count} rows for {input_count}, without saying which"
            ))),
        };
    };
    if origins.len() != row_count {
        return Err(Fault::contract(format!(
            "the origins of {} rows with {row_count} rows",
            origins.len()
        )));
    }
    let last = origins.last().and_then(|last| usize::try_from(*last).ok());
    if last.is_some_and(|last| last >= input_count) {
        return Err(Fault::contract("a row that was made from none"));
    }
    if origins.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::contract("two rows that were made from one")
            .with_hint("a plugin may leave rows out, and may not add any"));
    }
    if origins.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(Fault::contract("rows in another order"));
    }
    Ok(())
}
