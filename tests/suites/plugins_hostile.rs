//! Plugins that do harm, lie or are none: a run says so, writes nothing, and the next one with a
//! good plugin works.

use crate::plugins_lab::{pinned, sha256};
use crate::targets::Target;
use kit::{Engine, Output, Project, TextRow};
use syncset_plugin_guests::{LOG, RESULT, Wat, identity, words};

const CONFIG: i32 = 2;
const FAILED: i32 = 1;

/// The value that runs wild.
const WILD: u64 = 13;

/// One plugin and what is said of it.
struct Case {
    name: &'static str,
    /// Its file, and more lines of its entry.
    bad: (Vec<u8>, &'static str),
    /// Whether it works until it is given the value: otherwise it is put in the place of one that
    /// does.
    works_before: bool,
    code: i32,
    /// Parts of what is said, in their order.
    said: Vec<&'static str>,
}

impl Case {
    /// A plugin that cannot be used.
    fn unusable(name: &'static str, file: impl Into<Vec<u8>>, said: &[&'static str]) -> Self {
        Self {
            name,
            bad: (file.into(), ""),
            works_before: false,
            code: CONFIG,
            said: said.to_vec(),
        }
    }

    /// A plugin that fails when it is given the value. `harm`: what it does then.
    fn wild(name: &'static str, harm: &str, said: &[&'static str]) -> Self {
        Self::wild_guest(name, good(), harm, said)
    }

    fn wild_guest(name: &'static str, mut guest: Wat, harm: &str, said: &[&'static str]) -> Self {
        guest.replace("transform", when_wild(harm));
        Self {
            name,
            bad: (guest.text().into_bytes(), ""),
            works_before: true,
            code: FAILED,
            said: said.to_vec(),
        }
    }

    /// With these lines in its entry of `syncset.yaml`.
    fn with(mut self, settings: &'static str) -> Self {
        self.bad.1 = settings;
        self
    }

    /// Its entry of `syncset.yaml`. `LIES` among the settings stands for a pin of another file,
    /// `UNPINNED` for none.
    fn entry(&self, file: &[u8], settings: &str) -> String {
        let (pin, settings) = match settings {
            "LIES" => (Some(sha256(b"another file")), ""),
            "UNPINNED" => (None, ""),
            other => (Some(sha256(file)), other),
        };
        pinned(self.name, pin.as_deref(), settings)
    }
}

/// A transform that reads `n` and returns it.
fn good() -> Wat {
    let mut guest = Wat::transform();
    guest.replace("configure", reads(&mut Wat::transform(), ""));
    let body = reads(&mut guest, "n");
    guest.replace("configure", body);
    guest
}
