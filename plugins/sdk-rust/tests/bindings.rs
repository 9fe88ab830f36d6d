//! The committed bindings are what the contract gives.

use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

const COMMAND: &str = "SYNCSET_RENEW=1 cargo test --test bindings";

fn generated(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit).expect("the contract parses");
    let world = resolve
        .select_world(&[package], Some("batch-plugin"))
        .expect("the contract has the world");
    let options = wit_bindgen_rust::Opts {
        generate_all: true,
        pub_export_macro: true,
        export_macro_name: Some("export".into()),
        default_bindings_module: Some("syncset_plugin::bindings".into()),
        runtime_path: Some("::syncset_plugin::wit_bindgen::rt".into()),
        bitflags_path: Some("::syncset_plugin::wit_bindgen::rt::bitflags".into()),
        format: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .expect("the world has bindings");
    let (_, bytes) = files.iter().next().expect("one file is written");
    String::from_utf8(bytes.to_vec()).expect("Rust is text")
}

#[test]
fn bindings_are_those_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In the repository, or in the folder of a plugin that has its own copy.
    let wit = [root.join("../wit/plugin.wit"), root.join("wit/plugin.wit")]
        .into_iter()
        .find(|path| path.exists())
        .expect("the contract is beside the SDK");
    let bindings = root.join("src/bindings.rs");

    let expected = generated(&wit);

    if std::env::var_os("SYNCSET_RENEW").is_some() {
        std::fs::write(&bindings, &expected).expect("bindings can be written");
    }
    let found = std::fs::read_to_string(&bindings).expect("bindings are there");
    assert!(
        found == expected,
        "the bindings differ from the contract; renew them: {COMMAND}"
    );
}
