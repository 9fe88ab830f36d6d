//! Two made-up stores and short ways to read, select and plan.

use crate::{
    Lookup, NoPlugins, PipelineSpec, Plugins, Problem, Project, PushDown, Source, TablePlan,
    parse_pipeline, parse_project, plan_tables, select_tables,
};
use arrow_schema::{DataType, TimeUnit};
use std::path::Path;
use syncset_connector::{
    Atomicity, Capabilities, Column, ConnectorInfo, ForeignKey, NativeType, Predicate,
    SettingSchema, TableDescription, TableEntry, TableKind, TableName, UniqueKey,
};

const SETTINGS: [SettingSchema; 4] = [
    setting("host"),
    setting("database"),
    setting("user"),
    setting("password"),
];

const fn setting(name: &'static str) -> SettingSchema {
    SettingSchema {
        name,
        secret: false,
        about: "",
    }
}

const fn capabilities(schemas: bool, capture_modes: &'static [&'static str]) -> Capabilities {
    Capabilities {
        source: true,
        target: true,
        state: true,
        atomicity: Atomicity::RowsAndWatermark,
        transactional_ddl: true,
        share_snapshot: true,
        parallel_writes: true,
        statements: schemas,
        schemas,
        shows_writers: schemas,
        marks: true,
        hashes_rows: schemas,
        capture_modes,
    }
}

static POSTGRES: ConnectorInfo = ConnectorInfo {
    kind: "postgres",
    schemes: &["postgres", "postgresql"],
    settings: &SETTINGS,
    capabilities: capabilities(true, &["full", "hash", "cursor", "xmin"]),
};

static SQLITE: ConnectorInfo = ConnectorInfo {
    kind: "sqlite",
    schemes: &["sqlite"],
    settings: &[setting("path")],
    capabilities: capabilities(false, &["full", "hash", "cursor"]),
};

static READ_ONLY: ConnectorInfo = ConnectorInfo {
    kind: "archive",
    schemes: &["archive"],
    settings: &[],
    capabilities: Capabilities {
        target: false,
        ..capabilities(false, &["full"])
    },
};

pub(super) static CATALOG: [&ConnectorInfo; 3] = [&POSTGRES, &SQLITE, &READ_ONLY];

fn env(name: &str) -> Option<String> {
    match name {
        "CRM_URL" => Some("postgres://ann:hunter2@db/crm".into()),
        "NONSENSE" => Some("hunter2".into()),
        "MASK_KEY" => Some("hunter2 hunter2 hunter2".into()),
        _ => None,
    }
}

fn file(path: &str) -> std::io::Result<String> {
    match path {
        "/shop/secrets/pg" => Ok("hunter2\n".into()),
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "no such file",
        )),
    }
}

pub(super) const LOOKUP: Lookup = Lookup {
    env: &env,
    file: &file,
};

/// Reads a project file.
pub(super) fn project(text: &str) -> Result<Project, Vec<Problem>> {
    let path = "syncset.yaml";
    parse_project(Source { path, text }, Path::new("/shop"), &CATALOG, &LOOKUP)
}

/// Reads a pipeline file in a project with the connections `crm` and `replica`, and with the plugins
/// `normalise_phone` and `scrub`.
pub(super) fn pipeline(text: &str) -> Result<PipelineSpec, Vec<Problem>> {
    let project = project(
        "version: 1\nconnections:\n  crm: { type: postgres, url: \"${CRM_URL}\" }\n  \
         replica: { type: postgres, host: db2, password: \"${file:secrets/pg}\" }\nplugins:\n  \
         normalise_phone: { path: plugins/p.wasm, config: { country: DE, keys: [a, b] } }\n  \
         scrub: { path: plugins/s.wasm, on_error: skip_row, config: { key: \"${MASK_KEY}\" } }\n",
    )
    .expect("the project of the tests is right");
    let path = "p.yaml";
    parse_pipeline("p", Source { path, text }, &project, &CATALOG, &LOOKUP)
}

/// A pipeline from `crm` to `replica` with these tables, each line of them indented already.
pub(super) fn with_tables(tables: &str) -> String {
    format!("version: 1\nsource: crm\ntarget: replica\n{tables}")
}

/// Problems as they are printed, with their hints.
pub(super) fn shown<T>(result: Result<T, Vec<Problem>>) -> String {
    let Err(problems) = result else {
        return "no problem".into();
    };
    problems
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{problem}\n  hint: {hint}\n"),
            None => format!("{problem}\n"),
        })
        .collect()
}

/// A source that evaluates everything but conditions on `note`.
struct Store;

impl PushDown for Store {
    fn can_push(&self, _: &TableDescription, predicate: &Predicate) -> Result<(), String> {
        if predicate.columns().contains(&"note") {
            return Err("`note` has a collation that is not byte-equal".into());
        }
        Ok(())
    }

    fn widens(&self, before: &str, after: &str) -> bool {
        (before, after) == ("int32", "int64")
    }
}

/// Reads, selects and plans.
pub(super) fn plan(text: &str) -> Result<Vec<TablePlan>, Vec<Problem>> {
    plan_of(text, &shop(), None)
}

/// The same for these tables, whose streams were loaded under what is stored.
pub(super) fn plan_of(
    text: &str,
    tables: &[TableDescription],
    loaded_under: Option<&str>,
) -> Result<Vec<TablePlan>, Vec<Problem>> {
    plan_with(text, tables, loaded_under, &NoPlugins)
}

/// The same with plugins.
pub(super) fn plan_with(
    text: &str,
    tables: &[TableDescription],
    loaded_under: Option<&str>,
    plugins: &dyn Plugins,
) -> Result<Vec<TablePlan>, Vec<Problem>> {
    let spec = pipeline(text)?;
    let listed: Vec<_> = tables
        .iter()
        .map(|table| TableEntry {
            name: table.name.clone(),
            kind: table.kind,
        })
        .collect();
    let described: Vec<_> = select_tables(&spec, &listed, &[])?
        .into_iter()
        .map(|mut selected| {
            selected.loaded_under = loaded_under.map(str::to_owned);
            let table = tables.iter().find(|table| table.name == selected.table);
            (
                selected,
                table.expect("a listed table is described").clone(),
            )
        })
        .collect();
    plan_tables(&spec, &described, &Store, plugins, None)
}

pub(super) fn column(name: &str, data_type: DataType, nullable: bool) -> Column {
    Column {
        name: name.into(),
        native: NativeType {
            engine: "postgres".into(),
            name: data_type.to_string().to_lowercase(),
            as_text: false,
            definition: None,
        },
        data_type,
        nullable,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    }
}

pub(super) fn table(
    schema: &str,
    name: &str,
    columns: Vec<Column>,
    key: &[&str],
) -> TableDescription {
    TableDescription {
        name: TableName::in_schema(schema, name),
        kind: TableKind::Table,
        columns,
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        comments: syncset_connector::Comments::default(),
        row_estimate: None,
        byte_estimate: None,
        storage_identity: serde_json::Value::Null,
        source_identity: serde_json::Value::Null,
        grant: None,
    }
}

/// One table of the shop, for tests of conditions.
pub(super) fn customers() -> TableDescription {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    table(
        "public",
        "customers",
        vec![
            column("id", DataType::Int64, false),
            column("name", DataType::Utf8, true),
            column("Country", DataType::Utf8, true),
            column("active", DataType::Boolean, true),
            column("note", DataType::Utf8, true),
            column("seen_at", instant.clone(), true),
            column("updated_at", instant, false),
            column(
                "local_at",
                DataType::Timestamp(TimeUnit::Microsecond, None),
                false,
            ),
        ],
        &["id"],
    )
}

/// The tables of the source.
pub(super) fn shop() -> Vec<TableDescription> {
    let id = || column("id", DataType::Int64, false);
    let mut orders = table(
        "public",
        "a_orders",
        vec![id(), column("customer_id", DataType::Int64, true)],
        &["id"],
    );
    orders.foreign_keys.push(ForeignKey {
        name: "a_orders_customer".into(),
        columns: vec!["customer_id".into()],
        parent: TableName::in_schema("public", "customers"),
        parent_columns: vec!["id".into()],
        cascades: false,
        enforced: true,
    });
    let mut keyless = table(
        "public",
        "events",
        vec![id(), column("code", DataType::Utf8, false)],
        &[],
    );
    keyless.unique_keys.push(UniqueKey {
        name: "events_code".into(),
        columns: vec!["code".into()],
        total: true,
        partial: false,
        nulls_distinct: true,
    });
    let mut view = table(
        "public",
        "v_totals",
        vec![column("day", DataType::Date32, true), id()],
        &[],
    );
    view.kind = TableKind::View;
    vec![
        orders,
        customers(),
        keyless,
        table(
            "public",
            "log",
            vec![column("line", DataType::Utf8, true)],
            &[],
        ),
        table("public", "ref_colour", vec![id()], &["id"]),
        table("public", "ref_size", vec![id()], &["id"]),
        view,
        table("sales", "Order.Items", vec![id()], &["id"]),
        table("sales", "customers", vec![id()], &["id"]),
        table("sales", "stock", vec![id()], &["id"]),
        table("store", "stock", vec![id()], &["id"]),
        table("store", "shelf", vec![id()], &["id"]),
    ]
}
