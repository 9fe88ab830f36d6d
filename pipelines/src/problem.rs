//! Places in a file, and what is wrong there.

/// A configuration file that was read by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The path as it is printed in problems.
    pub path: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// A line and a column of a file, both counted from one. The default stands for the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One mistake of a file, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as printed.
    pub path: String,
    /// The line, counted from one.
    pub line: usize,
    /// The column, counted from one.
    pub column: usize,
    /// A lower-case fragment that names the thing.
    pub message: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn at(path: impl Into<String>, place: Place, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: place.line,
            column: place.column,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            line,
            column,
            message,
            ..
        } = self;
        let place = Place {
            line: *line,
            column: *column,
        };
        if place == Place::default() {
            return formatter.write_str(message);
        }
        write!(formatter, "{message} ({path}:{line}:{column})")
    }
}

impl std::error::Error for Problem {}

/// Where `${NAME}` and `${file:PATH}` get their values from.
pub struct Lookup<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file. Relative paths have been joined to the project folder before the call.
    pub file: &'a dyn Fn(&str) -> std::io::Result<String>,
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Problems {
    path: String,
    list: Vec<Problem>,
}

impl Problems {
    /// None yet.
    pub(crate) fn of(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            list: Vec::new(),
        }
    }

    /// Adds one without a hint.
    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.push(Problem::at(&self.path, place, message));
    }

    /// Adds one with a hint.
    pub(crate) fn hinted(
        &mut self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Problem::at(&self.path, place, message).with_hint(hint));
    }

    /// Adds one of this file or another.
    ///
    /// Settings shared by several tables are read once per table: the same problem counts once.
    pub(crate) fn push(&mut self, problem: Problem) {
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The value, or all problems in the order of the file.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => {
                self.list
                    .sort_by_key(|problem| (problem.line, problem.column));
                Err(self.list)
            }
        }
    }
}
