//! What a rank is doing, as reports and errors say it.

use core::{fmt, time::Duration};

use crate::{Call, text};

/// What a rank is doing, as its peers and a launcher can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It has called no collective yet.
    Starting,
    /// It is outside of collectives.
    Computing {
        /// The last call it completed.
        last: Option<Call>,
    },
    /// Its process is stopped, by a signal or a debugger. Looked at only when a peer gives up waiting for it.
    Stopped {
        /// The last call it began.
        last: Option<Call>,
    },
    /// It is inside a collective: copying, folding, or waiting for a moment.
    Calling {
        /// The collective; `None` if it just began or ended.
        call: Option<Call>,
    },
    /// It sleeps inside a collective until a peer arrives.
    Waiting {
        /// The collective.
        call: Option<Call>,
        /// The peer that has not arrived.
        peer: usize,
        /// For how long it has slept.
        time: Duration,
    },
}

/// Continues a sentence about the rank: `rank 3 has been computing since ..`.
impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, call) = match self {
            Self::Starting => return f.write_str("has called no collective yet"),
            Self::Computing { last: None } => return f.write_str("is computing"),
            Self::Computing { last } => ("has been computing since".to_owned(), last),
            Self::Stopped { last: None } => return f.write_str("is stopped"),
            Self::Stopped { last } => ("is stopped; the last it called is".to_owned(), last),
            Self::Calling { call } => ("is inside".to_owned(), call),
            Self::Waiting { call, peer, time } => {
                let time = text::duration(*time);
                let doing = format!("has waited {time} for rank {peer} in");
                (doing, call)
            }
        };
        match call {
            Some(call) => write!(f, "{doing} {}", call.what()),
            None => write!(f, "{doing} a collective"),
        }
    }
}
