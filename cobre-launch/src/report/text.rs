//! Words for people: numbers of ranks, lines that fit a terminal.

/// The terminal that everybody has.
const COLUMNS: usize = 80;

/// `1 rank`, `2 ranks`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// `rank 3`, `ranks 0-2, 5`.
pub(crate) fn list(ranks: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let runs: Vec<String> = runs
        .iter()
        .map(|&(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", runs.join(", "))
}

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
    use super::{list, paragraph};

    #[test]
    fn ranks_are_listed_in_runs() {
        assert_eq!(list(&[3]), "rank 3");
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "ranks 0-2, 5, 7-8");
    }

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
