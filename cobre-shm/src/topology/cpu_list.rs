//! Sets of processors, in the kernel's notation: `0-3,8`.

use core::fmt;
use std::collections::BTreeSet;

use crate::sys::process;

/// A set of processor numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuList(BTreeSet<usize>);

impl CpuList {
    /// The processors that the process `pid` may run on; `None` if there is no such process, or it is
    /// not known.
    #[must_use]
    pub fn of_process(pid: u32) -> Option<Self> {
        process::processors(pid).map(|cpus| cpus.into_iter().collect())
    }

    /// The set that the kernel writes as `text`; `None` if it would not write that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut cpus = BTreeSet::new();
        let text = text.trim();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            // No kernel knows more processors; what is absurd must not fill the memory.
            if first > last || last >= 1 << 20 {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(Self(cpus))
    }

    /// Whether the set has `cpu`.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// The processors, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// How many processors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every one of `others` is here.
    #[must_use]
    pub fn has_all(&self, others: &Self) -> bool {
        self.0.is_superset(&others.0)
    }

    /// Whether there is no processor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<usize> for CpuList {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CpuList;

    #[test]
    fn the_kernels_notation_is_read_and_written() {
        for text in ["", "0", "0-3", "0,2,4", "0-1,8-11,40"] {
            let list = CpuList::parse(&format!("{text}\n")).map(|list| list.to_string());
            assert_eq!(list.as_deref(), Some(text));
        }
        assert_eq!(CpuList::parse("0-3,2").map(|list| list.len()), Some(4));
    }

    #[test]
    fn what_no_kernel_writes_is_refused() {
        for text in ["a", "3-1", "0-", ",", "0,,1", "-1", "0-99999999999"] {
            assert_eq!(CpuList::parse(text), None, "{text}");
        }
    }
}
