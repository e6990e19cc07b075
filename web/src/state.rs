//! State of a page that stands in the URL's query, so that a link, Back and a reload bring it back.

use sycamore::prelude::*;
use sycamore_router::use_search_query;
use web_sys::UrlSearchParams;

use crate::nav;

/// The value of `name` in the query, tied both ways: what a control sets is written into the URL without a new entry
/// in the history, and what a link or Back changes is read. `default` is what stands for no value. A change of a value
/// ends the cursor of a page of rows, unless it is the cursor.
pub(crate) fn param(name: &'static str, default: &'static str) -> Signal<String> {
    let query = use_search_query(name);
    let of_url = create_selector(move || {
        query.get_clone().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
    });
    let value = create_signal(of_url.get_clone_untracked());
    create_effect(move || {
        let url = of_url.get_clone();
        if value.with_untracked(|value| *value != url) {
            value.set(url);
        }
    });
    create_effect(on(value, move || {
        let value = value.get_clone_untracked();
        if of_url.with_untracked(|url| *url != value) {
            let value = (value != default).then_some(value);
            // Later: what reads the URL runs in effects of its own.
            sycamore::futures::spawn_local_scoped(async move { change(&[(name, value.as_deref())]) });
        }
    }));
    value
}

/// Writes these values into the URL; the page stays where it was scrolled to.
pub(crate) fn change(values: &[(&str, Option<&str>)]) {
    let down = window().scroll_y().unwrap_or_default();
    nav::replace(&href(values));
    window().scroll_to_with_x_and_y(0.0, down);
}

/// The present place with these values in its query.
pub(crate) fn href(values: &[(&str, Option<&str>)]) -> String {
    let search = window().location().search().unwrap_or_default();
    let path = nav::pathname();
    let Ok(params) = UrlSearchParams::new_with_str(&search) else { return path };
    if !values.iter().any(|(name, _)| *name == CURSOR) {
        params.delete(CURSOR);
    }
    for (name, value) in values {
        match value {
            Some(value) => params.set(name, value),
            None => params.delete(name),
        }
    }
    match String::from(params.to_string()) {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    }
}

/// The parameter that names a page of rows, as the API's lists do.
pub(crate) const CURSOR: &str = "cursor";
