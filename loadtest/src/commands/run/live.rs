//! What is seen while a run goes on: a view that is drawn again and again on a terminal, and a line
//! each second elsewhere.

use skysail_loadtest::arrival::Window;
use skysail_loadtest::report::{Interval, text_us};
use skysail_loadtest::{Kind, Progress};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Intervals that a curve shows.
const CURVE: usize = 40;
/// The letters of a curve, from low to high.
const LETTERS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The width that every terminal has.
const WIDTH: usize = 79;

/// The view, on standard error.
pub(super) struct Live {
    what: String,
    window: Window,
    is_terminal: bool,
    /// Lines that are drawn over.
    drawn: usize,
    /// The last second of which a line was written.
    told_s: u64,
}

impl Live {
    /// Nothing is seen yet.
    pub(super) fn start(kinds: &[Kind], window: Window) -> Self {
        let mut models: Vec<&str> = kinds.iter().map(|kind| &*kind.model).collect();
        models.dedup();
        let is_terminal = io::stderr().is_terminal();
        Self { what: models.join("+"), window, is_terminal, drawn: 0, told_s: 0 }
    }

    /// Shows how far the run has come.
    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        let text = if self.is_terminal {
            let frame = frame(&self.what, self.window, progress);
            let back = match self.drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}F\x1b[J"),
            };
            self.drawn = frame.lines().count();
            back + &frame
        } else {
            let second = progress.elapsed.as_secs();
            if second <= self.told_s {
                return;
            }
            self.told_s = second;
            line(progress) + "\n"
        };
        // A run goes on without its watcher.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Leaves the terminal to the report.
    pub(super) fn end(&mut self) {
        if self.drawn > 0 {
            let _ = write!(io::stderr(), "\x1b[{}F\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// `12 s: 500.0/s, p50 1.20 ms, p99 3.40 ms, 0 refused, 0 failed`.
fn line(progress: &Progress<'_>) -> String {
    let Progress { elapsed, refused, failed, intervals, .. } = progress;
    let seconds = elapsed.as_secs();
    let Some(last) = intervals.last() else { return format!("{seconds} s: warming up") };
    let rate = last.requests_per_s();
    let (p50, p99) = (us(last.latency_us_p50), us(last.latency_us_p99));
    format!("{seconds} s: {rate:.1}/s, p50 {p50}, p99 {p99}, {refused} refused, {failed} failed")
}

fn us(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), text_us)
}

fn frame(what: &str, window: Window, progress: &Progress<'_>) -> String {
    let Progress { elapsed, answered, failed, refused, intervals } = *progress;
    let (now, end) = (elapsed.as_secs_f64(), window.end().as_secs_f64());
    let mut text = String::new();
    let state = if intervals.is_empty() { ", warming up" } else { "" };
    // Writing to text does not fail.
    let _ = writeln!(text, "{}", cut(&format!("{what}: {now:.1} of {end:.1} s{state}")));
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
    let _ = writeln!(text, "{answered} answered, {refused} refused, {failed} failed");
    text
}

fn cut(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control()).take(WIDTH).collect()
}

/// The last intervals, each as high as its value.
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
        Progress { elapsed, answered: 360, failed: 3, refused: 2, intervals }
    }

    const WINDOW: Window =
        Window { warm_up: Duration::from_secs(1), duration: Duration::from_secs(10) };

    #[test]
    fn a_line_says_how_it_goes() {
        assert_eq!(
            line(&progress(&intervals())),
            "9 s: 80.0/s, p50 100.0 us, p99 8.00 ms, 2 refused, 3 failed"
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
