//! Large charts, drawn by a script that comes after the page's tables are painted, and only where a chart is shown. Where it
//! cannot come, nothing is drawn.

use std::rc::Rc;

use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;

use super::model::Model;
use crate::load::{painted, settled};

#[wasm_bindgen]
extern "C" {
    /// Brings the script. `boot.js` defines it, which knows the script's name.
    #[wasm_bindgen(catch, js_name = importCharts)]
    async fn import_charts() -> Result<JsValue, JsValue>;

    /// The script, `web/charts/charts.js`.
    type Script;
    #[wasm_bindgen(method, catch)]
    fn draw(
        this: &Script,
        element: &web_sys::Element,
        model: &str,
        format: &Closure<dyn Fn(f64) -> String>,
        chosen: &Closure<dyn Fn(u32, u32)>,
    ) -> Result<Drawn, JsValue>;

    /// A chart on the page.
    #[derive(Clone)]
    type Drawn;
    #[wasm_bindgen(method)]
    fn update(this: &Drawn, model: &str);
    #[wasm_bindgen(method)]
    fn svg(this: &Drawn) -> String;
    #[wasm_bindgen(method)]
    fn dispose(this: &Drawn);
}

/// How values are written.
pub(crate) type Format = Rc<dyn Fn(f64) -> String>;
/// What a click on this place of this series does.
pub(crate) type Chosen = Rc<dyn Fn(usize, usize)>;

/// Where a chart is.
#[derive(Clone, PartialEq)]
pub(crate) enum Stage {
    /// It comes.
    Coming,
    /// It is there.
    There(Picture),
    /// It cannot be had.
    Absent,
}

/// A chart on the page.
#[derive(Clone)]
pub(crate) struct Picture(Drawn);

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        let (one, other): (&JsValue, &JsValue) = (self.0.as_ref(), other.0.as_ref());
        one == other
    }
}

impl Picture {
    /// As a file.
    pub(crate) fn svg(&self) -> String {
        self.0.svg()
    }
}

/// The place of a chart, and how it gets on. `shown` is what the chart shows, and is followed; it must not be empty.
pub(crate) fn large(shown: ReadSignal<Model>, format: Format, chosen: Chosen) -> (View, ReadSignal<Stage>) {
    let stage = create_signal(Stage::Coming);
    let node = create_node_ref();
    // It ends with the page that it is on.
    spawn_local_scoped(async move {
        // Reading the script holds up whatever else the page waits for.
        settled().await;
        painted().await;
        let drawn = import_charts().await.and_then(|script| {
            let element: web_sys::Element = node.try_get().ok_or(JsValue::NULL)?.dyn_into()?;
            let format = Closure::<dyn Fn(f64) -> String>::new(move |value| format(value));
            let chosen = Closure::<dyn Fn(u32, u32)>::new(move |series, place| {
                let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
                chosen(whole(series), whole(place));
            });
            let json = shown.with_untracked(Model::json);
            let drawn = script.unchecked_into::<Script>().draw(&element, &json, &format, &chosen)?;
            let ended = drawn.clone();
            on_cleanup(move || {
                ended.dispose();
                // Until then it calls them.
                drop((format, chosen));
            });
            Ok(drawn)
        });
        stage.set(drawn.map_or(Stage::Absent, |drawn| Stage::There(Picture(drawn))));
    });
    create_effect(on(shown, move || {
        if let Stage::There(picture) = stage.get_clone_untracked() {
            picture.0.update(&shown.with_untracked(Model::json));
        }
    }));
    let label = move || shown.with(|model| model.text.clone());
    let there = move || matches!(stage.get_clone(), Stage::There(_)).to_string();
    let view = view! {
        div(class="chart-frame") {
            div(class="chart-place", "role"="img", aria-label=label(), data-drawn=there(), r#ref=node) {}
        }
    };
    (view, *stage)
}
