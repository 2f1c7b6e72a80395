//! Random names of segments that a job makes for itself, and how the leader announces them.

/// Bytes of an announcement: a slash, the prefix and the 32 digits of a UUID.
const LENGTH: usize = 39;

/// The space of names of [`of_launch`]; any number that nobody else uses.
const LAUNCHES: uuid::Uuid = uuid::Uuid::from_u128(0xc0b6_e5a1_7d3f_4c9e_8b02_94d5_61ce_f7a8);

/// A segment's name in a form that can be broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced([u8; LENGTH]);

/// A fresh name for a job's segment that nobody can guess.
#[must_use]
pub fn random_job_name() -> String {
    Announced::random().as_str().to_owned()
}

/// The name that is the same for all ranks of one launch by another launcher, of which `identity`
/// says which it is. It looks like a random one, so the next start removes it if it is left.
pub(crate) fn of_launch(identity: &str) -> String {
    let user = nix::unistd::geteuid();
    let identity = format!("{user} {identity}");
    let digits = uuid::Uuid::new_v5(&LAUNCHES, identity.as_bytes()).simple();
    format!("/cobre-{digits}")
}

/// A fresh name of a kind that no start of a job sweeps away: for tests whose objects look abandoned.
#[cfg(test)]
pub(crate) fn unswept() -> String {
    format!(
        "/cobre-test{}",
        Announced::random().as_str().replace('/', "-")
    )
}

/// Whether `name` is one that [`random_job_name`] makes.
pub(crate) fn is_random(name: &str) -> bool {
    let digits = name.strip_prefix("/cobre-").unwrap_or_default();
    digits.len() == 32
        && digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

impl Announced {
    pub(crate) fn random() -> Self {
        let mut bytes = *b"/cobre-00000000000000000000000000000000";
        let digits = uuid::Uuid::new_v4().simple();
        digits.encode_lower(&mut bytes[LENGTH - 32..]);
        Self(bytes)
    }

    /// The name; empty if what was announced is not text.
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{is_random, random_job_name, unswept};

    #[test]
    fn names_are_valid_and_differ() {
        let (one, other) = (random_job_name(), random_job_name());
        assert_ne!(one, other);
        assert_eq!(crate::job::config::check_name(&one), Ok(()));
        assert!(!is_random(&unswept()) && unswept() != unswept());
        assert!(is_random(&one) && !is_random("/cobre-test-1-2") && !is_random(&one[1..]));
    }
}
