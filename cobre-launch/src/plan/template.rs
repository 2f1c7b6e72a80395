//! `{rank}` and `{size}` in words of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const RANK: &[u8] = b"{rank}";
const SIZE: &[u8] = b"{size}";

/// `text` for `rank` of a job of `size` ranks. `{{rank}}` becomes `{rank}`, and everything else
/// stays.
pub(crate) fn fill(text: &OsStr, rank: usize, size: usize) -> OsString {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let numbers = [(RANK, rank), (SIZE, size)];
        let number = numbers.iter().find(|(name, _)| rest.starts_with(name));
        let escaped = numbers.iter().find(|(name, _)| {
            let inside = rest
                .strip_prefix(b"{")
                .and_then(|rest| rest.strip_prefix(*name));
            inside.is_some_and(|rest| rest.starts_with(b"}"))
        });
        if let Some((name, number)) = number {
            filled.extend(number.to_string().as_bytes());
            rest = &rest[name.len()..];
        } else if let Some((name, _)) = escaped {
            filled.extend(*name);
            rest = &rest[name.len() + 2..];
        } else {
            filled.push(byte);
            rest = after;
        }
    }
    OsString::from_vec(filled)
}

/// Whether `text` is another one for each rank.
pub(crate) fn differs(text: &OsStr) -> bool {
    fill(text, 0, 1) != fill(text, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::{differs, fill};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn only_the_two_names_in_braces_are_filled_in() {
        for (text, filled) in [
            ("{rank}", "3"),
            ("a{rank}b{size}{rank}", "a3b83"),
            ("{{rank}} {{size}}", "{rank} {size}"),
            ("{{rank}", "{3"),
            ("{{{rank}}}", "{{rank}}"),
            ("{rank", "{rank"),
            ("{ rank }{Rank}{}{n}{{x}}", "{ rank }{Rank}{}{n}{{x}}"),
            ("", ""),
        ] {
            assert_eq!(fill(OsStr::new(text), 3, 8), filled, "{text}");
        }
        let bytes = OsStr::from_bytes(b"\xff{rank}\xfe");
        assert_eq!(fill(bytes, 12, 16).as_bytes(), b"\xff12\xfe");
    }

    #[test]
    fn what_is_one_for_all_ranks_does_not_differ() {
        assert!(differs(OsStr::new("out-{rank}")));
        assert!(!differs(OsStr::new("out-{size}-{{rank}}")));
    }
}
