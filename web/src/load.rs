//! Data that arrives: loaded once, live, or as the outcome of something that the user did.

use std::future::Future;

use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;

use crate::api::{Result, Trouble};
use crate::ui::trouble::{field_trouble_view, trouble_view};

/// How often a live list asks.
pub(crate) const POLL_MS: i32 = 2_000;
/// How long it waits after a failure.
pub(crate) const POLL_AFTER_TROUBLE_MS: i32 = 5_000;

/// Data on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Load<T> {
    Waiting,
    Ready(T),
    Failed(Trouble),
}

/// Data that can be asked for again.
pub(crate) struct Resource<T: 'static> {
    pub(crate) data: Signal<Load<T>>,
    ask: Signal<u32>,
}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Resource<T> {}

impl<T: Clone + PartialEq + 'static> Resource<T> {
    /// Loads now, and whenever a signal that `fetch` reads changes.
    pub(crate) fn new<F: Future<Output = Result<T>> + 'static>(fetch: impl Fn() -> F + 'static) -> Self {
        let resource = Self::fed();
        create_effect(move || {
            resource.ask.track();
            let asked = fetch();
            spawn_local_scoped(async move {
                let answer = asked.await;
                resource.put(answer);
            });
        });
        resource
    }

    /// Loads now and then every 2 s, while the page is visible.
    pub(crate) fn live<F: Future<Output = Result<T>> + 'static>(fetch: impl Fn() -> F + 'static) -> Self {
        let resource = Self::fed();
        spawn_local_scoped(async move {
            loop {
                let answer = fetch().await;
                let pause = if answer.is_ok() { POLL_MS } else { POLL_AFTER_TROUBLE_MS };
                resource.put(answer);
                sleep(pause).await;
                seen().await;
            }
        });
        resource
    }

    /// Loads now, whenever a signal that `fetch` or `every_ms` reads changes, and so often while the page is visible.
    /// What is shown stays until the answer comes.
    pub(crate) fn every<F: Future<Output = Result<T>> + 'static>(
        every_ms: impl Fn() -> i32 + 'static,
        fetch: impl Fn() -> F + 'static,
    ) -> Self {
        let resource = Self::fed();
        let fetch = std::rc::Rc::new(fetch);
        create_effect(move || {
            resource.ask.track();
            let (pause, fetch) = (every_ms(), fetch.clone());
            let mut asked = fetch();
            spawn_local_scoped(async move {
                loop {
                    let answer = asked.await;
                    let pause = if answer.is_ok() { pause } else { pause.max(POLL_AFTER_TROUBLE_MS) };
                    resource.put(answer);
                    sleep(pause).await;
                    seen().await;
                    asked = fetch();
                }
            });
        });
        resource
    }

    /// Nothing yet: `put` brings it.
    pub(crate) fn fed() -> Self {
        Self { data: create_signal(Load::Waiting), ask: create_signal(0) }
    }

    /// What came. What is shown already stays while the platform does not answer: the frame says so.
    pub(crate) fn put(self, answer: Result<T>) {
        let new = match answer {
            Ok(data) => Load::Ready(data),
            Err(trouble)
                if trouble.is_unreachable() && self.data.with_untracked(|old| matches!(old, Load::Ready(_))) =>
            {
                return;
            }
            Err(trouble) => Load::Failed(trouble),
        };
        if self.data.with_untracked(|old| *old != new) {
            self.data.set(new);
        }
    }

    /// Loads again; what is shown stays until the answer comes.
    pub(crate) fn reload(self) {
        self.ask.update(|count| *count += 1);
    }

    /// The data, where it is there; tracked.
    pub(crate) fn ready(self) -> Option<T> {
        self.data.with(|data| match data {
            Load::Ready(data) => Some(data.clone()),
            _ => None,
        })
    }

    /// The data by `show`, a placeholder of so many rows before it comes, or the trouble.
    pub(crate) fn view(self, rows: u8, show: impl Fn(T) -> View + 'static) -> View {
        View::from_dynamic(move || match self.data.get_clone() {
            Load::Waiting => placeholder(rows),
            Load::Ready(data) => show(data),
            Load::Failed(trouble) => trouble_view(trouble),
        })
    }
}

/// Grey rows, so that nothing jumps when the data comes.
pub(crate) fn placeholder(rows: u8) -> View {
    let rows: Vec<View> = (0..rows).map(|_| view! { div(class="placeholder") {} }).collect();
    view! { div(class="placeholders", aria-busy="true", aria-label="Loading") { (rows) } }
}

/// Something that the user does: once at a time, with its trouble shown beside it.
#[derive(Clone, Copy)]
pub(crate) struct Action {
    pub(crate) busy: Signal<bool>,
    pub(crate) trouble: Signal<Option<Trouble>>,
}

impl Action {
    /// Nothing done yet.
    pub(crate) fn new() -> Self {
        Self { busy: create_signal(false), trouble: create_signal(None) }
    }

    /// Does it, unless it is being done.
    pub(crate) fn run(self, work: impl Future<Output = Result<()>> + 'static) {
        if self.busy.get_untracked() {
            return;
        }
        self.busy.set(true);
        self.trouble.set(None);
        spawn_local_scoped(async move {
            let outcome = work.await;
            // The work may have led to another page: then nobody is left to tell.
            if self.busy.is_alive() {
                self.busy.set(false);
                self.trouble.set(outcome.err());
                if self
                    .trouble
                    .with_untracked(|trouble| trouble.as_ref().is_some_and(|trouble| trouble.field.is_some()))
                {
                    show_refused();
                }
            }
        });
    }

    /// The trouble, where there is one.
    pub(crate) fn view(self) -> View {
        View::from_dynamic(move || self.trouble.get_clone().map(trouble_view))
    }

    /// Whether the trouble is about one of these inputs.
    pub(crate) fn is_about(self, inputs: &'static [&'static str]) -> ReadSignal<bool> {
        create_selector(move || {
            self.trouble.with(|trouble| trouble.as_ref().is_some_and(|trouble| trouble.is_about(inputs)))
        })
    }

    /// The trouble, where it is about one of these inputs: it stands beside them.
    pub(crate) fn beside(self, inputs: &'static [&'static str]) -> View {
        let here = self.is_about(inputs);
        View::from_dynamic(move || self.trouble.get_clone().filter(|_| here.get()).map(field_trouble_view))
    }

    /// The trouble, where it is about none of these inputs: it stands at the form's end.
    pub(crate) fn elsewhere(self, inputs: &'static [&'static str]) -> View {
        let there = self.is_about(inputs);
        View::from_dynamic(move || self.trouble.get_clone().filter(|_| !there.get()).map(trouble_view))
    }
}

/// Leads to the input that was refused: in a long form it may be far above the button.
fn show_refused() {
    let input = document().query_selector("form [aria-invalid='true']").ok().flatten();
    if let Some(input) = input.and_then(|input| input.dyn_into::<web_sys::HtmlElement>().ok()) {
        drop(input.focus());
    }
}

/// Waits.
pub(crate) async fn sleep(ms: i32) {
    let _: std::result::Result<JsValue, JsValue> = wasm_bindgen_futures::JsFuture::from(pause(ms)).await;
}

/// A promise that is kept after so long.
pub(crate) fn pause(ms: i32) -> web_sys::js_sys::Promise {
    web_sys::js_sys::Promise::new(&mut |resolve, _| {
        drop(window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms));
    })
}

/// Waits until somebody can see the page.
pub(crate) async fn seen() {
    while document().hidden() {
        sleep(500).await;
    }
}
