//! Words for people: lines that fit a terminal.

/// The terminal that everybody has.
const COLUMNS: usize = 80;

/// `text` as lines of at most 80 columns, if its words allow it: the first indented by `indent`, the
/// others by two more.
pub(crate) fn paragraph(indent: usize, text: &str) -> String {
    let mut out = " ".repeat(indent);
    let mut width = indent;
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && width + 1 + length > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            width = indent + 2;
        } else if place > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::paragraph;

    #[test]
    fn long_text_is_broken_between_words() {
        let text = format!("{} {} end", "a".repeat(40), "b".repeat(39));
        assert_eq!(
            paragraph(1, &text),
            format!(" {}\n   {} end\n", "a".repeat(40), "b".repeat(39))
        );
        assert_eq!(paragraph(2, "short"), "  short\n");
    }
}
