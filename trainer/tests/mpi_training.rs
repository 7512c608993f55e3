//! Training runs under `mpirun`: a killed rank is named, and the run resumes with other numbers of
//! workers.

#![cfg(feature = "mpi")]
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_skysail-train");
const SMALL: &str = "epochs = 1000000\nbatch = 24\nmodel.mlp = [784, 12, 10]\n\
                     data.digits = { train = 480, test = 100 }\nschedule.rate = 0.05\n\
                     timeout-seconds = 60\n";
const TIMEOUT: Duration = Duration::from_secs(60);
/// Settings that end training after the next epoch; they are not part of the recipe's fingerprint.
const SOON: [&str; 4] = ["--set", "target.accuracy=0.0", "--set", "target.stop=true"];

fn mpirun(folder: &Path, ranks: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string(), PROGRAM]);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

/// The process of a rank that `mpirun` started.
fn process(mpirun: u32, rank: usize) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{mpirun}/task/{mpirun}/children"));
    let children = children.ok()?;
    let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
    pids.find(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    })
}

fn result(folder: &Path) -> serde_json::Value {
    let text = std::fs::read(folder.join("runs/small/result.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_killed_rank_is_named_and_the_run_resumes_with_other_numbers_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("small.toml"), SMALL).unwrap();
    let mut command = mpirun(folder, 3, &["run", "small.toml"]);
    let Ok(mut job) = command.stderr(Stdio::piped()).spawn() else {
        println!("skipped: there is no mpirun");
        return;
    };
    let mut log = BufReader::new(job.stderr.take().unwrap()).lines().map(Result::unwrap);
    // Epoch 1 is in a checkpoint when epoch 2 is printed.
    assert!(log.any(|line| line.starts_with("epoch 2:")));
    let pid = process(job.id(), 1).unwrap().to_string();
    let killed = Instant::now();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let rest: Vec<String> = log.collect();
    assert!(!job.wait().unwrap().success());
    assert!(killed.elapsed() < TIMEOUT);
    assert!(rest.iter().any(|line| line.contains("rank 1 ")), "{rest:?}");

    let resume = [&["run", "small.toml", "--resume"], &SOON[..]].concat();
    let resumed = mpirun(folder, 2, &resume).output().unwrap();
    let log = String::from_utf8_lossy(&resumed.stderr);
    assert!(resumed.status.success() && log.contains("resuming from step"), "{log}");
    let two = result(folder);
    assert_eq!(two["ranks"], 2);
    assert!(two["epochs"].as_u64().unwrap() >= 2, "{two}");

    let single = Command::new(PROGRAM).args(&resume).current_dir(folder).output().unwrap();
    assert!(single.status.success(), "{}", String::from_utf8_lossy(&single.stderr));
    let one = result(folder);
    assert_eq!(one["ranks"], 1);
    assert!(one["steps"].as_u64().unwrap() > two["steps"].as_u64().unwrap(), "{one}");
}

#[test]
fn commands_for_threads_only_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let Ok(output) = mpirun(folder.path(), 2, &["compress", "small.toml"]).output() else {
        println!("skipped: there is no mpirun");
        return;
    };
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains("start it without mpirun"), "{log}");
}
