//! What the optional controls cost: the same load under the seven basic limits and under every control there is, in turn,
//! in one run.

use serde::Serialize;

use crate::app::AppError;
use crate::cli::Call;
use crate::cli::print::line;

use super::load::{self, Orders};
use super::site::{Controls, Site};
use super::{Bench, show_progress};

/// Runs of each kind; the median counts.
const ROUNDS: usize = 5;

#[derive(Debug, Serialize)]
struct Figures {
    orders: u32,
    /// Orders a second, run by run.
    basic: Vec<f64>,
    all: Vec<f64>,
    /// Of the medians, all controls over the basic ones.
    ratio: f64,
}

#[expect(clippy::float_arithmetic, reason = "a figure for people, not an amount")]
pub(super) async fn run(call: &Call, bench: &Bench) -> Result<(), AppError> {
    let (mut basic, mut all) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for controls in [Controls::Basic, Controls::All] {
            let site = Site::set(&call.settings, bench, controls).await?;
            let measured = load::run(&site.settings, bench.orders, bench.symbols, Orders::OneSided).await;
            site.clear().await;
            let load = measured?;
            show_progress(&format!(
                "round {} of {ROUNDS}, {controls:?}: {:.0}/s",
                round + 1,
                load.orders_per_second
            ));
            match controls {
                Controls::Basic => basic.push(load.orders_per_second),
                Controls::All => all.push(load.orders_per_second),
            }
        }
    }
    let ratio = median(&all) / median(&basic);
    let figures = Figures { orders: bench.orders, basic, all, ratio };
    if call.json {
        let text = serde_json::to_string(&figures).map_err(|error| AppError::Failed(error.to_string()))?;
        line(&text);
        return Ok(());
    }
    let shown = |runs: &[f64]| {
        let runs: Vec<String> = runs.iter().map(|rate| format!("{rate:.0}")).collect();
        runs.join(", ")
    };
    line(&format!(
        "orders/s, seven basic limits {:>8.0}   of {}",
        median(&figures.basic),
        shown(&figures.basic)
    ));
    line(&format!("orders/s, every control      {:>8.0}   of {}", median(&figures.all), shown(&figures.all)));
    line(&format!("every control keeps          {:>7.1} %", figures.ratio * 100.0));
    Ok(())
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
