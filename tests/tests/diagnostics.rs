//! What the compiler tells who passes elements that cannot be sent or reduced: what to do about it, and
//! not which types `bytemuck` knows.

use std::path::Path;
use std::process::Command;

/// What the compiler says about `body`, in which `comm` is a communicator and `Cut` a struct.
fn complaint(name: &str, body: &str) -> String {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let the_trait = workspace.join("cobre-comm-trait");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\ncobre-comm-trait = {{ path = {:?} }}\n",
        the_trait.to_str().expect("a path as others are")
    );
    let program = format!(
        "use cobre_comm_trait::{{CommError, Communicator, LocalComm, ReduceOp}};\n\
         #[derive(Clone, Copy)]\nstruct Cut {{ slope: f64 }}\n\
         fn main() -> Result<(), CommError> {{ let comm = LocalComm::new(); {body} }}\n"
    );
    std::fs::create_dir_all(package.join("src")).expect("a folder for it");
    for (file, text) in [("Cargo.toml", manifest), ("src/main.rs", program)] {
        std::fs::write(package.join(file), text).expect("there is room");
    }
    // The versions that are here.
    let lock = std::fs::copy(workspace.join("Cargo.lock"), package.join("Cargo.lock"));
    lock.expect("the workspace has one");
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--quiet",
            "--offline",
            "--color=never",
            "--target-dir",
        ])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("diagnostics"))
        .current_dir(&package)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{body} compiles");
    assert!(said.contains("E0277"), "{said}");
    said
}

#[test]
fn an_element_that_is_not_plain_data_is_said_to_be_none_and_how_to_make_it_one() {
    let broadcast = "comm.broadcast(&mut [Cut { slope: 1.0 }], 0)";
    let gather = "comm.allgatherv(&[true], &mut [false], &[1], &[0])";
    for (body, element) in [(broadcast, "Cut"), (gather, "bool")] {
        let said = complaint("not-plain", body);
        for part in [
            &format!("`{element}` cannot be sent to another process"),
            "#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]",
            "#[repr(C)]",
        ] {
            assert!(said.contains(part), "no {part:?} in\n{said}");
        }
        assert!(!said.contains("ManuallyDrop"), "{said}");
    }
}

#[test]
fn what_is_no_number_is_said_to_be_none_and_how_to_reduce_it() {
    let body = "comm.allreduce(&[[1.0, 2.0]], &mut [[0.0, 0.0]], ReduceOp::Sum)";
    let said = complaint("no-number", body);
    for part in [
        "cannot be reduced: it is not a numeric type",
        "bytemuck::cast_slice",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}
