//! Arrival processes and kinds of request.

use super::responder::Responder;
use super::{failed, load, report, short};
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn the_same_seed_sends_the_same_traffic() {
    let responder = Responder::start();
    let flags = ["--model", "digits", "--rate", "500", "--arrival", "poisson", "--seed"];
    let count = |seed| {
        let report = short(&responder, &[&flags[..], &[seed]].concat());
        assert_eq!((&report["arrival"], &report["pattern"]), (&"open".into(), &"poisson".into()));
        let rate = report["target_requests_per_s"].as_f64().unwrap();
        assert!((rate * 0.3 - report["requests"].as_f64().unwrap()).abs() < 1e-6, "{report}");
        assert!(report["send_delay_us_p99"].is_number());
        report["requests"].as_u64().unwrap()
    };
    assert_eq!(count("3"), count("3"));
    assert!((100..200).contains(&count("4")));
}

#[test]
fn bursts_and_ramps_change_the_rate() {
    let responder = Responder::start();
    let of = |law: &str| {
        let flags = ["--model", "digits", "--rate", "100", "--arrival", law];
        short(&responder, &flags)["requests"].as_u64().unwrap()
    };
    // 100 a second, and ten times as many in half of the time: 165 in 300 ms.
    assert!((115..215).contains(&of("burst:10,50ms,100ms")));
    // From 100 to 1,900 a second: 300 in 300 ms.
    assert!((230..370).contains(&of("ramp:1900")));
}

#[test]
fn an_invalid_recording_is_reported_with_its_line() {
    let responder = Responder::start();
    for (text, expected) in
        [("1\n2\nthree\n", "line 3: `three` is not a time"), ("# none\n", "has no arrivals")]
    {
        let trace = file(text);
        let law = format!("trace:{}", trace.path().display());
        let (code, message) = failed(&responder.url(), &["--model", "digits", "--arrival", &law]);
        assert_eq!(code, 1);
        assert!(message.contains(expected), "{message}");
    }
    let (code, message) =
        failed(&responder.url(), &["--model", "digits", "--arrival", "trace:absent.csv"]);
    assert_eq!(code, 1);
    assert!(message.contains("cannot read absent.csv: No such file"), "{message}");
}

#[test]
fn flags_that_do_not_fit_together_are_bad_usage() {
    for (arguments, expected) in [
        (&["--arrival", "poisson"][..], "--arrival needs --rate"),
        (&["--arrival", "trace:x", "--rate", "5"], "leave out --rate"),
        (&["--arrival", "uniform", "--rate", "5"], "it is one of constant, poisson"),
        (&["--http2", "--no-keep-alive"], "cannot be used with"),
        (&["--http2", "--protocol", "grpc"], "leave out --http2"),
        (&["--connections", "60001"], "--connections is at most 60000"),
        (&["--model", "b", "--version", "1"], "--version is for one model"),
    ] {
        let flags = [&["--model", "a"][..], arguments].concat();
        let (code, message) = failed("http://127.0.0.1:1", &flags);
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn several_models_and_files_share_the_load_by_their_weights() {
    let responder = Responder::start();
    let request = |value: u32| {
        file(&format!(
            r#"{{"inputs":[{{"name":"x","shape":[{value},1],"datatype":"FP32","data":[{}]}}]}}"#,
            vec!["1"; value as usize].join(",")
        ))
    };
    let (one, two) = (request(1), request(2));
    let (one, two) = (one.path().display(), two.path().display());
    let inputs = [format!("digits:{one}=3"), format!("digits:{two}")];
    let flags =
        ["--model", "digits=4", "--model", "half", "--protocol", "binary", "--rate", "2000"];
    let flags = [&flags[..], &["--input", &inputs[0], "--input", &inputs[1]]].concat();
    let report = short(&responder, &flags);
    assert_eq!(report["model"], "digits+half");
    let kinds = report["kinds"].as_array().unwrap();
    let answered: Vec<f64> = kinds.iter().map(|kind| kind["answered"].as_f64().unwrap()).collect();
    let total: f64 = answered.iter().sum();
    assert_eq!(total, report["answered"].as_f64().unwrap());
    for (answered, share) in answered.iter().zip([0.6, 0.2, 0.2]) {
        assert!((answered / total - share).abs() < 0.07, "{report}");
    }
    // The files of one model have 1 and 2 rows, the other model 1.
    let rows = report["rows_per_s"].as_f64().unwrap() / report["requests_per_s"].as_f64().unwrap();
    assert!((1.1..1.3).contains(&rows), "{rows}");

    let (code, message) =
        failed(&responder.url(), &["--model", "digits", "--model", "unknown", "--rate", "5"]);
    assert_eq!(code, 1);
    assert!(message.contains("does not describe the model `unknown`"), "{message}");
}

/// A recording has times of its own, and the length of the whole run is compared with them.
mod wall_clock {
    use super::*;

    #[test]
    fn a_recording_is_sent_whole_and_at_the_given_speed() {
        let responder = Responder::start();
        let lines: Vec<String> = (0..50).map(|n| format!("{{\"at_ms\": {}}}", n * 10)).collect();
        let trace = file(&lines.join("\n"));
        let law = format!("trace:{}", trace.path().display());
        let flags = ["--model", "digits", "--arrival", &law, "--output", "json"];
        for (speed, seconds) in [("1", 0.49), ("2", 0.245)] {
            let output = load(&responder.url(), &[&flags[..], &["--trace-speed", speed]].concat());
            let report = report(&output);
            assert_eq!((&report["requests"], &report["pattern"]), (&50.into(), &"trace".into()));
            let elapsed = report["elapsed_s"].as_f64().unwrap();
            assert!((seconds..seconds + 0.3).contains(&elapsed), "{report}");
        }
        let times = ["--warm-up", "95ms", "--duration", "200ms"];
        let report = report(&load(&responder.url(), &[&flags[..], &times].concat()));
        assert_eq!(report["requests"], 20);
    }
}
