//! Figures as a table or as JSON, one object a line; the first line describes the machine.

use std::time::Duration;

use serde_json::json;

pub(crate) struct Report {
    bench: &'static str,
    machine: String,
    rows: Vec<Row>,
}

struct Row {
    metric: String,
    value: f64,
    unit: &'static str,
    reference: &'static str,
    n: u32,
}

impl Report {
    pub(crate) fn new(bench: &'static str, machine: &str) -> Self {
        Self { bench, machine: machine.to_owned(), rows: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        metric: &str,
        value: f64,
        unit: &'static str,
        reference: &'static str,
        n: u32,
    ) {
        self.rows.push(Row { metric: metric.to_owned(), value, unit, reference, n });
    }

    pub(crate) fn print(&self, as_json: bool) {
        if !as_json {
            println!("{}: {}", self.bench, self.machine);
            for row in &self.rows {
                println!(
                    "{:<28} {:>10.3} {:<8} n={} {}",
                    row.metric, row.value, row.unit, row.n, row.reference
                );
            }
            return;
        }
        println!("{}", json!({ "bench": self.bench, "machine": self.machine }));
        for row in &self.rows {
            // Three digits: more would be noise.
            let value = (row.value * 1e3).round() / 1e3;
            println!(
                "{}",
                json!({
                    "bench": self.bench, "metric": row.metric, "value": value,
                    "unit": row.unit, "reference": row.reference, "n": row.n,
                })
            );
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => Duration::ZERO,
        (Some(one), 1) => *one,
        (Some(upper), _) => (*upper + sorted.get(middle - 1).copied().unwrap_or(*upper)) / 2,
    }
}
