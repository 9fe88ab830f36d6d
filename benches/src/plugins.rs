//! What plugins cost: a first load with one on every batch, and the host alone.

use super::{Bench, COLUMNS, ROUNDS, report};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use kit::{PluginLanguage, Project, build_plugin};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use syncset_plugin_host::{
    Config, Limits, Plugin, PluginFile, PluginFunction, PluginTransform, Scope, Wasi,
};

/// Rows that the host alone is measured with.
const HOST_ROWS: usize = 1_000_000;

/// Rows of one batch of them: about what a unit reads at a time.
const BATCH_ROWS: usize = 8_192;

/// Times that the host does all rows; the best counts, since nothing else is compared.
const HOST_ROUNDS: usize = 5;

const LANGUAGES: [(PluginLanguage, &str, &str); 3] = [
    (
        PluginLanguage::Rust,
        "src/lib.rs",
        include_str!("../plugins/rust.rs"),
    ),
    (
        PluginLanguage::Python,
        "plugin.py",
        include_str!("../plugins/python.py"),
    ),
    (
        PluginLanguage::Js,
        "plugin.js",
        include_str!("../plugins/js.js"),
    ),
];

/// The same work in each language, built by `plugin build`.
struct Guests {
    project: Project,
}

impl Guests {
    async fn build() -> Self {
        let project = Project::empty();
        for (language, file, text) in LANGUAGES {
            let name = language.name();
            let made = ["plugin", "new", "--lang", name, name];
            project.syncset(made).await.expect_success();
            project.file(&format!("{name}/{file}"), text);
            build_plugin(&project, language, name).await;
        }
        Self { project }
    }

    fn path(&self, language: PluginLanguage) -> PathBuf {
        let name = language.name();
        self.project.path().join(name).join(format!("{name}.wasm"))
    }

    fn load(&self, language: PluginLanguage) -> Arc<Plugin> {
        let file = PluginFile {
            name: language.name().to_owned(),
            path: self.path(language),
            sha256: None,
            wasi: Wasi::None,
            interrupt: Default::default(),
            limits: Limits::default(),
        };
        Arc::new(Plugin::load(&file).expect("it was built and checked"))
    }
}

impl Bench {
    /// First loads with and without a plugin in turn, and the host alone.
    pub(super) async fn plugins(&self) {
        let guests = Guests::build().await;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let plain = self.server.database("bench_plain").await;
            self.write_project("plain", &plain);
            self.source.execute("CHECKPOINT").await;
            without.push(self.syncset("plain"));
            plain.execute("DROP TABLE orders").await;
            let changed = self.server.database("bench_changed").await;
            self.write_plugin_project("changed", &changed.url(), &guests);
            self.source.execute("CHECKPOINT").await;
            with.push(self.syncset("changed"));
            let loud = "SELECT count(*) FROM orders WHERE note <> upper(note)";
            assert_eq!(changed.value(loud).await, "0");
            changed.execute("DROP TABLE orders").await;
        }
        report(
            "first load with a Rust plugin on every batch",
            without,
            with,
        );
        host_alone(&guests);
    }

    fn write_plugin_project(&self, name: &str, target: &str, guests: &Guests) {
        self.write_pipeline(name, &self.source.url(), target);
        let folder = self.folder.path();
        let path = guests.path(PluginLanguage::Rust);
        let bytes = std::fs::read(&path).expect("it was built");
        let config = format!(
            "version: 1\nplugins:\n  change: {{ path: \"{}\", sha256: \"{}\" }}\n",
            path.display(),
            syncset_plugin_host::sha256_of(&bytes)
        );
        std::fs::write(folder.join("syncset.yaml"), config).expect("the folder is ours");
        let pipeline = folder.join(format!("pipelines/{name}.yaml"));
        let text = std::fs::read_to_string(&pipeline).expect("it was written");
        let through = format!("columns: [{COLUMNS}]\n    transform: [ change ]");
        let text = text.replace(&format!("columns: [{COLUMNS}]"), &through);
        std::fs::write(pipeline, text).expect("the folder is ours");
    }
}

/// Rows a second through the host, beside the same work without a plugin.
fn host_alone(guests: &Guests) {
    let batches: Vec<RecordBatch> = (0..HOST_ROWS)
        .step_by(BATCH_ROWS)
        .map(|start| batch(start, BATCH_ROWS.min(HOST_ROWS - start)))
        .collect();
    let native = best(|| {
        for batch in &batches {
            std::hint::black_box(change(batch));
        }
    });
    println!("host alone, {HOST_ROWS} rows of 2 columns in batches of {BATCH_ROWS}:");
    println!("  native: {}", rate(native));
    for (language, ..) in LANGUAGES {
        let plugin = guests.load(language);
        let schema = batches[0].schema();
        let config = Config::default();
        let transform = PluginTransform::bind(&plugin, &config, &schema, Scope::default())
            .expect("it takes these columns");
        let taken = best(|| {
            for batch in &batches {
                let returned = transform.apply(batch).expect("it does its work");
                std::hint::black_box(returned);
            }
        });
        let function = PluginFunction::all(&plugin, &config).remove(0);
        let called = best(|| {
            for batch in &batches {
                let notes = Arc::clone(batch.column(0));
                let values = function.call(batch.num_rows(), &[(notes, false)]);
                std::hint::black_box(values.expect("it does its work"));
            }
        });
        println!(
            "  {}: transform {}, {:.2} x native; function {}",
            language.name(),
            rate(taken),
            taken.as_secs_f64() / native.as_secs_f64(),
            rate(called)
        );
    }
}

fn rate(taken: Duration) -> String {
    let rows = u32::try_from(HOST_ROWS).expect("it is small");
    let each = taken / rows;
    format!(
        "{:.1} ms, {:.1} million rows/s, {} ns each",
        taken.as_secs_f64() * 1e3,
        f64::from(rows) / taken.as_secs_f64() / 1e6,
        each.as_nanos()
    )
}

fn best(mut work: impl FnMut()) -> Duration {
    let rounds = (0..HOST_ROUNDS).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed()
    });
    rounds.min().expect("there is at least one round")
}

fn batch(start: usize, rows: usize) -> RecordBatch {
    let ids = || start..start + rows;
    let note = |id: usize| (!id.is_multiple_of(7)).then(|| format!("a note on order number {id}"));
    let notes: StringArray = ids().map(note).collect();
    let quantity = |id: usize| {
        i32::try_from(id % 100)
            .ok()
            .filter(|it| !matches!(it % 9, 0))
    };
    let quantities: Int32Array = ids().map(quantity).collect();
    let schema = Schema::new(vec![
        Field::new("note", DataType::Utf8, true),
        Field::new("quantity", DataType::Int32, true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(notes), Arc::new(quantities)];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns are equally long")
}

/// What the plugins do, without one.
fn change(batch: &RecordBatch) -> [ArrayRef; 2] {
    let notes = batch.column(0).as_string::<i32>().iter();
    let notes: StringArray = notes.map(|it| it.map(str::to_ascii_uppercase)).collect();
    let quantities = batch.column(1).as_primitive::<Int32Type>().iter();
    let quantities: Int32Array = quantities.map(|it| it.map(|it| it + 1)).collect();
    debug_assert_eq!(notes.len(), quantities.len());
    [Arc::new(notes), Arc::new(quantities)]
}
