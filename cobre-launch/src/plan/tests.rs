use super::Plan;
use crate::error::LaunchError;
use crate::plan::cli::{self, Parsed};
use std::ffi::{OsStr, OsString};

fn plan(line: &str, env: &[(&str, &str)], cores: usize) -> Result<Plan, LaunchError> {
    let words = std::iter::once("cobre-launch").chain(line.split_whitespace());
    let Ok(Parsed::Run(segments, _)) = cli::parse(words.map(OsString::from)) else {
        panic!("{line}");
    };
    let env = |name: &OsStr| {
        let found = env.iter().find(|(key, _)| name == *key);
        found.map(|(_, value)| OsString::from(value))
    };
    Plan::new(segments, &env, cores)
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
