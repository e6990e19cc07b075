//! A share as a short bar with its figure.

use sycamore::prelude::*;

/// The bar.
pub(crate) fn meter(percent: ReadSignal<u32>) -> View {
    let width = move || format!("{}%", percent.get());
    view! {
        span(class="meter") {
            svg(aria-hidden="true") {
                rect(class="meter-track", width="100%", height="4", rx="2") {}
                rect(class="meter-fill", width=width, height="4", rx="2") {}
            }
            span { (percent.get()) "%" }
        }
    }
}
