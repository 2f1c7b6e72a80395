//! The inspector as `cobre-inspect` ships it, where these tests can find it. It panics in the middle of its
//! work as soon as the file that `COBRE_TEST_PANIC_IF` names is there.

fn main() -> std::process::ExitCode {
    if std::env::var_os("COBRE_TEST_PANIC_IF").is_some() {
        cobre_shm::on_fault_point(|point| {
            let file = std::env::var_os("COBRE_TEST_PANIC_IF").unwrap_or_default();
            let wanted = point == "look" && std::path::Path::new(&file).exists();
            assert!(!wanted, "on purpose");
        });
    }
    cobre_inspect::run(std::env::args_os())
}
