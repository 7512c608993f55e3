//! Report as one self-contained HTML page.

use super::{Report, format_us, plots};
use std::fmt::Write;

/// Style sheet; colours follow the reader's system.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5a6475;--paper:#fff;--card:#f4f6f9;--grid:#ccd3dd;
--first:#1769c4;--second:#c2620c;--third:#b3263e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9f1;--soft:#9aa6b8;--paper:#12161d;--card:#1b212b;
--grid:#3a4454;--first:#62aefc;--second:#f0a355;--third:#f2788d}}
body{margin:0 auto;padding:1.5rem;max-width:60rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:.2rem 0;color:var(--soft)}p.invalid{color:var(--third);font-weight:600}
ul{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.6rem;padding:0;list-style:none}
li{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}
li b{display:block;font-size:1.2rem;font-variant-numeric:tabular-nums}li span{color:var(--soft)}
table{border-collapse:collapse;width:100%}td,th{text-align:right;padding:.25rem .5rem;
border-bottom:1px solid var(--grid);font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left;overflow-wrap:anywhere}
figure{margin:0;overflow-x:auto}svg{width:100%;min-width:30rem;height:auto}";

impl Report {
    /// Report as HTML: one page without scripts, with its plots inside.
    pub fn html(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write_html(&mut page);
        page
    }

    fn write_html(&self, to: &mut String) -> std::fmt::Result {
        let title = escaped(&format!("{} at {}", self.model, self.url));
        write!(
            to,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        )?;
        writeln!(to, "<p>{}</p>", escaped(&self.how()))?;
        if let Some(reason) = &self.invalid_because {
            writeln!(to, "<p class=\"invalid\">Not valid: {}</p>", escaped(reason))?;
        }
        self.write_cards(to)?;
        for (title, drawing) in plots::draw(self) {
            writeln!(to, "<h2>{title}</h2>\n<figure>{drawing}</figure>")?;
        }
        self.write_tables(to)?;
        writeln!(to, "</body></html>")
    }

    fn how(&self) -> String {
        let Self { protocol, connections, threads, elapsed_s, .. } = self;
        let arrival = match (self.target_requests_per_s, &self.pattern) {
            (Some(rate), Some(pattern)) => format!("{rate:.1} requests/s ({pattern})"),
            (Some(rate), None) => format!("{rate:.1} requests/s"),
            (None, _) => "a closed loop".to_owned(),
        };
        let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        format!("{arrival} over {connections} connections, {protocol}, {threads}, {elapsed_s:.2} s")
    }

    fn write_cards(&self, to: &mut String) -> std::fmt::Result {
        let us = |value: Option<f64>| value.map(format_us);
        let goodput = self.goodput_requests_per_s.map(|rate| format!("{rate:.1}/s"));
        let cards = [
            ("throughput", Some(format!("{:.1}/s", self.requests_per_s))),
            ("goodput", goodput),
            ("p50", us(self.latency_us_p50)),
            ("p99", us(self.latency_us_p99)),
            ("p99.9", us(self.latency_us_p999)),
            ("max", us(self.latency_us_max)),
            ("answered", Some(self.answered.to_string())),
            ("rejected", Some(self.rejected.to_string())),
            ("failed", Some(self.failed.to_string())),
            ("generator busy", Some(format!("{:.0} %", self.utilization * 1e2))),
            ("send delay p99", us(self.send_delay_us_p99)),
        ];
        writeln!(to, "<ul>")?;
        for (name, value) in cards {
            if let Some(value) = value {
                writeln!(to, "<li><b>{value}</b><span>{name}</span></li>")?;
            }
        }
        writeln!(to, "</ul>")
    }

    fn write_tables(&self, to: &mut String) -> std::fmt::Result {
        let us = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), format_us);
        let kinds = self.kinds.iter().map(|kind| {
            let share = format!("{:.0} %", kind.share * 1e2);
            let (answered, failed) = (kind.answered.to_string(), kind.failed.to_string());
            vec![
                kind.name(),
                share,
                answered,
                failed,
                us(kind.latency_us_p50),
                us(kind.latency_us_p99),
            ]
        });
        let names = ["request", "share", "answered", "failed", "p50", "p99"];
        table(to, "Kinds of request", &names, kinds)?;
        let server = self.server.iter().map(|server| vec![server.model.clone(), server.summary()]);
        table(to, "The server's own counters", &["model", "warm-up included"], server)?;
        let failures = self
            .failures
            .iter()
            .map(|failure| vec![failure.message.clone(), failure.count.to_string()]);
        table(to, "Failures", &["message", "times"], failures)
    }
}

/// Writes a table, unless it has no rows.
fn table(
    to: &mut String,
    title: &str,
    names: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> std::fmt::Result {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(to, "<h2>{title}</h2>\n<table>")?;
    let cells = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    writeln!(to, "<tr>{}</tr>", cells(&names, "th"))?;
    for row in rows {
        writeln!(to, "<tr>{}</tr>", cells(&row, "td"))?;
    }
    writeln!(to, "</table>")
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FailureCount, Interval, KindReport, Percentile};

    fn report() -> Report {
        let interval = |n: u32| Interval {
            end_s: f64::from(n),
            length_s: 1.0,
            requests: 90,
            answered: 100,
            latency_us_p50: Some(100.0 * f64::from(n)),
            latency_us_p99: Some(900.0),
            latency_us_max: Some(5000.0),
            ..Interval::default()
        };
        let points = [(0.0, 50.0), (50.0, 100.0), (90.0, 300.0), (99.0, 900.0), (100.0, 5000.0)];
        Report {
            model: "<script>alert(1)</script>".into(),
            failures: vec![FailureCount { message: "503: <b>full</b>".into(), count: 3 }],
            kinds: vec![KindReport { model: "a&b".into(), ..KindReport::default() }],
            intervals: (1..=10).map(interval).collect(),
            percentiles: points.map(|(percent, us)| Percentile { percent, us }).to_vec(),
            elapsed_s: 10.0,
            target_requests_per_s: Some(90.0),
            ..Report::default()
        }
    }

    #[test]
    fn a_page_is_self_contained() {
        let page = report().html();
        assert_eq!(page.matches("<svg").count(), 3, "{page}");
        for line in ["var(--first)", "var(--second)", "var(--third)", "var(--ink)", "var(--grid)"] {
            assert!(page.contains(&format!("\"{line}\"")), "{line}");
        }
        for outside in ["src=", "href=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("99 %") && page.contains("prefers-color-scheme:dark"));
        // Every colour is a variable of the page.
        let other = page.split("=\"#").nth(1).map(|rest| &rest[..rest.len().min(80)]);
        assert_eq!(other, None, "dark readers do not see it");
    }

    #[test]
    fn text_from_outside_is_escaped() {
        let page = report().html();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("503: &lt;b&gt;full&lt;/b&gt;") && page.contains("a&amp;b"));
        assert!(!page.contains("<b>full"));
    }

    #[test]
    fn a_page_without_answers_has_no_drawings_and_is_one() {
        let page = Report { invalid_because: Some("late".into()), ..Report::default() }.html();
        assert!(!page.contains("<svg") && page.contains("Not valid: late"));
    }
}
