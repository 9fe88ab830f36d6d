//! What a condition in the servers' own dialect holds: enough to refuse what changes a row's
//! membership without changing the row.
//!
//! This is a reader of tokens, not a parser: the server itself checks the condition's grammar.

/// What stands in a condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Why it cannot be one condition: `;`, parentheses or quotes that are not closed.
    pub(crate) malformed: Option<&'static str>,
    /// The first thing in it that reads the clock.
    pub(crate) clock: Option<String>,
    /// The first thing in it whose answer is never the same twice, or depends on the session.
    pub(crate) unstable: Option<String>,
    /// True if it reads other tables.
    pub(crate) has_subquery: bool,
}

/// Names that read the clock, with or without parentheses.
const CLOCK_WORDS: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];

const CLOCK_FUNCTIONS: &[&str] = &[
    "curdate",
    "curtime",
    "now",
    "sysdate",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

const UNSTABLE_FUNCTIONS: &[&str] = &[
    "benchmark",
    "connection_id",
    "current_role",
    "current_user",
    "database",
    "found_rows",
    "get_lock",
    "last_insert_id",
    "lastval",
    "nextval",
    "rand",
    "random_bytes",
    "release_lock",
    "row_count",
    "schema",
    "session_user",
    "setval",
    "sleep",
    "sys_guid",
    "system_user",
    "user",
    "uuid",
    "uuid_short",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, in lower case unless it was quoted.
    Name { text: String, quoted: bool },
    /// A string constant.
    Text,
    /// Anything else, one character of it.
    Symbol(char),
}

impl Condition {
    /// Reads a condition.
    pub(crate) fn of(sql: &str) -> Self {
        let tokens = match tokens(sql) {
            Ok(tokens) => tokens,
            Err(why) => {
                return Self {
                    malformed: Some(why),
                    ..Self::default()
                };
            }
        };
        let mut found = Self {
            malformed: imbalance(&tokens),
            ..Self::default()
        };
        for (place, token) in tokens.iter().enumerate() {
            let after_dot = place
                .checked_sub(1)
                .is_some_and(|before| tokens.get(before) == Some(&Token::Symbol('.')));
            match token {
                Token::Symbol('@') => {
                    found.unstable.get_or_insert_with(|| "@".to_owned());
                }
                Token::Name {
                    text,
                    quoted: false,
                } if !after_dot => found.note(text, &tokens, place),
                _ => {}
            }
        }
        found
    }

    fn note(&mut self, name: &str, tokens: &[Token], place: usize) {
        let is_call = tokens.get(place + 1) == Some(&Token::Symbol('('));
        let is_empty_call = is_call && tokens.get(place + 2) == Some(&Token::Symbol(')'));
        if name == "select" {
            self.has_subquery = true;
        } else if CLOCK_WORDS.contains(&name)
            || is_call && CLOCK_FUNCTIONS.contains(&name)
            || is_empty_call && name == "unix_timestamp"
        {
            self.clock.get_or_insert_with(|| name.to_owned());
        } else if is_call && UNSTABLE_FUNCTIONS.contains(&name) {
            self.unstable.get_or_insert_with(|| name.to_owned());
        }
    }
}

fn imbalance(tokens: &[Token]) -> Option<&'static str> {
    let mut depth = 0_i64;
    for token in tokens {
        match token {
            Token::Symbol(';') => return Some("holds more than one statement"),
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return Some("closes a parenthesis that it did not open");
        }
    }
    if depth > 0 {
        Some("leaves a parenthesis open")
    } else if tokens.is_empty() {
        Some("is empty")
    } else {
        None
    }
}

fn tokens(sql: &str) -> Result<Vec<Token>, &'static str> {
    let mut rest = sql;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if first == '#' || is_dash_comment(rest) {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if let Some(comment) = rest.strip_prefix("/*") {
            if comment.starts_with(['!', 'M']) {
                return Err("holds a comment that is executed");
            }
            let end = comment.find("*/").ok_or("leaves a comment open")?;
            (None, end + 4)
        } else if matches!(first, '\'' | '"') {
            let (_, length) = quoted(rest, first, true)?;
            (Some(Token::Text), length)
        } else if first == '`' {
            let (text, length) = quoted(rest, '`', false)?;
            (Some(Token::Name { text, quoted: true }), length)
        } else if is_name_part(first) && !first.is_ascii_digit() {
            let length = rest
                .find(|other: char| !is_name_part(other))
                .unwrap_or(rest.len());
            let text = rest.get(..length).unwrap_or_default().to_lowercase();
            (
                Some(Token::Name {
                    text,
                    quoted: false,
                }),
                length,
            )
        } else {
            (Some(Token::Symbol(first)), first.len_utf8())
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

/// Two dashes begin a comment only before a space or the end.
fn is_dash_comment(rest: &str) -> bool {
    rest.strip_prefix("--")
        .is_some_and(|after| after.chars().next().is_none_or(|next| next.is_whitespace()))
}

fn is_name_part(character: char) -> bool {
    character == '_' || character == '$' || character.is_alphanumeric()
}

/// The content of a quoted thing and its length with the quotes.
fn quoted(rest: &str, quote: char, escapes: bool) -> Result<(String, usize), &'static str> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        if character == '\\' && escapes {
            text.extend(characters.next().map(|(_, escaped)| escaped));
        } else if character == quote {
            if characters.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                return Ok((text, place + quote.len_utf8()));
            }
        } else {
            text.push(character);
        }
    }
    Err("leaves a quote open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_reads_the_clock_is_found() {
        for sql in [
            "created > NOW() - INTERVAL 1 DAY",
            "day = CURRENT_DATE",
            "day = CURRENT_DATE()",
            "created > UNIX_TIMESTAMP()",
            "created > sysdate(6)",
        ] {
            assert!(Condition::of(sql).clock.is_some(), "{sql}");
        }
        for sql in [
            "note = 'now()'",
            "note = \"now()\"",
            "`now` = 1",
            "t.current_date = 1",
            "now = 1",
            "UNIX_TIMESTAMP(created) > 5",
            "a = 1 -- now()",
            "a = 1 # now()",
        ] {
            assert_eq!(Condition::of(sql).clock, None, "{sql}");
        }
    }

    #[test]
    fn answers_that_change_by_themselves_are_found() {
        for sql in [
            "rand() < 0.5",
            "a = @x",
            "owner = CURRENT_USER()",
            "a = UUID()",
        ] {
            assert!(Condition::of(sql).unstable.is_some(), "{sql}");
        }
        let found = Condition::of("id IN (SELECT a FROM b) AND user = 'x'");
        assert_eq!(found.unstable, None);
        assert!(found.has_subquery);
    }

    #[test]
    fn text_that_is_no_single_condition_is_refused() {
        for sql in [
            "",
            "a = 1; drop table t",
            "a = 1) or (true",
            "(a = 1",
            "a = 'x",
            "a = 'x\\'",
            "a /* b",
            "a = 1 /*! or true */",
        ] {
            assert!(Condition::of(sql).malformed.is_some(), "{sql}");
        }
        for sql in [
            "a = ';'",
            "a = '\\');'",
            "a = 1 -- )",
            "a = 1 /* ) */",
            "`a)` = 1",
            "a = 'it''s'",
        ] {
            assert_eq!(Condition::of(sql).malformed, None, "{sql}");
        }
    }
}
