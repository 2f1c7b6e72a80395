//! Says from which commit this is built, for `--version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BUILT_FROM={}", origin());
}

/// `commit 0123456789ab`, or `release` if neither git nor the package knows one.
fn origin() -> String {
    // What cargo puts into a package.
    const PACKAGED: &str = ".cargo_vcs_info.json";
    let packaged = std::fs::read_to_string(PACKAGED);
    let commit = match &packaged {
        // Cargo runs this again at every build if it is to watch a file that is not there.
        Ok(info) => {
            println!("cargo::rerun-if-changed={PACKAGED}");
            packaged_from(info)
        }
        Err(_) => checked_out(),
    };
    commit.map_or_else(|| "release".to_owned(), |commit| format!("commit {commit}"))
}

fn packaged_from(info: &str) -> Option<String> {
    let commit = info.split('"').skip_while(|word| *word != "sha1").nth(2)?;
    Some(commit.get(..12)?.to_owned())
}

/// The commit of the working copy that this package belongs to, with a `+` if files have changed since.
fn checked_out() -> Option<String> {
    // A package without information may lie in somebody else's repository.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let moves = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [moves.as_str(), "src", "../cobre-shm/src"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let changed = git(&["status", "--porcelain", "--untracked-files=no", ".."])?;
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = if changed.is_empty() { "" } else { "+" };
    Some(format!("{}{changed}", commit.get(..12)?))
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
