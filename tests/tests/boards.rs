//! Standing boards: services that join by name, come and go, and are chosen by their load.

use std::process::Command;

use cobre_shm::board::{
    Dropped, LeastLoaded, State,
    standing::{Board, BoardMember, Boards, Snapshot, names, sweep},
};
use cobre_tests::{End, Process, Watchdog, apart, job_name, left_behind};
use nix::sys::signal::Signal;

/// Two boards whose names nobody else uses, and where their configuration lies.
struct Setup {
    host1: String,
    host2: String,
    json: String,
}

impl Setup {
    fn new(extra: &str) -> Self {
        let (host1, host2) = (job_name(), job_name());
        let json = format!(
            r#"{{"nodes": ["not ours"], "shared_memory": {{
                "segments": [
                    {{"name": "{host1}", "members": ["A", "B", "D"], "teams": {{"GREEN": ["B", "D"]}}}},
                    {{"name": "{host2}", "members": ["C", "E", "F"], "teams": {{"PINK": ["E", "F"]}}}}
                ],
                "fields": ["status", "queue_size", "last_ts_ms"]{extra}
            }}}}"#
        );
        Self { host1, host2, json }
    }

    fn boards(&self) -> Boards {
        Boards::from_json(&self.json).expect("a valid configuration")
    }

    fn join(&self, member: &str) -> BoardMember {
        self.boards().join(member).expect("a free seat")
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for name in [&self.host1, &self.host2] {
            assert_eq!(left_behind(name), [""; 0]);
        }
    }
}

#[test]
fn work_goes_to_the_idle_one_and_never_to_who_is_stale_or_gone() {
    let setup = Setup::new("");
    let members = ["A", "B", "C", "D", "E", "F"].map(|name| setup.join(name));
    let [a, b, _c, d, e, f] = &members;
    b.status().state(State::Idle);
    d.status().update(|record| {
        record.load.state = State::Busy;
        record.load.queue = 5;
    });
    assert_eq!(a.board().least_loaded("GREEN").unwrap(), Some("B"));
    let choice = Snapshot::read(&setup.host1)
        .unwrap()
        .choice(Some("GREEN"), &LeastLoaded)
        .unwrap();
    let shown = choice.to_string();
    assert!(
        shown.starts_with("least_loaded chose B\n  B: idle, queue 0, "),
        "{shown}"
    );
    assert!(shown.contains("\n  D: busy, queue 5, "), "{shown}");

    // A client that is no member sees the same.
    let client = Board::open(&setup.host1).unwrap();
    b.status().state(State::Shutdown);
    assert_eq!(client.least_loaded("GREEN").unwrap(), Some("D"));
    d.status().state(State::Shutdown);
    assert_eq!(client.least_loaded("GREEN").unwrap(), None);
    e.status().state(State::Busy);
    f.status().state(State::Idle);
    assert_eq!(f.board().least_loaded("PINK").unwrap(), Some("F"));
    let error = client.least_loaded("PINK").unwrap_err().to_string();
    assert!(
        error.contains("no team \"PINK\"; there are GREEN"),
        "{error}"
    );
    for name in [&setup.host1, &setup.host2] {
        assert!(names().contains(name));
    }
}

#[test]
fn a_record_that_is_not_refreshed_becomes_stale() {
    let setup = Setup::new(r#", "interval": 0, "staleness": 0.01"#);
    let (stale, fresh) = (setup.join("B"), setup.join("D"));
    stale.status().state(State::Idle);
    let board = fresh.board();
    let team = board.team("GREEN").unwrap();
    let _watchdog = Watchdog::new(1);
    loop {
        fresh.status().update(|record| {
            record.load.state = State::Busy;
            record.load.queue = 5;
        });
        let choice = board.explain(&team, &LeastLoaded).unwrap();
        if choice.considered[0].verdict == Err(Dropped::Stale) {
            break;
        }
        std::thread::yield_now();
    }
    // B only gets older. D may have as well, since this thread can be kept from running.
    assert_ne!(board.least_loaded("GREEN").unwrap(), Some("B"));
}

#[test]
fn fields_that_are_not_wanted_are_not_published() {
    let setup = Setup::new("");
    let member = setup.join("A");
    member.status().items(3);
    member.status().queue(4);
    member.status().text("secret");
    member.status().refresh();
    let record = member.board().record(member.index()).unwrap();
    assert_eq!(record.load.queue, 4);
    assert_eq!((record.load.items, record.resident), (0, 0));
    assert_eq!(record.text.as_str(), "");
}

/// A member process of a board described in a file.
fn start(config: &std::path::Path, name: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_board-member"));
    Process::start(name, command.arg(config).arg(name))
}

#[test]
fn members_die_restart_and_the_last_one_out_removes_the_board() {
    apart(|| {
        let name = job_name();
        let file =
            std::env::temp_dir().join(format!("cobre-boards{}.toml", name.replace('/', "-")));
        let toml = format!(
            "[[shared_memory.segments]]\nname = {name:?}\nmembers = [\"one\", {{name = \"two\", weight = 2.0}}]\n"
        );
        std::fs::write(&file, toml).unwrap();
        let mut one = start(&file, "one");
        one.hear("joined");
        let mut two = start(&file, "two");
        two.hear("joined");
        let mut twice = start(&file, "one");
        let refused = twice.line().unwrap();
        let pid = one.pid();
        assert!(refused.contains("\"one\" is on board"), "{refused}");
        assert!(refused.contains(&format!("as process {pid}")), "{refused}");

        // Killed in the middle of updates: a whole record is left, and everybody sees that it is dead.
        one.say("update");
        one.hear("update");
        one.signal(Signal::SIGKILL);
        assert_eq!(one.end(), End::Signal(9));
        let members = Snapshot::read(&name).unwrap().members;
        assert!(!members[0].alive && members[1].alive);
        assert_eq!(members[0].record.unwrap().load.state, State::Starting);

        let mut again = start(&file, "one");
        again.hear("joined");
        assert!(Snapshot::read(&name).unwrap().members[0].alive);
        assert!(!sweep(&name).unwrap());
        again.say("leave");
        again.hear("left");
        assert_eq!(again.end(), End::Code(0));
        assert_eq!(left_behind(&name).len(), 1);

        // The last one is killed: the board is left over until somebody sweeps.
        two.signal(Signal::SIGKILL);
        assert_eq!(two.end(), End::Signal(9));
        assert_eq!(left_behind(&name).len(), 1);
        assert!(sweep(&name).unwrap());
        assert_eq!(left_behind(&name), [""; 0]);

        let mut alone = start(&file, "one");
        alone.hear("joined");
        alone.signal(Signal::SIGKILL);
        assert_eq!(alone.end(), End::Signal(9));
        // The next one to join takes it away, whatever it was configured to be, and makes its own.
        std::fs::write(
            &file,
            format!("[[shared_memory.segments]]\nname = {name:?}\nmembers = [\"three\"]\n"),
        )
        .unwrap();
        let mut three = start(&file, "three");
        three.hear("joined");
        let board = Snapshot::read(&name).unwrap();
        assert_eq!(board.members.len(), 1);
        three.say("leave");
        three.hear("left");
        assert_eq!(left_behind(&name), [""; 0]);
        std::fs::remove_file(&file).unwrap();
    });
}

/// Killed members cannot take their board away: whoever opens it does, or makes another one.
#[test]
fn a_board_that_nobody_is_on_goes_with_the_next_who_comes() {
    apart(|| {
        let file =
            std::env::temp_dir().join(format!("cobre-boards-left{}.json", std::process::id()));
        let killed = |what: &str| {
            let setup = Setup::new("");
            std::fs::write(&file, &setup.json).unwrap();
            let mut member = start(&file, "A");
            member.hear("joined");
            let client = Board::open(&setup.host1).unwrap();
            assert!(!client.is_over());
            member.signal(Signal::SIGKILL);
            assert_eq!(member.end(), End::Signal(9), "{what}");
            assert_eq!(left_behind(&setup.host1).len(), 1, "{what}");
            (setup, client)
        };
        let (setup, client) = killed("opened again");
        let error = Board::open(&setup.host1).unwrap_err().to_string();
        assert!(error.contains("there is no board"), "{error}");
        assert!(client.is_over());

        let (_setup, client) = killed("another board is made");
        let other = Setup::new("");
        drop(other.join("A"));
        assert!(client.is_over());
        std::fs::remove_file(&file).unwrap();
    });
}

/// `std::process::exit` runs no destructor.
#[test]
fn who_exits_has_left() {
    let setup = Setup::new("");
    let file = std::env::temp_dir().join(format!("cobre-boards-exit{}.json", std::process::id()));
    std::fs::write(&file, &setup.json).unwrap();
    let stays = setup.join("B");
    let mut member = start(&file, "A");
    member.hear("joined");
    member.say("exit");
    assert_eq!(member.end(), End::Code(0));
    let members = stays.board().members().unwrap();
    assert!(!members[0].alive);
    assert_eq!(members[0].state, State::Shutdown);
    drop(stays);
    let mut alone = start(&file, "A");
    alone.hear("joined");
    alone.say("exit");
    assert_eq!(alone.end(), End::Code(0));
    assert_eq!(left_behind(&setup.host1), [""; 0]);
    std::fs::remove_file(&file).unwrap();
}

/// A hand on the record that outlives the membership must not write what is another's by now.
#[test]
fn who_has_left_publishes_nothing() {
    let setup = Setup::new("");
    let stays = setup.join("B");
    let member = setup.join("A");
    let hand = member.status().clone();
    drop(member);
    hand.state(State::Busy);
    assert_eq!(stays.board().members().unwrap()[0].state, State::Shutdown);
}

#[test]
fn what_is_wrong_is_said() {
    let setup = Setup::new("");
    let error = setup.boards().join("G").unwrap_err().to_string();
    assert!(error.contains("no board has a member \"G\""), "{error}");
    let _a = setup.join("A");
    let error = setup.join_other().unwrap_err().to_string();
    assert!(
        error.contains("in use with another configuration (staleness)"),
        "{error}"
    );
    for (section, expected) in [
        (
            r#"{"segments": [{"name": "x", "members": ["A", "A"]}]}"#,
            "\"A\" is there twice",
        ),
        (
            r#"{"segments": [{"name": "x", "members": []}]}"#,
            "0 members",
        ),
        (
            r#"{"segments": [{"name": "x", "members": [3]}]}"#,
            "a member is a name",
        ),
        (
            r#"{"segments": [{"name": "x/y", "members": ["A"]}]}"#,
            "a slash",
        ),
        (
            r#"{"segments": [], "fields": ["queu"]}"#,
            "unknown variant `queu`",
        ),
        (
            r#"{"segments": [], "feilds": []}"#,
            "unknown field `feilds`",
        ),
        (
            r#"{"segments": [{"name": "x", "members": ["A"], "teams": {"T": ["B"]}}]}"#,
            "\"B\" is no member; there are A",
        ),
        (
            r#"{"segments": [{"name": "x", "members": ["A"], "staleness": 1}]}"#,
            "not below the interval",
        ),
    ] {
        let error = Boards::from_json(&format!(r#"{{"shared_memory": {section}}}"#));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{section}: {error}");
    }
    let error = Boards::from_json("{}").unwrap_err().to_string();
    assert!(error.contains("missing field `shared_memory`"), "{error}");
}

impl Setup {
    /// Joins with a configuration that differs.
    fn join_other(&self) -> Result<BoardMember, cobre_shm::board::standing::BoardError> {
        let json = self
            .json
            .replace("\"fields\"", "\"staleness\": 60, \"fields\"");
        Boards::from_json(&json)?.join("B")
    }
}

/// Whatever lies under the name, looking is an error or a picture, and joining takes nothing away
/// that is not provably a board without members.
#[test]
fn a_foreign_or_damaged_segment_is_said_and_left_alone() {
    apart(|| {
        let setup = Setup::new("");
        let path = format!("/dev/shm{}", setup.host1);
        {
            let _member = setup.join("A");
            let whole = std::fs::read(&path).unwrap();
            // Bytes of the header and the description, and the length, may be wrong.
            for length in [0, 1, 39, 40, 4096, 4100, 8191, whole.len() - 1] {
                let copy = Planted::of(&whole[..length]);
                assert!(Snapshot::read(&copy.0).is_err(), "{length}");
            }
            for at in (0..40).chain(4096..4400) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x5a;
                let copy = Planted::of(&bytes);
                let _picture_or_error = Snapshot::read(&copy.0);
            }
            let mut bytes = whole;
            bytes[8192..].fill(0xff);
            let copy = Planted::of(&bytes);
            assert_eq!(Snapshot::read(&copy.0).unwrap().members.len(), 3);
        }
        let foreign = Planted::named(&setup.host1, b"something else");
        let error = setup.boards().join("A").unwrap_err().to_string();
        assert!(error.contains("something else has this name"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
        drop(foreign);
    });
}

/// A file in `/dev/shm` that only this user may read.
struct Planted(String);

impl Planted {
    fn of(bytes: &[u8]) -> Self {
        Self::named(&job_name(), bytes)
    }

    fn named(name: &str, bytes: &[u8]) -> Self {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let file = options.create_new(true).write(true).mode(0o600);
        let mut file = file.open(format!("/dev/shm{name}")).expect("a new file");
        std::io::Write::write_all(&mut file, bytes).expect("room in /dev/shm");
        Self(name.to_owned())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("/dev/shm{}", self.0));
    }
}
