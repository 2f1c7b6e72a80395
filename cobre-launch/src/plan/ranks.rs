//! Lists of ranks on the command line: `0,2-3`, or all.

use std::ops::RangeInclusive;

/// Some ranks of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranks {
    /// Every one.
    All,
    /// These.
    Some(Vec<RangeInclusive<usize>>),
}

/// Reads `all`, or numbers and ranges.
pub(crate) fn parse(text: &str) -> Result<Ranks, String> {
    if text == "all" {
        return Ok(Ranks::All);
    }
    let expected = || "expected ranks such as 0,2-3".to_owned();
    let number = |text: &str| text.parse::<usize>().map_err(|_| expected());
    let range = |part: &str| match part.split_once('-') {
        None => number(part).map(|one| one..=one),
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(first..=last),
            _ => Err(expected()),
        },
    };
    let ranges: Result<Vec<_>, _> = text.split(',').map(range).collect();
    ranges.map(Ranks::Some)
}

impl Ranks {
    /// Whether `rank` is one of them.
    pub(crate) fn contains(&self, rank: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(ranges) => ranges.iter().any(|range| range.contains(&rank)),
        }
    }

    /// Whether a job of `size` ranks has them all.
    pub(crate) fn check(&self, size: usize) -> Result<(), String> {
        let Self::Some(ranges) = self else {
            return Ok(());
        };
        match ranges
            .iter()
            .map(RangeInclusive::end)
            .find(|end| **end >= size)
        {
            None => Ok(()),
            Some(end) => Err(format!(
                "--debug: there is no rank {end} in a job of {size}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ranks, parse};

    #[test]
    fn lists_are_read_and_checked() {
        assert_eq!(parse("all"), Ok(Ranks::All));
        let some = parse("0,2-3").unwrap();
        let inside: Vec<usize> = (0..6).filter(|&rank| some.contains(rank)).collect();
        assert_eq!(inside, [0, 2, 3]);
        assert_eq!(some.check(4), Ok(()));
        assert!(
            some.check(3)
                .unwrap_err()
                .contains("no rank 3 in a job of 3")
        );
        for text in ["", ",", "3-2", "a", "1-", "-1", "1..2"] {
            assert!(parse(text).unwrap_err().contains("0,2-3"), "{text}");
        }
    }
}
