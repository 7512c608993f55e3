//! Choice of the version of an endpoint that serves a request.

use crate::mix::mix64;

/// Rule by which a version is chosen among those that are ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Selection {
    /// The highest version.
    #[default]
    Newest,
    /// A named version and no other.
    Named(u64),
    /// Several versions by weight, the same one for the same key: a canary.
    Split(Vec<Share>),
}

/// Part of a version in a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Number of the version.
    pub version: u64,
    /// Weight among the others; without effect unless above 0.
    pub weight: f64,
}

/// End of a request of a chosen version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a response.
    Completed {
        /// Time from its arrival to its response.
        latency_us: u64,
    },
    /// Rejected or expired under overload.
    Shed,
    /// With an error of the request or the model.
    Failed,
}

impl Selection {
    /// Chooses among the versions that are ready, in any order; `None` when none fits.
    ///
    /// `key` is a hash of what stays the same between a client's requests. The same key gets the
    /// same version as long as weights and ready versions stay. When they change, only as many keys
    /// move as the shares do. This is weighted rendezvous hashing (Thaler and Ravishankar, ToN
    /// 1998; Schindelhauer and Schomaker, SPAA 2005). A split without a ready version falls back to
    /// the newest.
    pub fn choose(&self, key: u64, ready: impl Iterator<Item = u64> + Clone) -> Option<u64> {
        match self {
            Self::Newest => ready.max(),
            Self::Named(version) => ready.into_iter().find(|ready| ready == version),
            Self::Split(shares) => {
                let is_ready = |share: &&Share| ready.clone().any(|ready| ready == share.version);
                let usable = shares.iter().filter(|share| share.weight > 0.0).filter(is_ready);
                let best = usable.max_by(|a, b| a.score(key).total_cmp(&b.score(key)));
                best.map(|share| share.version).or_else(|| ready.clone().max())
            }
        }
    }

    /// Takes note of how a request of a version ended. These rules choose by what they are told;
    /// one that learns keeps its state in atomics.
    pub fn observe(&self, _version: u64, _outcome: Outcome) {}
}

impl Share {
    /// Score of this version for a key: the highest of all is chosen.
    fn score(&self, key: u64) -> f64 {
        let bits = mix64(key ^ mix64(self.version.wrapping_add(1)));
        // Uniform in 0 to 1, without either.
        let unit = ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
        -self.weight / unit.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(shares: &[(u64, f64)]) -> Selection {
        Selection::Split(
            shares.iter().map(|&(version, weight)| Share { version, weight }).collect(),
        )
    }

    fn choose(selection: &Selection, key: u64, ready: &[u64]) -> Option<u64> {
        selection.choose(key, ready.iter().copied())
    }

    /// Share of 20,000 keys in a row that get a version.
    fn share_of(selection: &Selection, version: u64, ready: &[u64]) -> f64 {
        let count = (0..20_000).filter(|&key| choose(selection, key, ready) == Some(version));
        count.count() as f64 / 20_000.0
    }

    #[test]
    fn the_newest_or_the_named_version_serves() {
        assert_eq!(choose(&Selection::Newest, 7, &[1, 9, 3]), Some(9));
        assert_eq!(choose(&Selection::Newest, 7, &[]), None);
        assert_eq!(choose(&Selection::Named(3), 7, &[1, 9, 3]), Some(3));
        assert_eq!(choose(&Selection::Named(4), 7, &[1, 9, 3]), None);
    }

    #[test]
    fn keys_are_split_by_weight() {
        let canary = split(&[(1, 95.0), (2, 5.0)]);
        let share = share_of(&canary, 2, &[1, 2]);
        assert!((0.044..0.056).contains(&share), "{share}");
        assert_eq!(share_of(&split(&[(1, 1.0), (2, 0.0)]), 2, &[1, 2]), 0.0);
    }

    #[test]
    fn a_larger_canary_keeps_its_keys_and_takes_others_from_the_old_version_only() {
        let (small, large) = (split(&[(1, 95.0), (2, 5.0)]), split(&[(1, 80.0), (2, 20.0)]));
        for key in 0..5_000 {
            if choose(&small, key, &[1, 2]) == Some(2) {
                assert_eq!(choose(&large, key, &[1, 2]), Some(2));
            }
        }
    }

    #[test]
    fn a_version_that_is_not_ready_leaves_its_keys_to_the_others() {
        let halves = split(&[(1, 1.0), (2, 1.0)]);
        assert_eq!(share_of(&halves, 1, &[1]), 1.0);
        assert_eq!(share_of(&halves, 3, &[3]), 1.0, "none of the split is ready");
        assert_eq!(choose(&halves, 1, &[]), None);
    }

    proptest! {
        #[test]
        fn the_same_key_always_gets_the_same_ready_version(
            shares in prop::collection::vec((0..9_u64, 0.0..10.0_f64), 0..5),
            ready in prop::collection::vec(0..9_u64, 1..5),
            key in any::<u64>(),
        ) {
            let selection = split(&shares);
            let chosen = choose(&selection, key, &ready);
            prop_assert!(chosen.is_some_and(|version| ready.contains(&version)));
            let reversed: Vec<u64> = ready.iter().rev().copied().collect();
            prop_assert_eq!(choose(&selection, key, &reversed), chosen);
        }
    }
}
