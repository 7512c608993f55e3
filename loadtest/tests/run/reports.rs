//! Reports of a run, and their comparison.

use super::responder::Responder;
use super::{SHORT, load, short};
use serde_json::Value;
use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skysail-load"));
    command.arg("compare").args(arguments).output().unwrap()
}

#[test]
fn a_page_and_a_table_have_the_same_run() {
    let responder = Responder::start();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let flags = ["--model", "digits", "--rate", "400", "--output", "csv", "--html"];
    let flags = [&flags[..], &[page.to_str().unwrap()], &SHORT].concat();
    let output = load(&responder.url(), &flags);
    let table = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let place = lines[0].iter().position(|name| *name == "answered").unwrap();
    assert_eq!(lines[1][place], "120", "{table}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<b>120</b><span>answered</span>"), "{page}");
    assert_eq!(page.matches("<svg").count(), 3);

    let flags = ["--model", "digits", "--html", "/nowhere/report.html"];
    let output = load(&responder.url(), &[&flags[..], &SHORT].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("cannot write /nowhere/report.html"), "{message}");
}

#[test]
fn without_a_terminal_there_is_a_line_each_second() {
    let responder = Responder::start();
    let times = ["--warm-up", "0s", "--duration", "1200ms", "--output", "json"];
    let flags = ["--model", "digits", "--rate", "100"];
    let output = load(&responder.url(), &[&flags[..], &times].concat());
    let lines = String::from_utf8_lossy(&output.stderr);
    assert!(lines.starts_with("1 s: ") && lines.contains(" rejected, 0 failed\n"), "{lines}");
    assert!(!lines.contains('\x1b'), "{lines}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let intervals = report["intervals"].as_array().unwrap();
    assert!((10..=13).contains(&intervals.len()), "{report}");
    let sum = |name: &str| intervals.iter().map(|i| i[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("answered"), sum("requests")), (120, 120));
    let longest = report["percentiles"].as_array().unwrap().last().unwrap();
    assert_eq!((&longest["percent"], &longest["us"]), (&100.0.into(), &report["latency_us_max"]));
}

#[test]
fn two_runs_are_compared() {
    let responder = Responder::start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, rate) in [("a", "200"), ("b", "400")] {
        let times = ["--rate", rate, "--duration", "1s"];
        let flags = [&["--model", "digits", "--warm-up", "0s", "--output", "json"][..], &times];
        let output = load(&responder.url(), &flags.concat());
        std::fs::write(path(name), output.stdout).unwrap();
    }
    let output = compare(&[&path("a"), &path("b")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("throughput") && text.contains(": differs\n"), "{text}");
    assert!(text.contains("note: the runs differ in arrival: 200/s and 400/s"), "{text}");

    let output = compare(&[&path("a"), &path("a"), "--output", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["figures"][0]["name"], "throughput");
    assert_eq!(
        (&found["figures"][0]["ratio"], &found["figures"][0]["differs"]),
        (&1.0.into(), &false.into())
    );
}

#[test]
fn invalid_reports_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x").display().to_string();
    for (text, expected) in [
        ("no", "is not a report: write it with"),
        ("{}", "is not a report of a run"),
        ("[1]", "is not a report"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = compare(&[&path, &path]);
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(expected), "{message}");
    }
    let message = compare(&["absent", "absent"]).stderr;
    assert!(String::from_utf8_lossy(&message).contains("cannot read absent: No such file"));
    assert_eq!(compare(&["one"]).status.code(), Some(2));
}

#[test]
fn answers_in_time_are_counted_in_each_interval() {
    let responder = Responder::start();
    let report =
        short(&responder, &["--model", "digits", "--rate", "100", "--objective-ms", "500"]);
    let in_time: u64 = report["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["in_time"].as_u64().unwrap())
        .sum();
    assert_eq!(report["in_time"], in_time);
}
