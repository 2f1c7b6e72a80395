//! Words as a shell reads them back.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use cobre_comm_trait::text::is_misleading;

/// `word` for a shell, exactly; with nothing in it that a terminal would obey.
///
/// What is not text, and what controls terminals or the direction of writing, is written as bash,
/// ksh, zsh and POSIX.1-2024 read it: `$'\xff'`.
pub(crate) fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if !text.chars().any(is_misleading) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escape(word.as_bytes()),
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut quoted = String::from("$'");
    let hex = |quoted: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                '\'' | '\\' => quoted.extend(['\\', c]),
                c if is_misleading(c) => hex(&mut quoted, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => quoted.push(c),
            }
        }
        hex(&mut quoted, chunk.invalid());
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::quote;
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::process::Command;

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        for (word, quoted) in [
            ("./a-b_c.d", "./a-b_c.d"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$X", "'$X'"),
            ("größer", "'größer'"),
            ("a\n'b'\u{1b}[2J", r"$'a\n\'b\'\x1b[2J'"),
            ("\u{202e}x", r"$'\xe2\x80\xaex'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
        assert_eq!(quote(OsStr::from_bytes(b"\xff\xfe\\")), r"$'\xff\xfe\\'");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
        #[test]
        fn bash_reads_back_what_was_quoted(bytes in proptest::collection::vec(1..=255_u8, 0..24)) {
            let word = OsString::from_vec(bytes.clone());
            let command = format!("printf %s {}x", quote(&word));
            let Ok(read) = Command::new("bash").args(["-c", &command]).output() else {
                return Ok(());
            };
            // The `x` after a hexadecimal escape is not part of it.
            assert_eq!(read.stdout, [&bytes[..], b"x"].concat());
        }
    }
}
