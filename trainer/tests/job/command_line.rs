//! The program on its command line.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_skysail-train");
const SMALL: &str = "epochs = 2\nbatch = 16\nmodel.mlp = [784, 12, 10]\n\
                     data.digits = { train = 320, test = 100 }\nschedule.rate = 0.05\n";

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn call(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn with_recipe(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), text).unwrap();
    folder
}

#[test]
fn a_run_leaves_a_model_that_can_be_evaluated() {
    let folder = with_recipe(SMALL);
    let run =
        ["run", "small.toml", "--ranks", "2", "--seed", "5", "--output", "json", "--out", "o"];
    let (code, out, log) = call(folder.path(), &run);
    assert_eq!(code, 0, "{log}");
    let result: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&result["steps"], &result["ranks"], &result["seed"]),
        (&40.into(), &2.into(), &5.into())
    );
    for name in ["model.onnx", "metrics.jsonl", "result.json", "loss.svg", "accuracy.svg"] {
        assert!(folder.path().join("o").join(name).exists(), "{name}");
    }
    assert!(log.contains("small: 9550 parameters, 320 training rows"), "{log}");
    assert!(log.contains("epoch 2: step 40"), "{log}");
    let evaluate = ["evaluate", "o/model.onnx", "--recipe", "small.toml", "--output", "json"];
    let (code, out, log) = call(folder.path(), &evaluate);
    assert_eq!(code, 0, "{log}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["accuracy"], result["accuracy"]);
    let (code, out, _) = call(folder.path(), &["evaluate", "o/model.onnx", "--data", "digits"]);
    assert!(code == 0 && out.contains("accuracy ") && out.contains("on 2000 rows"), "{out}");
}

#[test]
fn ctrl_c_leaves_a_checkpoint_to_resume_from() {
    let folder = with_recipe(&SMALL.replace("epochs = 2", "epochs = 1000000"));
    let mut child =
        program(folder.path(), &["run", "small.toml"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.starts_with("epoch 1:")));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest: Vec<String> = log.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let last = rest.last().unwrap();
    assert!(last.contains("stopped at step ") && last.contains("continue with --resume"), "{last}");

    let (code, _, log) = call(folder.path(), &["run", "small.toml"]);
    assert!(code == 2 && log.contains("did not finish") && log.contains("--fresh"), "{log}");
    let short = "epochs=1";
    let resumed = ["run", "small.toml", "--resume", "--ranks", "2", "--set", short];
    let (code, out, log) = call(folder.path(), &resumed);
    assert!(code == 0 && out.contains("model.onnx"), "{log}");
    assert!(log.contains("resuming from step"), "{log}");
    let again = ["run", "small.toml", "--set", short];
    let (code, _, log) = call(folder.path(), &again);
    assert!(code == 2 && log.contains("has the results of an earlier run"), "{log}");
    assert!(log.contains("--resume") && log.contains("another folder with --out DIR"), "{log}");
    let (code, _, log) = call(folder.path(), &[&again[..], &["--fresh"]].concat());
    assert_eq!(code, 0, "{log}");
}

#[test]
fn the_exit_status_tells_recipe_usage_and_other_failures_apart() {
    let folder = with_recipe(&SMALL.replace("batch", "bacth"));
    let (code, _, log) = call(folder.path(), &["run", "small.toml"]);
    assert!(code == 64 && log.contains("small.toml") && log.contains("line 2"), "{log}");
    let (code, _, log) = call(folder.path(), &["run", "none.toml"]);
    assert!(code == 64 && log.contains("cannot read none.toml"), "{log}");
    assert_eq!(call(folder.path(), &["run"]).0, 2);
    assert_eq!(call(folder.path(), &["run", "small.toml", "--ranks", "0"]).0, 2);
    let (code, _, log) = call(folder.path(), &["evaluate", "none.onnx", "--data", "digits"]);
    assert!(code == 1 && log.contains("none.onnx"), "{log}");
    let folder = with_recipe(&format!("{SMALL}[target]\naccuracy = 1.0\n"));
    let (code, _, log) = call(folder.path(), &["run", "small.toml"]);
    assert!(code == 1 && log.contains("the target of 100.00 % was not reached"), "{log}");
    let (code, _, log) = call(folder.path(), &["run", "small.toml", "--resume", "--out", "other"]);
    assert!(code == 1 && log.contains("there is no checkpoint in other"), "{log}");
}

#[test]
fn all_reduce_on_gpus_fails_without_a_gpu() {
    let folder = with_recipe(SMALL);
    let (code, out, log) = call(folder.path(), &["run", "small.toml", "--all-reduce", "nccl"]);
    // With a GPU the run succeeds.
    let refused = log.contains("rank 0: ") && (log.contains("no GPU") || log.contains("NCCL"));
    assert!(code == 0 && out.contains("model.onnx") || code == 1 && refused, "{log}");
}

#[test]
fn help_has_examples() {
    let (code, out, _) = call(Path::new("."), &["--help"]);
    assert!(code == 0 && out.contains("Examples:") && out.contains("--resume"), "{out}");
}
