//! A plan as text.

use super::{Answer, Prediction};
use crate::report::text_us;
use crate::tail::printable;
use std::fmt;

/// Characters of a model's name that are shown; a profile may come from anywhere.
const NAME_MAX: usize = 200;

impl fmt::Display for Answer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objective = self.objective;
        let (ms, percentile) = (objective.ms, objective.percentile);
        writeln!(
            to,
            "{}: {:.1} requests/s ({}), {percentile} % within {}",
            printable(&self.model, NAME_MAX),
            self.requests_per_s,
            self.arrivals,
            text_us(ms * 1e3)
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
            Some(more) => writeln!(to, "headroom     {more:.0} % more load keeps the objective")?,
            None => writeln!(to, "headroom     not known for a recording")?,
        }
        if let Some(cost) = self.cost_per_million {
            writeln!(to, "cost         {cost:.4} a million requests")?;
        }
        writeln!(
            to,
            "sure         {} % that p{percentile} is no longer than its range: {} simulations; the \
             model is {:.0} % off measured latencies that it was not made from",
            objective.confidence, self.simulations, self.model_error
        )
    }
}

impl Answer {
    fn write_prediction(
        &self,
        to: &mut fmt::Formatter<'_>,
        what: &str,
        found: &Prediction,
    ) -> fmt::Result {
        writeln!(
            to,
            "{what:<12} p{} {} ({} to {}), p50 {}, {:.2} % in time, {:.2} % refused",
            self.objective.percentile,
            text_us(found.latency_ms * 1e3),
            text_us(found.latency_ms_low * 1e3),
            text_us(found.latency_ms_high * 1e3),
            text_us(found.latency_ms_p50 * 1e3),
            found.in_time * 100.0,
            found.refused * 100.0,
        )?;
        writeln!(
            to,
            "             {:.1} requests/s each, replicas run {:.0} % of the time, {:.1} rows a \
             batch",
            found.per_server_per_s,
            found.utilisation * 100.0,
            found.batch_rows_mean
        )
    }
}
