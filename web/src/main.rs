//! The portal: CrowdCloud in the browser.
//!
//! **To add a page of an account**, touch three files: write `pages/NAME.rs` with `pub(crate) fn NAME() -> View`, name it in
//! `pages.rs`, and give it a line in `places`: path, title, icon, words for the palette, least role, view. Router,
//! sidebar and palette read that line; `tests/tests/portal/looks.rs` wants the URL too. The view comes `later!`, in a part of
//! the portal that is loaded when a page of it is shown (`part`): the first load has a bound. Most pages are made of:
//!
//! | part | for |
//! | --- | --- |
//! | `calls` | what is asked of the API: every path stands there |
//! | `load::Resource` | data that comes: once (`new`), or again and again (`every`, `live`); `Action` is what a user does. What came before is shown at once (`kept`) |
//! | `live` | changes of jobs, from the one stream of events that a tab has |
//! | `state::param` | a value in the URL, tied to a signal both ways |
//! | `ui::table::Table` | rows from columns as data: order, filters, pages, CSV, two lines on phones |
//! | `ui::tile`, `ui::period`, `charts`, `ui::columns` | figures, the period they are of, and how they moved |
//! | `charts::Card` | a large chart, with its definition, the table behind it, and both as files |
//! | `ui::form::Form`, `ui::limits` | a form as data: fields, each with its input of the API, and what sending them does |
//! | `format` | every quantity and time as people read it |
//!
//! No style stands in markup, because the content security policy allows none: sizes of drawings are attributes, all else
//! is a class in `web/style`. Within `svg`, links and titles are `svg_a` and `svg_title`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod api;
mod app;
mod base64;
mod calls;
mod charts;
mod connection;
mod events;
mod format;
mod kept;
mod live;
mod load;
mod nav;
mod pages;
mod part;
mod places;
mod route;
mod session;
mod shell;
mod state;
mod ui;

fn main() {
    std::panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&info.to_string().into());
        ui::broken::show();
    }));
    sycamore::render(app::App);
}
