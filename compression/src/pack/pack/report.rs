//! The report of `pack`.

use super::steps::Outcome;
use super::timing::BatchTimes;
use crate::args::{Output, Share};
use crate::check::Checked;
use crate::compare::Comparison;
use crate::table::{grouped, hex, percent};
use serde_json::json;
use skysail_compression::Summary;
use std::io::{self, Write};
use std::path::Path;

/// Content of the report.
pub(super) struct Report<'a> {
    pub(super) model: &'a Path,
    pub(super) out: &'a Path,
    pub(super) summary: Summary,
    pub(super) done: Outcome,
    pub(super) comparison: Option<Comparison>,
    pub(super) loss_max: Option<Share>,
}

impl Report<'_> {
    pub(super) fn print(&self, to: &mut impl Write, output: Output) -> io::Result<()> {
        match output {
            Output::Text => self.text(to),
            Output::Json => self.json(to),
        }
    }

    fn text(&self, to: &mut impl Write) -> io::Result<()> {
        let (out, bytes) = (self.out.display(), self.summary.bytes);
        let before = self.model_bytes();
        let times = before as f64 / bytes.max(1) as f64;
        let (bytes, before) = (grouped(bytes), grouped(before));
        writeln!(to, "{out}: {bytes} bytes, {times:.2} times smaller than {before}")?;
        for (what, how) in &self.done.lines {
            writeln!(to, "  {what:<8} {how}")?;
        }
        for cell in &self.done.int8_times {
            writeln!(to, "  {:<8} {}", "speed", cell.describe())?;
        }
        for Checked { inputs, difference, explained } in &self.done.checks {
            let of = if explained.is_finite() {
                format!(", and {} is explained", percent(*explained))
            } else {
                String::new()
            };
            let found = percent(*difference);
            writeln!(to, "  {:<8} outputs differ by {found} on {inputs}{of}", "check")?;
        }
        if let Some(comparison) = &self.comparison {
            self.compared(to, comparison)?;
        }
        for note in &self.done.notes {
            writeln!(to, "  {:<8} {note}", "note")?;
        }
        writeln!(to, "  {:<8} {}", "digest", hex(&self.summary.digest))
    }

    fn compared(&self, to: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
        let (words, rows) = (comparison.measure.describe(), comparison.rows);
        writeln!(to, "  {:<8} {words}, {rows} rows of {}", "loss", comparison.data)?;
        for figure in &comparison.figures {
            writeln!(to, "  {:<8} {}", "", figure.describe())?;
        }
        let allowed = self.loss_max.map(|share| format!(", {share} allowed"));
        let lost = percent(comparison.loss());
        writeln!(to, "  {:<8} {lost} lost{}", "", allowed.unwrap_or_default())
    }

    fn json(&self, to: &mut impl Write) -> io::Result<()> {
        let comparison = self.comparison.as_ref().map(Comparison::json);
        let times: &[BatchTimes] = &self.done.int8_times;
        let report = json!({
            "package": self.out,
            "model": self.model,
            "bytes": self.summary.bytes,
            "model_bytes": self.model_bytes(),
            "digest": hex(&self.summary.digest),
            "steps": self.done.steps,
            "notes": self.done.notes,
            "speed": times,
            "checks": self.done.checks,
            "comparison": comparison,
            "loss_max": self.loss_max.map(|share| share.0),
        });
        writeln!(to, "{report:#}")
    }

    /// Returns the size of the model's file in bytes.
    fn model_bytes(&self) -> u64 {
        // The file existed a moment ago; an error here is no reason to fail.
        std::fs::metadata(self.model).map_or(0, |file| file.len())
    }
}
