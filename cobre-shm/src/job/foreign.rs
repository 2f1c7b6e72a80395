//! Ranks that another launcher has started: `mpirun`, `srun` and their kind.
//!
//! Their variables say the rank and the size. The job's name is made from what is the same for all
//! ranks of one launch and for no other: the launch's own identity where it has one, otherwise the
//! process that started it.

use core::ops::RangeInclusive;

use crate::{
    job::{error::InitError, names},
    memory::layout::MAX_RANKS,
    sys::{ancestry, process},
};

/// Who a process is in a launch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) rank: usize,
    pub(super) size: usize,
}

/// What one kind of launcher says in which variables.
struct Launcher {
    /// What users call it.
    name: &'static str,
    /// What only its ranks have, besides rank and size. Slurm sets a rank for batch scripts, too.
    mark: &'static str,
    rank: &'static str,
    size: &'static str,
    /// How many ranks are on this node, or how many nodes there are.
    spread: Spread,
    /// What together names the launch; nothing if that is the process that started it.
    identity: &'static [&'static str],
}

enum Spread {
    RanksHere(&'static str),
    Nodes(&'static str),
}

/// The innermost first: who starts ranks inside an allocation of Slurm's leaves its variables there.
const LAUNCHERS: [Launcher; 5] = [
    Launcher {
        name: "Open MPI's mpirun",
        mark: "OMPI_COMM_WORLD_LOCAL_SIZE",
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        spread: Spread::RanksHere("OMPI_COMM_WORLD_LOCAL_SIZE"),
        // The address of its server tells apart two launches whose 16-bit hashes are the same.
        identity: &["PMIX_NAMESPACE", "PMIX_SERVER_URI2"],
    },
    Launcher {
        name: "mpiexec (Hydra)",
        mark: "MPI_LOCALNRANKS",
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        spread: Spread::RanksHere("MPI_LOCALNRANKS"),
        identity: &[],
    },
    Launcher {
        name: "srun",
        mark: STEP,
        rank: "SLURM_PROCID",
        size: "SLURM_STEP_NUM_TASKS",
        spread: Spread::Nodes("SLURM_STEP_NUM_NODES"),
        identity: &["SLURM_JOB_ID", STEP],
    },
    Launcher {
        name: "a PMI launcher",
        mark: "PMI_RANK",
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        spread: Spread::RanksHere("PMI_LOCAL_SIZE"),
        identity: &[],
    },
    Launcher {
        name: "torchrun",
        mark: "TORCHELASTIC_RUN_ID",
        rank: "RANK",
        size: "WORLD_SIZE",
        spread: Spread::RanksHere("LOCAL_WORLD_SIZE"),
        identity: &[],
    },
];

const STEP: &str = "SLURM_STEP_ID";

/// Slurm numbers the batch script, the shell of `salloc` and the like from here on: they are no
/// ranks, although they have variables of ranks.
const FIRST_RESERVED_STEP: u32 = 0xffff_fff0;

/// Who this process is, if another launcher has started it among several ranks.
///
/// # Errors
/// The ranks are on several nodes, or what is said about them contradicts itself or does not
/// suffice.
pub(super) fn member(
    get: &impl Fn(&'static str) -> Option<String>,
) -> Result<Option<Member>, InitError> {
    let Some(launcher) = LAUNCHERS.iter().find(|launcher| launcher.started(get)) else {
        return refuse_without_size(get);
    };
    let size = launcher.number(get, launcher.size, 1..=MAX_RANKS)?;
    let rank = launcher.number(get, launcher.rank, 0..=size - 1)?;
    if size == 1 {
        // Others may run beside it under the same variables, from one script.
        let name = names::random_job_name();
        return Ok(Some(Member { name, rank, size }));
    }
    launcher.refuse_several_nodes(get, size)?;
    let name = names::of_launch(&launcher.identity(get)?);
    Ok(Some(Member { name, rank, size }))
}

impl Launcher {
    fn started(&self, get: &impl Fn(&'static str) -> Option<String>) -> bool {
        let all = [self.mark, self.rank, self.size];
        all.iter().all(|variable| get(variable).is_some())
            && (self.mark != STEP || is_task_of_a_step(get))
    }

    fn number(
        &self,
        get: &impl Fn(&'static str) -> Option<String>,
        variable: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<usize, InitError> {
        let value = get(variable).unwrap_or_default();
        let number = value.parse().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| InitError::InvalidVariable {
                variable,
                value,
                expected: format!(
                    "a number from {} to {} of {}, which started this process",
                    range.start(),
                    range.end(),
                    self.name
                ),
            })
    }

    fn refuse_several_nodes(
        &self,
        get: &impl Fn(&'static str) -> Option<String>,
        size: usize,
    ) -> Result<(), InitError> {
        let (variable, one) = match self.spread {
            Spread::RanksHere(variable) => (variable, size),
            Spread::Nodes(variable) => (variable, 1),
        };
        // Who does not say is believed to have one node: otherwise the ranks miss each other, and
        // the error says so.
        if get(variable).is_none() || self.number(get, variable, 1..=usize::MAX)? == one {
            return Ok(());
        }
        let value = get(variable).unwrap_or_default();
        Err(InitError::UnsupportedLaunch {
            launcher: self.name,
            problem: format!(
                "has spread its {size} ranks over several nodes ({variable}={value}), but a job \
                 of cobre runs on one: start all ranks there"
            ),
        })
    }

    fn identity(&self, get: &impl Fn(&'static str) -> Option<String>) -> Result<String, InitError> {
        let parts = self.identity.iter().filter_map(|variable| get(variable));
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            return Ok(format!("{} {}", self.name, parts.join(" ")));
        }
        // By what it gives to its ranks alone: a pod may have a rank before torchrun has started.
        let starter = ancestry::starter(self.mark).ok_or_else(|| InitError::UnsupportedLaunch {
            launcher: self.name,
            problem: "does not say which launch this process belongs to, and /proc does not \
                      show the process that started it"
                .to_owned(),
        })?;
        let namespace = process::pid_namespace();
        Ok(format!("{} {namespace} {starter}", self.name))
    }
}

/// Whether `srun` itself started this process: not a batch script, and not another launcher whose
/// daemons `srun` started.
fn is_task_of_a_step(get: &impl Fn(&'static str) -> Option<String>) -> bool {
    let step = get(STEP).and_then(|step| step.parse::<u32>().ok());
    let others = get("PMIX_NAMESPACE").is_some_and(|launch| !launch.starts_with("slurm"));
    step.is_some_and(|step| step < FIRST_RESERVED_STEP) && !others
}

/// PMIx has no variable for the size.
fn refuse_without_size(
    get: &impl Fn(&'static str) -> Option<String>,
) -> Result<Option<Member>, InitError> {
    match get("PMIX_RANK") {
        None => Ok(None),
        Some(rank) => Err(InitError::UnsupportedLaunch {
            launcher: "a PMIx launcher",
            problem: format!(
                "has started this process as rank {rank}, but does not say of how many"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Member, member};

    fn told(variables: &[(&str, &str)]) -> Result<Option<Member>, String> {
        let get = |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        member(&get).map_err(|error| error.to_string())
    }

    fn open_mpi<'a>(rank: &'a str, launch: &'a str) -> Vec<(&'static str, &'a str)> {
        vec![
            ("OMPI_COMM_WORLD_RANK", rank),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("PMIX_RANK", rank),
            ("PMIX_NAMESPACE", launch),
        ]
    }

    fn step(tasks: &'static str, nodes: &'static str) -> Vec<(&'static str, &'static str)> {
        vec![
            ("SLURM_JOB_ID", "77"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", tasks),
            ("SLURM_STEP_NUM_TASKS", tasks),
            ("SLURM_STEP_NUM_NODES", nodes),
        ]
    }

    fn hydra(here: &'static str) -> Vec<(&'static str, &'static str)> {
        vec![
            ("PMI_RANK", "1"),
            ("PMI_SIZE", "3"),
            ("PMI_FD", "8"),
            ("MPI_LOCALNRANKS", here),
        ]
    }

    #[test]
    fn ranks_of_one_launch_get_one_name_and_those_of_another_a_different_one() {
        let one = |variables: &[_]| told(variables).unwrap().unwrap();
        let (first, second) = (
            one(&open_mpi("0", "prterun-a-1@1")),
            one(&open_mpi("1", "prterun-a-1@1")),
        );
        assert_eq!((first.rank, first.size), (0, 2));
        assert_eq!((second.rank, second.size), (1, 2));
        assert_eq!(first.name, second.name);
        assert!(crate::job::names::is_random(&first.name));
        let names = [
            first.name,
            one(&open_mpi("0", "prterun-a-2@1")).name,
            one(&step("2", "1")).name,
            one(&hydra("3")).name,
        ];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        // Asked again, in the same launch.
        assert_eq!(one(&hydra("3")).name, names[3]);
    }

    #[test]
    fn who_is_no_rank_among_several_is_not_told_so() {
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(told(&[("PMI_RANK", "0")]), Ok(None));
        // In a batch script, and in an older one that gives it a step.
        let mut script = step("4", "1");
        script.remove(1);
        assert_eq!(told(&script), Ok(None));
        script.push(("SLURM_STEP_ID", "4294967291"));
        assert_eq!(told(&script), Ok(None));
        script.pop();
        script.push(("SLURM_STEP_ID", "batch"));
        assert_eq!(told(&script), Ok(None));
        // Jobs of one do not meet, even if a script starts two at once.
        let alone = || {
            let mut alone = step("1", "1");
            alone[2] = ("SLURM_PROCID", "0");
            told(&alone).unwrap().unwrap()
        };
        assert_eq!((alone().rank, alone().size), (0, 1));
        assert_ne!(alone().name, alone().name);
    }

    #[test]
    fn the_innermost_launcher_counts() {
        let mut inside = step("1", "1");
        inside.extend(open_mpi("1", "872677377"));
        let member = told(&inside).unwrap().unwrap();
        assert_eq!((member.rank, member.size), (1, 2));
        let mut inside = step("1", "1");
        inside.extend(hydra("3"));
        assert_eq!(told(&inside).unwrap().unwrap().size, 3);
        // PMI from Slurm itself.
        let mut inside = step("2", "1");
        inside.extend([
            ("PMI_RANK", "1"),
            ("PMI_SIZE", "2"),
            ("PMIX_NAMESPACE", "slurm.pmix.77.0"),
        ]);
        assert_eq!(
            told(&inside).unwrap().unwrap().name,
            told(&step("2", "1")).unwrap().unwrap().name
        );
    }

    #[test]
    fn several_nodes_are_refused_with_what_to_do() {
        let mut spread = open_mpi("0", "a");
        spread[2].1 = "1";
        let prterun = vec![("PMIX_RANK", "1"), ("PMIX_NAMESPACE", "prterun-a-1@1")];
        let mut inside = step("1", "1");
        inside.extend(prterun.clone());
        for (variables, says) in [
            (spread, "OMPI_COMM_WORLD_LOCAL_SIZE=1"),
            (hydra("2"), "MPI_LOCALNRANKS=2"),
            (step("4", "2"), "SLURM_STEP_NUM_NODES=2"),
            (prterun, "does not say of how many"),
            (inside, "does not say of how many"),
        ] {
            let message = told(&variables).unwrap_err();
            assert!(
                message.contains(says) && message.contains("cobre-launch -n N"),
                "{message}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (place, value, says) in [
            (0, "x", "OMPI_COMM_WORLD_RANK=\"x\""),
            (
                0,
                "2",
                "OMPI_COMM_WORLD_RANK=\"2\" is not valid: expected a number from 0 to 1",
            ),
            (1, "0", "OMPI_COMM_WORLD_SIZE=\"0\""),
            (
                1,
                "2000",
                "OMPI_COMM_WORLD_SIZE=\"2000\" is not valid: expected a number from 1 to 1024",
            ),
            (2, "-", "OMPI_COMM_WORLD_LOCAL_SIZE=\"-\""),
        ] {
            let mut variables = open_mpi("0", "a");
            variables[place].1 = value;
            let message = told(&variables).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
