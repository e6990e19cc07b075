//! Plots of a comparison, as SVG.

use plotters::prelude::*;

use super::report::{Report, Row, Spread};

const SIZE: (u32, u32) = (860, 420);
const COLOURS: [RGBColor; 2] = [RGBColor(37, 99, 160), RGBColor(214, 108, 40)];

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(String);

type Figure = fn(&Row) -> Spread;

/// What can be plotted: the file's name, the title, the figure.
const FIGURES: [(&str, &str, Figure); 4] = [
    ("slowdown-p99", "p99 slowdown", |row| row.slowdown_p99),
    ("worst-function-p99", "p99 slowdown of the worst function", |row| row.worst_function_p99),
    ("cold-starts", "cold starts, share of runs", |row| row.cold_share),
    ("slowdown-p50", "p50 slowdown", |row| row.slowdown_p50),
];

impl Report {
    /// Each figure as a file's name and its SVG: bars by policy and load, logarithmic, with 95 % confidence.
    ///
    /// # Errors
    /// The drawing failed.
    pub fn plots(&self) -> Result<Vec<(String, String)>, PlotError> {
        let draw = |(name, title, figure): (&str, &str, Figure)| {
            let mut svg = String::new();
            self.bars(&mut svg, title, figure).map_err(|error| PlotError(error.to_string()))?;
            Ok((format!("{name}.svg"), svg))
        };
        FIGURES.into_iter().map(draw).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "policies are few")]
    fn bars(&self, svg: &mut String, title: &str, figure: Figure) -> Result<(), Box<dyn std::error::Error + '_>> {
        let mut policies: Vec<&str> = Vec::new();
        let mut loads: Vec<f64> = Vec::new();
        for row in &self.rows {
            if !policies.contains(&row.policy.as_str()) {
                policies.push(&row.policy);
            }
            if !loads.iter().any(|load| (load - row.load).abs() < 1e-9) {
                loads.push(row.load);
            }
        }
        let values = || self.rows.iter().map(|row| figure(row).mean).filter(|mean| *mean > 0.0);
        let lowest = values().fold(f64::MAX, f64::min).min(1e6) / 2.0;
        let highest = values().fold(lowest * 10.0, f64::max) * 2.0;

        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let caption = format!("{title}: {}", self.source);
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..policies.len() as f64, (lowest..highest).log_scale())
            .map_err(|error| error.to_string())?;
        let name = |at: &f64| {
            let whole = (at - 0.5).abs().fract() < 1e-6;
            let place = policies.iter().enumerate().find(|(place, _)| (*place as f64 + 0.5 - at).abs() < 1e-6);
            place.filter(|_| whole).map_or_else(String::new, |(_, policy)| (*policy).to_owned())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(policies.len() * 2 + 1)
            .x_label_formatter(&name)
            .y_label_formatter(&|value| super::report::digits(*value))
            .draw()
            .map_err(|error| error.to_string())?;
        let width = 0.8 / loads.len().max(1) as f64;
        for (nth, load) in loads.iter().enumerate() {
            let colour = COLOURS[nth % COLOURS.len()];
            let rows = self.rows.iter().filter(|row| (row.load - load).abs() < 1e-9);
            let bars: Vec<(f64, Spread)> = rows
                .filter_map(|row| {
                    let place = policies.iter().position(|policy| *policy == row.policy)?;
                    Some((place as f64 + 0.1 + width * nth as f64, figure(row)))
                })
                .collect();
            let boxes = bars.iter().map(|(left, spread)| {
                Rectangle::new([(*left, lowest), (left + width * 0.92, spread.mean.max(lowest))], colour.filled())
            });
            let series = chart.draw_series(boxes).map_err(|error| error.to_string())?;
            series
                .label(format!("load {load}"))
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
            let whiskers = bars.iter().map(|(left, spread)| {
                let middle = left + width * 0.46;
                let ends = [(spread.mean - spread.half).max(lowest), (spread.mean + spread.half).min(highest)];
                PathElement::new(ends.map(|end| (middle, end)).to_vec(), BLACK.stroke_width(1))
            });
            chart.draw_series(whiskers).map_err(|error| error.to_string())?;
        }
        let labels = chart.configure_series_labels();
        let mut labels = labels;
        labels.border_style(BLACK).background_style(WHITE).draw().map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
        Ok(())
    }
}
