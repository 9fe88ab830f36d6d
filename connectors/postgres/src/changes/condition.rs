//! What a condition in the server's own dialect holds: enough to refuse what changes a row's
//! membership without changing the row.
//!
//! This is a reader of tokens, not a parser: the server itself checks the condition's grammar.

/// What stands in a condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Why it cannot be one condition: `;`, parentheses or quotes that are not closed.
    pub(crate) malformed: Option<&'static str>,
    /// Names before an opening parenthesis: schema and name, as written or in lower case.
    pub(crate) functions: Vec<(Option<String>, String)>,
    /// The first thing in it that reads the clock.
    pub(crate) clock: Option<String>,
    /// True if it reads other tables.
    pub(crate) has_subquery: bool,
}

const CLOCK_WORDS: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];

const CLOCK_FUNCTIONS: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
];

/// Texts that become the present time when they are cast.
const CLOCK_TEXTS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, in lower case unless it was quoted.
    Name { text: String, quoted: bool },
    /// A string constant.
    Text(String),
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
            match token {
                Token::Name {
                    text,
                    quoted: false,
                } if text == "select" => {
                    found.has_subquery = true;
                }
                Token::Name {
                    text,
                    quoted: false,
                } if CLOCK_WORDS.contains(&text.as_str()) => {
                    found.clock.get_or_insert_with(|| text.clone());
                }
                Token::Text(text) if CLOCK_TEXTS.contains(&text.trim().to_lowercase().as_str()) => {
                    found
                        .clock
                        .get_or_insert_with(|| format!("'{}'", text.trim()));
                }
                Token::Name { text, .. } if tokens.get(place + 1) == Some(&Token::Symbol('(')) => {
                    found.note_function(text, &tokens, place);
                }
                _ => {}
            }
        }
        found
    }

    fn note_function(&mut self, name: &str, tokens: &[Token], place: usize) {
        let schema = match (place.checked_sub(1), place.checked_sub(2)) {
            (Some(dot), Some(schema)) if tokens.get(dot) == Some(&Token::Symbol('.')) => {
                match tokens.get(schema) {
                    Some(Token::Name { text, .. }) => Some(text.clone()),
                    _ => None,
                }
            }
            _ => None,
        };
        // age(x) counts from today, age(x, y) does not.
        let counts_from_today = name == "age" && argument_count(tokens, place + 1) == 1;
        if CLOCK_FUNCTIONS.contains(&name) || counts_from_today {
            self.clock.get_or_insert_with(|| format!("{name}()"));
        }
        let function = (schema, name.to_owned());
        if !self.functions.contains(&function) {
            self.functions.push(function);
        }
    }
}

fn imbalance(tokens: &[Token]) -> Option<&'static str> {
    let mut depth = 0_i64;
    for token in tokens {
        match token {
            Token::Symbol(';') => return Some("holds a `;`"),
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

/// Arguments of a call whose opening parenthesis is at `open`.
fn argument_count(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_i64;
    let mut count = 1;
    for token in tokens.iter().skip(open) {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Symbol(',') if depth == 1 => count += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    count
}

fn tokens(sql: &str) -> Result<Vec<Token>, &'static str> {
    let mut rest = sql;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, comment_length(rest)?)
        } else if first == '\'' {
            let escapes = matches!(
                tokens.last(),
                Some(Token::Name { text, quoted: false }) if text == "e"
            );
            let (text, length) = quoted(rest, '\'', escapes)?;
            (Some(Token::Text(text)), length)
        } else if first == '"' {
            let (text, length) = quoted(rest, '"', false)?;
            (Some(Token::Name { text, quoted: true }), length)
        } else if first == '$' && dollar_tag(rest).is_some() {
            let tag = dollar_tag(rest).unwrap_or_default();
            let body = rest.get(tag.len()..).unwrap_or_default();
            let end = body.find(tag).ok_or("leaves a string open")?;
            let text = body.get(..end).unwrap_or_default().to_owned();
            (Some(Token::Text(text)), end + 2 * tag.len())
        } else if is_name_start(first) {
            let length = rest
                .find(|other: char| {
                    !is_name_start(other) && !other.is_ascii_digit() && other != '$'
                })
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

fn is_name_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
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

/// `$tag$` at the start of a text.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..end)?;
    let inner = tag.get(1..end - 1)?;
    let named = inner
        .chars()
        .all(|character| is_name_start(character) || character.is_ascii_digit());
    (named && !inner.starts_with(|first: char| first.is_ascii_digit())).then_some(tag)
}

/// Comments nest.
fn comment_length(rest: &str) -> Result<usize, &'static str> {
    let mut depth = 0_usize;
    let mut place = 0;
    while let Some(tail) = rest.get(place..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            place += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return Ok(place);
            }
        } else {
            place += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    Err("leaves a comment open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_sub_queries_are_found() {
        let found = Condition::of(
            "lower(name) = 'x' and \"App\".\"Score\"(id) > 1 and id in (select a from b)",
        );

        assert!(found.has_subquery);
        assert!(found.functions.contains(&(None, "lower".into())));
        assert!(
            found
                .functions
                .contains(&(Some("App".into()), "Score".into()))
        );
        assert_eq!(found.malformed, None);
        assert_eq!(found.clock, None);
    }

    #[test]
    fn everything_that_reads_the_clock_is_found() {
        for sql in [
            "created > now() - interval '1 day'",
            "day = CURRENT_DATE",
            "created > 'Yesterday'::date",
            "age(born) > interval '18 years'",
            "created > pg_catalog.clock_timestamp()",
        ] {
            assert!(Condition::of(sql).clock.is_some(), "{sql}");
        }
        for sql in [
            "note = 'now()'",
            "\"now\" = 1",
            "age(a, b) > '1 day'",
            "a = 1 -- now()",
        ] {
            assert_eq!(Condition::of(sql).clock, None, "{sql}");
        }
    }

    #[test]
    fn text_that_is_no_single_condition_is_refused() {
        for sql in [
            "",
            "a = 1; drop table t",
            "a = 1) or (true",
            "(a = 1",
            "a = 'x",
            "a /* b",
        ] {
            assert!(Condition::of(sql).malformed.is_some(), "{sql}");
        }
        for sql in [
            "a = ';'",
            "a = $x$ ) ; $x$",
            "a = 1 -- )",
            "a = E'\\';'",
            "\"a)\" = 1",
        ] {
            assert_eq!(Condition::of(sql).malformed, None, "{sql}");
        }
    }
}
