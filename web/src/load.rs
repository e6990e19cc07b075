//! Data that arrives: loaded once, live, or as the outcome of something that the user did.

use std::cell::Cell;
use std::future::Future;

use protocol::api::Page;
use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::js_sys::{Array, Promise};

use crate::api::{Result, Trouble};
use crate::kept;
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
            resource.show_kept(fetch());
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
        resource.show_kept(untrack(&fetch));
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
            resource.show_kept(fetch());
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

    /// Shows what `asked` came to before, where that is kept, until its answer comes.
    pub(crate) fn show_kept(self, asked: impl Future<Output = Result<T>>) {
        if let Some(data) = untrack(|| kept::glance(asked)) {
            self.put(Ok(data));
        }
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

impl<T: Clone + PartialEq + 'static> Resource<Page<T>> {
    /// Loads page after page, of so many at most, by their cursors: the first is shown while the others are on their way.
    pub(crate) fn pages<F: Future<Output = Result<Page<T>>> + 'static>(
        pages_max: usize,
        fetch: impl Fn(String) -> F + 'static,
    ) -> Self {
        let resource = Self::fed();
        let fetch = std::rc::Rc::new(fetch);
        create_effect(move || {
            resource.ask.track();
            let fetch = fetch.clone();
            if resource.data.with_untracked(|data| *data == Load::Waiting) {
                resource.show_kept(fetch(String::new()));
            }
            let mut asked = fetch(String::new());
            spawn_local_scoped(async move {
                let mut items = Vec::new();
                for left in (0..pages_max).rev() {
                    let page = match asked.await {
                        Ok(page) => page,
                        Err(trouble) => return resource.put(Err(trouble)),
                    };
                    items.extend(page.items);
                    let Some(next) = page.next.clone().filter(|_| left > 0) else {
                        return resource.put(Ok(Page { items, next: page.next }));
                    };
                    // A list that is there already is not made shorter meanwhile.
                    if resource.data.with_untracked(|data| *data == Load::Waiting) {
                        resource.put(Ok(Page { items: items.clone(), next: page.next }));
                    }
                    asked = fetch(next);
                }
            });
        });
        resource
    }
}

/// Grey rows, so that nothing jumps when the data comes.
pub(crate) fn placeholder(rows: u8) -> View {
    let rows: Vec<View> = (0..rows).map(|_| view! { div(class="placeholder") {} }).collect();
    view! { div(class="placeholders", role="status", aria-busy="true", aria-label="Loading") { (rows) } }
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
    let input = document().query_selector("form [aria-invalid='true']:enabled").ok().flatten();
    if let Some(input) = input.and_then(|input| input.dyn_into::<web_sys::HtmlElement>().ok()) {
        drop(input.focus());
    }
}

thread_local! {
    static FRAME_PAINTED: Cell<bool> = const { Cell::new(false) };
}

/// Notes when the portal's frame, which is being made, has been painted.
pub(crate) fn watch_frame() {
    wasm_bindgen_futures::spawn_local(async {
        painted().await;
        FRAME_PAINTED.set(true);
    });
}

/// The view; grey rows in its place until the portal's frame has been painted for the first time. So frame and head of the
/// first page are seen while the rest is being made.
pub(crate) fn after_frame(rows: u8, show: impl Fn() -> View + 'static) -> View {
    let ready = create_signal(FRAME_PAINTED.get());
    if !ready.get_untracked() {
        spawn_local_scoped(async move {
            painted().await;
            ready.set(true);
        });
    }
    View::from_dynamic(move || if ready.get() { show() } else { placeholder(rows) })
}

/// The view, once nothing else of the page is on its way: for what is folded away at first.
pub(crate) fn after_page(show: impl Fn() -> View + 'static) -> View {
    let ready = create_signal(false);
    spawn_local_scoped(async move {
        settled().await;
        ready.set(true);
    });
    View::from_dynamic(move || ready.get().then(&show))
}

/// Waits until nothing that the page shows is on its way any more, or for some seconds: then may begin what is heavy, or what
/// nobody sees yet. Who takes kept responses alone does not wait.
pub(crate) async fn settled() {
    const LOOKS: u32 = 60;
    const LOOK_MS: i32 = 50;
    if kept::is_glancing() {
        return;
    }
    for _ in 0..LOOKS {
        painted().await;
        if !matches!(document().query_selector("main [aria-busy=true]"), Ok(Some(_))) {
            return;
        }
        sleep(LOOK_MS).await;
    }
}

/// Waits until what is on the page now has been painted.
pub(crate) async fn painted() {
    let frame = Promise::new(&mut |resolve, _| {
        drop(window().request_animation_frame(&resolve));
    });
    // A page that nobody sees has no frames: then a moment is enough.
    let either = Promise::race(&Array::of2(&frame, &pause(UNSEEN_MS)));
    let _: std::result::Result<JsValue, JsValue> = wasm_bindgen_futures::JsFuture::from(either).await;
    sleep(0).await;
}

/// How long a frame is waited for.
const UNSEEN_MS: i32 = 500;

/// Waits.
pub(crate) async fn sleep(ms: i32) {
    let _: std::result::Result<JsValue, JsValue> = wasm_bindgen_futures::JsFuture::from(pause(ms)).await;
}

/// A promise that is kept after so long.
pub(crate) fn pause(ms: i32) -> Promise {
    Promise::new(&mut |resolve, _| {
        drop(window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms));
    })
}

/// Waits until somebody can see the page.
pub(crate) async fn seen() {
    while document().hidden() {
        sleep(500).await;
    }
}

/// Waits until somebody can see the page and no question is asked on it: what is drawn anew would take it away.
pub(crate) async fn undisturbed() {
    seen().await;
    while matches!(document().query_selector("dialog[open]"), Ok(Some(_))) {
        sleep(500).await;
    }
}
