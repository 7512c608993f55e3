//! Text form of a plan.

use super::{Plan, Prediction};
use crate::report::format_us;
use crate::tail::printable;
use std::fmt;

/// Most characters of a model's name; a profile may come from anywhere.
const NAME_MAX: usize = 200;

impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objective = self.objective;
        let (ms, percentile) = (objective.ms, objective.percentile);
        writeln!(
            to,
            "{}: {:.1} requests/s ({}), {percentile} % within {}",
            printable(&self.model, NAME_MAX),
            self.requests_per_s,
            self.arrivals,
            format_us(ms * 1e3)
        )?;
        let replicas = self.replicas_per_server.map_or(String::new(), |count| {
            let all = count * self.servers;
            format!(": {all} {}", if all == 1 { "replica" } else { "replicas" })
        });
        let noun = if self.servers == 1 { "server" } else { "servers" };
        writeln!(to, "needs        {} {noun} like the one measured{replicas}", self.servers)?;
        self.write_prediction(to, "predicted", &self.prediction)?;
        if let Some(fewer) = &self.one_fewer {
            self.write_prediction(to, "one fewer", fewer)?;
        }
        match self.headroom {
            Some(more) => writeln!(to, "headroom     {more:.0} % more load meets the objective")?,
            None => writeln!(to, "headroom     not known for a recording")?,
        }
        if let Some(cost) = self.cost_per_million {
            writeln!(to, "cost         {cost:.4} a million requests")?;
        }
        writeln!(
            to,
            "confidence   {} % that p{percentile} is below its range's upper end: {} simulations; the \
             model is {:.0} % off measured latencies that it was not fitted to",
            objective.confidence, self.simulations, self.model_error
        )
    }
}

impl Plan {
    fn write_prediction(
        &self,
        to: &mut fmt::Formatter<'_>,
        what: &str,
        found: &Prediction,
    ) -> fmt::Result {
        writeln!(
            to,
            "{what:<12} p{} {} ({} to {}), p50 {}, {:.2} % in time, {:.2} % rejected",
            self.objective.percentile,
            format_us(found.latency_ms * 1e3),
            format_us(found.latency_ms_low * 1e3),
            format_us(found.latency_ms_high * 1e3),
            format_us(found.latency_ms_p50 * 1e3),
            found.in_time * 100.0,
            found.rejected * 100.0,
        )?;
        writeln!(
            to,
            "             {:.1} requests/s each, replicas run {:.0} % of the time, {:.1} rows a \
             batch",
            found.per_server_per_s,
            found.utilization * 100.0,
            found.batch_rows_mean
        )
    }
}
