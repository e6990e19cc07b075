//! Live rows that never move under the pointer: while it is over them, new ones wait behind "3 new". Other rows that are
//! asked for, such as the next page, come at once.

use sycamore::prelude::*;
use sycamore_router::use_search_queries;

use crate::load::{Load, Resource};

/// Rows, and those that wait.
pub(crate) struct Held<T: 'static> {
    /// What is shown.
    pub(crate) rows: Signal<Vec<T>>,
    latest: Signal<Vec<T>>,
    waiting: Signal<usize>,
    held: Signal<bool>,
    /// Other rows were asked for: what comes next is shown, wherever the pointer is.
    asked: Signal<bool>,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Held<T> {}

impl<T: Clone + PartialEq + 'static> Held<T> {
    /// Follows a live list. `rows` takes them out of its page; `same` says that two rows are the same thing; `sorted_before`
    /// that the list comes in the order that the URL asks for.
    pub(crate) fn follow<P: Clone + PartialEq + 'static>(
        list: Resource<P>,
        rows: fn(P) -> Vec<T>,
        same: fn(&T, &T) -> bool,
        sorted_before: bool,
    ) -> Self {
        let this = Self {
            rows: create_signal(Vec::new()),
            latest: create_signal(Vec::new()),
            waiting: create_signal(0),
            held: create_signal(false),
            asked: create_signal(false),
        };
        let query = use_search_queries();
        let wanted = create_selector(move || {
            let mut values = query.get_clone();
            // These show the rows that are there in another way.
            values.retain(|name, _| name != "page" && (sorted_before || name != "sort"));
            values
        });
        create_effect(on(wanted, move || {
            this.asked.set(true);
            this.release();
        }));
        create_effect(move || {
            let Load::Ready(page) = list.data.get_clone() else { return };
            let latest = rows(page);
            let asked = this.asked.replace(false);
            if this.held.get_untracked() && !asked && !this.rows.with_untracked(Vec::is_empty) {
                let (rows, waiting) = this.rows.with_untracked(|shown| merge(shown, &latest, same));
                this.rows.set(rows);
                this.waiting.set(waiting);
                this.latest.set(latest);
            } else {
                this.waiting.set(0);
                this.latest.set(latest.clone());
                this.rows.set(latest);
            }
        });
        this
    }

    fn release(self) {
        self.waiting.set(0);
        let latest = self.latest.get_clone_untracked();
        if self.rows.with_untracked(|rows| *rows != latest) {
            self.rows.set(latest);
        }
    }

    /// `table` under the pointer's protection.
    pub(crate) fn view(self, table: View) -> View {
        let hold = move |_| self.held.set(true);
        let let_go = move |_| {
            self.held.set(false);
            self.release();
        };
        view! {
            div(class="live", on:mouseenter=hold, on:mouseleave=let_go) {
                (if self.waiting.get() > 0 {
                    view! {
                        button(class="fresh", r#type="button", on:click=move |_| self.release()) {
                            (self.waiting.get()) " new"
                        }
                    }
                } else {
                    view! {}
                })
                (table)
            }
        }
    }
}

/// The shown rows with their newest content, in their places, and how many new ones wait.
fn merge<T: Clone>(shown: &[T], latest: &[T], same: fn(&T, &T) -> bool) -> (Vec<T>, usize) {
    let newest = |row: &T| latest.iter().find(|new| same(row, new)).unwrap_or(row).clone();
    let waiting = latest.iter().filter(|new| !shown.iter().any(|row| same(row, new))).count();
    (shown.iter().map(newest).collect(), waiting)
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn rows_under_the_pointer_change_in_place_and_new_ones_wait() {
        let shown = [(2, 'a'), (1, 'a')];
        let latest = [(4, 'a'), (3, 'a'), (2, 'b')];
        let (rows, waiting) = merge(&shown, &latest, |one, other| one.0 == other.0);
        assert_eq!(rows, [(2, 'b'), (1, 'a')]);
        assert_eq!(waiting, 2);
    }
}
