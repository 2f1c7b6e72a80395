//! What the environment says about the job, checked.

use core::time::Duration;
use std::{env, ffi::OsStr};

use crate::{
    duration,
    job::{
        error::InitError,
        foreign::{self, Member},
        values::{self, BYTES_EXPECTED, MAX_STAGING, bytes, number},
    },
    memory::layout::{DEFAULT_STAGING, MAX_RANKS},
    sync::patience::WaitPolicy,
};

/// Which backend [`init`](crate::init) uses: `auto`, `shm` or `local`.
pub const BACKEND_VAR: &str = "COBRE_COMM_BACKEND";
/// The job's name: a slash, then up to 254 bytes without a slash.
pub const NAME_VAR: &str = "COBRE_SHM_NAME";
/// This process' rank.
pub const RANK_VAR: &str = "COBRE_SHM_RANK";
/// The number of ranks.
pub const SIZE_VAR: &str = "COBRE_SHM_SIZE";
/// Set by a launcher to its process number: it has created the job's segment.
pub const LAUNCHER_VAR: &str = "COBRE_SHM_LAUNCHER";
/// 1: windows whose placement is left open are interleaved over the NUMA nodes.
pub const INTERLEAVE_VAR: &str = "COBRE_SHM_NUMA_INTERLEAVE";

/// Bytes of staging for the whole job; read by the founder.
pub const STAGING_VAR: &str = "COBRE_SHM_STAGING";
/// How long to wait for the job to form.
pub const ATTACH_TIMEOUT_VAR: &str = "COBRE_SHM_ATTACH_TIMEOUT";
/// The time between refreshes of this rank's memory and CPU time on the status board, or `off`.
pub const STATUS_INTERVAL_VAR: &str = "COBRE_SHM_STATUS_INTERVAL";
/// How this rank waits for its peers: `auto`, `spin`, `yield` or `sleep`.
pub const WAIT_VAR: &str = "COBRE_SHM_WAIT";

/// How long a collective may wait for a peer; without it, for ever.
pub const TIMEOUT_VAR: &str = "COBRE_SHM_TIMEOUT";

const DEFAULT_ATTACH_TIMEOUT: Duration = Duration::from_secs(30);

/// No time at all is no limit that a collective can keep.
const MIN_TIMEOUT: Duration = Duration::from_nanos(1);

/// How often a member's memory and CPU time are refreshed.
pub(crate) const DEFAULT_STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// More often than this nobody looks, and the refresher would be in the way.
pub(crate) const MIN_STATUS_INTERVAL: Duration = Duration::from_millis(1);

/// The longest name of a shared-memory object (`NAME_MAX`).
const NAME_MAX: usize = 255;

impl core::str::FromStr for WaitPolicy {
    type Err = InitError;

    fn from_str(value: &str) -> Result<Self, InitError> {
        match value {
            "auto" | "" => Ok(Self::Auto),
            "spin" => Ok(Self::Spin),
            "yield" => Ok(Self::Yield),
            "sleep" => Ok(Self::Sleep),
            _ => Err(InitError::InvalidVariable {
                variable: WAIT_VAR,
                value: value.to_owned(),
                expected: "one of auto, spin, yield, sleep".to_owned(),
            }),
        }
    }
}

/// How one rank takes part in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The job's name, the same for all ranks.
    pub name: String,
    /// This rank, below `size`.
    pub rank: usize,
    /// The number of ranks, at least 1.
    pub size: usize,
    /// The launcher that founded the job, if there is one; otherwise rank 0 does.
    pub launcher: Option<u32>,
    /// How long to wait for the job to form.
    pub attach_timeout: Duration,
    /// How long a collective may wait for a peer; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Bytes of staging for the whole job, if this process founds it: rounded down to whole pages
    /// per rank, two at least.
    pub staging_bytes: usize,
    /// How often a thread refreshes this rank's memory and CPU time on the status board; `None` for
    /// no thread.
    pub status_interval: Option<Duration>,
    /// How to wait for peers.
    pub wait: WaitPolicy,
}

impl Config {
    /// Rank `rank` of the `size` ranks of job `name`, everything else at its default.
    #[must_use]
    pub fn new(name: impl Into<String>, rank: usize, size: usize) -> Self {
        Self {
            name: name.into(),
            rank,
            size,
            launcher: None,
            attach_timeout: DEFAULT_ATTACH_TIMEOUT,
            timeout: None,
            staging_bytes: DEFAULT_STAGING,
            status_interval: Some(DEFAULT_STATUS_INTERVAL),
            wait: WaitPolicy::Auto,
        }
    }

    /// The configuration in the environment; `None` for a job of one.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn from_env() -> Result<Option<Self>, InitError> {
        // Read again whenever a window is created; what is wrong with it is said at once.
        interleave_from_env()?;
        Self::from_variables(|variable| env::var_os(variable).map(|v| v.to_string_lossy().into()))
    }

    fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, InitError> {
        let backend = get(BACKEND_VAR);
        let demanded = match backend.as_deref() {
            Some("local") => return Ok(None),
            Some("shm") => true,
            None | Some("auto" | "") => false,
            Some(value) => {
                return Err(InitError::InvalidVariable {
                    variable: BACKEND_VAR,
                    value: value.to_owned(),
                    expected: "one of auto, shm, local".to_owned(),
                });
            }
        };
        let ours = [NAME_VAR, RANK_VAR, SIZE_VAR]
            .into_iter()
            .find(|variable| get(variable).is_some());
        let foreign = match ours {
            Some(_) => None,
            None => foreign::member(&get)?,
        };
        let mut config = match (foreign, ours) {
            (Some(Member { name, rank, size }), _) => Self::new(name, rank, size),
            (None, Some(variable)) => Self::named(&get, &format!("{variable} is"))?,
            (None, None) if demanded => Self::named(&get, &format!("{BACKEND_VAR} is shm"))?,
            (None, None) => return Ok(None),
        };
        if let Some(value) = get(ATTACH_TIMEOUT_VAR) {
            let (least, expected) = (Duration::ZERO, duration::EXPECTED);
            config.attach_timeout = values::duration(ATTACH_TIMEOUT_VAR, &value, least, expected)?;
        }
        if let Some(value) = get(TIMEOUT_VAR) {
            let timeout = values::duration(TIMEOUT_VAR, &value, MIN_TIMEOUT, TIMEOUT_EXPECTED)?;
            config.timeout = Some(timeout);
        }
        if let Some(value) = get(STAGING_VAR) {
            config.staging_bytes = bytes(STAGING_VAR, &value)?;
        }
        if let Some(value) = get(STATUS_INTERVAL_VAR) {
            config.status_interval = status_interval(&value)?;
        }
        if let Some(value) = get(WAIT_VAR) {
            config.wait = value.parse()?;
        }
        config.check()?;
        Ok(Some(config))
    }

    /// The rank that our own variables name; all are needed `because` of one of them.
    fn named(
        get: &impl Fn(&'static str) -> Option<String>,
        because: &str,
    ) -> Result<Self, InitError> {
        let need = |variable, expected: &str| {
            get(variable).ok_or_else(|| InitError::MissingVariable {
                variable,
                because: because.to_owned(),
                expected: expected.to_owned(),
            })
        };
        let name = need(NAME_VAR, NAME_EXPECTED)?;
        let size = number(SIZE_VAR, &need(SIZE_VAR, SIZE_EXPECTED)?, SIZE_EXPECTED)?;
        let rank = number(RANK_VAR, &need(RANK_VAR, RANK_EXPECTED)?, RANK_EXPECTED)?;
        let launcher = get(LAUNCHER_VAR)
            .map(|value| number(LAUNCHER_VAR, &value, "a process number"))
            .transpose()?;
        Ok(Self {
            launcher,
            ..Self::new(name, rank, size)
        })
    }

    /// Whether the values are possible at all; errors name the variables that usually hold them.
    pub(crate) fn check(&self) -> Result<(), InitError> {
        let invalid = |variable, value: String, expected: String| {
            Err(InitError::InvalidVariable {
                variable,
                value,
                expected,
            })
        };
        if let Err(expected) = check_name(&self.name) {
            return invalid(NAME_VAR, self.name.clone(), expected);
        }
        if !(1..=MAX_RANKS).contains(&self.size) {
            return invalid(SIZE_VAR, self.size.to_string(), SIZE_EXPECTED.to_owned());
        }
        if self.rank >= self.size {
            let expected = format!("a rank below {SIZE_VAR}={}", self.size);
            return invalid(RANK_VAR, self.rank.to_string(), expected);
        }
        if self.staging_bytes > MAX_STAGING {
            let value = self.staging_bytes.to_string();
            return invalid(STAGING_VAR, value, BYTES_EXPECTED.to_owned());
        }
        if let Some(timeout) = self.timeout.filter(|timeout| *timeout < MIN_TIMEOUT) {
            let value = duration::show(timeout).to_string();
            return invalid(TIMEOUT_VAR, value, TIMEOUT_EXPECTED.to_owned());
        }
        match self.status_interval {
            Some(interval) if interval < MIN_STATUS_INTERVAL => invalid(
                STATUS_INTERVAL_VAR,
                duration::show(interval).to_string(),
                STATUS_INTERVAL_EXPECTED.to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

const NAME_EXPECTED: &str =
    "a slash followed by 1 to 254 other characters, for example /my-job, the same for every rank";
const SIZE_EXPECTED: &str = "the number of ranks, from 1 to 1024";
const RANK_EXPECTED: &str = "a number from 0, below COBRE_SHM_SIZE";
const TIMEOUT_EXPECTED: &str =
    "a duration above 0, for example 90s, 1h30m or 0.5 (unset it to wait for ever)";
const STATUS_INTERVAL_EXPECTED: &str = "off, or a duration from 1ms, for example 500ms, 2s or 0.5";

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let good = name.strip_prefix('/').is_some_and(|rest| {
        !rest.is_empty() && !rest.contains(['/', '\0']) && rest != "." && rest != ".."
    });
    if !good {
        return Err(NAME_EXPECTED.to_owned());
    }
    if name.len() > NAME_MAX {
        return Err(format!(
            "at most {NAME_MAX} bytes, but it has {}",
            name.len()
        ));
    }
    Ok(())
}

/// Whether the environment asks for interleaved windows.
pub(crate) fn interleave_from_env() -> Result<bool, InitError> {
    let value = env::var_os(INTERLEAVE_VAR).unwrap_or_default();
    match value.to_string_lossy().as_ref() {
        "" | "0" => Ok(false),
        "1" => Ok(true),
        other => Err(InitError::InvalidVariable {
            variable: INTERLEAVE_VAR,
            value: other.to_owned(),
            expected: "0 or 1".to_owned(),
        }),
    }
}

/// The staging size that the environment asks for.
pub(crate) fn staging_from_env() -> Result<usize, InitError> {
    match env::var_os(STAGING_VAR) {
        None => Ok(DEFAULT_STAGING),
        Some(value) => staging(&value),
    }
}

/// The staging size that this value of `COBRE_SHM_STAGING` asks for.
pub(crate) fn staging(value: &OsStr) -> Result<usize, InitError> {
    bytes(STAGING_VAR, &value.to_string_lossy())
}

fn status_interval(value: &str) -> Result<Option<Duration>, InitError> {
    if value == "off" {
        return Ok(None);
    }
    let (least, expected) = (MIN_STATUS_INTERVAL, STATUS_INTERVAL_EXPECTED);
    values::duration(STATUS_INTERVAL_VAR, value, least, expected).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Config, bytes};
    use core::time::Duration;

    fn parse(variables: &[(&'static str, &str)]) -> Result<Option<Config>, String> {
        let get = |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::from_variables(get).map_err(|error| error.to_string())
    }

    const VARIABLES: [&str; 10] = [
        super::BACKEND_VAR,
        super::NAME_VAR,
        super::RANK_VAR,
        super::SIZE_VAR,
        super::LAUNCHER_VAR,
        super::STAGING_VAR,
        super::ATTACH_TIMEOUT_VAR,
        super::STATUS_INTERVAL_VAR,
        super::WAIT_VAR,
        super::TIMEOUT_VAR,
    ];

    const JOB: [(&str, &str); 3] = [
        ("COBRE_SHM_NAME", "/job"),
        ("COBRE_SHM_RANK", "1"),
        ("COBRE_SHM_SIZE", "4"),
    ];

    fn job_with(name: &'static str, value: &str) -> Result<Option<Config>, String> {
        let mut variables: Vec<_> = JOB.into_iter().filter(|(n, _)| *n != name).collect();
        variables.push((name, value));
        parse(&variables)
    }

    #[test]
    fn nothing_set_is_a_job_of_one() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[("COBRE_COMM_BACKEND", "auto")]), Ok(None));
        assert_eq!(job_with("COBRE_COMM_BACKEND", "local"), Ok(None));
    }

    #[test]
    fn three_variables_are_enough() {
        assert_eq!(parse(&JOB), Ok(Some(Config::new("/job", 1, 4))));
        let timeout = job_with("COBRE_SHM_ATTACH_TIMEOUT", "0.5").unwrap();
        assert_eq!(timeout.unwrap().attach_timeout, Duration::from_millis(500));
        let timeout = job_with("COBRE_SHM_TIMEOUT", "90").unwrap();
        assert_eq!(timeout.unwrap().timeout, Some(Duration::from_secs(90)));
        let timeout = job_with("COBRE_SHM_TIMEOUT", "1h30m").unwrap();
        assert_eq!(timeout.unwrap().timeout, Some(Duration::from_secs(5400)));
    }

    #[test]
    fn the_status_interval_can_be_set_and_switched_off() {
        let interval = |value| {
            let config = job_with("COBRE_SHM_STATUS_INTERVAL", value).unwrap();
            config.unwrap().status_interval
        };
        assert_eq!(interval("off"), None);
        assert_eq!(interval("0.5"), Some(Duration::from_millis(500)));
    }

    #[test]
    fn every_error_names_the_variable_its_value_and_what_was_expected() {
        let cases = [
            ("COBRE_COMM_BACKEND", "mpi", "one of auto, shm, local"),
            ("COBRE_SHM_NAME", "job", "a slash"),
            ("COBRE_SHM_NAME", "/a/b", "a slash"),
            ("COBRE_SHM_NAME", "/", "a slash"),
            ("COBRE_SHM_NAME", "", "a slash"),
            ("COBRE_SHM_RANK", "one", "a number"),
            ("COBRE_SHM_RANK", "-1", "a number"),
            ("COBRE_SHM_RANK", "4", "below COBRE_SHM_SIZE=4"),
            ("COBRE_SHM_SIZE", "0", "from 1 to 1024"),
            ("COBRE_SHM_SIZE", "many", "from 1 to 1024"),
            ("COBRE_SHM_SIZE", "1025", "from 1 to 1024"),
            ("COBRE_SHM_LAUNCHER", "me", "a process number"),
            (
                "COBRE_SHM_ATTACH_TIMEOUT",
                "-3",
                "1h30m; without a unit it is seconds",
            ),
            ("COBRE_SHM_TIMEOUT", "soon", "a duration above 0"),
            ("COBRE_SHM_TIMEOUT", "0", "a duration above 0"),
            ("COBRE_SHM_TIMEOUT", "1e-300", "a duration above 0"),
            ("COBRE_SHM_STAGING", "4X", "bytes"),
            (
                "COBRE_SHM_WAIT",
                "spinning",
                "one of auto, spin, yield, sleep",
            ),
            ("COBRE_SHM_STATUS_INTERVAL", "0", "from 1ms"),
            ("COBRE_SHM_STATUS_INTERVAL", "10us", "from 1ms"),
            ("COBRE_SHM_STATUS_INTERVAL", "never", "off"),
        ];
        for (variable, value, expected) in cases {
            let message = job_with(variable, value).unwrap_err();
            assert!(
                message.contains(variable)
                    && message.contains(&format!("{value:?}"))
                    && message.contains(expected),
                "{variable}={value}: {message}"
            );
        }
    }

    /// The fields are public, and hold what no variable can.
    #[test]
    fn a_configuration_made_by_hand_is_checked_as_well() {
        let made = |adjust: fn(&mut Config)| {
            let mut config = Config::new("/job", 1, 4);
            adjust(&mut config);
            config.check().unwrap_err().to_string()
        };
        let message = made(|config| config.staging_bytes = usize::MAX);
        assert!(
            message.starts_with("COBRE_SHM_STAGING=\"18446744073709551615\""),
            "{message}"
        );
        let message = made(|config| config.timeout = Some(Duration::ZERO));
        assert!(message.starts_with("COBRE_SHM_TIMEOUT=\"0s\""), "{message}");
        let message = made(|config| config.status_interval = Some(Duration::from_nanos(1)));
        assert!(
            message.starts_with("COBRE_SHM_STATUS_INTERVAL=\"1ns\""),
            "{message}"
        );
    }

    /// What the book quotes is what is said.
    #[test]
    #[cfg(all(target_pointer_width = "64", target_endian = "little"))]
    fn the_book_quotes_these_messages() {
        let page = include_str!("../../../specs/src/reference/environment.md");
        let rows = crate::documented::table(page, "### Errors");
        let mut checked = 0;
        for row in rows {
            let quoted = row[1].trim_matches('`').trim_end_matches('…').trim_end();
            let message = match quoted.split_once("=\"") {
                Some(("COBRE_SHM_NUMA_INTERLEAVE", _)) => continue,
                Some((variable, rest)) => {
                    let (value, _) = rest.split_once('"').unwrap();
                    let variable = VARIABLES.into_iter().find(|known| *known == variable);
                    job_with(variable.unwrap(), value).unwrap_err()
                }
                None if quoted.contains("COBRE_COMM_BACKEND is shm") => {
                    parse(&[("COBRE_COMM_BACKEND", "shm")]).unwrap_err()
                }
                None if quoted.contains("is not set") => parse(&JOB[..2]).unwrap_err(),
                None => continue,
            };
            assert!(
                message.starts_with(quoted),
                "{message}: the book has {quoted}"
            );
            checked += 1;
        }
        assert!(checked > 10);
    }

    #[test]
    fn a_missing_variable_is_named_with_the_reason() {
        let message = parse(&JOB[..2]).unwrap_err();
        assert!(
            message.contains("COBRE_SHM_SIZE is not set, but COBRE_SHM_NAME is"),
            "{message}"
        );
        let message = parse(&[("COBRE_COMM_BACKEND", "shm")]).unwrap_err();
        assert!(
            message.contains("COBRE_SHM_NAME is not set, but COBRE_COMM_BACKEND is shm"),
            "{message}"
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_with_its_length() {
        let name: &'static str = format!("/{}", "n".repeat(255)).leak();
        let message = job_with("COBRE_SHM_NAME", name).unwrap_err();
        assert!(message.contains("it has 256"), "{message}");
    }

    proptest::proptest! {
        /// Whatever the variables hold: a configuration that is possible, or a sentence.
        #[test]
        fn any_environment_is_read(
            values in proptest::collection::vec(proptest::option::of(value()), 9)
        ) {
            let names = [
                "COBRE_COMM_BACKEND",
                "COBRE_SHM_NAME",
                "COBRE_SHM_RANK",
                "COBRE_SHM_SIZE",
                "COBRE_SHM_LAUNCHER",
                "COBRE_SHM_STAGING",
                "COBRE_SHM_ATTACH_TIMEOUT",
                "COBRE_SHM_TIMEOUT",
                "COBRE_SHM_STATUS_INTERVAL",
            ];
            let get = |wanted| {
                let place = names.iter().position(|name| *name == wanted)?;
                values[place].clone()
            };
            match Config::from_variables(get) {
                Ok(Some(config)) => {
                    assert!(config.rank < config.size && config.size <= 1024);
                    assert!(config.check().is_ok());
                }
                Ok(None) => {}
                Err(error) => assert!(error.to_string().contains("expected"), "{error}"),
            }
        }
    }

    /// What people set, what they mistype, and anything else.
    fn value() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        prop_oneof![
            4 => prop::sample::select(vec![
                "", "/job", "job", "/", "//", "/..", "0", "1", "2", "4", "1024", "1025", "-1", "1.5",
                "1e999", "inf", "NaN", "-0", "4M", "4m", "18446744073709551615", "99999999999999999999",
                "9223372036854775807G", "auto", "shm", "local", "off", "K", "M", " 1", "0x10", "\0",
            ]).prop_map(str::to_owned),
            1 => any::<String>(),
            1 => any::<f64>().prop_map(|number| number.to_string()),
        ]
    }

    #[test]
    fn bytes_have_suffixes() {
        assert_eq!(bytes("V", "4M").unwrap(), 4 << 20);
        assert_eq!(bytes("V", "65536").unwrap(), 65_536);
        assert!(bytes("V", "99999999999G").is_err());
    }
}
