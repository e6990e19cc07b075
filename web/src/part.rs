//! Parts of the portal that come later. What the frame and the dashboard need is in the first module that a browser
//! loads; each page made with [`later!`] comes, with all that it alone needs, when it is first shown, or ahead of that once
//! somebody uses the page. `xtask` splits the compiled module there (`xtask/src/portal/module.rs`).

use std::future::Future;
use std::pin::Pin;

use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_split_helpers::SplitLoaderError;
use web_sys::AddEventListenerOptions;
use web_sys::js_sys::{Promise, Reflect};

use crate::api::Trouble;
use crate::load::placeholder;
use crate::ui::trouble::trouble_view;

/// A page whose part is on its way; it is made where and when that is there.
pub(crate) type Coming = Pin<Box<dyn Future<Output = Result<View, SplitLoaderError>>>>;

/// `later!(part, page(visit: Visit) => view)`: a function from a visit to a page of this part. `page` is its name in the
/// compiled module.
macro_rules! later {
    ($part:ident, $page:ident($given:tt: $Given:ty) => $view:expr) => {{
        #[wasm_split_helpers::wasm_split($part, fallible)]
        fn $page($given: $Given) -> Result<View, wasm_split_helpers::SplitLoaderError> {
            Ok($view)
        }
        |given: $Given| $crate::part::coming(move || Box::pin($page(given.clone())))
    }};
}
pub(crate) use later;

/// A part on its way.
pub(crate) type Bringing = Pin<Box<dyn Future<Output = Result<(), SplitLoaderError>>>>;

/// `bring!(part, name)`: a function that brings this part. `name` is its name in the compiled module.
macro_rules! bring {
    ($part:ident, $name:ident) => {{
        #[wasm_split_helpers::wasm_split($part, fallible)]
        fn $name() -> Result<(), wasm_split_helpers::SplitLoaderError> {
            Ok(())
        }
        || -> $crate::part::Bringing { Box::pin($name()) }
    }};
}
pub(crate) use bring;

/// Brings these parts, one after the other, before their pages are asked for. It begins when somebody first uses the page:
/// who only looks at the first one loads no more than that. Who asked the browser to save data loads what is shown alone.
pub(crate) fn bring_ahead(parts: &'static [fn() -> Bringing]) {
    wasm_bindgen_futures::spawn_local(async move {
        first_input().await;
        if saves_data() {
            return;
        }
        for part in parts {
            idle().await;
            // The page that needs it tries again.
            if part().await.is_err() {
                return;
            }
        }
    });
}

/// Waits until somebody points, scrolls or types.
async fn first_input() {
    let input = Promise::new(&mut |resolve, _| {
        let once = AddEventListenerOptions::new();
        once.set_once(true);
        for kind in ["pointermove", "pointerdown", "keydown", "scroll"] {
            drop(window().add_event_listener_with_callback_and_add_event_listener_options(kind, &resolve, &once));
        }
    });
    let _: Result<JsValue, JsValue> = JsFuture::from(input).await;
}

/// Waits until the browser has nothing else to do; for a moment, where it does not tell.
async fn idle() {
    const MOMENT_MS: i32 = 200;
    let idle = Promise::new(&mut |resolve, _| {
        if window().request_idle_callback(&resolve).is_err() {
            drop(window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, MOMENT_MS));
        }
    });
    let _: Result<JsValue, JsValue> = JsFuture::from(idle).await;
}

fn saves_data() -> bool {
    let of = |object: &JsValue, name: &str| Reflect::get(object, &JsValue::from_str(name)).unwrap_or_default();
    let connection = of(&window().navigator(), "connection");
    of(&connection, "saveData").is_truthy()
}

/// The page, or grey rows until its part has come, or why it cannot come.
pub(crate) fn coming(ask: impl Fn() -> Coming + 'static) -> View {
    let page = create_signal(None);
    let again = create_signal(());
    create_effect(move || {
        again.track();
        let coming = ask();
        spawn_local_scoped(async move { page.set(Some(coming.await)) });
    });
    View::from_dynamic(move || {
        page.track();
        match page.take_silent() {
            None => placeholder(ROWS),
            Some(Ok(page)) => page,
            Some(Err(_)) => absent(again),
        }
    })
}

/// Grey rows in place of a page.
const ROWS: u8 = 6;

fn absent(again: Signal<()>) -> View {
    let trouble = trouble_view(Trouble::here(
        "page_not_loaded",
        "This page's code did not come.",
        "Check that you are online, then try again; if it stays so, reload: the portal may be older than the platform.",
    ));
    view! {
        (trouble)
        button(class="secondary", r#type="button", on:click=move |_| again.set(())) { "Try again" }
    }
}
