//! Files that are no plugins, and plugins that want more than they are given.

use super::wat::{Wat, load};
use crate::{Interrupt, Limits, Plugin, PluginError, PluginFile, Wasi, sha256_of};

fn said(bytes: &[u8]) -> (String, String) {
    let error = load(bytes, Limits::default(), Wasi::None).expect_err("it is no plugin");
    let hint = error.hint().unwrap_or_default().to_owned();
    (error.to_string(), hint)
}

#[test]
fn files_that_are_no_plugins_are_told() {
    let other = Wat::transform().text().replace("@0.1.0", "@9.0.0");
    for (bytes, wanted) in [
        (&b""[..], "the file is empty"),
        (
            b"#!/bin/sh\n",
            "it is no WASM file, in neither its binary nor its text form",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:9c1e\nsize 12\n",
            "it is a pointer of Git LFS, not the file itself: `git lfs pull` brings it",
        ),
        (b"(modul)", "it is no WASM file: "),
        (
            b"\0asm\x01\0\0\0",
            "does not export `syncset:plugin/plugin@0.1.0`",
        ),
        (b"\0asm\x01\0\0\0\x07", "it is no valid WASM file"),
        (
            b"(component)",
            "it does not export `syncset:plugin/plugin@0.1.0`",
        ),
        (b"\0asm\x0d\0\x01\0garbage", "it cannot be compiled"),
        (
            other.as_bytes(),
            "does not export `syncset:plugin/plugin@0.1.0`",
        ),
    ] {
        let (message, _) = said(bytes);
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
}

#[test]
fn contracts_of_other_versions_are_named() {
    let component = "(component (instance $i) \
        (export \"syncset:plugin/plugin@0.9.0\" (instance $i)))";
    let (message, hint) = said(component.as_bytes());
    assert!(
        message.contains("version 0.9.0 of the contract"),
        "{message}"
    );
    assert!(message.contains("has 0.1.0"), "{message}");
    assert!(hint.contains("SDK"), "{hint}");
}

#[test]
fn imports_that_are_not_given_are_named() {
    let wasi = "(component (import \"wasi:filesystem/types@0.2.6\" (instance)))";
    let (message, hint) = said(wasi.as_bytes());
    assert!(
        message.contains("imports `wasi:filesystem/types@0.2.6`"),
        "{message}"
    );
    assert!(hint.contains("wasi: sandbox"), "{hint}");

    let other = "(component (import \"acme:bank/money@1.0.0\" (instance)))";
    let (message, hint) = said(other.as_bytes());
    assert!(
        message.contains("imports `acme:bank/money@1.0.0`"),
        "{message}"
    );
    assert!(
        hint.contains("`syncset:plugin/host` and nothing else"),
        "{hint}"
    );
}

#[test]
fn exports_of_other_types_are_refused() {
    // `keep` of the contract takes a context and a batch; this one takes nothing.
    let component = "(component
        (core module $m (func (export \"f\")))
        (core instance $m (instantiate $m))
        (func $f (canon lift (core func $m \"f\")))
        (instance $i (export \"describe\" (func $f)))
        (export \"syncset:plugin/plugin@0.1.0\" (instance $i)))";
    let (message, _) = said(component.as_bytes());
    assert!(
        message.contains("it is not built for the contract"),
        "{message}"
    );
}

#[test]
fn file_that_changed_since_it_was_pinned_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("p.wat");
    let text = Wat::transform().text();
    std::fs::write(&path, &text).expect("the folder can be written");
    let mut file = PluginFile {
        name: "p".to_owned(),
        path,
        sha256: Some(sha256_of(text.as_bytes())),
        wasi: Wasi::None,
        limits: Limits::default(),
        interrupt: Interrupt::default(),
    };
    Plugin::load(&file).expect("it is the file that was pinned");
    file.sha256 = Some(sha256_of(b"another"));

    let error = Plugin::load(&file).expect_err("it is another one");

    assert!(matches!(error, PluginError::Refused { .. }));
    assert!(
        error
            .to_string()
            .contains("is not the file that was pinned"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("plugin pin p"))
    );
}
