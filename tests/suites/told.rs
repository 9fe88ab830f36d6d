//! Mistakes and what was said about them, as one text for an inline snapshot.

use kit::Output;

/// Mistakes of one kind, in the order they were made.
#[derive(Default)]
pub(crate) struct Told {
    text: String,
    without_hint: Vec<String>,
}

impl Told {
    /// Takes down what was said about a mistake. `filters`: texts that change from run to run.
    pub(crate) fn about(&mut self, mistake: &str, output: &Output) {
        let said = output.snapshot();
        if output.code != 0 && !said.contains("hint: ") {
            self.without_hint.push(mistake.to_owned());
        }
        self.text.push_str(&format!("# {mistake}\n{said}"));
    }

    /// Everything that was said.
    ///
    /// # Panics
    /// If a mistake got no hint.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        let silent = &self.without_hint;
        assert!(silent.is_empty(), "no hint: {silent:?}\n{}", self.text);
        let text = self
            .text
            .replace("exit: ", "  exit ")
            .replace("stderr:\n", "");
        let filters = [
            (r"run by \S+ pid", "run by [host] pid"),
            (r"this syncset knows \d+", "this syncset knows [version]"),
        ];
        filters.iter().fold(text, |text, (pattern, instead)| {
            let pattern = regex::Regex::new(pattern).expect("the filter is valid");
            pattern.replace_all(&text, *instead).into_owned()
        })
    }
}
