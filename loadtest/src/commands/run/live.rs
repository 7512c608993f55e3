//! Progress view of a run: redrawn on a terminal, a line each second elsewhere.

use skysail_loadtest::arrival::Window;
use skysail_loadtest::report::{Interval, format_us};
use skysail_loadtest::{Progress, RequestKind};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Most intervals that a curve shows.
const CURVE: usize = 40;
/// Characters of a curve, from low to high.
const LETTERS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Width of the view, which fits every terminal.
const WIDTH: usize = 79;

/// Progress view, on standard error.
pub(super) struct Live {
    models: String,
    window: Window,
    is_terminal: bool,
    /// Lines of the last frame, which the next one replaces.
    lines_drawn: usize,
    /// Second of the last line.
    last_line_s: u64,
}

impl Live {
    /// Creates an empty view.
    pub(super) fn start(kinds: &[RequestKind], window: Window) -> Self {
        let mut models: Vec<&str> = kinds.iter().map(|kind| &*kind.model).collect();
        models.dedup();
        let is_terminal = io::stderr().is_terminal();
        Self { models: models.join("+"), window, is_terminal, lines_drawn: 0, last_line_s: 0 }
    }

    /// Shows the progress of the run.
    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        let text = if self.is_terminal {
            let frame = frame(&self.models, self.window, progress);
            let back = match self.lines_drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}F\x1b[J"),
            };
            self.lines_drawn = frame.lines().count();
            back + &frame
        } else {
            let second = progress.elapsed.as_secs();
            if second <= self.last_line_s {
                return;
            }
            self.last_line_s = second;
            line(progress) + "\n"
        };
        // Errors are ignored: a run goes on without a terminal.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Clears the view, to make room for the report.
    pub(super) fn end(&mut self) {
        if self.lines_drawn > 0 {
            let _ = write!(io::stderr(), "\x1b[{}F\x1b[J", self.lines_drawn);
            self.lines_drawn = 0;
        }
    }
}

/// `12 s: 500.0/s, p50 1.20 ms, p99 3.40 ms, 0 rejected, 0 failed`.
fn line(progress: &Progress<'_>) -> String {
    let Progress { elapsed, rejected, failed, intervals, .. } = progress;
    let seconds = elapsed.as_secs();
    let Some(last) = intervals.last() else { return format!("{seconds} s: warming up") };
    let rate = last.requests_per_s();
    let (p50, p99) = (us(last.latency_us_p50), us(last.latency_us_p99));
    format!("{seconds} s: {rate:.1}/s, p50 {p50}, p99 {p99}, {rejected} rejected, {failed} failed")
}

fn us(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), format_us)
}

fn frame(models: &str, window: Window, progress: &Progress<'_>) -> String {
    let Progress { elapsed, answered, failed, rejected, intervals } = *progress;
    let (now, end) = (elapsed.as_secs_f64(), window.end().as_secs_f64());
    let mut text = String::new();
    let state = if intervals.is_empty() { ", warming up" } else { "" };
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", cut(&format!("{models}: {now:.1} of {end:.1} s{state}")));
    if let Some(last) = intervals.last() {
        let rows = [
            (
                "rate",
                format!("{:.1}/s", last.requests_per_s()),
                curve(intervals, |i| Some(i.requests_per_s())),
            ),
            ("p50", us(last.latency_us_p50), curve(intervals, |i| i.latency_us_p50)),
            ("p99", us(last.latency_us_p99), curve(intervals, |i| i.latency_us_p99)),
        ];
        for (name, value, curve) in rows {
            let _ = writeln!(text, "{name:<5}{value:>14}  {curve}");
        }
    }
    let _ = writeln!(text, "{answered} answered, {rejected} rejected, {failed} failed");
    text
}

fn cut(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control()).take(WIDTH).collect()
}

/// Curve of the last intervals.
fn curve(intervals: &[Interval], value: impl Fn(&Interval) -> Option<f64>) -> String {
    let shown = &intervals[intervals.len().saturating_sub(CURVE)..];
    let values: Vec<f64> = shown.iter().map(|interval| value(interval).unwrap_or(0.0)).collect();
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let letter = |value: &f64| {
        let height = (value / most * LETTERS.len() as f64) as usize;
        LETTERS[height.min(LETTERS.len() - 1)]
    };
    values.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn intervals() -> Vec<Interval> {
        let interval = |n: u32| Interval {
            end_s: f64::from(n),
            length_s: 1.0,
            answered: u64::from(n) * 10,
            latency_us_p50: Some(100.0),
            latency_us_p99: Some(1000.0 * f64::from(n)),
            ..Interval::default()
        };
        (1..=8).map(interval).collect()
    }

    fn progress(intervals: &[Interval]) -> Progress<'_> {
        let elapsed = Duration::from_millis(9_500);
        Progress { elapsed, answered: 360, failed: 3, rejected: 2, intervals }
    }

    const WINDOW: Window =
        Window { warm_up: Duration::from_secs(1), duration: Duration::from_secs(10) };

    #[test]
    fn a_line_shows_the_progress() {
        assert_eq!(
            line(&progress(&intervals())),
            "9 s: 80.0/s, p50 100.0 us, p99 8.00 ms, 2 rejected, 3 failed"
        );
        assert_eq!(line(&progress(&[])), "9 s: warming up");
    }

    #[test]
    fn a_frame_has_curves_and_fits_the_terminal() {
        let frame = frame(&"m\n".repeat(100), WINDOW, &progress(&intervals()));
        let lines: Vec<&str> = frame.lines().collect();
        assert_eq!(lines.len(), 5, "{frame}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{frame}");
        assert!(lines[1].contains("80.0/s") && lines[1].ends_with("▂▃▄▅▆▇██"), "{frame}");
        assert!(lines[2].ends_with("████████"), "{frame}");
        assert!(super::frame("m", WINDOW, &progress(&[])).starts_with("m: 9.5 of 11.0 s, warming"));
    }
}
