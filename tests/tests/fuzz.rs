//! Attaching to whatever may lie under a job's name: it ends, with an error or without, and never
//! with a crash. `PROPTEST_CASES=100000` for a longer run.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use cobre_shm::{Config, InitError, ShmComm, observer::Observer};
use proptest::prelude::*;

/// A job that is forming, whose segment may be overwritten.
struct Forming {
    name: String,
    segment: File,
    pristine: Vec<u8>,
    _observer: Observer,
}

impl Forming {
    fn new() -> Self {
        let name = cobre_tests::job_name();
        let observer = Observer::found(&name, 2).expect("there is room");
        let path = format!("/dev/shm{name}");
        let segment = OpenOptions::new().read(true).write(true).open(path);
        let segment = segment.expect("it has just been made");
        let mut pristine = vec![0; 65_536];
        segment
            .read_exact_at(&mut pristine, 0)
            .expect("it is longer");
        Self {
            name,
            segment,
            pristine,
            _observer: observer,
        }
    }

    fn attach(&self, rank: usize) -> Result<ShmComm, InitError> {
        let mut config = Config::new(&self.name, rank, 2);
        config.launcher = Some(1);
        config.attach_timeout = Duration::from_millis(5);
        ShmComm::form(&config)
    }
}

/// One byte that is not what the founder wrote, mostly in the header.
fn forgery() -> impl Strategy<Value = (u64, u8)> {
    let offset = prop_oneof![0_u64..64, 0_u64..512, 0_u64..65_536];
    (offset, any::<u8>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
    ))]

    #[test]
    fn a_forged_segment_is_attached_to_or_not(
        forged in prop::collection::vec(forgery(), 1..12),
        rank in 0..2_usize,
    ) {
        let forming = Forming::new();
        for (offset, byte) in forged {
            forming.segment.write_all_at(&[byte], offset).expect("it is ours");
        }
        // Whatever it says: it returns.
        drop(forming.attach(rank));
    }

    #[test]
    fn a_segment_cut_off_is_not_attached_to(length in 0_u64..30_000, rank in 0..2_usize) {
        let forming = Forming::new();
        let content = &forming.pristine[..length as usize];
        // In a file of its own, because the observer has the other one mapped.
        let name = cobre_tests::job_name();
        let path = format!("/dev/shm{name}");
        std::fs::write(&path, content).expect("there is room");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
        let mut config = Config::new(&name, rank, 2);
        config.launcher = Some(1);
        config.attach_timeout = Duration::from_millis(5);
        let attached = ShmComm::form(&config);
        let _ = std::fs::remove_file(&path);
        prop_assert!(attached.is_err());
    }

    #[test]
    fn random_bytes_are_not_attached_to(
        content in prop::collection::vec(any::<u8>(), 0..20_000),
        with_magic in any::<bool>(),
        rank in 0..2_usize,
    ) {
        let name = cobre_tests::job_name();
        let path = format!("/dev/shm{name}");
        let mut content = content;
        if with_magic && content.len() > 8 {
            content[..8].copy_from_slice(b"CobreShm");
        }
        std::fs::write(&path, &content).expect("there is room");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
        let mut config = Config::new(&name, rank, 2);
        config.launcher = Some(1);
        config.attach_timeout = Duration::from_millis(5);
        let attached = ShmComm::form(&config);
        let kept = std::fs::read(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        prop_assert!(attached.is_err());
        prop_assert!(kept == content);
    }
}
