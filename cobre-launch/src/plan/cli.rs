//! The command line as written: raw arguments, one segment per program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum, ValueHint};
use cobre_shm::duration;
use cobre_shm::observer::LAYOUT_VERSION;

use crate::JobExit;
use crate::plan::about::{self, AboutArgs};
use crate::plan::binding::BindingArgs;
use crate::plan::ranks::{self, Ranks};
use crate::plan::recording::RecordingArgs;
use crate::plan::words::{self, Words};

const EXAMPLES: &str = "\
Examples:
  cobre-launch -n 8 ./solver case/            eight ranks of one program
  cobre-launch ./solver case/                 as many ranks as there are usable cores
  cobre-launch -n 1 ./master : -n 3 ./worker  two programs, one job of four ranks
  cobre-launch -n 4 --label --timeout 10m ./solver case/
  cobre-launch -n 4 --env RUST_LOG=info --output-dir logs ./solver case/
  cobre-launch -n 4 --substitute ./solver --seed {rank}
  cobre-launch -n 4 --dry-run ./solver case/  show what would be started

Everything after PROGRAM belongs to PROGRAM, options too. A `:` alone begins another
program, but not after `--`: `cobre-launch -n 1 -- cut -d : -f 1 FILE`. Ctrl-C reaches every
rank once; a second one kills the job at once.";

const VARIABLES: &str = "\
Variables that ranks read:
  COBRE_SHM_TIMEOUT=90s         fail the job if a collective waits longer for a peer
  COBRE_SHM_ATTACH_TIMEOUT=30s  how long to wait for all ranks to join
  COBRE_SHM_STAGING=4M          shared memory for messages, of the whole job
  COBRE_SHM_WAIT=auto           how to wait for peers: auto, spin, yield or sleep
All of them are in the repository: specs/src/reference/environment.md";

/// Start the ranks of a job on this machine, watch them, and report how the job ended.
///
/// The ranks find each other through shared memory (COBRE_SHM_*), share the terminal's
/// process group, and are gone, with all they started, when the launcher ends.
#[derive(Debug, Parser)]
#[command(
    name = "cobre-launch",
    version = version(),
    override_usage = "cobre-launch [OPTIONS] [--] PROGRAM [ARGS]... [: [OPTIONS] PROGRAM [ARGS]...]...",
    after_help = format!("{EXAMPLES}\n\n{VARIABLES}\n\n{}", JobExit::TABLE),
    max_term_width = 100,
    // As values, to be refused by those who know what they expect.
    allow_negative_numbers = true,
)]
pub(crate) struct Segment {
    #[command(flatten)]
    pub(crate) group: GroupArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    _about: AboutArgs,
    /// The program of every rank, and its arguments.
    #[arg(
        value_name = "PROGRAM",
        value_hint = ValueHint::CommandWithArguments,
        help_heading = "Arguments",
        required = true,
        trailing_var_arg = true
    )]
    pub(crate) command: Vec<OsString>,
}

/// Of this program, and of the control segment: the programs of one job must have the same.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (version, origin) = (env!("CARGO_PKG_VERSION"), env!("BUILT_FROM"));
        format!("{version} ({origin}, layout {LAYOUT_VERSION})")
    });
    &TEXT
}

/// What each program may have for itself.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of each program")]
pub(crate) struct GroupArgs {
    /// How many ranks [default: the usable cores, from affinity and cgroup quota].
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_ranks)]
    pub(crate) ranks: Option<usize>,
    /// Set a variable for the ranks, or insist that NAME is set; repeatable.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<OsString>,
    /// Start the ranks in this folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) wdir: Option<PathBuf>,
}

/// What there is once per job; given before the first program.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of the job, before the first program")]
pub(crate) struct JobArgs {
    /// Put the rank before each line of output.
    #[arg(long)]
    pub(crate) label: bool,
    /// Also write each rank's output to DIR/rank-N.stdout and DIR/rank-N.stderr.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output_dir: Option<PathBuf>,
    /// Give each rank terminals to write to, so that C and Python programs write line by line, as
    /// they do by hand.
    #[arg(long)]
    pub(crate) pty: bool,
    /// Who reads the launcher's standard input: rank 0 (the very same, terminal or not), all
    /// ranks (a copy each), or none.
    #[arg(long, value_name = "WHO", value_enum, default_value_t = StdinMode::Zero)]
    pub(crate) stdin: StdinMode,
    /// End the job after this time: SIGTERM, then SIGKILL after the grace. Time for which the whole
    /// job is stopped or frozen does not count, here and in all other limits.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(crate) timeout: Option<Duration>,
    /// End the job when nobody has completed a collective for this time although somebody waits in
    /// one, and tell who is where; SIGQUIT to the launcher tells the same at any time.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(crate) hang_after: Option<Duration>,
    /// With gdb, show the stacks of all ranks when --hang-after or --timeout ends the job, and on
    /// SIGQUIT.
    #[arg(long)]
    pub(crate) stacks: bool,
    /// Start these ranks (0,2-3; all, if there is no list) under gdb or lldb, each in a pane of
    /// tmux. A failure ends no other rank then.
    #[arg(
        long,
        value_name = "RANKS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = ranks::parse,
        conflicts_with_all = ["timeout", "hang_after", "max_restarts"]
    )]
    pub(crate) debug: Option<Ranks>,
    /// Let the other ranks run on when one fails, and exit with the highest of their codes: for
    /// ranks that work without each other. A collective that needs a rank that is gone fails all
    /// the same.
    #[arg(long, conflicts_with = "max_restarts")]
    pub(crate) keep_going: bool,
    /// Start the whole job again after a failure, at most N times; ranks find the number of the
    /// attempt, from 0, in COBRE_LAUNCH_ATTEMPT.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) max_restarts: u32,
    /// Write how the job ended to FILE, as JSON: what the last words say, and more.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Show how far the ranks are, as they say themselves (`status().progress(done, total)`): one
    /// line that is drawn again and again on a terminal, a line for each tenth elsewhere, on
    /// standard error.
    #[arg(long)]
    pub(crate) progress: bool,
    /// How long ranks may clean up after a failure or a timeout before SIGKILL: 500ms, 2s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "2s")]
    pub(crate) kill_grace: Duration,
    /// Replace {rank} and {size} in the program's name and arguments by the numbers; {{rank}} stays
    /// as {rank}. In --env, --wdir and --output-dir they are replaced in any case.
    #[arg(long)]
    pub(crate) substitute: bool,
    /// Also set RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, as torchrun does.
    #[arg(long)]
    pub(crate) torch_env: bool,
    /// Leave RAYON_NUM_THREADS and OMP_NUM_THREADS alone (otherwise, unless set: the rank's
    /// share of the usable cores).
    #[arg(long)]
    pub(crate) no_thread_env: bool,
    /// What separates programs: this word instead of `:`, also after `--`.
    #[arg(long, value_name = "WORD")]
    pub(crate) separator: Option<OsString>,
    /// Show ranks, environment and commands; start and create nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Tell what happens to each rank.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    // Last: what follows them in the help would stand below their headings.
    #[command(flatten)]
    pub(crate) binding: BindingArgs,
    #[command(flatten)]
    pub(crate) recording: RecordingArgs,
}

/// Who reads the launcher's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StdinMode {
    /// Rank 0 has the launcher's own standard input.
    #[value(name = "0")]
    Zero,
    /// Every rank gets a copy of it.
    All,
    /// Nobody.
    None,
}

fn parse_ranks(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a job has at least 1 rank".to_owned()),
        Ok(ranks) => Ok(ranks),
        Err(_) => Err("expected a number of ranks, such as 4".to_owned()),
    }
}

/// What the command line asks for.
pub(crate) enum Parsed {
    /// A job, from one segment per program; and what the user is told before it starts.
    Run(Vec<Segment>, Vec<String>),
    /// The answer to `--help` or `--version`, which clap calls an error.
    Answer(clap::Error),
    /// A text instead of a job.
    Text(Vec<u8>),
}

/// Reads the command line, the launcher's own name first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    let line = words::read(&args, Segment::command()).map_err(usage_error)?;
    check_all_there(&line.programs)?;
    let mut segments = Vec::new();
    for (index, program) in line.programs.iter().enumerate() {
        // The first one may be half of a program too.
        let separated = line.programs[index.max(1).min(line.programs.len() - 1)]
            .separated
            .as_deref();
        match parse_segment(&program.words, index, separated) {
            Ok(Wanted::Program(segment)) => segments.push(*segment),
            Ok(Wanted::Text(text)) => return Ok(Parsed::Text(text)),
            Err(error) if error.exit_code() == 0 => return Ok(Parsed::Answer(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(Parsed::Run(segments, line.notes))
}

fn check_all_there(programs: &[Words]) -> Result<(), clap::Error> {
    let last = programs.len() - 1;
    match programs.iter().position(|program| program.words.is_empty()) {
        Some(index) if last > 0 => {
            let side = match index {
                0 => "before the first",
                _ if index == last => "after the last",
                _ => "between two",
            };
            Err(usage_error(format!(
                "there is no program {side} `:` (a `:` alone separates the programs of a job)"
            )))
        }
        _ => Ok(()),
    }
}

/// What the words for one program ask for.
enum Wanted {
    Program(Box<Segment>),
    Text(Vec<u8>),
}

/// `separated` says what separates the programs, if there are several.
fn parse_segment(
    words: &[OsString],
    index: usize,
    separated: Option<&str>,
) -> Result<Wanted, clap::Error> {
    let name = OsString::from("cobre-launch");
    let refuse = |message| Err(usage_error(words::with_hint(message, separated)));
    let words = std::iter::once(&name).chain(words);
    let matches = match Segment::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if index > 0 && error.exit_code() != 0 => return refuse(message(&error)),
        Err(mut error) => {
            // It would make a program of a mistaken option.
            error.remove(ContextKind::Suggested);
            return Err(error);
        }
    };
    if let Some(text) = about::text(&matches, Segment::command()) {
        return Ok(Wanted::Text(text));
    }
    if index > 0 {
        for id in JobArgs::augment_args(clap::Command::new(""))
            .get_arguments()
            .map(clap::Arg::get_id)
        {
            if matches.value_source(id.as_str()) == Some(ValueSource::CommandLine) {
                return refuse(format!(
                    "--{} is for the whole job: give it before the first program",
                    id.as_str().replace('_', "-")
                ));
            }
        }
    }
    let segment = Segment::from_arg_matches(&matches)?;
    if separated.is_some() && segment.group.ranks.is_none() {
        return refuse(format!(
            "a job of several programs needs `-n` for each: how many ranks are `{}`?",
            segment.command[0].display()
        ));
    }
    Ok(Wanted::Program(Box::new(segment)))
}

/// What clap says is wrong, without its own heading and how to use the program.
fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\n").next().unwrap_or(text).to_owned()
}

/// A time after which a job is ended.
fn limit(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("a limit of no time would end every job".to_owned()),
        limit => Ok(limit),
    }
}

/// An error of ours, printed as clap prints its own.
pub(crate) fn usage_error(message: impl std::fmt::Display) -> clap::Error {
    Segment::command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Segment, StdinMode, parse};
    use clap::CommandFactory;
    use std::ffi::OsString;

    fn segments(line: &str) -> Vec<Segment> {
        match parse(words(line)) {
            Ok(Parsed::Run(segments, _)) => segments,
            Ok(_) => panic!("answered: {line}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn error(line: &str) -> String {
        match parse(words(line)) {
            Ok(_) => panic!("accepted: {line}"),
            Err(error) => error.to_string(),
        }
    }

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        std::iter::once("cobre-launch")
            .chain(line.split_whitespace())
            .map(OsString::from)
    }

    #[test]
    fn the_help_names_what_ranks_read_and_where_the_rest_is() {
        let help = Segment::command().render_long_help().to_string();
        for part in [
            "COBRE_SHM_TIMEOUT=90s",
            "specs/src/reference/environment.md",
        ] {
            assert!(help.contains(part), "{help}");
        }
    }

    #[test]
    fn everything_after_the_program_is_its_own() {
        for line in ["-n 2 prog -n 4 --label", "-n 2 -- prog -n 4 --label"] {
            let segment = &segments(line)[0];
            assert_eq!(segment.group.ranks, Some(2));
            assert!(!segment.job.label);
            assert_eq!(segment.command, ["prog", "-n", "4", "--label"]);
        }
    }

    #[test]
    fn a_colon_separates_programs_with_options_of_their_own() {
        let segments = segments("--stdin none -n 1 --env A=1 a x : -n 3 --wdir / b");
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].job.stdin, StdinMode::None);
        assert_eq!(segments[0].command, ["a", "x"]);
        assert_eq!(segments[0].group.env, ["A=1"]);
        assert_eq!(segments[1].group.ranks, Some(3));
        assert_eq!(segments[1].command, ["b"]);
    }

    #[test]
    fn behind_two_dashes_everything_is_the_programs() {
        for (line, command) in [
            ("-n 1 -- cut -d : -f 1", vec!["cut", "-d", ":", "-f", "1"]),
            ("-n 1 -- a : -n 2 b", vec!["a", ":", "-n", "2", "b"]),
            (
                "--separator + -n 1 cut -d : -f 1",
                vec!["cut", "-d", ":", "-f", "1"],
            ),
        ] {
            let segments = segments(line);
            assert_eq!(segments.len(), 1, "{line}");
            assert_eq!(segments[0].command, command, "{line}");
        }
        // Only what was asked for separates there.
        for line in [
            "-n 1 --separator : -- a x : -n 2 -- b : -n 3 c",
            "--separator=++ -n 1 -- a x ++ -n 2 b ++ -n 3 c",
        ] {
            let segments = segments(line);
            let names: Vec<_> = segments.iter().map(|one| &one.command[0]).collect();
            assert_eq!(names, ["a", "b", "c"], "{line}");
        }
        let segments = segments("-n 1 a : -n 2 -- b -d : c");
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1].command, ["b", "-d", ":", "c"]);
    }

    #[test]
    fn a_colon_that_may_be_an_arguments_value_never_starts_another_job_silently() {
        for line in [
            "-n 1 awk -F : {print} f",
            "awk -F : {print} f",
            "-n 1 awk -F : -f 1 file",
            "-n 1 awk : --label x",
            "-n 1 awk -F : --hostfile x",
        ] {
            let error = error(line);
            assert!(error.contains("put `--` before `awk`"), "{line}: {error}");
        }
        let notes = |line| match parse(words(line)) {
            Ok(Parsed::Run(segments, notes)) => (segments.len(), notes),
            _ => panic!("{line}"),
        };
        let (programs, said) = notes("-n 1 ./a -n : -n 2 echo");
        assert_eq!(programs, 2);
        assert!(
            said[0].contains("the `:` after `-n` begins another program"),
            "{said:?}"
        );
        for line in [
            "-n 1 ./a x : -n 2 echo",
            "--separator : -n 1 ./a -n : -n 2 echo",
            "-n 1 -- ./a -n : -n 2 echo",
        ] {
            assert_eq!(notes(line).1, <[&str; 0]>::default(), "{line}");
        }
    }

    #[test]
    fn options_of_other_launchers_are_read_before_the_program_only() {
        let segment =
            &segments("-np 4 -x A=1 -genv B 2 -l --oversubscribe --bind-to socket a -np 2")[0];
        assert_eq!(segment.group.ranks, Some(4));
        assert_eq!(segment.group.env, ["A=1", "B=2"]);
        assert!(segment.job.label);
        assert_eq!(segment.command, ["a", "-np", "2"]);
        let segment = &segments("-v --nproc_per_node=3 --map-by=slot --timeout 1 a")[0];
        assert_eq!(segment.group.ranks, Some(3));
    }

    #[test]
    fn the_file_of_a_profile_is_told_from_the_program() {
        for (line, file, command) in [
            ("--profile prog", "-", vec!["prog"]),
            (
                "--profile prog --profile x.json",
                "-",
                vec!["prog", "--profile", "x.json"],
            ),
            (
                "--profile x.json -n 2 prog y.json",
                "x.json",
                vec!["prog", "y.json"],
            ),
            ("--profile=x -n 2 prog", "x", vec!["prog"]),
            ("--profile -- x.json", "-", vec!["x.json"]),
        ] {
            let segment = &segments(line)[0];
            let profile = segment.job.recording.profile.as_deref();
            assert_eq!(profile, Some(std::path::Path::new(file)), "{line}");
            assert_eq!(segment.command, command, "{line}");
        }
        assert!(segments("prog")[0].job.recording.profile.is_none());
        assert!(error("--profile x.json").contains("required"));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("-n 0 a", "a job has at least 1 rank"),
            ("-n abc a", "expected a number of ranks"),
            ("-n -1 a", "expected a number of ranks"),
            ("-n 2", "required"),
            ("", "required"),
            ("--frobnicate a", "unexpected argument '--frobnicate'"),
            ("--bindto core a", "a similar argument exists: '--bind-to'"),
            ("--bind-to coer a", "a similar value exists: 'core'"),
            (
                "--hostfile hosts a",
                "--hostfile: all ranks run on this machine",
            ),
            ("-np", "a value is required for '--ranks <N>'"),
            ("-np x a", "expected a number of ranks"),
            ("a : -n 1 b", "how many ranks are `a`"),
            ("--stdin 1 a", "[possible values: 0, all, none]"),
            ("--timeout 5x a", "such as 500ms"),
            ("--timeout -1 a", "such as 500ms"),
            ("--timeout 0 a", "a limit of no time"),
            ("--hang-after 0ms a", "a limit of no time"),
            (": a", "no program before the first `:`"),
            ("a :", "no program after the last `:`"),
            ("a : : b", "no program between two `:`"),
            ("-n 1 a : -n 2", "required"),
            ("-n 1 a : --label b", "--label is for the whole job"),
            (
                "-n 1 a : --kill-grace 1s b",
                "--kill-grace is for the whole job",
            ),
        ] {
            let error = error(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_mistaken_option_is_not_offered_as_a_program() {
        assert!(
            !error("--frobnicate a").contains("tip"),
            "{}",
            error("--frobnicate a")
        );
    }

    proptest::proptest! {
        /// Any words: a job, or a message that says what is wrong.
        #[test]
        fn any_command_line_is_read(line in proptest::collection::vec(word(), 0..12)) {
            let line = std::iter::once(OsString::from("cobre-launch")).chain(line);
            match parse(line) {
                Ok(Parsed::Run(segments, _)) => assert!(!segments.is_empty()),
                Ok(_) => {}
                Err(error) => assert!(error.to_string().contains("error: "), "{error}"),
            }
        }
    }

    /// Options with and without what they need, programs, and any bytes. Not `--help`, which
    /// prints.
    fn word() -> impl proptest::strategy::Strategy<Value = OsString> {
        use proptest::prelude::*;
        use std::os::unix::ffi::OsStringExt;
        let known = [
            "-n",
            "-n4",
            "--ranks",
            "0",
            "1",
            "-1",
            "1e9",
            "18446744073709551616",
            ":",
            "--",
            "-",
            "program",
            "--timeout",
            "--timeout=5s",
            "--kill-grace",
            "1.5m",
            "NaN",
            "--env",
            "A=1",
            "=",
            "COBRE_SHM_RANK=1",
            "--stdin",
            "all",
            "--output",
            "--label",
            "-v",
            "-vv",
            "--",
            "--bind-to",
            "core",
            "--map-by",
            "--cpus-per-rank",
            "--dry-run",
            "--mca",
            "--separator",
            "-x",
            "",
        ];
        prop_oneof![
            6 => prop::sample::select(known.to_vec()).prop_map(OsString::from),
            1 => prop::collection::vec(1..=255_u8, 0..8)
                .prop_filter("help and version are printed", |bytes| bytes.first() != Some(&b'-'))
                .prop_map(OsString::from_vec),
        ]
    }
}
