//! `types FROM TO`.

use crate::cli::args::Output;
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::registry;

/// Prints what each type of one store becomes in another.
pub(crate) fn print(from: &str, to: &str, output: Output) -> Result<i32, Failures> {
    let connector = |kind: &str| {
        registry::connector(kind).ok_or_else(|| {
            let kinds: Vec<_> = registry::catalog().iter().map(|info| info.kind).collect();
            Failure::new(exit_code::CONFIG, format!("unknown kind of store `{kind}`"))
                .with_hint(format!("kinds: {}", kinds.join(", ")))
        })
    };
    let (source, target) = (connector(from)?, connector(to)?);
    let rows: Vec<_> = source
        .type_samples()
        .into_iter()
        .map(|column| {
            let mapping = target.map_type(&column);
            let native = column.native.map(|native| native.name).unwrap_or_default();
            (native, mapping)
        })
        .collect();
    if output != Output::Text {
        let types: Vec<_> = rows
            .iter()
            .map(|(native, mapping)| serde_json::json!({ "from": native, "to": mapping }))
            .collect();
        render::json(
            &serde_json::json!({ "exit_code": 0, "from": from, "to": to, "types": types }),
        );
        return Ok(exit_code::DONE);
    }
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let left = width(&mut rows.iter().map(|(native, _)| native.len())).max(from.len());
    let middle = width(&mut rows.iter().map(|(_, mapping)| mapping.native.len())).max(to.len());
    let mut text = format!("{from:left$}  {to:middle$}  fidelity\n");
    for (native, mapping) in &rows {
        let exactness = format!("{:?}", mapping.exactness).to_lowercase();
        let note = mapping
            .note
            .as_ref()
            .map(|note| format!(": {note}"))
            .unwrap_or_default();
        text.push_str(&format!(
            "{native:left$}  {:middle$}  {exactness}{note}\n",
            mapping.native
        ));
    }
    render::text_out(&text);
    Ok(exit_code::DONE)
}
