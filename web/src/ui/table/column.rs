//! One column of a table, as data.

use std::cmp::Ordering;
use std::rc::Rc;

use sycamore::prelude::*;

/// Where a cell stands in a row of two lines, as phones show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phone {
    /// First line, left: what the row is.
    Lead,
    /// First line, right: its state.
    Mark,
    /// Second line, from the left.
    Note,
    /// Second line, at its end.
    Figure,
    /// Not shown on phones.
    Hidden,
}

/// A row as text.
pub(super) type Text<T> = fn(&T) -> String;

/// Which of two rows comes first.
pub(super) type Order<T> = fn(&T, &T) -> Ordering;

/// An order of rows, by the name that the URL has for it; none where the server sorts.
pub(super) type Sort<T> = (&'static str, Option<Order<T>>);

/// One column.
pub(crate) struct Column<T: 'static> {
    pub(super) title: &'static str,
    pub(super) cell: Rc<dyn Fn(&T) -> View>,
    pub(super) sort: Option<Sort<T>>,
    pub(super) csv: Option<Text<T>>,
    pub(super) phone: Phone,
    classes: Vec<&'static str>,
}

impl<T: 'static> Clone for Column<T> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone(), classes: self.classes.clone(), ..*self }
    }
}

impl<T: 'static> Column<T> {
    /// A column whose cells are made so. A cell is made once for each key of the table.
    pub(crate) fn new(title: &'static str, cell: impl Fn(&T) -> View + 'static) -> Self {
        Self { title, cell: Rc::new(cell), sort: None, csv: None, phone: Phone::Hidden, classes: Vec::new() }
    }

    /// Can be sorted by; `name` is its word in the URL.
    pub(crate) fn sorted(mut self, name: &'static str, order: Order<T>) -> Self {
        self.sort = Some((name, Some(order)));
        self
    }

    /// The whole list is sorted by it by the server, the greatest first where nothing else is asked for: the page reads
    /// `state::param("sort", "")` for what it asks.
    pub(crate) fn sorted_by_server(mut self, name: &'static str) -> Self {
        self.sort = Some((name, None));
        self
    }

    /// Is a column of the CSV, as this text.
    pub(crate) fn csv(mut self, text: Text<T>) -> Self {
        self.csv = Some(text);
        self
    }

    /// A number: at the right.
    pub(crate) fn number(self) -> Self {
        self.class("number")
    }

    /// The first to go where the window is narrow.
    pub(crate) fn spare(self) -> Self {
        self.class("spare")
    }

    /// With this class on each of its cells.
    pub(crate) fn class(mut self, class: &'static str) -> Self {
        self.classes.push(class);
        self
    }

    /// With its title before it on phones, where no head says what the figure is.
    pub(crate) fn worded(self) -> Self {
        self.class("worded")
    }

    /// First line on phones, left: what the row is.
    pub(crate) fn lead(mut self) -> Self {
        self.phone = Phone::Lead;
        self
    }

    /// First line on phones, right.
    pub(crate) fn mark(mut self) -> Self {
        self.phone = Phone::Mark;
        self
    }

    /// Second line on phones, left.
    pub(crate) fn note(mut self) -> Self {
        self.phone = Phone::Note;
        self
    }

    /// Second line on phones, right.
    pub(crate) fn figure(mut self) -> Self {
        self.phone = Phone::Figure;
        self
    }

    fn class_names(&self) -> String {
        let phone = match self.phone {
            Phone::Lead => "at-lead",
            Phone::Mark => "at-mark",
            Phone::Note => "at-note",
            Phone::Figure => "at-figure",
            Phone::Hidden => "at-none",
        };
        self.classes.iter().chain(&[phone]).copied().collect::<Vec<_>>().join(" ")
    }

    /// The column's head: a button where it can be sorted by. Pressed again it turns the order round.
    pub(super) fn head(&self, sort: Signal<String>) -> View {
        let (class, title) = (self.class_names(), self.title);
        let Some((name, order)) = self.sort else {
            return view! { th(scope="col", class=class) { (title) } };
        };
        let by_server = order.is_none();
        let order = move || {
            sort.with(|word| match word.strip_prefix('-') {
                Some(word) if word == name => Some("descending"),
                None if word == name => Some("ascending"),
                None if by_server && word.is_empty() => Some("descending"),
                _ => None,
            })
        };
        let turn = move |_| {
            let next = match order() {
                Some("descending") if by_server => name.to_owned(),
                _ if by_server => String::new(),
                Some("ascending") => format!("-{name}"),
                Some(_) => String::new(),
                None => name.to_owned(),
            };
            sort.set(next);
        };
        let arrow = move || match order() {
            Some("ascending") => "↑",
            Some(_) => "↓",
            None => "",
        };
        view! {
            th(scope="col", class=class, aria-sort=order()) {
                button(class="sort", r#type="button", on:click=turn) {
                    (title) span(aria-hidden="true", class="sort-arrow") { (arrow()) }
                }
            }
        }
    }

    pub(super) fn cell(&self, row: &T) -> View {
        let (class, title, cell) = (self.class_names(), self.title, (self.cell)(row));
        view! { td(class=class, data-label=title) { (cell) } }
    }
}
