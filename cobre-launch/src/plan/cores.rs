//! How many cores there are for us.

/// The usable cores: the smaller of the affinity mask and the cgroup's CPU quota, at least 1.
///
/// The standard library looks up the whole cgroup hierarchy, version 2 and 1, and rounds a quota
/// down. (`taskset`, `docker --cpus`, Kubernetes limits and batch systems all act through one of
/// the two.)
pub(crate) fn usable() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
