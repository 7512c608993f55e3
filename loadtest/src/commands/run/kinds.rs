//! Kinds of request from the flags: each model with each of its files.

use super::Flags;
use crate::commands::Usage;
use crate::commands::values::Weighted;
use anyhow::Result;
use skysail_loadtest::RequestKind;
use skysail_loadtest::payload::{Random, Source};
use std::collections::HashSet;

impl Flags {
    /// Kinds of request with their weights. Models share the load by their weights, and a model's
    /// files share its part by theirs.
    pub(super) fn kinds(&self) -> Result<Vec<RequestKind>> {
        let names: HashSet<&str> = self.model.iter().map(|model| &*model.value).collect();
        if names.len() < self.model.len() {
            return Err(Usage::error("--model names a model twice: give it one weight"));
        }
        if self.model.len() > 1 && self.version.is_some() {
            return Err(Usage::error("--version is for one model: leave it out with several"));
        }
        let input_of_model: Vec<(&str, &str, f64)> =
            self.input.iter().map(|input| self.input_of_model(input)).collect::<Result<_>>()?;
        let mut kinds = Vec::new();
        for model in &self.model {
            let files = input_of_model.iter().filter(|(of, ..)| *of == model.value);
            let total: f64 = files.clone().map(|(.., weight)| weight).sum();
            let of_files: Vec<RequestKind> = files
                .map(|(_, file, weight)| {
                    self.kind(model, Source::File(file.into()), weight / total)
                })
                .collect();
            if of_files.is_empty() {
                kinds.push(self.kind(model, Source::Random(self.random()), 1.0));
            }
            kinds.extend(of_files);
        }
        Ok(kinds)
    }

    fn kind(&self, model: &Weighted, source: Source, share: f64) -> RequestKind {
        let (model, weight) = (model.value.clone(), model.weight * share);
        RequestKind { model, version: self.version.clone(), source, weight }
    }

    fn random(&self) -> Random {
        Random { rows: self.rows.get(), shapes: self.shape.clone(), seed: self.seed }
    }

    /// Model of a file, the file, and its weight.
    fn input_of_model<'a>(&'a self, input: &'a Weighted) -> Result<(&'a str, &'a str, f64)> {
        let of_model = self.model.iter().find_map(|model| {
            let file = input.value.strip_prefix(&*model.value)?.strip_prefix(':')?;
            Some((&*model.value, file, input.weight))
        });
        match (of_model, &*self.model) {
            (Some(input_of_model), _) => Ok(input_of_model),
            (None, [only]) => Ok((&only.value, &input.value, input.weight)),
            (None, _) => {
                let file = &input.value;
                Err(Usage::error(format!(
                    "--input {file}: which model is it for? Write MODEL:{file}"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn kinds(text: &str) -> Result<Vec<(String, String, f64)>, String> {
        let words = format!("run --url http://h {text}");
        let flags = Command::parse_from(words.split(' ')).flags;
        let named = |kind: RequestKind| {
            let source = match kind.source {
                Source::File(path) => path.display().to_string(),
                Source::Random(_) => "random".to_owned(),
            };
            (kind.model, source, kind.weight)
        };
        let kinds = flags.kinds().map_err(|error| error.to_string())?;
        Ok(kinds.into_iter().map(named).collect())
    }

    fn kind(model: &str, source: &str, weight: f64) -> (String, String, f64) {
        (model.to_owned(), source.to_owned(), weight)
    }

    #[test]
    fn models_and_files_have_weights() {
        assert_eq!(kinds("--model a"), Ok(vec![kind("a", "random", 1.0)]));
        assert_eq!(
            kinds("--model a --input x.json=3 --input a:y.json"),
            Ok(vec![kind("a", "x.json", 0.75), kind("a", "y.json", 0.25)])
        );
        assert_eq!(
            kinds("--model a=4 --model b --input a:x --input a:y"),
            Ok(vec![kind("a", "x", 2.0), kind("a", "y", 2.0), kind("b", "random", 1.0)])
        );
    }

    #[test]
    fn contradictory_flags_are_reported() {
        let message = |text: &str| kinds(text).unwrap_err();
        assert!(message("--model a --model b --input x").contains("Write MODEL:x"));
        assert!(message("--model a --model a=2").contains("names a model twice"));
        assert!(message("--model a --model b --version 1").contains("is for one model"));
    }
}
