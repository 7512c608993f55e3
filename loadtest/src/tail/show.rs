//! Table of slow requests. Text from requests is shown without control characters.

use super::{ModelTail, SlowRequest, Tail};
use crate::report::format_us;
use std::fmt;

/// Stages of a request, in order.
const STAGES: [&str; 7] = ["accept", "decode", "admit", "queue", "batch", "execute", "respond"];
/// Most characters of a request's identifier.
const ID_MAX: usize = 36;
/// Most characters of an explanation.
const EXPLANATION_MAX: usize = 100;

/// First requests of each model as text.
#[derive(Debug)]
pub struct TailTable<'a> {
    /// Slow requests.
    pub tail: &'a Tail,
    /// Most requests of each model.
    pub rows: usize,
}

impl fmt::Display for TailTable<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tail.models.is_empty() {
            writeln!(to, "the server has no model")?;
        }
        for (index, model) in self.tail.models.iter().enumerate() {
            if index > 0 {
                writeln!(to)?;
            }
            self.write_model(to, model)?;
        }
        Ok(())
    }
}

impl TailTable<'_> {
    fn write_model(&self, to: &mut fmt::Formatter<'_>, model: &ModelTail) -> fmt::Result {
        let version = match &model.version {
            serde_json::Value::String(text) => printable(text, ID_MAX),
            other => printable(&other.to_string(), ID_MAX),
        };
        write!(to, "{} {version}", printable(&model.name, 200))?;
        if let Some(ms) = model.objective_ms {
            write!(to, ", objective {}", format_us(ms * 1e3))?;
        }
        let shown = model.requests.len().min(self.rows);
        let window_s = self.tail.window_s;
        if shown == 0 {
            return writeln!(to, ": nothing slow and nothing failed in the last {window_s} s");
        }
        let count = model.requests.len();
        writeln!(to, ": {shown} of {count} remembered from the last {window_s} s")?;
        write!(to, "{:>10} {:<9}", "total", "outcome")?;
        STAGES.iter().try_for_each(|stage| write!(to, " {stage:>9}"))?;
        writeln!(to, " {:>11} {:>8}  why", "batch", "ago")?;
        model.requests.iter().take(self.rows).try_for_each(|request| write_request(to, request))
    }
}

fn write_request(to: &mut fmt::Formatter<'_>, request: &SlowRequest) -> fmt::Result {
    let outcome = printable(&request.outcome, 9);
    write!(to, "{:>10} {outcome:<9}", format_us(request.total_us))?;
    for stage in STAGES {
        let us = request.stages_us.get(stage).copied().flatten();
        write!(to, " {:>9}", us.map_or_else(|| "-".to_owned(), format_us))?;
    }
    let batch = request.batch.as_ref();
    let batch = batch.map_or("-".to_owned(), |batch| format!("#{} x{}", batch.number, batch.rows));
    let ago = format!("{:.1} s", request.ended_ms_ago / 1e3);
    let id = printable(&request.request_id, ID_MAX);
    writeln!(to, " {batch:>11} {ago:>8}  {} [{id}]", why(request))
}

fn why(request: &SlowRequest) -> String {
    let words = if request.explanation.is_empty() { &request.cause } else { &request.explanation };
    let mut why = printable(words, EXPLANATION_MAX);
    if let Some(reason) = &request.reason
        && !why.contains(reason.as_str())
    {
        why = format!("{}: {why}", printable(reason, EXPLANATION_MAX));
    }
    why
}

/// Escapes control characters and those that change the writing direction, and truncates.
pub fn printable(text: &str, characters: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index >= characters {
            shown.push('…');
            break;
        }
        if character.is_control() || is_directional(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Invisible characters that reorder or hide others.
fn is_directional(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"window_s": 60, "models": [
      {"name": "digits", "version": "1", "objective_ms": 20.0, "requests": [
        {"request_id": "a\u001b[2Jb\u202e", "ended_ms_ago": 1500, "total_us": 42000.0,
         "outcome": "missed", "reason": null, "cause": "waited_behind_batch",
         "explanation": "waited behind batch 17 of 64 rows",
         "stages_us": {"accept": 12.0, "decode": 30.5, "admit": 1.0, "queue": 38000.0,
                       "batch": 5.0, "execute": 3900.0, "respond": 40.0},
         "batch": {"number": 18, "rows": 8, "members": 8, "predicted_us": 3500.0,
                   "ran_us": 3900.0, "cold": false}, "behind": {"number": 17, "rows": 64}},
        {"request_id": "r2", "ended_ms_ago": 10, "total_us": 800.0, "outcome": "refused",
         "reason": "overloaded", "cause": "shed", "explanation": "",
         "stages_us": {"accept": 12.0, "decode": 30.0}, "batch": null, "behind": null}]},
      {"name": "idle", "version": 2, "objective_ms": null, "requests": []}]}"#;

    fn tail() -> Tail {
        serde_json::from_str(ANSWER).unwrap()
    }

    #[test]
    fn a_table_shows_times_stages_and_causes() {
        let text = TailTable { tail: &tail(), rows: 10 }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "digits 1, objective 20.00 ms: 2 of 2 remembered from the last 60 s");
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words[..4], ["total", "outcome", "accept", "decode"]);
        assert!(lines[2].contains("42.00 ms missed") && lines[2].contains("38.00 ms"), "{text}");
        assert!(lines[2].contains("#18 x8") && lines[2].contains("batch 17 of 64 rows"), "{text}");
        assert!(lines[3].contains("overloaded: shed [r2]") && lines[3].contains(" - "), "{text}");
        assert_eq!(lines[5], "idle 2: nothing slow and nothing failed in the last 60 s");
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = TailTable { tail: &tail(), rows: 1 }.to_string();
        assert!(text.contains("a\\u{1b}[2Jb\\u{202e}") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("1 of 2 remembered"), "{text}");
        assert_eq!(printable("a\nb\u{9b}c", 9), "a\\u{a}b\\u{9b}c");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    #[test]
    fn missing_fields_are_empty() {
        let tail: Tail = serde_json::from_str(r#"{"models": [{"requests": [{}]}]}"#).unwrap();
        let text = TailTable { tail: &tail, rows: 5 }.to_string();
        assert!(text.contains("1 of 1"), "{text}");
        assert!(TailTable { tail: &Tail::default(), rows: 5 }.to_string().contains("no model"));
    }
}
