//! From whatever file a toolchain writes to a component.

use crate::CONTRACT;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract, as guests that bring none are read by.
const WIT: &str = include_str!("../../wit/plugin.wit");

/// The section of a core module in which toolchains leave the contract that it was built for.
const METADATA: &str = "component-type";

/// How what Git LFS puts in the place of a file begins.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Whether these bytes look like the text form: an expression in parentheses, or a comment.
fn is_text_form(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'(' | b';'))
}

/// Whether these bytes are a component already, in its binary or its text form.
fn is_component(bytes: &[u8]) -> bool {
    match bytes.strip_prefix(b"\0asm") {
        Some(rest) => rest.first().is_some_and(|version| *version != 1),
        None => String::from_utf8_lossy(bytes).contains("(component"),
    }
}

/// Makes a component of a core module, or of the text form of either; a component stays as it is.
///
/// # Errors
/// A sentence that says why these bytes are no plugin.
pub fn to_component(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if bytes.starts_with(LFS_POINTER) {
        return Err(
            "it is a pointer of Git LFS, not the file itself: `git lfs pull` brings it".to_owned(),
        );
    }
    if !bytes.starts_with(b"\0asm") && !is_text_form(bytes) {
        return Err("it is no WASM file, in neither its binary nor its text form".to_owned());
    }
    let binary = wat::parse_bytes(bytes).map_err(|error| {
        let error = error.to_string();
        format!(
            "it is no WASM file: {}",
            error.lines().next().unwrap_or_default()
        )
    })?;
    if !binary.starts_with(b"\0asm") {
        return Err("it is no WASM file".to_owned());
    }
    if is_component(&binary) {
        return Ok(binary.into_owned());
    }
    let mut module = binary.into_owned();
    let exports = exports(&module)?;
    if exports.is_described {
        return encode(&module);
    }
    let world = exports.world()?;
    let mut resolve = Resolve::default();
    let embedded = resolve
        .push_str("plugin.wit", WIT)
        .and_then(|package| resolve.select_world(&[package], Some(world)))
        .and_then(|world| {
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        });
    embedded.map_err(|error| format!("the core module cannot become a component: {error:#}"))?;
    encode(&module)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("the core module cannot become a component: {error:#}"))
}

/// What a core module says of itself.
#[derive(Default)]
struct Exports {
    interfaces: Vec<String>,
    is_described: bool,
}

fn exports(module: &[u8]) -> Result<Exports, String> {
    let mut found = Exports::default();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        match payload.map_err(|error| format!("it is no valid WASM file: {error}"))? {
            wasmparser::Payload::ExportSection(section) => {
                for export in section {
                    let export =
                        export.map_err(|error| format!("it is no valid WASM file: {error}"))?;
                    let interface = export.name.rsplit_once('#').map(|(interface, _)| interface);
                    found
                        .interfaces
                        .extend(interface.map(|name| name.trim_start_matches("cabi_post_").into()));
                }
            }
            wasmparser::Payload::CustomSection(section) => {
                found.is_described |= section.name().starts_with(METADATA);
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Exports {
    /// The world of the contract that has just the interfaces that are exported.
    fn world(&self) -> Result<&'static str, String> {
        let has = |interface: &str| {
            let name = format!("syncset:plugin/{interface}@{CONTRACT}");
            self.interfaces.contains(&name)
        };
        if !has("plugin") {
            return Err(format!(
                "it is a core module that does not export `syncset:plugin/plugin@{CONTRACT}`"
            ));
        }
        Ok(match (has("transform"), has("filter"), has("scalar")) {
            (true, false, false) => "transform-plugin",
            (false, true, false) => "filter-plugin",
            (false, false, true) => "scalar-plugin",
            (false, false, false) if has("resolver") => "resolver-plugin",
            (true, true, true) => "batch-plugin",
            _ => {
                return Err(
                    "a core module without the contract in it must export one of the interfaces \
                     `transform`, `filter`, `scalar`, or all three"
                        .to_owned(),
                );
            }
        })
    }
}
