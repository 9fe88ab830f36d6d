//! Keys of `syncset.yaml`.

use super::{Key, Section, Takes};

/// The top of the file.
pub(super) const PROJECT: &[Key] = &[
    Key::required("version", &[Takes::Exactly(1)])
        .about("Version of the file format.")
        .example("version: 1"),
    Key::optional(
        "project",
        &[Takes::Matching(r"^([\p{L}\p{N}_.\-]|\$\{[^}]*\})+$")],
    )
    .default("default")
    .about(
        "Name of the project: letters, digits, `_`, `-` and `.`. It is part of the key of all \
         state, so do not change it later.",
    )
    .example("project: shop"),
    Key::optional("connections", &[Takes::Connections])
        .about(
            "Databases by name. Each is a URL, or a mapping with `type` or `url` and the keys of \
             its type. `${NAME}` is a variable of the environment or of `.env`, `${file:PATH}` \
             the text of a file.",
        )
        .example("connections: { crm: { type: postgres, url: \"${CRM_URL}\" } }"),
    Key::optional("lease", &[Takes::Section(Section::Lease)])
        .about("What keeps two runs of a pipeline apart.")
        .example("lease: { expires: 60s }"),
    Key::optional("retention", &[Takes::Section(Section::Retention)])
        .about("How long the state remembers.")
        .example("retention: { runs: 30d, rejected: 30d }"),
    Key::optional("plugins", &[Takes::Plugins(Section::Plugin)])
        .about(
            "Plugins by name: small letters, digits and `_`, no digit first. Tables use them in \
             `transform`, expressions call their functions.",
        )
        .example(
            "plugins: { normalise_phone: { path: plugins/normalise_phone.wasm, sha256: \
             \"9c1e185a5c5e9fc54612808977ee8f548b2258d31d6e4e7b9f5b5f6a2d0c9e11\" } }",
        ),
];

/// `lease:`
pub(super) const LEASE: &[Key] = &[Key::optional("expires", &[Takes::Duration])
    .default("60s")
    .about(
        "How long a run that cannot be seen any more keeps others away: from 5 seconds to 24 \
             hours.",
    )
    .example("lease: { expires: 60s }")];

/// `retention:`
pub(super) const RETENTION: &[Key] = &[
    Key::optional("runs", &[Takes::Duration])
        .default("30d")
        .about(
            "How long the record of a run is kept, from 1 hour to ten years. The last successful \
             one stays, however old.",
        )
        .example("retention: { runs: 90d }"),
    Key::optional("rejected", &[Takes::Duration])
        .default("30d")
        .about(
            "How long the rejected rows of a table that left the pipeline are kept, counted from \
             its last sync: from 1 hour to ten years.",
        )
        .example("retention: { rejected: 90d }"),
    Key::optional("before_images", &[Takes::Duration])
        .default("30d")
        .about(
            "How long rows are kept as they were before `repair` or `revert` wrote them, which is \
             how long that can be reverted: from 1 hour to ten years.",
        )
        .example("retention: { before_images: 7d }"),
];
