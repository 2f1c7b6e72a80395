//! The inspector as `cobre-inspect` ships it, where these tests can find it.

fn main() -> std::process::ExitCode {
    cobre_inspect::run(std::env::args_os())
}
