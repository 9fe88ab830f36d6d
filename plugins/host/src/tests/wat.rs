//! Guests as the host loads them.

use crate::settings::PluginFile;
use crate::{Interrupt, Limits, Plugin, PluginError, Wasi};
use std::sync::Arc;
pub(crate) use syncset_plugin_guests::{LOG, RESULT, Wat, identity, words};

/// A guest that can be loaded.
pub(crate) trait Load {
    /// Loads it with these limits.
    fn load_with(&self, limits: Limits) -> Result<Arc<Plugin>, PluginError>;

    /// Loads it.
    fn load(&self) -> Arc<Plugin> {
        self.load_with(Limits::default())
            .expect("the guest is as the contract wants it")
    }
}

impl Load for Wat {
    fn load_with(&self, limits: Limits) -> Result<Arc<Plugin>, PluginError> {
        load(self.text().as_bytes(), limits, Wasi::None)
    }
}

/// Loads a file with these bytes.
pub(crate) fn load(bytes: &[u8], limits: Limits, wasi: Wasi) -> Result<Arc<Plugin>, PluginError> {
    load_stoppable(bytes, (limits, wasi), &Interrupt::default())
}

/// The same with calls that can be ended.
pub(crate) fn load_stoppable(
    bytes: &[u8],
    (limits, wasi): (Limits, Wasi),
    interrupt: &Interrupt,
) -> Result<Arc<Plugin>, PluginError> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("guest.wasm");
    std::fs::write(&path, bytes).expect("the folder can be written");
    let file = PluginFile {
        name: "guest".to_owned(),
        path,
        sha256: None,
        wasi,
        limits,
        interrupt: interrupt.clone(),
    };
    Plugin::load(&file).map(Arc::new)
}
