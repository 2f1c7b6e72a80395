//! `cobre-inspect`: see the library.

fn main() -> std::process::ExitCode {
    cobre_inspect::run(std::env::args_os())
}
