//! Parts over columns, as a chart and as the table behind it.

use protocol::api::UsageSums;

use super::columns::{Column, Part};
use crate::charts::model::{Kind, Mark, Model, Series};
use crate::charts::{Cell, Chart, Sheet, Unit};
use crate::format;

/// What is drawn of each part: its figure in a column; none where there is nothing to draw.
pub(super) type Figure = fn(&UsageSums) -> Option<f64>;

/// A chart over time in the making.
pub(super) struct Grid<'a> {
    pub(super) kind: Kind,
    pub(super) title: &'a str,
    /// The head of the table's first column.
    pub(super) when: &'a str,
    pub(super) unit: Unit,
    pub(super) columns: &'a [Column],
    pub(super) marks: Vec<Mark>,
}

/// One series of it.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: String,
    pub(super) values: Vec<Option<f64>>,
    /// The rows behind each value.
    pub(super) links: Vec<Option<String>>,
    /// Drawn as what is compared with; it is no part of the sum.
    pub(super) compared: bool,
}

impl Line {
    /// What is drawn of a part.
    pub(super) fn of(part: &Part, colour: String, figure: Figure) -> Self {
        let values = part.sums.iter().map(figure).collect();
        let links = vec![None; part.sums.len()];
        Self { name: part.name.clone(), colour, values, links, compared: false }
    }
}

impl Grid<'_> {
    /// The chart. Parts of one whole have a sum in each column, and one of all columns.
    pub(super) fn chart(self, lines: Vec<Line>, whole: bool) -> Chart {
        let sheet = self.sheet(&lines, whole);
        let text = format!(
            "{}: {} over {} columns. The figures stand in the table below.",
            self.title,
            lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", "),
            self.columns.len(),
        );
        let series = lines.iter().map(|line| Series {
            line: line.compared,
            dashed: line.compared,
            linked: line.links.iter().any(Option::is_some),
            ..Series::new(line.name.clone(), line.colour.clone(), line.values.clone())
        });
        let model = Model {
            kind: self.kind,
            name: self.title.to_owned(),
            text,
            places: self.columns.iter().map(|column| column.place.clone()).collect(),
            series: series.collect(),
            marks: self.marks,
            whole: self.unit.is_whole(),
        };
        let links = lines.into_iter().map(|line| line.links).collect();
        Chart { model, unit: self.unit, sheet, links, note: String::new() }
    }

    fn sheet(&self, lines: &[Line], whole: bool) -> Sheet {
        let mut heads: Vec<String> = vec![self.when.to_owned()];
        heads.extend(lines.iter().map(|line| line.name.clone()));
        if whole {
            heads.push("All".to_owned());
        }
        let is_part = |line: &&Line| whole && !line.compared;
        let rows = self.columns.iter().enumerate().filter_map(|(place, column)| {
            let value = |line: &Line| line.values.get(place).copied().flatten();
            // Columns without anything are left out.
            lines.iter().any(|line| value(line).is_some_and(|value| value != 0.0)).then(|| {
                let mut row = vec![Cell::of(column.place.long.clone(), column.span.from.to_string())];
                row.extend(
                    lines.iter().map(|line| self.cell(value(line)).leading(line.links.get(place).cloned().flatten())),
                );
                if whole {
                    row.push(self.cell(Some(lines.iter().filter(is_part).filter_map(value).sum())));
                }
                row
            })
        });
        let total = |line: &Line| line.values.iter().flatten().sum::<f64>();
        let foot = whole.then(|| {
            let mut foot = vec![Cell::new("All")];
            foot.extend(lines.iter().map(|line| self.cell(Some(total(line)))));
            foot.push(self.cell(Some(lines.iter().filter(is_part).map(total).sum())));
            foot
        });
        Sheet { columns: heads, rows: rows.collect(), foot: foot.unwrap_or_default() }
    }

    fn cell(&self, value: Option<f64>) -> Cell {
        match value {
            Some(value) => Cell::of(self.unit.write_whole(value), plain(value)),
            None => Cell::of("–", ""),
        }
    }
}

/// A number for programs: all of it, and no more than there is.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

/// A figure that is a count.
pub(super) fn count(number: u64) -> Option<f64> {
    Some(format::wide(number))
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::{Grid, Line, plain};
    use crate::charts::Unit;
    use crate::charts::model::{Kind, Place};
    use crate::pages::analytics::columns::Column;
    use crate::ui::period::Span;

    fn line(name: &str, values: [f64; 3], compared: bool) -> Line {
        let links = [Some("/a/ada/runs".to_owned()), None, None].to_vec();
        Line { name: name.to_owned(), colour: "good".to_owned(), values: values.map(Some).to_vec(), links, compared }
    }

    #[test]
    fn the_table_has_what_the_chart_shows() {
        let column = |hour: i64| Column {
            span: Span { from: Timestamp(hour), to: Timestamp(hour + 1) },
            place: Place { short: hour.to_string(), long: format!("hour {hour}") },
        };
        let columns = [column(0), column(1), column(2)];
        let (kind, unit, marks) = (Kind::Bars, Unit::Count, Vec::new());
        let grid = Grid { kind, title: "Requests", when: "Hour", unit, columns: &columns, marks };
        let lines = vec![
            line("2xx", [5.0, 0.0, 1.0], false),
            line("5xx", [0.0, 0.0, 2.0], false),
            line("before", [9.0, 0.0, 9.0], true),
        ];
        let chart = grid.chart(lines, true);
        let raw =
            |row: &Vec<crate::charts::Cell>| row.iter().map(|cell| cell.raw.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(chart.sheet.columns, ["Hour", "2xx", "5xx", "before", "All"]);
        let rows: Vec<String> = chart.sheet.rows.iter().map(raw).collect();
        assert_eq!(
            rows,
            ["1970-01-01T00:00:00Z 5 0 9 5", "1970-01-01T00:00:00.002Z 1 2 9 3"],
            "an empty hour is left out"
        );
        assert_eq!(raw(&chart.sheet.foot), "All 6 2 18 8");
        assert_eq!(chart.sheet.rows[0][1].href.as_deref(), Some("/a/ada/runs"));
        assert!(chart.model.whole && chart.model.series[0].linked && chart.model.series[2].dashed);
    }

    #[test]
    fn programs_read_all_of_a_number() {
        assert_eq!([0.0, 100.0, 1.25, 9_007_199_254_740_992.0].map(plain), ["0", "100", "1.25", "9007199254740992"]);
    }
}
