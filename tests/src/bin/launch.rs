//! The launcher as `cobre-launch` ships it, where these tests can find it.

fn main() -> std::process::ExitCode {
    cobre_launch::run(std::env::args_os()).into()
}
