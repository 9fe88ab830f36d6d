//! What the host keeps for one instance, and how its failures read.

use crate::bindings::syncset::plugin::{host, types};
use crate::error::{Fault, shown};
use crate::interrupt::Interrupt;
use crate::lines::Line;
use crate::settings::{Config, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{
    ResourceLimiter, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline, WasmBacktrace,
};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, ResourceTable, WasiCtx, WasiCtxView, WasiView,
};

/// Lines of one call that are logged; more are counted only.
const LINES_MAX: u32 = 100;

/// Tables, instances and memories of one component: Python's needs some dozens.
const PARTS_MAX: usize = 1000;

/// Elements of one table.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Where the random bytes of a sandbox begin again.
const RANDOM_BYTES: u32 = 4099;

/// State of one instance.
pub(crate) struct Guest {
    plugin: Arc<str>,
    config: Config,
    limits: StoreLimits,
    interrupt: Interrupt,
    /// When the time of the call is up.
    call_ends: Instant,
    batch_timeout: Duration,
    log: Log,
    wasi: WasiCtx,
    resources: ResourceTable,
}

#[derive(Default)]
struct Log {
    lines: u32,
    last_error: Option<String>,
}

impl Guest {
    /// The time of its first call, that which makes it, begins.
    pub(crate) fn new(
        plugin: &Arc<str>,
        config: &Config,
        (limits, interrupt): (&Limits, &Interrupt),
    ) -> Self {
        let store = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            .table_elements(TABLE_ELEMENTS_MAX)
            .instances(PARTS_MAX)
            .tables(PARTS_MAX)
            .memories(PARTS_MAX)
            .trap_on_grow_failure(true)
            .build();
        Self {
            plugin: Arc::clone(plugin),
            config: config.clone(),
            limits: store,
            interrupt: interrupt.clone(),
            call_ends: Instant::now() + limits.batch_timeout,
            batch_timeout: limits.batch_timeout,
            log: Log::default(),
            wasi: sandbox(plugin, config),
            resources: ResourceTable::new(),
        }
    }

    /// A text of the plugin as messages show it. Secrets go first: half of one, or one whose lines
    /// were joined, would not be found any more.
    pub(crate) fn shown(&self, text: &str) -> String {
        shown(&self.config.hidden(text.to_owned()))
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.log = Log::default();
        self.call_ends = Instant::now() + self.batch_timeout;
    }

    /// Whether a call may go on: asked with each tick.
    pub(crate) fn at_tick(&self) -> UpdateDeadline {
        match self.interrupt.is_requested() || Instant::now() >= self.call_ends {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Continue(1),
        }
    }

    /// What the guest logged as an error before it failed: SDKs leave the text of a panic there.
    fn last_words(&mut self) -> Option<String> {
        self.log.last_error.take()
    }
}

impl types::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) {
        let message = self.shown(&message);
        if matches!(level, host::Level::Error) {
            self.log.last_error = Some(message.clone());
        }
        self.log.lines = self.log.lines.saturating_add(1);
        let (level, message) = match self.log.lines {
            0..=LINES_MAX => (level, message),
            lines if lines == LINES_MAX + 1 => (
                host::Level::Warn,
                format!("a call logs more than {LINES_MAX} lines: the rest is left out"),
            ),
            _ => return,
        };
        let plugin = Arc::clone(&self.plugin);
        Line {
            plugin,
            level,
            message,
        }
        .tell();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.resources,
        }
    }
}

/// A WASI with nothing in it.
fn sandbox(plugin: &Arc<str>, config: &Config) -> WasiCtx {
    let random = || Deterministic::new((0..RANDOM_BYTES).map(scattered).collect());
    WasiCtx::builder()
        .stdout(Printed::new(plugin, config))
        .stderr(Printed::new(plugin, config))
        .secure_random(random())
        .insecure_random(random())
        .insecure_random_seed(0)
        .wall_clock(StoppedClock)
        .monotonic_clock(StoppedClock)
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

/// Bytes without a visible pattern, the same on every machine.
fn scattered(index: u32) -> u8 {
    let mixed = index.wrapping_mul(0x9E37_79B1).rotate_left(13) ^ index.wrapping_mul(0x85EB_CA6B);
    mixed.to_le_bytes()[3]
}

/// A clock that stands still: a plugin that looks at it gives the same result again.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// What a plugin of the sandbox prints: lines of our log.
#[derive(Clone)]
struct Printed {
    plugin: Arc<str>,
    config: Config,
    line: Vec<u8>,
}

impl Printed {
    /// Bytes of a line without an end that are kept.
    const LINE_BYTES_MAX: usize = 4096;

    fn new(plugin: &Arc<str>, config: &Config) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            config: config.clone(),
            line: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line).into_owned();
                let line = shown(&self.config.hidden(line));
                tracing::info!(plugin = &*self.plugin, "{line}");
            } else if self.line.len() < Self::LINE_BYTES_MAX {
                self.line.push(*byte);
            }
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl tokio::io::AsyncWrite for Printed {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.take(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

/// Why a call ended without an answer.
pub(crate) fn fault_of(error: &wasmtime::Error, guest: &mut Guest, limits: &Limits) -> Fault {
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames);
    let frames = frames.unwrap_or_default();
    let memory = limits.memory_bytes / 1024 / 1024;
    let fault = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) if guest.interrupt.is_requested() => {
            return Fault::stopped().with_backtrace(frames);
        }
        Some(Trap::Interrupt) => {
            let limit = limits.batch_timeout;
            let mut fault = Fault::new(format!("a call took longer than {limit:?}")).with_hint(
                "raise `limits: { batch_timeout: .. }` of the plugin if its work takes so long",
            );
            fault.divisible = false;
            return fault.with_backtrace(frames);
        }
        Some(Trap::OutOfFuel) => {
            let fuel = limits.fuel.unwrap_or_default();
            Fault::new(format!("a call used more than {fuel} units of fuel"))
                .with_hint("raise `limits: { fuel: .. }` of the plugin, or leave it out")
        }
        Some(Trap::StackOverflow) => Fault::new("a call went deeper than its stack"),
        Some(trap) => {
            let words = guest.last_words();
            Fault::new(match words {
                Some(words) => format!("it stopped: {words}"),
                None => format!("it stopped: {trap}"),
            })
        }
        None => {
            let text = format!("{error:#}");
            if text.contains("when growing memory") {
                Fault::new(format!("a call wanted more than {memory} MiB of memory"))
                    .with_hint("raise `limits: { memory: .. }` of the plugin if it needs so much")
            } else if text.contains("fuel allocated for hostcalls") {
                Fault::new(format!(
                    "it returned more than the {memory} MiB that `limits: {{ memory: .. }}` allows"
                ))
            } else {
                let last = error.chain().last().map(ToString::to_string);
                Fault::contract(format!(
                    "what the contract does not allow: {}",
                    shown(&last.unwrap_or(text))
                ))
            }
        }
    };
    fault.with_backtrace(frames)
}

/// Functions that were running, innermost first, as their author knows them.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let named = backtrace.frames().iter().map(|frame| {
        let name = frame.func_name();
        // Without names in the file only the number is known.
        name.map_or_else(|| format!("function {}", frame.func_index()), demangled)
    });
    named.collect()
}

fn demangled(name: &str) -> String {
    shown(&rustc_demangle::demangle(name).to_string())
}
