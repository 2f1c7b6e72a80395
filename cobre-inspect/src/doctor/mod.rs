//! `doctor`: what this machine offers, and what that means for a job of so many ranks.

mod cgroup;
mod kernel;
mod memory;
mod processors;

use serde::Serialize;

use crate::text;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    /// Works, with less comfort or speed.
    Note,
    /// A job of that size will have trouble.
    Bad,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) what: &'static str,
    pub(crate) found: String,
    /// For the job in question.
    pub(crate) meaning: String,
}

impl Finding {
    fn new(
        verdict: Verdict,
        what: &'static str,
        found: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            what,
            found: found.into(),
            meaning: meaning.into(),
        }
    }
}

/// Everything there is to say about a job of `ranks` ranks here.
pub(crate) fn examine(ranks: usize) -> Vec<Finding> {
    let mut findings = memory::findings(ranks);
    findings.extend(processors::findings(ranks));
    findings.extend(kernel::findings(ranks));
    findings
}

pub(crate) fn show(ranks: usize, findings: &[Finding]) -> String {
    let header = [
        "",
        "WHAT",
        "FOUND",
        &format!("FOR {ranks} RANK{}", if ranks == 1 { "" } else { "S" }),
    ];
    let rows = findings.iter().map(|finding| {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        let Finding {
            what,
            found,
            meaning,
            ..
        } = finding;
        [
            mark.to_owned(),
            (*what).to_owned(),
            found.clone(),
            meaning.clone(),
        ]
    });
    let mut said = text::table(header, rows);
    let bad = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Bad)
        .count();
    said += &match bad {
        0 => "nothing stands in the way of the job\n".to_owned(),
        1 => "one thing stands in the way of the job\n".to_owned(),
        n => format!("{n} things stand in the way of the job\n"),
    };
    said
}

/// The first line of a file of the kernel's.
fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
