//! The portal: CrowdCloud in the browser. It starts here; `app` is its frame, `pages` its places, `ui` the parts
//! that pages are made of, `api` the one way to the server.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod api;
mod app;
mod base64;
mod calls;
mod charts;
mod events;
mod format;
mod live;
mod load;
mod nav;
mod pages;
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
