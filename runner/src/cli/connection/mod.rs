//! `connection ...`: one file per verb.

mod discover;
mod list;
mod test;

pub(crate) use discover::DiscoverArgs;

use crate::cli::Context;
use crate::cli::args::ConnectionVerb;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use syncset_pipeline::{ConnectionSpec, listed, nearest};

/// Runs one verb; returns its exit code.
pub(crate) async fn dispatch(context: &Context, verb: ConnectionVerb) -> Result<i32, Failures> {
    if !matches!(verb, ConnectionVerb::List) {
        context.files.check_variables_used()?;
    }
    match verb {
        ConnectionVerb::List => list::list(context),
        ConnectionVerb::Test { names } => test::test(context, &names).await,
        ConnectionVerb::Discover(args) => discover::discover(context, &args).await,
    }
}

/// The connection of this name.
fn named<'a>(context: &'a Context, name: &str) -> Result<&'a ConnectionSpec, Failure> {
    let known = &context.files.project.connections;
    known.get(name).ok_or_else(|| {
        let message = format!("no connection `{name}` in syncset.yaml");
        let failure = Failure::new(exit_code::CONFIG, message);
        let names = known.keys().map(String::as_str);
        failure.with_hint(match nearest(name, names.clone()) {
            _ if known.is_empty() => {
                "it has no connections; write one under `connections:`".to_owned()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the connections are {}", listed(name, names)),
        })
    })
}
