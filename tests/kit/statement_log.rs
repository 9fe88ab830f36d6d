//! The statements that a server has logged.

/// One statement as the server's log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedStatement {
    /// Who sent it.
    pub user: String,
    /// Process id of its session.
    pub pid: u32,
    /// `application_name` of its session.
    pub application: String,
    /// Its text, as it was sent.
    pub text: String,
}

/// Reads statements out of a log whose lines start with `@@database@user@pid@application@@ `;
/// lines that continue an entry start with a tab.
pub(crate) fn parse_statements(log: &str, database: &str) -> Vec<LoggedStatement> {
    let mut statements: Vec<LoggedStatement> = Vec::new();
    let mut continues = false;
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if let (true, Some(statement)) = (continues, statements.last_mut()) {
                statement.text.push('\n');
                statement.text.push_str(rest);
            }
            continue;
        }
        let parsed = parse_statement(line, database);
        continues = parsed.is_some();
        statements.extend(parsed);
    }
    statements
}

fn parse_statement(line: &str, database: &str) -> Option<LoggedStatement> {
    let (prefix, entry) = line.strip_prefix("@@")?.split_once("@@ ")?;
    let mut fields = prefix.splitn(4, '@');
    if fields.next()? != database {
        return None;
    }
    let user = fields.next()?.to_owned();
    let pid = fields.next()?.parse().ok()?;
    let application = fields.next()?.to_owned();
    let entry = entry.strip_prefix("LOG:  ")?;
    let text = entry.strip_prefix("statement: ").or_else(|| {
        let (_, text) = entry.strip_prefix("execute ")?.split_once(": ")?;
        Some(text)
    })?;
    Some(LoggedStatement {
        user,
        pid,
        application,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_one_database_are_read_from_the_log() {
        let log = "@@shop@sync@12@syncset:a/b@@ LOG:  statement: SELECT 1,\n\t2\n\
                   @@shop@sync@12@x@@ LOG:  execute <unnamed>: SELECT 3\n\
                   @@other@sync@12@x@@ LOG:  statement: SELECT 4\n\
                   \t5\n\
                   @@shop@sync@12@x@@ ERROR:  no such thing\n";

        let statements = parse_statements(log, "shop");

        let texts: Vec<_> = statements.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(texts, ["SELECT 1,\n2", "SELECT 3"]);
        assert_eq!(statements[0].application, "syncset:a/b");
        assert_eq!(statements[0].pid, 12);
    }
}
