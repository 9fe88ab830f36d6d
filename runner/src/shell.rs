//! Words of command lines that people copy from a hint into a shell.

/// A word as a shell takes it.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-=/,:".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        let words = [
            ("public.orders=5", "public.orders=5"),
            ("public.a,public.b", "public.a,public.b"),
            ("public.Ünïcode Täble", "'public.Ünïcode Täble'"),
            ("Ord`er", "'Ord`er'"),
            (
                r#"public."Order's Items"=5"#,
                r#"'public."Order'\''s Items"=5'"#,
            ),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ];
        for (text, expected) in words {
            assert_eq!(word(text), expected);
        }
    }
}
