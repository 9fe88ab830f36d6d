//! `connection test`.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::open_store;
use serde::Serialize;
use std::time::Instant;
use syncset_connector::{PipelineKey, Role, ServerInfo};
use syncset_pipeline::ConnectionSpec;

#[derive(Serialize)]
struct Tested {
    connection: String,
    ok: bool,
    latency_ms: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    server: Option<ServerInfo>,
    /// What it can be in a pipeline; absent where nothing answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

/// Connects to each connection and says what answered.
pub(crate) async fn test(context: &Context, names: &[String]) -> Result<i32, Failures> {
    let known = &context.files.project.connections;
    let mut specs: Vec<&ConnectionSpec> = Vec::new();
    for name in names {
        specs.push(super::named(context, name)?);
    }
    if names.is_empty() {
        specs.extend(known.values());
    }
    let mut results = Vec::with_capacity(specs.len());
    for spec in specs {
        results.push(test_one(context, spec).await);
    }
    let codes = results
        .iter()
        .map(|tested| tested.failure.as_ref().map_or(0, |it| it.exit_code));
    let code = exit_code::of_tables(&codes.collect::<Vec<_>>());
    match context.output {
        Output::Text => results.iter().for_each(print),
        Output::Json | Output::Ndjson | Output::Junit => {
            render::json(&serde_json::json!({ "exit_code": code, "connections": results }));
        }
    }
    Ok(code)
}

async fn test_one(context: &Context, spec: &ConnectionSpec) -> Tested {
    let project = context.files.project.name.clone();
    let key = PipelineKey {
        project,
        pipeline: "connection test".into(),
    };
    let started = Instant::now();
    let asked = async {
        let store = open_store(spec, Role::Source, &key, 1).await?;
        let mut info = store.server_info().await?;
        let obstacle = store.obstacle_to_writing().await?;
        store.close().await;
        let roles = roles(spec, obstacle.is_none());
        let note = |why| format!("it cannot be a target: {why}");
        info.notes.extend(obstacle.map(note));
        Ok::<_, Failure>((info, roles))
    };
    let result = asked.await;
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (server, roles, failure) = match result {
        Ok((server, roles)) => (Some(server), roles, None),
        Err(failure) => (None, Vec::new(), Some(failure)),
    };
    Tested {
        connection: spec.name.clone(),
        ok: server.is_some(),
        latency_ms,
        server,
        roles,
        failure,
    }
}

/// What a store of this kind can be, and this one.
fn roles(spec: &ConnectionSpec, is_writable: bool) -> Vec<&'static str> {
    let able = spec.info.capabilities;
    let roles = [
        ("source", able.source),
        ("target", able.target && is_writable),
    ];
    let can_be = roles.into_iter().filter(|(_, can_be)| *can_be);
    can_be.map(|(role, _)| role).collect()
}

fn print(tested: &Tested) {
    if let Some(failure) = &tested.failure {
        return render::failure(failure);
    }
    let Some(server) = &tested.server else { return };
    let user = server
        .user
        .as_ref()
        .map(|user| format!(" as `{user}`"))
        .unwrap_or_default();
    let link = if server.encrypted { ", encrypted" } else { "" };
    let mut text = format!(
        "{}: ok: {}, `{}`{user}, {} ms{link}; can be {}\n",
        tested.connection,
        server.product,
        server.database,
        tested.latency_ms,
        tested.roles.join(" and ")
    );
    for note in &server.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    render::text_out(&text);
}
