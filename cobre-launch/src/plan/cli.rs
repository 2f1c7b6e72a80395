//! The command line as written: raw arguments, one segment per program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use cobre_shm::duration;

use crate::JobExit;
use crate::plan::binding::BindingArgs;
use crate::plan::recording::RecordingArgs;

const EXAMPLES: &str = "\
Examples:
  cobre-launch -n 8 ./solver case/            eight ranks of one program
  cobre-launch ./solver case/                 as many ranks as there are usable cores
  cobre-launch -n 1 ./master : -n 3 ./worker  two programs, one job of four ranks
  cobre-launch -n 4 --label --timeout 10m ./solver case/
  cobre-launch -n 4 --env RUST_LOG=info --output-dir logs ./solver case/
  cobre-launch -n 4 --dry-run ./solver case/  show what would be started

Everything after PROGRAM belongs to PROGRAM, options too. A `:` alone separates
programs. Ctrl-C reaches every rank once; a second one kills the job at once.";

/// Start the ranks of a job on this machine, watch them, and report how the job ended.
///
/// The ranks find each other through shared memory (COBRE_SHM_*), share the terminal's
/// process group, and are gone, with all they started, when the launcher ends.
#[derive(Debug, Parser)]
#[command(
    name = "cobre-launch",
    version,
    override_usage = "cobre-launch [OPTIONS] [--] PROGRAM [ARGS]... [: [OPTIONS] PROGRAM [ARGS]...]...",
    after_help = format!("{EXAMPLES}\n\n{}", JobExit::TABLE),
    max_term_width = 100,
    // As values, to be refused by those who know what they expect.
    allow_negative_numbers = true,
)]
pub(crate) struct Segment {
    #[command(flatten)]
    pub(crate) group: GroupArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// The program of every rank, and its arguments.
    #[arg(
        value_name = "PROGRAM",
        help_heading = "Arguments",
        required = true,
        trailing_var_arg = true
    )]
    pub(crate) command: Vec<OsString>,
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
    #[arg(long, value_name = "DIR")]
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
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Who reads the launcher's standard input: rank 0 (the very same, terminal or not), all
    /// ranks (a copy each), or none.
    #[arg(long, value_name = "WHO", value_enum, default_value_t = StdinMode::Zero)]
    pub(crate) stdin: StdinMode,
    /// End the job after this time: SIGTERM, then SIGKILL after the grace.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(crate) timeout: Option<Duration>,
    /// End the job when nobody has completed a collective for this time although somebody waits in
    /// one, and tell who is where; SIGQUIT tells the same at any time.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(crate) hang_after: Option<Duration>,
    /// Start the whole job again after a failure, at most N times; ranks find the number of the
    /// attempt, from 0, in COBRE_LAUNCH_ATTEMPT.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) max_restarts: u32,
    /// Write how the job ended to FILE, as JSON: what the last words say, and more.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Show how far the ranks are, as they say themselves (`status().progress(done, total)`): one line
    /// that is drawn again and again on a terminal, a line for each tenth elsewhere, on standard error.
    #[arg(long)]
    pub(crate) progress: bool,
    /// What ranks get to clean up after a failure or a timeout before SIGKILL: 500ms, 2s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "2s")]
    pub(crate) kill_grace: Duration,
    /// Leave RAYON_NUM_THREADS and OMP_NUM_THREADS alone (otherwise, unless set: the rank's
    /// share of the usable cores).
    #[arg(long)]
    pub(crate) no_thread_env: bool,
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
    /// A job, from one segment per program.
    Run(Vec<Segment>),
    /// `--help` or `--version`, which has been shown.
    Answered,
}

/// Reads the command line, the launcher's own name first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    let mut segments = Vec::new();
    let programs: Vec<&[OsString]> = args.split(|arg| arg == ":").collect();
    for (index, words) in programs.iter().enumerate() {
        if words.is_empty() && programs.len() > 1 {
            let side = match index {
                0 => "before the first",
                _ if index + 1 == programs.len() => "after the last",
                _ => "between two",
            };
            return Err(usage_error(format!(
                "there is no program {side} `:` (a `:` alone separates the programs of a job)"
            )));
        }
        match parse_segment(words, index) {
            Ok(segment) => segments.push(segment),
            Err(error) if error.exit_code() == 0 => {
                // A closed standard output is no reason to fail: nothing else is to be said.
                let _ = error.print();
                return Ok(Parsed::Answered);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Parsed::Run(segments))
}

fn parse_segment(words: &[OsString], index: usize) -> Result<Segment, clap::Error> {
    let name = OsString::from("cobre-launch");
    let matches = Segment::command().try_get_matches_from(std::iter::once(&name).chain(words))?;
    if index > 0 {
        for id in JobArgs::augment_args(clap::Command::new(""))
            .get_arguments()
            .map(clap::Arg::get_id)
        {
            if matches.value_source(id.as_str()) == Some(ValueSource::CommandLine) {
                return Err(usage_error(format!(
                    "--{} is for the whole job: give it before the first program",
                    id.as_str().replace('_', "-")
                )));
            }
        }
    }
    let segment = Segment::from_arg_matches(&matches)?;
    match with_profile_file(words, segment.command.len()) {
        Some(words) => parse_segment(&words, index),
        None => Ok(segment),
    }
}

/// `--profile FILE.json` means `--profile=FILE.json`; any other word after it is the program, which
/// with its arguments has the last `program` words.
fn with_profile_file(words: &[OsString], program: usize) -> Option<Vec<OsString>> {
    let (options, program) = words.split_at(words.len().checked_sub(program)?);
    let (option, before) = options.split_last()?;
    let (file, after) = program.split_first()?;
    let is_file = option == "--profile" && file.as_encoded_bytes().ends_with(b".json");
    is_file.then(|| {
        let mut joined = option.clone();
        joined.push("=");
        joined.push(file);
        [before, &[joined], after].concat()
    })
}

/// A time after which a job is ended.
fn limit(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("a limit of no time would end every job".to_owned()),
        limit => Ok(limit),
    }
}

/// An error of ours in the dress of clap's.
pub(crate) fn usage_error(message: impl std::fmt::Display) -> clap::Error {
    Segment::command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Segment, StdinMode, parse};
    use std::ffi::OsString;

    fn segments(line: &str) -> Vec<Segment> {
        match parse(words(line)) {
            Ok(Parsed::Run(segments)) => segments,
            Ok(Parsed::Answered) => panic!("answered: {line}"),
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
            ("--stdin 1 a", "[possible values: 0, all, none]"),
            ("--timeout 5x a", "such as 500ms"),
            ("--timeout -1 a", "such as 500ms"),
            ("--timeout 0 a", "a limit of no time"),
            ("--hang-after 0ms a", "a limit of no time"),
            (": a", "no program before the first `:`"),
            ("a :", "no program after the last `:`"),
            ("a : : b", "no program between two `:`"),
            ("a : -n 2", "required"),
            ("a : --label b", "--label is for the whole job"),
            ("a : --kill-grace 1s b", "--kill-grace is for the whole job"),
        ] {
            let error = error(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    proptest::proptest! {
        /// Any words: a job, or a message that says what is wrong.
        #[test]
        fn any_command_line_is_read(line in proptest::collection::vec(word(), 0..12)) {
            let line = std::iter::once(OsString::from("cobre-launch")).chain(line);
            match parse(line) {
                Ok(Parsed::Run(segments)) => assert!(!segments.is_empty()),
                Ok(Parsed::Answered) => {}
                Err(error) => assert!(error.to_string().contains("error: "), "{error}"),
            }
        }
    }

    /// Options with and without what they need, programs, and any bytes. Not `--help`, which prints.
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
