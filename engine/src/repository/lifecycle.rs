//! States of a version, and their legal transitions.

use std::fmt;

/// State of a version.
///
/// ```text
/// Unavailable → Loading → Ready → Unloading → Unavailable
///                  └─────────────────────────────┘ on failure
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The file is being read and probed.
    Loading,
    /// The version serves requests.
    Ready,
    /// The version drains: it takes no more requests and finishes those it has.
    Unloading,
    /// The version does not serve.
    Unavailable,
}

impl State {
    /// True if `next` may follow.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Unavailable, Self::Loading)
                | (Self::Loading, Self::Ready | Self::Unavailable)
                | (Self::Ready, Self::Unloading)
                | (Self::Unloading, Self::Unavailable | Self::Loading)
        )
    }

    /// Name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "LOADING",
            Self::Ready => "READY",
            Self::Unloading => "UNLOADING",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loading_version_becomes_ready() {
        assert!(!State::Unavailable.may_become(State::Ready));
        assert!(!State::Unloading.may_become(State::Ready));
        assert!(State::Loading.may_become(State::Ready));
    }
}
