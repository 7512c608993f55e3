//! The command line of `skysail-train`.

mod compress;
mod launcher;
mod evaluate;
mod output;
mod run;
mod stop;

use clap::{Parser, Subcommand};
use skysail_trainer::{RecipeError, TrainError};
use std::io::{self, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  skysail-train run trainer/recipes/digits.toml                 train on generated digits
  skysail-train run lenet-5.toml --ranks 2 --out runs/mine      train on two threads
  skysail-train run lenet-5.toml --set schedule.rate=0.05       override one key of the recipe
  skysail-train run lenet-5.toml --resume                       continue from the last checkpoint
  skysail-train compress lenet-5.toml                           compress runs/lenet-5/model.onnx
  skysail-train evaluate runs/digits/model.onnx --data digits   loss and accuracy on test data

Exit status: 0 success, 1 failure, 2 bad command line, 64 bad recipe.";

/// Trains, compresses and evaluates ONNX models. Recipes (TOML files) describe model, data, training
/// and compression.
#[derive(Debug, Parser)]
#[command(name = "skysail-train", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Flags),
    Compress(compress::Flags),
    Evaluate(evaluate::Flags),
}

/// An error in a combination of flags.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadUsage(String);

/// Runs the subcommand and maps the outcome to an exit status.
pub(crate) fn main() -> ExitCode {
    let command = Flags::parse().command;
    let done = stop::run(move |stop| match command {
        Command::Run(flags) => run::execute(&flags, stop),
        Command::Compress(flags) => compress::execute(&flags, stop),
        Command::Evaluate(flags) => evaluate::execute(&flags),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failure to write the error itself cannot be reported.
            let _ = writeln!(io::stderr(), "skysail-train: {}", message(&error));
            ExitCode::from(status(&error))
        }
    }
}

/// Formats an error and its causes; skips causes that the text contains already.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = text + separator + &cause;
        }
    }
    text
}

/// Exit status of an error: 64 for the recipe, 2 for the flags, 1 for anything else.
fn status(error: &anyhow::Error) -> u8 {
    let by_recipe = matches!(error.downcast_ref(), Some(TrainError::Recipe(_)));
    if by_recipe || error.is::<RecipeError>() {
        return 64;
    }
    if error.is::<BadUsage>() { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_well_formed() {
        Flags::command().debug_assert();
    }

    #[test]
    fn the_exit_status_tells_recipe_usage_and_other_failures_apart() {
        let recipe = || RecipeError("line 3".to_owned());
        assert_eq!(status(&recipe().into()), 64);
        assert_eq!(status(&TrainError::Recipe(recipe()).into()), 64);
        assert_eq!(status(&BadUsage("both".to_owned()).into()), 2);
        let failed = anyhow::Error::from(TrainError::Data("no".to_owned())).context("it failed");
        assert_eq!(status(&failed), 1);
        assert_eq!(message(&failed), "it failed: the data does not fit the model: no");
    }
}
