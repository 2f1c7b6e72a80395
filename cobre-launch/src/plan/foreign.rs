//! What other launchers call the things that this one can do: Open MPI's and MPICH's `mpirun` and
//! `mpiexec`, Intel's, `srun`, `torchrun`.
//!
//! The table is in the book too (`specs/src/reference/other-launchers.md`); a test compares the
//! two.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Options of other launchers that mean one thing.
#[derive(Debug)]
pub(super) struct Foreign {
    /// With their dashes.
    names: &'static [&'static str],
    /// How many words follow each.
    values: usize,
    meaning: Meaning,
}

#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// The same as this option of ours, with the same value.
    Same(&'static str),
    /// Two words, which are `--env NAME=VALUE`.
    Setting,
    /// It is so here anyway: accepted without a word.
    Always,
    /// Nothing to be done about it here, for this reason: accepted, and said.
    Ignored(&'static str),
    /// Accepted with one of these values (`""` for none); refused with this answer otherwise.
    Only(&'static [&'static str], &'static str),
    /// Refused; this is what to do.
    Refused(&'static str),
}

const fn foreign(names: &'static [&'static str], values: usize, meaning: Meaning) -> Foreign {
    Foreign {
        names,
        values,
        meaning,
    }
}

const LOCAL: &str = "all ranks run on this machine; leave it out";
const ONE_NODE: &str = "there is one node, this machine; -n N is the number of ranks";
const NO_MPI: &str = "there is no MPI library here for it to configure";
const PLACES: &str = "place ranks with --bind-to, --map-by and --cpus-per-rank, within `taskset`";
const SIZE_OF_JOB: &str = "say how many ranks there are with -n N";
const FILES: &str = "--output-dir DIR writes DIR/rank-N.stdout and DIR/rank-N.stderr";
const BATCH: &str = "this is for a batch system; cobre-launch starts ranks within what you have";

use Meaning::{Always, Ignored, Only, Refused, Same, Setting};

const TABLE: &[Foreign] = &[
    // How many, and what they get.
    foreign(
        &[
            "-np",
            "--np",
            "--n",
            "--ntasks",
            "--nproc_per_node",
            "--nproc-per-node",
        ],
        1,
        Same("--ranks"),
    ),
    foreign(
        &[
            "-c",
            "-N",
            "-ppn",
            "--ppn",
            "-perhost",
            "-npernode",
            "--npernode",
            "--ntasks-per-node",
        ],
        1,
        Refused(SIZE_OF_JOB),
    ),
    foreign(
        &["--nodes", "-nnodes", "--nnodes"],
        1,
        Only(&["1", "1:1"], ONE_NODE),
    ),
    foreign(&["-x"], 1, Same("--env")),
    foreign(&["-env", "-genv"], 2, Setting),
    foreign(&["-genvall", "-envall"], 0, Always),
    foreign(
        &["-genvlist", "-envlist", "--export"],
        1,
        Ignored("ranks inherit the whole environment"),
    ),
    foreign(
        &["-genvnone", "-envnone"],
        0,
        Refused("start cobre-launch under `env -i`, and set what ranks need with --env"),
    ),
    foreign(
        &["-wdir", "-wd", "--wd", "-D", "--chdir", "--cwd"],
        1,
        Same("--wdir"),
    ),
    // Output and input.
    foreign(
        &[
            "-l",
            "--tag-output",
            "-prepend-rank",
            "--prepend-rank",
            "--tag",
        ],
        0,
        Same("--label"),
    ),
    foreign(
        &[
            "--output-filename",
            "-output-filename",
            "--log_dir",
            "--log-dir",
        ],
        1,
        Same("--output-dir"),
    ),
    foreign(
        &[
            "-o",
            "-e",
            "--output",
            "--error",
            "-outfile-pattern",
            "--outfile-pattern",
            "-errfile-pattern",
            "--errfile-pattern",
            "--tee",
            "--redirects",
        ],
        1,
        Refused(FILES),
    ),
    foreign(
        &["--input", "-i"],
        1,
        Refused("--stdin 0, --stdin all or --stdin none says who reads standard input"),
    ),
    foreign(
        &["--timestamp-output", "-timestamp-output"],
        0,
        Ignored("lines have no times here; pipe them through `ts`"),
    ),
    foreign(
        &["--merge-stderr-to-stdout"],
        0,
        Refused("write `2>&1` behind the command line"),
    ),
    foreign(&["-q", "--quiet"], 0, Always),
    foreign(&["-verbose"], 0, Same("--verbose")),
    // Placement.
    foreign(
        &["-bind-to", "--cpu-bind", "--cpu_bind"],
        1,
        Same("--bind-to"),
    ),
    foreign(&["-map-by"], 1, Same("--map-by")),
    foreign(
        &["--cpus-per-task", "--cpus-per-proc"],
        1,
        Same("--cpus-per-rank"),
    ),
    foreign(
        &["-report-bindings", "--display-map", "-print-rank-map"],
        0,
        Same("--report-bindings"),
    ),
    foreign(
        &[
            "--rank-by",
            "--cpu-set",
            "--cpu-list",
            "--rankfile",
            "-rf",
            "-rankfile",
            "-binding",
        ],
        1,
        Refused(PLACES),
    ),
    foreign(
        &[
            "--oversubscribe",
            "-oversubscribe",
            "--overcommit",
            "-O",
            "--overlap",
            "--exact",
            "--use-hwthread-cpus",
        ],
        0,
        Always,
    ),
    foreign(
        &[
            "--nooversubscribe",
            "--no-oversubscribe",
            "-nooversubscribe",
        ],
        0,
        Ignored("without -n there are as many ranks as usable cores; more are never refused"),
    ),
    // Where.
    foreign(
        &["-host", "--host", "-hosts", "--hosts", "-H"],
        1,
        Only(&["localhost", "127.0.0.1"], LOCAL),
    ),
    foreign(
        &[
            "-f",
            "-hostfile",
            "--hostfile",
            "-machinefile",
            "--machinefile",
            "-w",
            "--nodelist",
        ],
        1,
        Refused(LOCAL),
    ),
    foreign(&["--allow-run-as-root"], 0, Always),
    foreign(&["--standalone", "--no-python", "--no_python"], 0, Always),
    foreign(
        &[
            "--master_addr",
            "--master-addr",
            "--master_port",
            "--master-port",
            "--node_rank",
            "--node-rank",
            "--rdzv_backend",
            "--rdzv-backend",
            "--rdzv_endpoint",
            "--rdzv-endpoint",
            "--rdzv_id",
            "--rdzv-id",
        ],
        1,
        Ignored("ranks of one machine find each other through shared memory"),
    ),
    foreign(
        &[
            "-launcher",
            "--launcher",
            "-bootstrap",
            "-iface",
            "-rmk",
            "--prefix",
            "--personality",
        ],
        1,
        Ignored("nothing is started on another machine"),
    ),
    foreign(
        &[
            "-p",
            "--partition",
            "-A",
            "--account",
            "-J",
            "--job-name",
            "--mem",
            "--gres",
            "--gpus",
            "--qos",
        ],
        1,
        Refused(BATCH),
    ),
    foreign(
        &["--exclusive"],
        0,
        Ignored("jobs that bind ranks get different cores anyway"),
    ),
    // MPI itself.
    foreign(
        &[
            "--mca",
            "-mca",
            "--gmca",
            "-gmca",
            "--omca",
            "--pmixmca",
            "--prtemca",
        ],
        2,
        Ignored(NO_MPI),
    ),
    foreign(&["--mpi", "--am", "--tune"], 1, Ignored(NO_MPI)),
    // How it ends.
    foreign(
        &["-t", "--time"],
        1,
        Refused("--timeout TIME ends the job: 90s, 10m, 1h"),
    ),
    foreign(
        &["-W", "--wait"],
        1,
        Refused("a failure ends the job at once, with --kill-grace TIME to clean up"),
    ),
    foreign(&["--max_restarts"], 1, Same("--max-restarts")),
    foreign(
        &["-K", "--kill-on-bad-exit"],
        0,
        Only(
            &["", "1"],
            "a failure ends the job; --keep-going lets the other ranks run on",
        ),
    ),
    foreign(
        &[
            "--continuous",
            "--enable-recovery",
            "-disable-auto-cleanup",
            "--disable-auto-cleanup",
        ],
        0,
        Same("--keep-going"),
    ),
    foreign(&["--do-not-launch"], 0, Same("--dry-run")),
    foreign(&["--get-stack-traces"], 0, Same("--stacks")),
    foreign(
        &["--xterm", "-xterm", "-gdb", "-tv"],
        0,
        Refused("--debug[=RANKS] opens debuggers in tmux"),
    ),
    foreign(
        &["--app", "-configfile", "--configfile", "--multi-prog"],
        1,
        Refused("separate the programs on the command line with `:`, or write a shell script"),
    ),
];

/// Values of options that we share, which only others know: the option, the value or what it begins
/// with (if that ends in `:`), and what to do.
const VALUES: &[(&str, &str, Value)] = &[
    ("--bind-to", "cores", Value::Is("core")),
    ("--bind-to", "l3cache", Value::Is("l3")),
    ("--bind-to", "socket", Value::Is("package")),
    ("--bind-to", "sockets", Value::Is("package")),
    ("--bind-to", "ldoms", Value::Is("numa")),
    ("--bind-to", "no", Value::Is("none")),
    ("--bind-to", "hwthread", Value::Refused(HALF_CORE)),
    ("--bind-to", "threads", Value::Refused(HALF_CORE)),
    ("--bind-to", "core:", Value::Refused(TWO_BINDINGS)),
    ("--bind-to", "numa:", Value::Refused(TWO_BINDINGS)),
    ("--bind-to", "socket:", Value::Refused(TWO_BINDINGS)),
    ("--bind-to", "hwthread:", Value::Refused(HALF_CORE)),
    ("--map-by", "slot", Value::Is("core")),
    ("--map-by", "cores", Value::Is("core")),
    ("--map-by", "l3cache", Value::Is("l3")),
    ("--map-by", "socket", Value::Is("package")),
    ("--map-by", "hwthread", Value::Refused(HALF_CORE)),
    (
        "--map-by",
        "node",
        Value::Refused("there is one node, this machine; leave it out"),
    ),
    (
        "--map-by",
        "ppr:",
        Value::Refused(
            "--map-by package (l3, numa, core) deals ranks out in turn; -n N is their number",
        ),
    ),
    ("--map-by", "socket:", Value::Refused(TWO_OPTIONS)),
    ("--map-by", "numa:", Value::Refused(TWO_OPTIONS)),
    ("--map-by", "slot:", Value::Refused(TWO_OPTIONS)),
    ("--map-by", "core:", Value::Refused(TWO_OPTIONS)),
    ("--map-by", "package:", Value::Refused(TWO_OPTIONS)),
];

const HALF_CORE: &str = "the smallest part that a rank is kept on is `core`, with all its threads";
const TWO_OPTIONS: &str =
    "the part before the colon is for --map-by; PE=N is --cpus-per-rank N here";

const TWO_BINDINGS: &str =
    "the part before the colon is for --bind-to; how many cores a rank gets is --cpus-per-rank N";

#[derive(Clone, Copy, Debug)]
enum Value {
    /// What it is called here.
    Is(&'static str),
    Refused(&'static str),
}

/// What becomes of an option of another launcher.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// What stands for it; `None` for nothing.
    pub(super) ours: Option<OsString>,
    /// What the user is told.
    pub(super) note: Option<String>,
    /// How many of the words after it were its own.
    pub(super) taken: usize,
}

/// What `word`, followed by `after`, means if it is an option of another launcher.
///
/// # Errors
/// What to do instead, if there is no such thing here.
pub(super) fn translate(word: &OsStr, after: &[OsString]) -> Result<Option<Translated>, String> {
    let (name, inline) = split(word);
    let Some(entry) = TABLE
        .iter()
        .find(|entry| entry.names.iter().any(|one| name == *one))
    else {
        return Ok(None);
    };
    let taken = match inline {
        Some(_) => 0,
        None => entry.values.min(after.len()),
    };
    let given = || {
        let next = after[..taken].first().map(OsString::as_os_str);
        inline.or(next).unwrap_or_default()
    };
    let shown = name.display();
    let mut translated = Translated {
        ours: None,
        note: None,
        taken,
    };
    match entry.meaning {
        Always => {}
        Same(ours) if entry.values == 0 || (inline.is_none() && taken == 0) => {
            translated.ours = Some(ours.into());
        }
        Same(ours) => {
            let option = OsStr::new(ours);
            translated.ours = Some(joined(ours, value(option, name, given())?));
        }
        Setting => {
            let [variable, value] = &after[..taken] else {
                return Err(format!(
                    "{shown}: expected a name and a value; here it is --env NAME=VALUE"
                ));
            };
            let setting = joined(variable, value);
            translated.ours = Some(joined("--env", &setting));
        }
        Ignored(why) => translated.note = Some(format!("{shown} is ignored: {why}")),
        Only(accepted, answer) => {
            let value = given().to_string_lossy();
            // Hosts may have numbers of slots, and be several.
            let host = |one: &str| one.split_once(':').map_or(one, |(host, _)| host).to_owned();
            let is_accepted =
                |one: &str| accepted.contains(&one) || accepted.contains(&host(one).as_str());
            if !value.split(',').all(is_accepted) {
                return Err(format!("{shown}: {answer}"));
            }
        }
        Refused(answer) => return Err(format!("{shown}: {answer}")),
    }
    Ok(Some(translated))
}

/// What `given`, a value of our option `option`, is called here; the user has called the option
/// `name`.
///
/// # Errors
/// What to do instead, if there is no such thing here.
pub(super) fn value<'a>(
    option: &OsStr,
    name: &OsStr,
    given: &'a OsStr,
) -> Result<&'a OsStr, String> {
    let text = given.to_string_lossy();
    let known = VALUES.iter().find(|(of, theirs, _)| {
        option == *of
            && match theirs.ends_with(':') {
                true => text.starts_with(theirs),
                false => text == *theirs,
            }
    });
    match known {
        None => Ok(given),
        Some((_, _, Value::Is(ours))) => Ok(OsStr::new(*ours)),
        Some((_, _, Value::Refused(answer))) => Err(format!("{} {text}: {answer}", name.display())),
    }
}

/// Takes `--NAME=VALUE` apart.
pub(super) fn split(word: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) if bytes.starts_with(b"--") => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..])),
        ),
        _ => (word, None),
    }
}

/// `NAME=VALUE`.
pub(super) fn joined(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> OsString {
    let mut joined = name.as_ref().to_owned();
    joined.push("=");
    joined.push(value);
    joined
}

#[cfg(test)]
mod tests {
    use super::{Meaning, TABLE, VALUES, Value, translate, value};
    use std::collections::BTreeSet;
    use std::ffi::{OsStr, OsString};

    /// What `words` become, and what is said.
    fn words(line: &str) -> Result<(String, String), String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let found = translate(&words[0], &words[1..])?.unwrap();
        let ours = found.ours.unwrap_or_default().into_string().unwrap();
        let rest = words[1 + found.taken..].iter();
        let rest = rest.map(|word| word.to_str().unwrap());
        let line = std::iter::once(ours.as_str()).chain(rest);
        Ok((
            line.collect::<Vec<_>>().join(" "),
            found.note.unwrap_or_default(),
        ))
    }

    #[test]
    fn what_means_the_same_is_translated() {
        for (theirs, ours) in [
            ("-np 4 a", "--ranks=4 a"),
            ("--np=4 a", "--ranks=4 a"),
            ("-np", "--ranks"),
            ("-x A a", "--env=A a"),
            ("-genv A 1 a", "--env=A=1 a"),
            ("-l a", "--label a"),
            ("--oversubscribe a", " a"),
            ("--host localhost:4,localhost a", " a"),
            ("-K a", " a"),
            ("--cpu-bind=cores a", "--bind-to=core a"),
            ("--cpu-bind=sockets a", "--bind-to=package a"),
            ("--cpu_bind ldoms a", "--bind-to=numa a"),
            ("-bind-to socket a", "--bind-to=package a"),
            ("-bind-to core a", "--bind-to=core a"),
            ("-map-by socket a", "--map-by=package a"),
        ] {
            assert_eq!(words(theirs), Ok((ours.to_owned(), String::new())));
        }
    }

    #[test]
    fn what_does_nothing_is_said_and_what_cannot_be_is_refused() {
        let (rest, note) = words("--mca btl self a").unwrap();
        assert_eq!(rest, " a");
        assert!(note.starts_with("--mca is ignored: "), "{note}");
        for line in [
            "--host node1,node2 a",
            "--hostfile f a",
            "-genv A",
            "-N 2 a",
            "--nodes 2 a",
            "--kill-on-bad-exit=0 a",
            "-bind-to hwthread a",
            "-bind-to core:2 a",
            "--cpu-bind=threads a",
            "-map-by socket:PE=2 a",
            "-binding cell=core a",
        ] {
            let name = line.split([' ', '=']).next().unwrap();
            let error = words(line).unwrap_err();
            let (before, _) = error.split_once(": ").unwrap();
            assert!(before.starts_with(name), "{error}");
        }
    }

    #[test]
    fn values_that_others_know_are_translated_or_answered() {
        let of = |option, text| {
            let option = OsStr::new(option);
            value(option, option, OsStr::new(text)).map(|value| value.to_str().unwrap())
        };
        assert_eq!(of("--bind-to", "socket"), Ok("package"));
        assert_eq!(of("--bind-to", "core"), Ok("core"));
        assert!(of("--bind-to", "hwthread").unwrap_err().contains("`core`"));
        assert!(
            of("--map-by", "socket:PE=2")
                .unwrap_err()
                .contains("--cpus-per-rank")
        );
    }

    #[test]
    fn no_name_stands_twice_or_is_ours() {
        use clap::CommandFactory;
        let mut ours = crate::plan::cli::Segment::command();
        ours.build();
        let mut names = BTreeSet::new();
        for name in TABLE.iter().flat_map(|entry| entry.names) {
            assert!(names.insert(name), "{name}");
            let is_ours = |option: &clap::Arg| {
                option
                    .get_long()
                    .is_some_and(|long| *name == format!("--{long}"))
                    || option
                        .get_short()
                        .is_some_and(|short| *name == format!("-{short}"))
            };
            assert!(!ours.get_arguments().any(is_ours), "{name}");
        }
        // What stands for them is there.
        for entry in TABLE {
            if let Meaning::Same(ours_is) = entry.meaning {
                let is_it = |option: &clap::Arg| option.get_long() == ours_is.strip_prefix("--");
                assert!(ours.get_arguments().any(is_it), "{ours_is}");
            }
        }
    }

    /// The rows of the book's tables.
    fn page() -> String {
        let code = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let row = |names: String, here: String| format!("| {names} | {here} |\n");
        let options = TABLE.iter().map(|entry| {
            let here = match entry.meaning {
                Meaning::Same(ours) => format!("`{ours}`"),
                Meaning::Setting => "`--env NAME=VALUE`".to_owned(),
                Meaning::Always => "nothing to do".to_owned(),
                Meaning::Ignored(why) => format!("ignored: {why}"),
                Meaning::Only(values, answer) => {
                    let values: Vec<&str> = values
                        .iter()
                        .copied()
                        .filter(|one| !one.is_empty())
                        .collect();
                    format!("only {}: {answer}", code(&values))
                }
                Meaning::Refused(answer) => format!("refused: {answer}"),
            };
            row(code(entry.names), here)
        });
        let values = VALUES.iter().map(|(option, theirs, here)| {
            let here = match here {
                Value::Is(ours) => format!("`{ours}`"),
                Value::Refused(answer) => format!("refused: {answer}"),
            };
            let more = if theirs.ends_with(':') { "…" } else { "" };
            row(format!("`{option} {theirs}{more}`"), here)
        });
        let head = |first: &str| format!("| {first} | here |\n|---|---|\n");
        let options: String = options.collect();
        let values: String = values.collect();
        format!("{}{options}\n{}{values}", head("option"), head("value"))
    }

    #[test]
    fn the_book_has_this_table() {
        let page = page();
        let path = "../specs/src/reference/other-launchers.md";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let book = std::fs::read_to_string(path).unwrap();
        assert!(book.ends_with(&page), "the page ends with:\n{page}");
    }
}
