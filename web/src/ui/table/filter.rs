//! What of the rows is shown: each choice is a value of the URL.

use std::rc::Rc;

use sycamore::prelude::*;

use super::Table;
use crate::ui::form::{self, Text};

/// Whether a row is of a value.
type Holds<T> = Rc<dyn Fn(&T, &str) -> bool>;

/// A filter above the rows.
pub(crate) struct Filter<T: 'static> {
    pub(super) name: &'static str,
    label: &'static str,
    /// (value, label); none is a field to type into.
    options: Option<ReadSignal<Vec<(String, String)>>>,
    /// What kind of field.
    kind: &'static str,
    pub(super) holds: Option<Holds<T>>,
}

impl<T: 'static> Filter<T> {
    /// One of a few; `options` are (value, label), and "all" comes first by itself. `holds` says whether a row is of
    /// that value.
    pub(crate) fn choice(
        name: &'static str,
        label: &'static str,
        options: ReadSignal<Vec<(String, String)>>,
        holds: impl Fn(&T, &str) -> bool + 'static,
    ) -> Self {
        Self { name, label, options: Some(options), kind: "", holds: Some(Rc::new(holds)) }
    }

    /// One of a few that the server filters by: the page reads `state::param(name, "")` for what it asks.
    pub(crate) fn asked(name: &'static str, label: &'static str, options: ReadSignal<Vec<(String, String)>>) -> Self {
        Self { name, label, options: Some(options), kind: "", holds: None }
    }

    /// A field of this kind, such as `date`, that the server filters by.
    pub(crate) fn typed(name: &'static str, label: &'static str, kind: &'static str) -> Self {
        Self { name, label, options: None, kind, holds: None }
    }

    /// A field to type into; `/` on the keyboard leads there.
    pub(crate) fn search(name: &'static str, label: &'static str, holds: impl Fn(&T, &str) -> bool + 'static) -> Self {
        Self { name, label, options: None, kind: "search", holds: Some(Rc::new(holds)) }
    }

    fn view(&self, value: Signal<String>) -> View {
        let (name, label, kind) = (self.name, self.label, self.kind);
        let control = match self.options {
            None => form::text(value, Text { name, kind, optional: true, ..Text::default() }),
            Some(options) => View::from_dynamic(move || {
                let mut all = vec![(String::new(), "all".to_owned())];
                all.extend(options.get_clone());
                // Also one that is no longer offered may stand in the URL.
                let present = value.get_clone_untracked();
                if !all.iter().any(|(known, _)| *known == present) {
                    all.push((present.clone(), present));
                }
                form::select(name, value, all)
            }),
        };
        view! { label(class="field") { span(class="field-label") { (label) } (control) } }
    }
}

impl<T: Clone + PartialEq + 'static, K: 'static> Table<T, K> {
    /// The filters, where there are any.
    pub(super) fn filter_view(&self, values: &[Signal<String>]) -> Option<View> {
        let all: Vec<View> = self.filters.iter().zip(values).map(|(filter, value)| filter.view(*value)).collect();
        (!all.is_empty()).then(|| view! { div(class="filters") { (all) } })
    }
}
