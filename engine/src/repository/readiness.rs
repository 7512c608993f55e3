//! Readiness of the repository as a whole: which models are to serve, and which of them do not.

use super::{State, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Models that a reason names, at most.
const NAMED_MAX: usize = 8;

/// Rule for the models that must serve before the server is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// All models that the repository asks for.
    #[default]
    All,
    /// The models that the settings name.
    Named,
    /// At least one model.
    Any,
}

/// Everything that readiness follows from.
pub(super) struct Facts<'a> {
    pub(super) ready_when: ReadyWhen,
    /// Models that the settings name.
    pub(super) named: &'a [String],
    /// Models that the folder or commands ask for.
    pub(super) asked: &'a BTreeSet<String>,
    pub(super) index: &'a BTreeMap<(String, u64), Status>,
    /// Models that have failed, and not served since.
    pub(super) broken: &'a BTreeSet<String>,
    /// True once everything asked for at the start has been loaded or has failed.
    pub(super) is_started: bool,
}

/// Reasons why the repository is not ready; none if it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    lacking: Vec<String>,
}

impl Readiness {
    /// True if everything serves that must.
    pub fn is_ready(&self) -> bool {
        self.lacking.is_empty()
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ready() {
            return f.write_str("everything that should serve does");
        }
        f.write_str(&self.lacking[..self.lacking.len().min(NAMED_MAX)].join("; "))?;
        match self.lacking.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Finds the models that must serve and do not.
///
/// A model serves when a version of it does, be it from older files. At the start, rule `all` also
/// waits for its other versions. A model that comes later may load first; one that was broken must
/// serve.
pub(super) fn readiness(facts: &Facts<'_>) -> Readiness {
    let lacking = match facts.ready_when {
        ReadyWhen::All => {
            let models: BTreeSet<&String> = facts.asked.iter().chain(facts.named).collect();
            let lacking: Vec<_> =
                models.iter().filter_map(|model| facts.lack_of_all(model)).collect();
            match lacking.is_empty() && !facts.is_started {
                true => vec!["the repository is being read".into()],
                false => lacking,
            }
        }
        ReadyWhen::Named => {
            let unserved = facts.named.iter().filter(|model| !facts.serves(model));
            unserved.map(|model| facts.words(model)).collect()
        }
        ReadyWhen::Any => {
            let models: BTreeSet<&String> = facts.index.keys().map(|(name, _)| name).collect();
            match models.iter().any(|model| facts.serves(model)) {
                true => Vec::new(),
                false => std::iter::once("no model serves".into())
                    .chain(models.into_iter().map(|model| facts.words(model)))
                    .collect(),
            }
        }
    };
    Readiness { lacking }
}

impl Facts<'_> {
    fn states<'a>(&'a self, model: &'a str) -> impl Iterator<Item = (u64, &'a Status)> {
        let versions = (model.to_owned(), 0)..=(model.to_owned(), u64::MAX);
        self.index.range(versions).map(|((_, version), status)| (*version, status))
    }

    fn is_any(&self, model: &str, state: State) -> bool {
        self.states(model).any(|(_, status)| status.state == state)
    }

    fn serves(&self, model: &str) -> bool {
        self.is_any(model, State::Ready)
    }

    /// Reason why a model keeps the server from being ready by rule `all`.
    fn lack_of_all(&self, model: &str) -> Option<String> {
        let loads = self.is_any(model, State::Loading);
        let lacks = match self.is_started {
            false => loads || !self.serves(model),
            true => !self.serves(model) && (!loads || self.broken.contains(model)),
        };
        lacks.then(|| self.words(model))
    }

    /// Describes the states of a model that are not READY.
    fn words(&self, model: &str) -> String {
        let others = self.states(model).filter(|(_, status)| status.state != State::Ready);
        let word = |(version, status): (u64, &Status)| status.words(version);
        let words: Vec<String> = others.map(word).collect();
        match words.is_empty() {
            true => format!("model '{model}' is not in the repository"),
            false => format!("model '{model}' {}", words.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Loading, Ready, Unavailable, Unloading};

    type Index<'a> = &'a [(&'a str, u64, State)];

    /// Reasons by a rule, with models `named` by the settings and `asked` for.
    fn check(
        ready_when: ReadyWhen,
        names: (&[&str], &[&str]),
        index: Index<'_>,
        is_started: bool,
    ) -> Vec<String> {
        check_with_broken(ready_when, names, index, &[], is_started)
    }

    fn check_with_broken(
        ready_when: ReadyWhen,
        (named, asked): (&[&str], &[&str]),
        index: Index<'_>,
        broken: &[&str],
        is_started: bool,
    ) -> Vec<String> {
        let named: Vec<String> = named.iter().map(|&name| name.into()).collect();
        let asked = asked.iter().map(|&name| name.into()).collect();
        let status = |state| Status { state, reason: "why".into() };
        let index =
            index.iter().map(|(name, v, state)| (((*name).into(), *v), status(*state))).collect();
        let broken: BTreeSet<String> = broken.iter().map(|&name| name.into()).collect();
        let (named, asked, index, broken) = (&named, &asked, &index, &broken);
        let facts = Facts { ready_when, named, asked, index, broken, is_started };
        readiness(&facts).lacking
    }

    fn all(asked: &[&str], index: Index<'_>, is_started: bool) -> Vec<String> {
        check(ReadyWhen::All, (&[], asked), index, is_started)
    }

    #[test]
    fn an_empty_repository_is_ready_once_it_is_read() {
        assert_eq!(all(&[], &[], false), ["the repository is being read"]);
        assert!(all(&[], &[], true).is_empty());
    }

    #[test]
    fn at_the_start_everything_is_waited_for() {
        let index = [("a", 1, Ready), ("b", 1, Loading)];
        assert_eq!(all(&["a", "b"], &index, false), ["model 'b' version 1 is LOADING: why"]);
        let index = [("a", 1, Ready), ("a", 2, Loading)];
        assert_eq!(all(&["a"], &index, false), ["model 'a' version 2 is LOADING: why"]);
    }

    #[test]
    fn later_a_model_may_load_but_not_be_broken() {
        assert!(all(&["a", "b"], &[("a", 1, Ready), ("b", 1, Loading)], true).is_empty());
        let index = [("a", 1, Ready), ("b", 1, Unavailable)];
        assert_eq!(all(&["a", "b"], &index, true), ["model 'b' version 1 is UNAVAILABLE: why"]);
        // A broken update leaves the version before it serving.
        assert!(all(&["a"], &[("a", 1, Ready), ("a", 2, Unavailable)], true).is_empty());
        // A model that nobody asks for any more may go.
        assert!(all(&["a"], &[("a", 1, Ready), ("gone", 1, Unloading)], true).is_empty());
    }

    #[test]
    fn a_broken_model_that_loads_again_must_serve() {
        let check = |index| check_with_broken(ReadyWhen::All, (&[], &["a"]), index, &["a"], true);
        assert_eq!(check(&[("a", 1, Loading)]), ["model 'a' version 1 is LOADING: why"]);
        assert!(check(&[("a", 1, Ready)]).is_empty());
        assert!(check(&[("a", 1, Ready), ("a", 2, Loading)]).is_empty());
    }

    #[test]
    fn a_named_model_that_is_not_there_is_missed() {
        let missed = check(ReadyWhen::All, (&["a"], &[]), &[], true);
        assert_eq!(missed, ["model 'a' is not in the repository"]);
        let index = [("a", 1, Ready), ("b", 0, Unavailable), ("c", 1, Loading)];
        let named = |named: &[&str]| check(ReadyWhen::Named, (named, &["b"]), &index, false);
        assert!(named(&["a"]).is_empty(), "others may load or be broken");
        assert_eq!(named(&["b", "c"]).len(), 2);
        assert_eq!(named(&["b"]), ["model 'b' is UNAVAILABLE: why"]);
    }

    #[test]
    fn any_model_is_enough_for_rule_any() {
        let any = |index| check(ReadyWhen::Any, (&[], &[]), index, false);
        assert!(any(&[("a", 1, Ready), ("b", 1, Unavailable)]).is_empty());
        assert_eq!(any(&[]), ["no model serves"]);
        assert_eq!(any(&[("a", 1, Loading)]).len(), 2);
    }

    #[test]
    fn a_reason_names_a_few_models_only() {
        let names: Vec<String> = (10..30).map(|number| format!("m{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = Readiness { lacking: all(&names, &[], true) }.to_string();
        assert!(text.contains("'m17'") && !text.contains("'m18'"), "{text}");
        assert!(text.ends_with("and 12 more"), "{text}");
    }
}
