//! The report of a test run: the slowest tests, and the tests that needed a second attempt.
//!
//! cargo-nextest writes it as JUnit's XML, one element on a line.

use std::{fmt::Write as _, time::Duration};

/// Tests that are listed with their time.
const SLOWEST: usize = 10;

/// A test that has run.
struct Test {
    /// Test program and function.
    name: String,
    seconds: f64,
    /// Attempts that failed before one passed.
    flaky_failures: usize,
}

/// Sums up JUnit's XML for a person, with the time of the whole run.
pub(crate) fn summary(xml: &str, whole: Duration) -> String {
    let mut tests: Vec<_> = xml.split("<testcase ").skip(1).filter_map(test).collect();
    tests.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let mut text = format!("the {} slowest tests:\n", SLOWEST.min(tests.len()));
    for test in tests.iter().take(SLOWEST) {
        let _ = writeln!(text, "{:8.1} s  {}", test.seconds, test.name);
    }
    let _ = writeln!(text, "{} tests in {:.0} s", tests.len(), whole.as_secs_f64());
    let flaky = || tests.iter().filter(|test| test.flaky_failures > 0);
    if flaky().next().is_none() {
        text += "no test needed a second attempt\n";
    }
    for test in flaky() {
        let _ =
            writeln!(text, "FLAKY: passed on attempt {}: {}", test.flaky_failures + 1, test.name);
    }
    text
}

/// Reads a test from what follows `<testcase `.
fn test(xml: &str) -> Option<Test> {
    let (tag, _) = xml.split_once('>')?;
    let name = format!("{} {}", attribute(tag, "classname")?, attribute(tag, "name")?);
    let seconds = attribute(tag, "time")?.parse().ok()?;
    Some(Test { name, seconds, flaky_failures: xml.matches("<flakyFailure ").count() })
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=\"");
    let value = tag.split_whitespace().find_map(|word| word.strip_prefix(&start))?;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = r#"<testsuites name="nextest-run" tests="2" time="3.2">
    <testsuite name="server::tail" tests="2">
        <testcase name="a" classname="server::tail" timestamp="t" time="0.5">
        </testcase>
        <testcase name="wall_clock::b" classname="server::tail" timestamp="t" time="1.25">
            <flakyFailure timestamp="t" time="0.1" message="m" type="test failure">text</flakyFailure>
        </testcase>
    </testsuite>
</testsuites>"#;

    #[test]
    fn slow_and_flaky_tests_are_named() {
        let wanted = "the 2 slowest tests:\n     1.2 s  server::tail wall_clock::b\n     \
            0.5 s  server::tail a\n2 tests in 3 s\n\
            FLAKY: passed on attempt 2: server::tail wall_clock::b\n";
        assert_eq!(summary(XML, Duration::from_secs(3)), wanted);
    }

    #[test]
    fn a_run_without_second_attempts_says_so() {
        let xml = XML.replace("flakyFailure", "system-out");
        assert!(summary(&xml, Duration::ZERO).ends_with("\nno test needed a second attempt\n"));
        let none = summary("<testsuites/>", Duration::ZERO);
        assert!(none.starts_with("the 0 slowest tests:\n0 tests in 0 s\n"), "{none}");
    }
}
