//! Named points at which a test may make this process fail: `specs/src/reference/fault-points.md`.
//!
//! Only with the feature `fault-points`, which nothing but the tests of this workspace asks for.
//! Without it a point is an empty function.

#[cfg(feature = "fault-points")]
mod imp {
    use std::sync::OnceLock;

    static HOOK: OnceLock<fn(&'static str)> = OnceLock::new();

    /// From now on `hook` is called with the name of every point that this process reaches, on the
    /// thread that reaches it. The first hook stays.
    ///
    /// It may end the process, panic, or block; it must not use the communicator.
    pub fn on_fault_point(hook: fn(&'static str)) {
        let _ = HOOK.set(hook);
    }

    pub(crate) fn reached(point: &'static str) {
        if let Some(hook) = HOOK.get() {
            hook(point);
        }
    }
}

#[cfg(not(feature = "fault-points"))]
mod imp {
    #[inline(always)]
    pub(crate) fn reached(_: &'static str) {}
}

#[cfg(feature = "fault-points")]
pub use imp::on_fault_point;
pub(crate) use imp::reached;
