//! A large chart on a page: its definition, the picture, the table behind it, and both as files.

use std::rc::Rc;

use sycamore::prelude::*;

use super::large::{Stage, large};
use super::model::Model;
use super::sheet::Sheet;
use super::unit::Unit;
use crate::api::Trouble;
use crate::load::{Load, after_page, placeholder};
use crate::nav;
use crate::ui::icon;
use crate::ui::table::save_text;
use crate::ui::trouble::trouble_view;

/// What a chart shows, and the figures behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chart {
    pub(crate) model: Model,
    pub(crate) unit: Unit,
    pub(crate) sheet: Sheet,
    /// The rows that a click leads to: by series, then by place.
    pub(crate) links: Vec<Vec<Option<String>>>,
    /// A word about what is shown, such as what was left out.
    pub(crate) note: String,
}

impl Chart {
    fn link(&self, series: usize, place: usize) -> Option<String> {
        self.links.get(series)?.get(place)?.clone()
    }
}

/// The frame of a chart.
pub(crate) struct Card {
    /// The part of the page that it is, for links and tests.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What its figures are, in a sentence or two.
    pub(crate) definition: &'static str,
    /// What of it is shown.
    pub(crate) controls: View,
    /// What stands in its place where there is nothing to draw.
    pub(crate) nothing: &'static str,
    /// What stands below the picture.
    pub(crate) below: View,
}

/// What kind of content a card has now.
#[derive(Clone, PartialEq)]
enum Content {
    Waiting,
    Failed(Trouble),
    Nothing,
    Chart,
}

impl Card {
    /// The chart, whenever it changes.
    pub(crate) fn view(self, chart: ReadSignal<Load<Chart>>) -> View {
        let Self { id, title, definition, controls, nothing, below } = self;
        let content = create_selector(move || {
            chart.with(|chart| match chart {
                Load::Waiting => Content::Waiting,
                Load::Failed(trouble) => Content::Failed(trouble.clone()),
                Load::Ready(chart) if chart.model.is_empty() => Content::Nothing,
                Load::Ready(_) => Content::Chart,
            })
        });
        // The last that was there: what replaces it is not drawn.
        let ready = create_memo(move || {
            chart.with(|chart| match chart {
                Load::Ready(chart) => chart.clone(),
                _ => Chart::default(),
            })
        });
        let body = View::from_dynamic(move || match content.get_clone() {
            Content::Waiting => placeholder(6),
            Content::Failed(trouble) => trouble_view(trouble),
            Content::Nothing => view! { p(class="nothing") { (nothing) } },
            Content::Chart => filled(id, title, ready),
        });
        let heading = format!("{id}-title");
        let labelled = heading.clone();
        let note = View::from_dynamic(move || {
            let note = ready.with(|chart| chart.note.clone());
            (!note.is_empty()).then(|| view! { p(class="soft chart-note") { (note) } })
        });
        view! {
            section(class="section chart", id=id, aria-labelledby=labelled) {
                div(class="section-head") { h2(id=heading) { (title) } p(class="about") { (definition) } }
                div(class="chart-controls") { (controls) }
                (body)
                (note)
                (below)
            }
        }
    }
}

fn filled(id: &'static str, title: &'static str, chart: ReadSignal<Chart>) -> View {
    let model = create_selector(move || chart.with(|chart| chart.model.clone()));
    let format = Rc::new(move |value| chart.with_untracked(|chart| chart.unit).write(value));
    let chosen = Rc::new(move |series, place| {
        if let Some(href) = chart.with_untracked(|chart| chart.link(series, place)) {
            nav::go(&href);
        }
    });
    let (picture, stage) = large(model, format, chosen);
    let sheet = create_selector(move || chart.with(|chart| chart.sheet.clone()));
    let table = after_page(move || View::from_dynamic(move || sheet.with(|sheet| sheet.view(title))));
    let absent = move || stage.with(|stage| *stage == Stage::Absent);
    let excuse = View::from_dynamic(move || {
        absent().then(|| view! { p(class="soft") { "The picture could not be loaded; its figures are here." } })
    });
    let save_csv = move |_| save_text(&format!("{id}.csv"), "text/csv", &sheet.with_untracked(Sheet::csv));
    let save_svg = move |_| {
        if let Stage::There(picture) = stage.get_clone_untracked() {
            save_text(&format!("{id}.svg"), "image/svg+xml", &picture.svg());
        }
    };
    let coming = move || stage.with(|stage| !matches!(stage, Stage::There(_)));
    view! {
        div(hidden=absent()) { (picture) }
        (excuse)
        div(class="chart-end") {
            details(class="chart-table", open=absent()) {
                summary { "Figures" }
                (table)
            }
            div(class="chart-files") {
                button(class="secondary small", r#type="button", on:click=save_csv) {
                    (icon::icon(icon::DOWNLOAD)) "CSV"
                }
                button(class="secondary small", r#type="button", disabled=coming(), on:click=save_svg) {
                    (icon::icon(icon::DOWNLOAD)) "SVG"
                }
            }
        }
    }
}

/// A chart of what has been loaded.
pub(crate) fn shown<T: Clone + PartialEq + 'static>(
    loaded: ReadSignal<Load<T>>,
    draw: impl Fn(T) -> Chart + 'static,
) -> ReadSignal<Load<Chart>> {
    create_selector(move || match loaded.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Failed(trouble) => Load::Failed(trouble),
        Load::Ready(loaded) => Load::Ready(draw(loaded)),
    })
}
