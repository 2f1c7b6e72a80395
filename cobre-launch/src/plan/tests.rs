use super::Plan;
use crate::error::LaunchError;
use crate::plan::cli::{self, Parsed};
use crate::plan::draft::Draft;
use std::ffi::{OsStr, OsString};

fn draft(line: &str, cores: usize) -> Result<Draft, LaunchError> {
    let words = std::iter::once("cobre-launch").chain(line.split_whitespace());
    let Ok(Parsed::Run(segments, _)) = cli::parse(words.map(OsString::from)) else {
        panic!("{line}");
    };
    Draft::new(segments, cores)
}

fn plan(line: &str, env: &[(&str, &str)], cores: usize) -> Result<Plan, LaunchError> {
    let env = |name: &OsStr| {
        let found = env.iter().find(|(key, _)| name == *key);
        found.map(|(_, value)| OsString::from(value))
    };
    Plan::new(draft(line, cores)?, &env)
}

fn threads(plan: &Plan, name: &str) -> Vec<usize> {
    let of_rank = |rank: &super::Rank| {
        let found = rank.threads.iter().find(|(key, _)| *key == name);
        found.map_or(0, |(_, share)| *share)
    };
    plan.ranks.iter().map(of_rank).collect()
}

#[test]
fn ranks_are_numbered_through_all_programs() {
    let plan = plan("-n 1 /bin/true x : -n 2 /bin/false", &[], 8).unwrap();
    assert_eq!(plan.ranks.len(), 3);
    let names: Vec<_> = (0..3).map(|rank| plan.program(rank).name.clone()).collect();
    assert_eq!(names, ["/bin/true", "/bin/false", "/bin/false"]);
    assert_eq!(plan.program(0).args, ["x"]);
}

#[test]
fn one_program_defaults_to_the_usable_cores() {
    assert_eq!(plan("true", &[], 3).unwrap().ranks.len(), 3);
}

#[test]
fn threads_are_the_share_of_the_cores_and_at_least_one() {
    let shares = |line: &str, cores| threads(&plan(line, &[], cores).unwrap(), "RAYON_NUM_THREADS");
    assert_eq!(shares("-n 3 true", 8), [3, 3, 2]);
    assert_eq!(shares("-n 4 true", 2), [1, 1, 1, 1]);
    assert_eq!(shares("-n 2 --no-thread-env true", 8), [0, 0]);
}

#[test]
fn thread_variables_that_the_user_set_stay() {
    let plan = plan(
        "-n 1 --env RAYON_NUM_THREADS=7 true",
        &[("OMP_NUM_THREADS", "5")],
        8,
    );
    assert_eq!(plan.unwrap().ranks[0].threads, []);
}

#[test]
fn settings_are_checked() {
    let get = |line: &str| plan(line, &[("SET", "here")], 1);
    let env = &get("--env SET --env A= --env B=x=y true").unwrap().programs[0].env;
    let value = |name: &str| env[OsStr::new(name)].clone();
    assert_eq!([value("SET"), value("A"), value("B")], ["here", "", "x=y"]);
    assert_eq!(value("COBRE_COMM_BACKEND"), "shm");
    for (line, expected) in [
        ("--env UNSET true", "--env UNSET=VALUE"),
        ("--env =x true", "expected NAME"),
        ("--env COBRE_SHM_RANK=3 true", "the launcher sets"),
        (
            "--wdir /no/such/folder true",
            "there is no folder `/no/such/folder`",
        ),
        ("-n 5000 true", "at most 1024"),
    ] {
        let error = get(line).unwrap_err();
        assert_eq!(error.exit().code(), 2);
        assert!(error.to_string().contains(expected), "{line}: {error}");
    }
}

#[test]
fn names_in_braces_are_the_launchers_before_the_program_and_the_programs_behind_it() {
    let line = "-n 2 --env A={rank}/{size} --wdir / --report r{size} sh {rank} : -n 1 sh {size}";
    let job = plan(line, &[], 1).unwrap();
    let values: Vec<_> = (0..2)
        .map(|rank| job.program(rank).env[OsStr::new("A")].clone())
        .collect();
    assert_eq!(values, ["0/3", "1/3"]);
    assert_eq!(job.program(1).args, ["{rank}"]);
    let report = |line: &str| {
        draft(line, 1)
            .unwrap()
            .report()
            .map(std::path::Path::to_owned)
    };
    assert_eq!(report(line), Some("r3".into()));
    assert_eq!(report(&format!("--dry-run {line}")), None);
    let job = plan(&format!("--substitute {line}"), &[], 1).unwrap();
    assert_eq!(job.program(1).args, ["1"]);
    assert_eq!(job.program(2).args, ["3"]);
    // Ranks that are alike share a program.
    assert_eq!(job.programs.len(), 3);
    for line in [
        "--report r{rank} true",
        "--trace {rank}.json true",
        "--profile=p{rank} true",
    ] {
        let error = plan(line, &[], 1).unwrap_err();
        assert_eq!(error.exit().code(), 2);
        assert!(
            error.to_string().contains("one file is for all ranks"),
            "{error}"
        );
    }
    let error = plan("-n 2 --wdir /no/{rank} true", &[], 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/no/0"), "{error}");
}

#[test]
fn staging_is_one_for_the_whole_job() {
    let staging = |line: &str| plan(line, &[], 1).map(|plan| plan.staging);
    assert_eq!(staging("-n 1 true").unwrap(), None);
    let one = "-n 1 --env COBRE_SHM_STAGING=1M true : -n 2 true";
    assert_eq!(staging(one).unwrap(), Some("1M".into()));
    let two = "-n 1 --env COBRE_SHM_STAGING=1M true : -n 2 --env COBRE_SHM_STAGING=2M true";
    let error = staging(two).unwrap_err();
    assert_eq!(error.exit().code(), 2);
    assert!(
        error.to_string().contains("`1M` and another has `2M`"),
        "{error}"
    );
}

#[test]
fn the_variables_of_torchrun_are_set_on_request_and_unless_the_user_did() {
    use super::Identity;
    let of = |line: &str| {
        let identity = plan(line, &[("RANK", "7")], 1)
            .unwrap()
            .identity(1, &Identity::example());
        let theirs = identity
            .into_iter()
            .filter(|(name, _)| !name.starts_with("COBRE"));
        theirs
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("-n 2 true"), <[&str; 0]>::default());
    let all = [
        "RANK=1",
        "WORLD_SIZE=2",
        "LOCAL_RANK=1",
        "LOCAL_WORLD_SIZE=2",
    ];
    assert_eq!(of("-n 2 --torch-env true"), all);
    assert_eq!(of("-n 2 --torch-env --env RANK=9 true"), all[1..]);
}
