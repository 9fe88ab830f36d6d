//! As much of PostgreSQL's protocol as the proxy needs: where messages start, and the text of
//! those that carry a statement.

/// Bytes of a message's type and length.
const HEADER_BYTES: usize = 5;

/// Longer statements are not looked at.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// Cuts what a client sends into messages, whatever pieces it arrives in.
#[derive(Debug)]
pub(crate) struct FrameScanner {
    // The first messages have no type byte: the request for TLS and the start-up message.
    started: bool,
    header: Vec<u8>,
    body: Vec<u8>,
    body_left: usize,
}

impl FrameScanner {
    /// A scanner for the bytes of a client, from the first one on.
    pub(crate) fn client() -> Self {
        Self {
            started: false,
            header: Vec::new(),
            body: Vec::new(),
            body_left: 0,
        }
    }

    /// Texts of the `Query` and `Parse` messages that end in these bytes.
    pub(crate) fn statements(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut statements = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            if self.body_left == 0 {
                self.header.push(first);
                bytes = rest;
                self.read_header();
            } else {
                let taken = self.body_left.min(bytes.len());
                let room = STATEMENT_BYTES_MAX.saturating_sub(self.body.len());
                if self.keeps_body() {
                    self.body.extend_from_slice(&bytes[..taken.min(room)]);
                }
                self.body_left -= taken;
                bytes = &bytes[taken..];
                if self.body_left == 0 {
                    statements.extend(self.finish());
                }
            }
        }
        statements
    }

    fn keeps_body(&self) -> bool {
        !self.started || matches!(self.header.first(), Some(b'Q' | b'P'))
    }

    /// Once the header is whole: how long the body is. A message without one ends here.
    fn read_header(&mut self) {
        let type_bytes = usize::from(self.started);
        if self.header.len() < HEADER_BYTES - 1 + type_bytes {
            return;
        }
        let mut length = [0; 4];
        length.copy_from_slice(&self.header[type_bytes..type_bytes + 4]);
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.body_left = length.saturating_sub(4);
        if self.body_left == 0 {
            self.header.clear();
        }
    }

    fn finish(&mut self) -> Option<String> {
        let header = std::mem::take(&mut self.header);
        let body = std::mem::take(&mut self.body);
        if !self.started {
            // 1234.x asks for TLS or GSS and is followed by the real start-up message.
            self.started = body.get(..2) != Some(&1234_u16.to_be_bytes());
            return None;
        }
        let mut parts = body.split(|byte| *byte == 0);
        let text = match header.first() {
            Some(b'Q') => parts.next()?,
            // The name of the statement comes first.
            Some(b'P') => parts.nth(1)?,
            _ => return None,
        };
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// Whether these bytes of the server end with `ReadyForQuery`: everything asked is answered.
pub(crate) fn ends_ready(answer: &[u8]) -> bool {
    let message = answer.len().checked_sub(6).map(|start| &answer[start..]);
    message.is_some_and(|message| message.starts_with(b"Z\0\0\0\x05"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn conversation() -> Vec<u8> {
        let tls = [8_u32.to_be_bytes(), 80_877_103_u32.to_be_bytes()].concat();
        let startup = [
            &12_u32.to_be_bytes()[..],
            &196_608_u32.to_be_bytes(),
            b"abc\0",
        ]
        .concat();
        [
            tls,
            startup,
            message(b'Q', b"BEGIN\0"),
            message(b'd', b"COMMIT"),
            message(b'S', b""),
            message(b'P', b"s1\0SELECT 1\0\0\0"),
            message(b'Q', b"COMMIT\0"),
        ]
        .concat()
    }

    #[test]
    fn statements_are_found_in_whole_conversations() {
        let statements = FrameScanner::client().statements(&conversation());

        assert_eq!(statements, ["BEGIN", "SELECT 1", "COMMIT"]);
    }

    #[test]
    fn statements_are_found_byte_by_byte() {
        let mut scanner = FrameScanner::client();

        let statements: Vec<_> = conversation()
            .iter()
            .flat_map(|byte| scanner.statements(&[*byte]))
            .collect();

        assert_eq!(statements, ["BEGIN", "SELECT 1", "COMMIT"]);
    }
}
