//! The table behind a chart: its figures, each with the rows that it counts, and the same as CSV.

use protocol::csv::line as csv_line;
use sycamore::prelude::*;

/// One figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) raw: String,
    /// The rows that it counts.
    pub(crate) href: Option<String>,
}

impl Cell {
    /// The same for people and programs.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { raw: text.clone(), text, href: None }
    }

    /// For people and for programs.
    pub(crate) fn of(text: impl Into<String>, raw: impl Into<String>) -> Self {
        Self { text: text.into(), raw: raw.into(), href: None }
    }

    /// With the rows that it counts.
    pub(crate) fn leading(mut self, href: Option<String>) -> Self {
        self.href = href;
        self
    }
}

/// The table. The first column names the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// The sums of the rows; empty where they have none. Programs sum by themselves.
    pub(crate) foot: Vec<Cell>,
}

impl Sheet {
    /// As RFC 4180 has it.
    pub(crate) fn csv(&self) -> String {
        let head = csv_line(self.columns.iter().map(String::as_str));
        self.rows.iter().fold(head, |text, row| text + &csv_line(row.iter().map(|cell| cell.raw.as_str())))
    }

    /// The table; `title` names it for those who do not see the chart above.
    pub(crate) fn view(&self, title: &str) -> View {
        let heads: Vec<View> = self
            .columns
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let (name, class) = (name.clone(), if number == 0 { "" } else { "number" });
                view! { th(scope="col", class=class) { (name) } }
            })
            .collect();
        let rows: Vec<View> = self
            .rows
            .iter()
            .map(|row| {
                let cells: Vec<View> = row.iter().enumerate().map(|(number, cell)| cell_view(number, cell)).collect();
                view! { tr { (cells) } }
            })
            .collect();
        let foot = (!self.foot.is_empty()).then(|| {
            let cells: Vec<View> = self.foot.iter().enumerate().map(|(number, cell)| cell_view(number, cell)).collect();
            view! { tfoot { tr { (cells) } } }
        });
        let (label, title) = (format!("{title}, as a table"), title.to_owned());
        view! {
            div(class="sheet", role="region", aria-label=label, tabindex="0") {
                table {
                    caption(class="unseen") { (title) }
                    thead { tr { (heads) } }
                    tbody { (rows) }
                    (foot)
                }
            }
        }
    }
}

fn cell_view(number: usize, cell: &Cell) -> View {
    let (text, raw) = (cell.text.clone(), cell.raw.clone());
    let inner = match cell.href.clone() {
        Some(href) => view! { a(href=href) { (text) } },
        None => view! { (text) },
    };
    match number {
        0 => view! { th(scope="row", data-value=raw) { (inner) } },
        _ => view! { td(class="number", data-value=raw) { (inner) } },
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Sheet};

    #[test]
    fn a_program_reads_plain_figures() {
        let sheet = Sheet {
            columns: vec!["Hour".to_owned(), "2xx, answered".to_owned()],
            rows: vec![vec![Cell::of("14:00", "2026-11-30T14:00:00Z"), Cell::of("41\u{202f}250", "41250")]],
            foot: Vec::new(),
        };
        assert_eq!(sheet.csv(), "Hour,\"2xx, answered\"\r\n2026-11-30T14:00:00Z,41250\r\n");
    }
}
