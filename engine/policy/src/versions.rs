//! Choice of the versions of a model that serve, and the next steps towards that.

use std::collections::BTreeSet;

/// Rule for the versions in the repository that serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The highest `n` versions.
    Latest(usize),
    /// All versions.
    All,
    /// These versions, as far as they exist.
    Specific(BTreeSet<u64>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

impl VersionPolicy {
    /// Chooses among the versions found.
    pub fn wanted(&self, found: &BTreeSet<u64>) -> BTreeSet<u64> {
        match self {
            Self::Latest(n) => found.iter().rev().take(*n).copied().collect(),
            Self::All => found.clone(),
            Self::Specific(versions) => found.intersection(versions).copied().collect(),
        }
    }
}

/// A version in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Number of the version.
    pub version: u64,
    /// True if its files have not changed since it was loaded.
    pub current: bool,
}

/// Step towards the wanted versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Load the version. If it serves from older files already, replace it only on success.
    Load(u64),
    /// Unload the version.
    Unload(u64),
}

/// State of a model's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Versions in the repository.
    pub found: BTreeSet<u64>,
    /// Versions in memory.
    pub serving: Vec<Loaded>,
    /// Versions whose present files cannot be loaded.
    pub failed: BTreeSet<u64>,
}

/// Returns the steps from the versions that serve to those that the policy wants. Loads come first,
/// the newest first.
///
/// A version that cannot be loaded counts as absent, so the one before it serves in its place. One
/// that serves from older files goes on. A version is unloaded only when another one serves, or
/// when none is found.
pub fn steps(policy: &VersionPolicy, versions: &Versions) -> Vec<Step> {
    let Versions { found, serving, failed } = versions;
    let serves = |version: u64| serving.iter().find(|loaded| loaded.version == version);
    let usable = found.iter().copied().filter(|v| !failed.contains(v) || serves(*v).is_some());
    let wanted = policy.wanted(&usable.collect());
    let is_current = |version| serves(version).is_some_and(|loaded| loaded.current);
    let loads: Vec<Step> = wanted
        .iter()
        .rev()
        .filter(|&&version| !is_current(version) && !failed.contains(&version))
        .map(|&version| Step::Load(version))
        .collect();
    if !loads.is_empty() {
        return loads;
    }
    let nothing_instead = wanted.is_empty() && !policy.wanted(found).is_empty();
    let unwanted = serving.iter().filter(|l| !nothing_instead && !wanted.contains(&l.version));
    unwanted.map(|loaded| Step::Unload(loaded.version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(versions: &[u64]) -> BTreeSet<u64> {
        versions.iter().copied().collect()
    }

    /// The steps of the policy "latest 1".
    fn latest(found: &[u64], serving: &[u64], failed: &[u64]) -> Vec<Step> {
        let serving = serving.iter().map(|&version| Loaded { version, current: true }).collect();
        let versions = Versions { found: set(found), serving, failed: set(failed) };
        steps(&VersionPolicy::Latest(1), &versions)
    }

    #[test]
    fn policies_choose_among_what_was_found() {
        let found = set(&[1, 2, 5]);
        assert_eq!(VersionPolicy::default().wanted(&found), set(&[5]));
        assert_eq!(VersionPolicy::Latest(2).wanted(&found), set(&[2, 5]));
        assert_eq!(VersionPolicy::All.wanted(&found), found);
        assert_eq!(VersionPolicy::Specific(set(&[1, 9])).wanted(&found), set(&[1]));
    }

    #[test]
    fn loads_the_new_before_it_unloads_the_old() {
        assert_eq!(latest(&[1, 2], &[1], &[]), [Step::Load(2)]);
        assert_eq!(latest(&[1, 2], &[1, 2], &[]), [Step::Unload(1)]);
        assert_eq!(latest(&[1, 2], &[2], &[]), []);
    }

    #[test]
    fn a_broken_new_version_leaves_the_old_one_serving_or_brings_it_in() {
        assert_eq!(latest(&[1, 2], &[1], &[2]), []);
        assert_eq!(latest(&[1, 2], &[], &[2]), [Step::Load(1)]);
    }

    #[test]
    fn changed_files_are_loaded_again_and_the_older_ones_go_on_when_that_fails() {
        let serving = vec![Loaded { version: 2, current: false }];
        let mut versions = Versions { found: set(&[1, 2]), serving, failed: set(&[]) };
        assert_eq!(steps(&VersionPolicy::Latest(1), &versions), [Step::Load(2)]);
        versions.failed = set(&[2]);
        assert_eq!(steps(&VersionPolicy::Latest(1), &versions), []);
    }

    #[test]
    fn a_model_that_is_gone_is_unloaded_and_one_that_is_broken_not() {
        assert_eq!(latest(&[], &[1], &[]), [Step::Unload(1)]);
        assert_eq!(latest(&[2], &[1], &[2]), []);
    }

    /// Takes the steps until there are none, as the repository does, and gives what serves then.
    /// At every moment something serves, if anything did before.
    fn follow(policy: &VersionPolicy, mut versions: Versions, broken: &BTreeSet<u64>) -> Versions {
        let may_be_empty = versions.serving.is_empty() || policy.wanted(&versions.found).is_empty();
        for _ in 0..20 {
            let steps = steps(policy, &versions);
            if steps.is_empty() {
                return versions;
            }
            let Versions { serving, failed, .. } = &mut versions;
            for step in steps {
                match step {
                    Step::Load(version) if broken.contains(&version) => {
                        assert!(failed.insert(version), "{version} is tried again and again");
                    }
                    Step::Load(version) => {
                        serving.retain(|loaded| loaded.version != version);
                        serving.push(Loaded { version, current: true });
                    }
                    Step::Unload(version) => serving.retain(|loaded| loaded.version != version),
                }
                assert!(may_be_empty || !serving.is_empty(), "nothing serves after {step:?}");
            }
        }
        panic!("the steps do not end");
    }

    proptest! {
        #[test]
        fn steps_end_with_as_much_as_can_serve_and_something_serves_all_the_way(
            found in prop::collection::btree_set(1..6_u64, 0..5),
            before in prop::collection::btree_map(1..6_u64, any::<bool>(), 0..5),
            broken in prop::collection::btree_set(1..6_u64, 0..4),
            latest in 1..4_usize,
        ) {
            let policy = VersionPolicy::Latest(latest);
            let serving =
                before.iter().map(|(&version, &current)| Loaded { version, current }).collect();
            let start = Versions { found: found.clone(), serving, failed: BTreeSet::new() };
            let after = follow(&policy, start, &broken);
            let good: BTreeSet<u64> = found.difference(&broken).copied().collect();
            let serving: BTreeSet<u64> = after.serving.iter().map(|l| l.version).collect();
            let of_repository = serving.intersection(&found).count();
            prop_assert!(of_repository >= latest.min(good.len()));
            prop_assert!(serving.is_subset(&found) || of_repository == 0);
        }
    }
}
