//! What may cross an address space.

use bytemuck::Pod;

/// Plain old data: every bit pattern is a value, and a value means the same in every process.
///
/// Implemented for every type that is [`bytemuck::Pod`], [`Send`] and [`Sync`]: the primitive
/// numbers, arrays of them, and structs that derive `Pod`. A type with a pointer, a reference,
/// padding or forbidden bit patterns cannot be sent to another address space by safe code.
///
/// ```
/// use cobre_comm_trait::CommData;
/// use bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[repr(C)]
/// struct Cut {
///     intercept: f64,
///     slopes: [f64; 4],
/// }
/// fn sendable<T: CommData>() {}
/// sendable::<Cut>();
/// sendable::<[u8; 29]>();
/// ```
///
/// A reference does not mean the same elsewhere:
/// ```compile_fail,E0277
/// fn sendable<T: cobre_comm_trait::CommData>() {}
/// sendable::<&'static str>();
/// ```
/// Neither does a pointer in disguise (`Option<NonNull<T>>` is `Pod`, but not `Send`):
/// ```compile_fail,E0277
/// fn sendable<T: cobre_comm_trait::CommData>() {}
/// sendable::<Option<core::ptr::NonNull<u8>>>();
/// ```
/// Not every byte is a `bool`:
/// ```compile_fail,E0277
/// fn sendable<T: cobre_comm_trait::CommData>() {}
/// sendable::<bool>();
/// ```
/// Padding would leak uninitialised memory (the derive refuses the type):
/// ```compile_fail,E0080
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Padded {
///     flag: u8,
///     value: f64,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process: it is not plain old data",
    label = "not plain old data",
    note = "elements are numbers, arrays of them, and structs of these without padding that have \
            `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]` and `#[repr(C)]`",
    note = "through `cobre_shm` alone they are `cobre_shm::bytemuck::Pod` and `cobre_shm::bytemuck::Zeroable`, \
            with `#[bytemuck(crate = \"cobre_shm::bytemuck\")]` on the struct",
    note = "send a `bool` or an `enum` as a `u8`, a `String` or a `Vec` as its elements, after its length"
)]
pub trait CommData: Pod + Send + Sync {}

// So that the message above is shown, and not what `Pod` is implemented for.
#[diagnostic::do_not_recommend]
impl<T: Pod + Send + Sync> CommData for T {}
