//! `cobre-launch`: see the library.

fn main() -> std::process::ExitCode {
    cobre_launch::run(std::env::args_os()).into()
}
