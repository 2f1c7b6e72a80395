//! What others wrote is shown, and never controls the terminal: names, arguments, last lines.
#![allow(clippy::unwrap_used)]

mod common;

use cobre_comm_trait::text::is_misleading;
use common::{Folder, run};

const EVIL: &str = "\u{1b}]0;X\u{7}\u{1b}[31m\u{202e}\u{9b}2Jend";
/// What is left of it in any message: those about the command line leave escape sequences out.
const SEEN: &str = r"\u{202e}\u{9b}2Jend";

fn assert_clean(text: &str) {
    let misleads = |c| !matches!(c, '\n' | '\t') && is_misleading(c);
    assert!(!text.contains(misleads), "{text:?}");
}

#[test]
fn the_launcher_quotes_what_it_was_given_without_obeying_it() {
    let missing = format!("./{EVIL}\nforged");
    for (args, code) in [
        (&["-n", "1", &missing][..], 127),
        (&["-n", "1", "--wdir", EVIL, "true"], 2),
        (&["-n", EVIL, "true"], 2),
        (&[&format!("--{EVIL}"), "true"], 2),
    ] {
        let outcome = run(args);
        let said = outcome.stdout + &outcome.stderr;
        assert_eq!(outcome.code, code, "{said}");
        assert_clean(&said);
        assert!(said.contains(SEEN), "{said}");
        assert!(
            !said.lines().any(|line| line.starts_with("forged")),
            "{said}"
        );
    }
}

#[test]
fn last_lines_of_a_rank_are_quoted_without_obeying_them() {
    let folder = Folder::new();
    std::fs::write(folder.file("words"), format!("first\n{EVIL}\tand\n")).unwrap();
    let words = folder.file("words");
    let script = format!("cat {words} >&2; exec >&- 2>&-; exit 3");
    let outcome = run(&["-n", "1", "sh", "-c", &script]);
    assert_eq!(outcome.code, 3);
    // What the rank wrote itself is relayed as it is; what the launcher says about it is not.
    let told: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|l| l.starts_with("    | "))
        .collect();
    assert_eq!(told.len(), 2, "{}", outcome.stderr);
    assert_clean(&told.join("\n"));
    assert!(told[1].ends_with("end\tand"), "{told:?}");
}
