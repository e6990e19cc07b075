//! Moving about: the history integration, which keeps queries (the router's own drops them), and a few helpers.

use std::cell::RefCell;
use std::collections::HashMap;

use sycamore::prelude::*;
use sycamore_router::Integration;
use wasm_bindgen::prelude::*;

/// Ties the router to the browser's history.
pub(crate) struct History;

impl Integration for History {
    fn current_pathname(&self) -> String {
        // With the query: Back between two states of one page changes nothing else.
        match pathname().trim_end_matches('/') {
            "" => "/".to_owned(),
            path => format!("{path}{}", window().location().search().unwrap_or_default()),
        }
    }

    fn on_popstate(&self, mut f: Box<dyn FnMut()>) {
        let closure = Closure::<dyn FnMut()>::new(move || {
            f();
            restore_scroll();
        });
        drop(window().add_event_listener_with_callback("popstate", closure.as_ref().unchecked_ref()));
        closure.forget();
    }

    fn click_handler(&self) -> Box<dyn Fn(web_sys::MouseEvent)> {
        Box::new(|event| {
            if let Some(href) = followed_link(&event) {
                event.prevent_default();
                go(&href);
            }
        })
    }
}

/// The place that a plain click on a link of ours leads to.
fn followed_link(event: &web_sys::MouseEvent) -> Option<String> {
    let modified = event.meta_key() || event.ctrl_key() || event.shift_key() || event.alt_key();
    if modified || event.button() != 0 || event.default_prevented() {
        return None;
    }
    let element = event.target()?.dyn_into::<web_sys::Element>().ok()?;
    let link = element.closest("a[href]").ok()??;
    let Some(anchor) = link.dyn_ref::<web_sys::HtmlAnchorElement>() else {
        // A link within a drawing has no parts: it is one of ours where it is a path.
        return link.get_attribute("href").filter(|href| href.starts_with('/') && !href.starts_with("//"));
    };
    let ours = window().location().origin().is_ok_and(|origin| origin == anchor.origin());
    if !ours || anchor.rel() == "external" || !anchor.target().is_empty() || anchor.has_attribute("download") {
        return None;
    }
    Some(format!("{}{}{}", anchor.pathname(), anchor.search(), anchor.hash()))
}

thread_local! {
    /// How far down each place was when it was left.
    static SCROLLED: RefCell<HashMap<String, f64>> = RefCell::default();
}

/// How long Back waits for a page's data before it gives up restoring the scroll.
const RESTORE_TRIES: u32 = 30;
const RESTORE_PAUSE_MS: i32 = 50;

/// Path and query of the present URL.
fn here() -> String {
    format!("{}{}", pathname(), window().location().search().unwrap_or_default())
}

/// Goes to a place of the portal, leaving the present one in the history.
pub(crate) fn go(href: &str) {
    let down = window().scroll_y().unwrap_or_default();
    SCROLLED.with_borrow_mut(|places| places.insert(here(), down));
    sycamore_router::navigate(href);
    focus_page();
}

/// Scrolls back to where this place was left, as soon as its data makes it long enough.
fn restore_scroll() {
    let place = here();
    let Some(down) = SCROLLED.with_borrow(|places| places.get(&place).copied()).filter(|down| *down > 0.0) else {
        return;
    };
    wasm_bindgen_futures::spawn_local(async move {
        for _ in 0..RESTORE_TRIES {
            crate::load::sleep(RESTORE_PAUSE_MS).await;
            if here() != place {
                return;
            }
            let long = document().document_element().map_or(0, |root| root.scroll_height());
            let high = window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or_default();
            if f64::from(long) >= down + high {
                return window().scroll_to_with_x_and_y(0.0, down);
            }
        }
    });
}

/// Where the focus went away with the page before, it goes to the new page, so that Tab goes on from its start.
fn focus_page() {
    wasm_bindgen_futures::spawn_local(async {
        crate::load::sleep(0).await;
        let lost = document().active_element().is_none_or(|element| element.tag_name() == "BODY");
        let main = document().get_element_by_id("main").and_then(|main| main.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(main) = main.filter(|_| lost) {
            drop(main.focus());
        }
    });
}

/// Goes to a place of the portal in place of the present one.
pub(crate) fn replace(href: &str) {
    sycamore_router::navigate_replace(href);
}

/// The path of the present URL.
pub(crate) fn pathname() -> String {
    window().location().pathname().unwrap_or_default()
}

/// Scheme, host and port of the portal.
pub(crate) fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// A value of the present URL's query.
pub(crate) fn query(name: &str) -> Option<String> {
    let search = window().location().search().ok()?;
    web_sys::UrlSearchParams::new_with_str(&search).ok()?.get(name).filter(|value| !value.is_empty())
}

/// Where to go after a log-in: the `next` of the query, where it is a path of ours.
pub(crate) fn next_or(fallback: &str) -> String {
    query("next")
        .filter(|next| next.starts_with('/') && !next.starts_with("//") && !next.contains('\\'))
        .unwrap_or_else(|| fallback.to_owned())
}

/// A value, fit for a part of a path or of a query.
pub(crate) fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The window's title.
pub(crate) fn title(text: &str) {
    document().set_title(&if text.is_empty() { "CrowdCloud".to_owned() } else { format!("{text} · CrowdCloud") });
}
