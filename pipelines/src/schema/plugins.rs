//! Keys of plugins, and of what tables do with them.

use super::{Choice, Key, Section, Takes};

const ON_ERROR: &[Choice] = &[
    ("fail", "the table fails"),
    ("skip_row", "the row is left out, and the run counts it"),
];

/// One plugin.
pub(super) const PLUGIN: &[Key] = &[
    Key::required("path", &[Takes::Text])
        .about("The file; a relative path starts at the project folder.")
        .example("plugins: { normalise_phone: { path: plugins/normalise_phone.wasm } }"),
    Key::optional("sha256", &[Takes::Matching("^[0-9a-fA-F]{64}$")])
        .about(
            "The SHA-256 of the file, as 64 hexadecimal digits: a file with another one is not \
             run. `syncset plugin pin` writes it.",
        )
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, sha256: \
             \"9c1e185a5c5e9fc54612808977ee8f548b2258d31d6e4e7b9f5b5f6a2d0c9e11\" } }",
        ),
    Key::optional(
        "wasi",
        &[Takes::Choice(&[
            (
                "none",
                "nothing; a plugin that imports any of it is refused",
            ),
            (
                "sandbox",
                "the interfaces that interpreters need, and nothing behind them: no files, no \
                 network",
            ),
        ])],
    )
    .default("none")
    .about("What the plugin is given of the system.")
    .example("plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, wasi: sandbox } }"),
    Key::optional("limits", &[Takes::Section(Section::PluginLimits)])
        .about("What the plugin may use.")
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, limits: { memory: \
             512MiB } } }",
        ),
    Key::optional("on_error", &[Takes::Choice(ON_ERROR)])
        .default("fail")
        .about("What it means when the plugin fails and says for which row; tables win over it.")
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, on_error: skip_row \
             } }",
        ),
    Key::optional("config", &[Takes::Mapping])
        .about(
            "The plugin's configuration, given to it as JSON; that of a table is laid over it by \
             key. `${NAME}` and `${file:PATH}` are replaced in its texts, and such values are \
             never shown.",
        )
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, config: { country: \
             DE } } }",
        ),
];

/// `limits:` of a plugin.
pub(super) const LIMITS: &[Key] = &[
    Key::optional("memory", &[Takes::Bytes])
        .default("256MiB")
        .about("Memory of one instance, from 1MiB to 4GiB.")
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, limits: { memory: \
             512MiB } } }",
        ),
    Key::optional("batch_timeout", &[Takes::Duration])
        .default("30s")
        .about("How long it may take for one batch, from 10ms to 1h.")
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, limits: { \
             batch_timeout: 5s } } }",
        ),
    Key::optional("fuel", &[Takes::Count])
        .about(
            "How much it may compute for one batch, in the engine's units: about one for each \
             instruction, the same on every machine. Absent: it is not counted.",
        )
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, limits: { fuel: \
             1000000000 } } }",
        ),
];

/// One entry of `transform:`.
pub(super) const STEP: &[Key] = &[
    Key::required("plugin", &[Takes::Text])
        .about("A plugin of `syncset.yaml`. The name alone stands for an entry with nothing else.")
        .example("transform: [ { plugin: normalise_phone } ]"),
    Key::optional("config", &[Takes::Mapping])
        .about(
            "Its configuration for this table, laid over that of `syncset.yaml` by key. `${NAME}` \
             and `${file:PATH}` are replaced in its texts, and such values are never shown.",
        )
        .example("transform: [ { plugin: normalise_phone, config: { column: phone } } ]"),
    Key::optional("on_error", &[Takes::Choice(ON_ERROR)])
        .about(
            "What it means when the plugin fails and says for which row. Absent: as `syncset.yaml` \
             says.",
        )
        .example("transform: [ { plugin: normalise_phone, on_error: skip_row } ]"),
];
