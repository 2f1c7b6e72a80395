//! What passes through the launcher: the ranks' output, line by line, and standard input.

pub(crate) mod composer;
pub(crate) mod files;
pub(crate) mod fit;
pub(crate) mod held;
pub(crate) mod output;
pub(crate) mod sink;
pub(crate) mod stdin;
pub(crate) mod tail;
