//! The least a rank program can do: joins and leaves. What `compare startup` starts.
#![forbid(unsafe_code)]

fn main() -> Result<(), cobre_shm::InitError> {
    cobre_shm::init().map(drop)
}
