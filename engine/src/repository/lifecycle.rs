//! The states of a version, and which may follow which.

use std::fmt;

/// Where a version stands.
///
/// ```text
/// Unavailable → Loading → Ready → Unloading → Unavailable
///                  └─────────────────────────────┘ on failure
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its file is being read and tried.
    Loading,
    /// It answers requests.
    Ready,
    /// It takes no more requests and finishes those it has.
    Unloading,
    /// It does not serve.
    Unavailable,
}

impl State {
    /// Whether `next` may follow.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Unavailable, Self::Loading)
                | (Self::Loading, Self::Ready | Self::Unavailable)
                | (Self::Ready, Self::Unloading)
                | (Self::Unloading, Self::Unavailable | Self::Loading)
        )
    }

    /// Its name in the protocol.
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
    fn nothing_is_ready_that_was_not_loaded() {
        assert!(!State::Unavailable.may_become(State::Ready));
        assert!(!State::Unloading.may_become(State::Ready));
        assert!(State::Loading.may_become(State::Ready));
    }
}
