//! `connection list`: what the files say; no store is touched.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::Failures;
use crate::registry;
use serde::Serialize;
use syncset_pipeline::{ConnectionSpec, PipelineSpec};

#[derive(Serialize)]
struct Listed {
    connection: String,
    #[serde(rename = "type")]
    kind: String,
    /// Where it leads, without a password.
    address: Option<String>,
    /// Pipelines that read it.
    source_of: Vec<String>,
    /// Pipelines that write it.
    target_of: Vec<String>,
}

/// Lists the connections and the pipelines that use them.
pub(crate) fn list(context: &Context) -> Result<i32, Failures> {
    let (mut pipelines, mut unread) = (Vec::new(), Vec::new());
    for name in context.files.pipeline_names() {
        match context.files.pipeline(&name) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(_) => unread.push(name),
        }
    }
    let connections = context.files.project.connections.values();
    let listed: Vec<_> = connections.map(|spec| listed(spec, &pipelines)).collect();
    match context.output {
        Output::Text => render::text_out(&text(&listed)),
        _ => render::json(&serde_json::json!({
            "exit_code": exit_code::DONE,
            "connections": listed,
            "unread_pipelines": unread,
        })),
    }
    for name in unread {
        render::talk(&format!(
            "warning: pipeline `{name}` has mistakes, so what it uses is not listed\n\
             hint: `syncset pipeline validate {name}` names them\n"
        ));
    }
    Ok(exit_code::DONE)
}

fn listed(spec: &ConnectionSpec, pipelines: &[PipelineSpec]) -> Listed {
    let connector = registry::connector(&spec.kind);
    // A connection that is written into a pipeline file may have the name of another one.
    let is_this = |used: &ConnectionSpec| used.name == spec.name && used.path == spec.path;
    let using = |side: &dyn Fn(&PipelineSpec) -> &ConnectionSpec| -> Vec<String> {
        let users = pipelines.iter().filter(|pipeline| is_this(side(pipeline)));
        users.map(|pipeline| pipeline.name.clone()).collect()
    };
    Listed {
        connection: spec.name.clone(),
        kind: spec.kind.clone(),
        address: connector.and_then(|connector| connector.address(&spec.settings)),
        source_of: using(&|pipeline| &pipeline.source),
        target_of: using(&|pipeline| &pipeline.target),
    }
}

fn text(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "syncset.yaml has no connections\n".to_owned();
    }
    let cell = |text: &str| text.to_owned();
    let mut rows = vec![["NAME", "TYPE", "ADDRESS", "SOURCE OF", "TARGET OF"].map(cell)];
    let names = |names: &[String]| match names {
        [] => "-".to_owned(),
        names => names.join(", "),
    };
    for one in listed {
        rows.push([
            one.connection.clone(),
            one.kind.clone(),
            one.address.clone().unwrap_or_else(|| "?".to_owned()),
            names(&one.source_of),
            names(&one.target_of),
        ]);
    }
    render::grid(&rows)
}
