//! What the documents name is there: linked files and headings, source files, environment variables.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cobre_tests::run;

/// Where the repository is.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The repository's files whose name ends with one of `endings`, what is built and downloaded aside.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn documents() -> Vec<(PathBuf, String)> {
    let documents = files(&[".md"]).into_iter();
    documents
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The text outside of code blocks: the prose, and the code spans in it.
fn prose_and_spans(text: &str) -> (String, Vec<String>) {
    let outside: Vec<&str> = text.split("\n```").step_by(2).collect();
    let outside = outside.join("\n");
    let spans = outside.split('`').skip(1).step_by(2);
    (
        outside.split('`').step_by(2).collect(),
        spans.map(str::to_owned).collect(),
    )
}

/// What stands between `open` and `close`, each time.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    let rest = text.split(open).skip(1);
    rest.filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for (path, text) in documents() {
        for link in between(&prose_and_spans(&text).0, "](", ')') {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let page = fs::read_to_string(&target).unwrap();
                let mut headings = page.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{}: {link}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn every_source_file_that_is_named_is_there() {
    let root = root();
    let (mut checked, mut gone) = (0, Vec::new());
    for (path, text) in documents() {
        // What a past run measured may name what has gone since.
        if path.ends_with("benches/RESULTS.md") || path.ends_with("CHANGELOG.md") {
            continue;
        }
        let folder = path.parent().unwrap();
        for span in prose_and_spans(&text).1 {
            let is_path = span.contains('/') && !span.contains([' ', '<', '*', '$', '{']);
            let is_source = [".rs", ".sh", ".c", ".py", ".md", "/"]
                .iter()
                .any(|ending| span.ends_with(ending));
            if !is_path || !is_source || span.starts_with(['/', '~']) {
                continue;
            }
            // Written from the root, from the document, or from a crate that the page is about.
            let crates = ["cobre-shm/src", "cobre-launch/src"].map(|inside| root.join(inside));
            let mut from = [root.as_path(), folder]
                .into_iter()
                .chain(crates.iter().map(PathBuf::as_path));
            if !from.any(|from| from.join(&span).exists()) {
                gone.push(format!("{}: {span}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
    assert!(checked > 30, "{checked}");
}

/// The names that begin like our variables.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit();
    let words = text.split(|c: char| !is_part(c));
    words
        .filter(|word| word.starts_with("COBRE_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_book_has_the_variables_that_the_programs_have_and_no_others() {
    let page = root().join("specs/src/reference/environment.md");
    let stated = variables(&fs::read_to_string(page).unwrap());
    let sources = files(&[".rs", ".sh"]).into_iter();
    let (mut published, mut anywhere) = (BTreeSet::new(), BTreeSet::new());
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        // Quoted: what a program asks for or sets.
        let quoted = text
            .split('"')
            .filter(|word| variables(word).contains(*word));
        let inside = path.strip_prefix(root()).unwrap();
        let is_published = inside
            .components()
            .nth(1)
            .is_some_and(|part| part.as_os_str() == "src")
            && inside.to_string_lossy().starts_with("cobre-");
        if is_published {
            published.extend(quoted.map(str::to_owned));
        }
        anywhere.extend(variables(&text));
    }
    assert!(published.len() > 10, "{published:?}");
    let missing: Vec<_> = published.difference(&stated).collect();
    assert!(missing.is_empty(), "not in the book: {missing:?}");
    let gone: Vec<_> = stated.difference(&anywhere).collect();
    assert!(gone.is_empty(), "only in the book: {gone:?}");
}

/// The variants of `name` in the source file at `path`.
fn variants(path: &str, name: &str) -> Vec<String> {
    let source = fs::read_to_string(root().join(path)).unwrap();
    let (_, body) = source.split_once(&format!("pub enum {name} {{")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let named = body.lines().filter_map(|line| line.strip_prefix("    "));
    named
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter_map(|line| line.split([' ', '(', ',']).next().map(str::to_owned))
        .collect()
}

#[test]
fn every_error_is_on_its_page() {
    for (source, name, page) in [
        (
            "cobre-comm-trait/src/error.rs",
            "CommError",
            "contract/communicator.md",
        ),
        (
            "cobre-comm-trait/src/error.rs",
            "FailureCause",
            "contract/communicator.md",
        ),
        (
            "cobre-shm/src/job/error.rs",
            "InitError",
            "protocol/forming.md",
        ),
    ] {
        let text = fs::read_to_string(root().join("specs/src").join(page)).unwrap();
        let variants = variants(source, name);
        assert!(variants.len() > 3, "{variants:?}");
        for variant in variants {
            assert!(text.contains(&format!("`{variant}")), "{page}: {variant}");
        }
    }
}

/// The rows of the tables of a page, as cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("specs/src").join(page)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

#[test]
fn the_fault_points_of_the_book_are_those_of_the_library() {
    let mut reached = BTreeSet::new();
    for path in files(&[".rs"]) {
        if path
            .strip_prefix(root())
            .unwrap()
            .starts_with("cobre-shm/src")
        {
            let text = fs::read_to_string(path).unwrap();
            reached.extend(between(&text, "point::reached(\"", '"').map(str::to_owned));
        }
    }
    assert!(reached.len() > 10, "{reached:?}");
    let rows = rows("reference/fault-points.md").into_iter();
    let points =
        rows.filter(|row| row.len() == 3 && row[1].starts_with('`') && row[1].ends_with('`'));
    let stated: BTreeSet<String> = points
        .map(|row| row[1].trim_matches('`').to_owned())
        .collect();
    assert_eq!(stated, reached);
}

#[test]
fn the_mutations_of_the_book_are_those_of_the_script() {
    let script = fs::read_to_string(root().join("cobre-shm/loom-mutations.sh")).unwrap();
    let mutations = script.lines().filter_map(|line| line.strip_prefix("  '"));
    let mutations = mutations.enumerate().map(|(number, line)| {
        let mut parts = line.split('|');
        let (file, what) = (parts.next().unwrap(), parts.next().unwrap());
        vec![number.to_string(), format!("`{file}`"), what.to_owned()]
    });
    let mutations: Vec<_> = mutations.collect();
    assert!(mutations.len() > 20, "{mutations:?}");
    let mut stated = rows("reference/model-checking.md");
    stated.retain(|row| row[0].parse::<usize>().is_ok());
    assert_eq!(stated, mutations);
}

#[test]
fn the_models_of_the_book_are_there() {
    let folder = root().join("cobre-shm/src/model");
    let mut tests = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        tests += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let rows = rows("reference/model-checking.md").into_iter();
    let named: Vec<String> = rows
        .flat_map(|row| prose_and_spans(&row[0]).1)
        .filter(|name| name.contains('_') && !name.starts_with(".."))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
    }
}

/// What documents say to write into `Cargo.toml` are dependencies that cargo finds, in a clone beside the
/// program.
#[test]
fn the_dependencies_that_documents_name_resolve() {
    let root = root().canonicalize().unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    fs::create_dir_all(program.join("src")).unwrap();
    fs::write(program.join("src/main.rs"), "fn main() {}\n").unwrap();
    fs::copy(root.join("Cargo.lock"), program.join("Cargo.lock")).unwrap();
    let mut found = Vec::new();
    for (path, text) in documents() {
        for block in between(&text, "```toml\n", '`').filter(|text| text.contains("dependencies]"))
        {
            let beside = format!("\"{}/", root.display());
            let dependencies = block.replace("\"../cobre/", &beside);
            let package = "[package]\nname = \"program\"\nedition = \"2024\"\n\n";
            // Not a member of the workspace above it.
            let manifest = format!("{package}[workspace]\n\n{dependencies}");
            fs::write(program.join("Cargo.toml"), manifest).unwrap();
            // The tree of this platform: nothing else has been downloaded.
            let mut tree = Command::new(env!("CARGO"));
            tree.args(["tree", "--offline", "--depth", "1", "--manifest-path"]);
            let (code, tree, complained) = run(tree.arg(program.join("Cargo.toml")));
            assert_eq!(code, 0, "{}: {complained}", path.display());
            let ours = dependencies.lines().find(|line| line.starts_with("cobre-"));
            let name = ours.and_then(|line| line.split(' ').next()).unwrap();
            assert!(tree.contains(&format!("{name} v")), "{tree}");
            found.push(path.canonicalize().unwrap());
        }
    }
    for readme in ["README.md", "cobre-comm-trait/README.md"] {
        assert!(found.contains(&root.join(readme)), "{readme}: {found:?}");
    }
}
