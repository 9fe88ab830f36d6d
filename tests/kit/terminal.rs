//! A run of the binary on a terminal, and what a person sees there.

use crate::process::Process;
use crate::project::Output;
use std::io::Read;
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Lines of the terminal.
const ROWS: NonZero<u16> = NonZero::new(40).expect("it is not zero");

/// What was written to a terminal so far.
struct Written {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A run on a terminal.
pub struct Terminal {
    process: Process,
    written: Arc<Mutex<Written>>,
    reader: JoinHandle<()>,
}

/// Which streams of a run are the terminal; the others are files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerminal {
    /// Both.
    Everything,
    /// Standard error, as with `syncset ... > stdout` in the folder of the project.
    Talk,
}

/// Words that run others on a new terminal of this size: the words follow. What is written to it
/// comes out of standard output.
pub(crate) fn words(columns: NonZero<u16>, which: OnTerminal) -> Vec<String> {
    let redirect = match which {
        OnTerminal::Everything => "",
        OnTerminal::Talk => " > stdout",
    };
    // `script` gives its program a terminal without a size.
    let inner = format!("stty rows {ROWS} columns {columns}; exec \"$@\"{redirect}");
    let outer = format!(
        "exec script --quiet --return --echo never --flush --command \
         \"$(printf '%q ' bash -c '{}' run \"$@\")\" /dev/null",
        inner.replace('\'', "'\\''")
    );
    ["bash", "-c", &outer, "run"].map(str::to_owned).into()
}

impl Terminal {
    /// Reads what is written to the terminal of `process` until it ends.
    pub(crate) fn watch(mut process: Process, columns: NonZero<u16>) -> Self {
        let written = Arc::new(Mutex::new(Written {
            parser: vt100::Parser::new(ROWS, columns, 0),
            bytes: Vec::new(),
        }));
        let seen = written.clone();
        let mut output = process.take_stdout();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = seen.lock().expect("nobody panics with it");
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            process,
            written,
            reader,
        }
    }

    /// Lines that a person sees at this moment.
    pub fn screen(&self) -> Vec<String> {
        lines(&self.written.lock().expect("nobody panics with it").parser)
    }

    /// Waits for the end of the run: how it ended, what is left on the screen, and everything that
    /// was ever written to it.
    pub async fn wait(self) -> (Output, Vec<String>, String) {
        let output = self.process.wait().await;
        self.reader.join().expect("the reader ends with the run");
        let written = self.written.lock().expect("nobody panics with it");
        let bytes = String::from_utf8_lossy(&written.bytes).into_owned();
        (output, lines(&written.parser), bytes)
    }
}

fn lines(parser: &vt100::Parser) -> Vec<String> {
    let screen = parser.screen();
    let (_, columns) = screen.size();
    let rows = screen.rows(0, columns.get());
    let mut lines: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
