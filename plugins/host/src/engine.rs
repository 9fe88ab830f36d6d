//! wasmtime, as plugins are run: compiled once and kept, ended when their time is up.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use wasmtime::{Cache, CacheConfig, Config, Engine};

/// How exact the limit of time is, and how soon a call ends that is to end.
const TICK: Duration = Duration::from_millis(10);

/// Of the stack of a guest.
const STACK_BYTES: usize = 1024 * 1024;

static COUNTING: OnceLock<Result<Engine, String>> = OnceLock::new();
static PLAIN: OnceLock<Result<Engine, String>> = OnceLock::new();

/// The engine of all plugins whose work is counted, or of all others: counting costs time, and is
/// decided when code is compiled. Costs nothing until the first plugin is loaded.
///
/// # Errors
/// A sentence, if this machine cannot run WASM.
pub(crate) fn engine(counts_fuel: bool) -> Result<&'static Engine, String> {
    let engine = if counts_fuel { &COUNTING } else { &PLAIN };
    let made = engine.get_or_init(|| start(counts_fuel));
    made.as_ref().map_err(Clone::clone)
}

fn start(counts_fuel: bool) -> Result<Engine, String> {
    let mut config = Config::new();
    config
        // Three times cheaper calls; nothing of the contract is asynchronous.
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(counts_fuel)
        // The same input gives the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK_BYTES)
        .cache(cache());
    let engine = Engine::new(&config).map_err(|error| format!("{error:#}"))?;
    let ticking = engine.clone();
    std::thread::Builder::new()
        .name("plugin-ticks".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                ticking.increment_epoch();
            }
        })
        .map_err(|error| error.to_string())?;
    Ok(engine)
}

/// Compiled plugins, by what they were compiled from and how. `None` if there is no place for
/// them: they are compiled for each run then.
fn cache() -> Option<Cache> {
    let folder = cache_folder()?;
    create_private(&folder).ok()?;
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    match Cache::new(config) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(error = %error, "compiled plugins cannot be kept");
            None
        }
    }
}

fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let caches = match set("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(set("HOME")?).join(".cache"),
    };
    // wasmtime asks for an absolute one.
    caches
        .is_absolute()
        .then(|| caches.join("syncset").join("wasm"))
}

/// Whoever may write there may run code as this user.
#[cfg(unix)]
fn create_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let found = std::fs::metadata(folder)?;
    let own = std::fs::metadata("/proc/self").map_or(found.uid(), |process| process.uid());
    if found.uid() != own {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn create_private(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}
