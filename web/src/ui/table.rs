//! Rows as a table, from columns as data: sorting, filters and pages in the URL, CSV, two-line rows on phones.
//!
//! ```ignore
//! Table::new("jobs", |job: &Job| (job.id, job.revision))
//!     .column(Column::new("State", state_badge).sorted("state", |a, b| a.state.cmp(&b.state)).csv(|job| job.state.to_string()).mark())
//!     .column(Column::new("Job", move |job| name_cell(&here, job)).lead())
//!     .column(Column::new("Ran", |job| view! { (ran(job)) }).number().figure())
//!     .filter(Filter::choice("state", "State", states, |job, word| job.state.as_str() == word))
//!     .live(list, |page| page.items, |a, b| a.id == b.id)
//! ```

mod column;
mod filter;
mod parts;

use std::hash::Hash;

use sycamore::prelude::*;

pub(crate) use self::column::Column;
pub(crate) use self::filter::Filter;
pub(crate) use self::parts::save_text;
use super::live::Held;
use crate::load::{Load, Resource, placeholder};
use crate::state;
use crate::ui::trouble::trouble_view;

/// Rows on one page of a table that has its rows in hand.
const PAGE_ROWS: usize = 50;

/// Pages that the server cuts.
#[derive(Clone, Copy)]
struct ServerPages {
    /// The cursor of the next; none on the last.
    next: ReadSignal<Option<String>>,
    /// What leads to the first page.
    first: &'static str,
    /// What leads on.
    further: &'static str,
}

/// How rows of `T` are shown.
pub(crate) struct Table<T: 'static, K: 'static> {
    name: &'static str,
    key: fn(&T) -> K,
    columns: Vec<Column<T>>,
    filters: Vec<Filter<T>>,
    empty: Option<Box<dyn Fn() -> View>>,
    pages: Option<ServerPages>,
    held_in_url: bool,
    csv: bool,
    page_rows: usize,
}

impl<T: Clone + PartialEq + 'static, K: Hash + Eq + 'static> Table<T, K> {
    /// Without columns yet. `name` is what the rows are, in small letters and the plural: "jobs". `key` tells a row and
    /// its content: a row whose key is the same is not drawn anew.
    pub(crate) fn new(name: &'static str, key: fn(&T) -> K) -> Self {
        Self {
            name,
            key,
            columns: Vec::new(),
            filters: Vec::new(),
            empty: None,
            pages: None,
            held_in_url: true,
            csv: false,
            page_rows: PAGE_ROWS,
        }
    }

    /// With this column, at the right of those before.
    pub(crate) fn column(mut self, column: Column<T>) -> Self {
        self.csv |= column.csv.is_some();
        self.columns.push(column);
        self
    }

    /// With this filter above the rows.
    pub(crate) fn filter(mut self, filter: Filter<T>) -> Self {
        self.filters.push(filter);
        self
    }

    /// What stands in place of the table while there are no rows at all.
    pub(crate) fn empty(mut self, view: impl Fn() -> View + 'static) -> Self {
        self.empty = Some(Box::new(view));
        self
    }

    /// The server pages: `next` is the cursor of the older rows. The page reads its own from `state::CURSOR`.
    pub(crate) fn older(mut self, next: ReadSignal<Option<String>>) -> Self {
        self.pages = Some(ServerPages { next, first: "The newest", further: "Older" });
        self
    }

    /// The same, of rows whose first are the oldest.
    pub(crate) fn further(mut self, next: ReadSignal<Option<String>>) -> Self {
        self.pages = Some(ServerPages { next, first: "The first", further: "Next page" });
        self
    }

    /// A short table among others: without filters, pages, CSV and a state in the URL.
    pub(crate) fn plain(mut self) -> Self {
        self.held_in_url = false;
        self.csv = false;
        self.page_rows = usize::MAX;
        self
    }

    /// Rows that follow a live list. They never move under the pointer. `same` says that two rows are the same thing.
    pub(crate) fn live<P: Clone + PartialEq + 'static>(
        self,
        list: Resource<P>,
        rows: fn(P) -> Vec<T>,
        same: fn(&T, &T) -> bool,
    ) -> View {
        let held = Held::follow(list, rows, same, self.is_sorted_by_server());
        self.staged(list, move |table| held.view(table.view(*held.rows)))
    }

    /// Rows of a list that only its viewer's own acts change.
    pub(crate) fn list<P: Clone + PartialEq + 'static>(self, list: Resource<P>, rows: fn(P) -> Vec<T>) -> View {
        let rows = create_memo(move || list.ready().map(rows).unwrap_or_default());
        self.staged(list, move |table| table.view(rows))
    }

    /// The table once its list is there. Only what kind of view is shown; the rows follow the data by themselves.
    fn staged<P: Clone + PartialEq + 'static>(self, list: Resource<P>, show: impl Fn(&Self) -> View + 'static) -> View {
        let stage = create_selector(move || match list.data.get_clone() {
            Load::Waiting => Load::Waiting,
            Load::Ready(_) => Load::Ready(()),
            Load::Failed(trouble) => Load::Failed(trouble),
        });
        View::from_dynamic(move || match stage.get_clone() {
            Load::Waiting => placeholder(6),
            Load::Failed(trouble) => trouble_view(trouble),
            Load::Ready(()) => show(&self),
        })
    }

    /// These rows.
    pub(crate) fn view(&self, rows: ReadSignal<Vec<T>>) -> View {
        let sort = self.held("sort");
        let page = self.held("page");
        let values: Vec<Signal<String>> = self.filters.iter().map(|filter| state::param(filter.name, "")).collect();
        let holds: Vec<_> = self.filters.iter().map(|filter| filter.holds.clone()).collect();
        let asked = values.clone();
        let filtered = create_memo(move || {
            let wanted: Vec<String> = asked.iter().map(|value| value.get_clone()).collect();
            let fits = |row: &T| {
                holds
                    .iter()
                    .zip(&wanted)
                    .all(|(holds, wanted)| wanted.is_empty() || holds.as_ref().is_none_or(|holds| holds(row, wanted)))
            };
            rows.with(|rows| rows.iter().filter(|row| fits(row)).cloned().collect::<Vec<T>>())
        });
        let orders = self.columns.iter().filter_map(|column| column.sort);
        let orders: Vec<_> = orders.filter_map(|(name, order)| Some((name, order?))).collect();
        let sorted = create_memo(move || {
            let mut rows = filtered.get_clone();
            let word = sort.get_clone();
            let (name, down) = word.strip_prefix('-').map_or((word.as_str(), false), |name| (name, true));
            if let Some((_, order)) = orders.iter().find(|(known, _)| *known == name) {
                rows.sort_by(|one, other| if down { order(other, one) } else { order(one, other) });
            }
            rows
        });
        let rows_of_page = self.page_rows;
        let shown = create_memo(move || {
            let number = page_number(&page.get_clone());
            sorted.with(|rows| {
                // A filter may leave fewer pages than the one that the URL names: then the last is shown.
                let number = number.min(rows.len().div_ceil(rows_of_page).max(1));
                let skipped = number.saturating_sub(1).saturating_mul(rows_of_page);
                rows.iter().skip(skipped).take(rows_of_page).cloned().collect::<Vec<T>>()
            })
        });
        let total = create_selector(move || filtered.with(Vec::len));
        let any = create_selector(move || rows.with(|rows| !rows.is_empty()));
        let narrowed = {
            let values = values.clone();
            create_selector(move || values.iter().any(|value| value.with(|value| !value.is_empty())))
        };
        let filters = self.filter_view(&values);
        let table = self.rows_view(shown, sort);
        let foot = self.foot(sorted, total, page);
        let nothing = || parts::nothing(self.name, narrowed, self.pages);
        let empty = self.empty.as_ref().map_or_else(nothing, |empty| empty());
        let nothing = nothing();
        // A later page that has emptied keeps the way back.
        let cursor = self.pages.map(|_| state::param(state::CURSOR, ""));
        let none = move || total.get() == 0 && cursor.is_none_or(|cursor| cursor.with(String::is_empty));
        let asked_for = move || any.get() || narrowed.get();
        view! {
            (filters)
            div(hidden=none()) { (table) (foot) }
            div(hidden=!none() || asked_for()) { (empty) }
            div(hidden=!none() || !asked_for()) { (nothing) }
        }
    }

    fn is_sorted_by_server(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.sort, Some((_, None))))
    }

    /// A value of this table's state.
    fn held(&self, name: &'static str) -> Signal<String> {
        if self.held_in_url { state::param(name, "") } else { create_signal(String::new()) }
    }

    fn rows_view(&self, shown: ReadSignal<Vec<T>>, sort: Signal<String>) -> View {
        let heads: Vec<View> = self.columns.iter().map(|column| column.head(sort)).collect();
        let columns: std::rc::Rc<[Column<T>]> = self.columns.iter().cloned().collect();
        let key = self.key;
        let name = self.name;
        view! {
            table(class="rows lines") {
                caption(class="unseen") { (name) }
                thead { tr { (heads) } }
                tbody {
                    Keyed(
                        list=shown,
                        key=key,
                        view=move |row| {
                            let cells: Vec<View> = columns.iter().map(|column| column.cell(&row)).collect();
                            view! { tr { (cells) } }
                        },
                    )
                }
            }
        }
    }
}

/// The page that the URL names; the first where it names none.
fn page_number(word: &str) -> usize {
    word.parse().unwrap_or(1).max(1)
}
