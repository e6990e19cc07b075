//! What stands around the rows: how many there are, other pages, the CSV.

use protocol::csv::line as csv_line;
use sycamore::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, Url};

use super::column::Text;
use super::{Column, ServerPages, Table, page_number};
use crate::format;
use crate::nav;
use crate::state;
use crate::ui::icon;

/// No row is like what was asked for; or none so far, where a search has not come to its end.
pub(super) fn nothing(name: &'static str, narrowed: ReadSignal<bool>, pages: Option<ServerPages>) -> View {
    let next = create_memo(move || pages.and_then(|pages| pages.next.get_clone()));
    let words = move || match (next.with(Option::is_some), narrowed.get()) {
        (true, _) => format!("No {name} are like that so far: there are more to look at. "),
        (false, true) => format!("No {name} are like that. "),
        (false, false) => format!("No {name}. "),
    };
    let ways = View::from_dynamic(move || {
        let (href, words) = match (next.get_clone(), narrowed.get()) {
            (Some(next), _) => (state::href(&[(state::CURSOR, Some(&next))]), "Search on"),
            (None, true) => (nav::pathname(), "Show all"),
            (None, false) => return view! {},
        };
        view! { a(href=href) { (words) } "." }
    });
    view! { p(class="nothing") { (words()) (ways) } }
}

impl<T: Clone + PartialEq + 'static, K: 'static> Table<T, K> {
    /// Below the rows: which of them these are, the way to others, and the CSV.
    pub(super) fn foot(
        &self,
        sorted: ReadSignal<Vec<T>>,
        total: ReadSignal<usize>,
        page: Signal<String>,
    ) -> Option<View> {
        if !self.held_in_url {
            return None;
        }
        let size = self.page_rows;
        let pages = create_selector(move || total.get().div_ceil(size).max(1));
        let here = create_selector(move || page_number(&page.get_clone()).min(pages.get()));
        let range = move || {
            let first = (here.get() - 1) * size;
            let last = total.get().min(first + size);
            let thousands = |number: usize| format::thousands(u64::try_from(number).unwrap_or(u64::MAX));
            if pages.get() > 1 {
                format!("{}–{} of {}", thousands(first + 1), thousands(last), thousands(total.get()))
            } else {
                String::new()
            }
        };
        let turn = move |to: usize| page.set(if to <= 1 { String::new() } else { to.to_string() });
        let (back, on) = (move |_| turn(here.get_untracked() - 1), move |_| turn(here.get_untracked() + 1));
        let older = self.pages.map(server_pages);
        let csv = self.csv.then(|| self.csv_button(sorted));
        Some(view! {
            div(class="table-end") {
                span(class="soft") { (range()) }
                span(class="table-end-buttons") {
                    (csv)
                    button(class="secondary small", r#type="button", hidden=here.get() <= 1, on:click=back) { "Previous" }
                    button(class="secondary small", r#type="button", hidden=here.get() >= pages.get(), on:click=on) { "Next" }
                    (older)
                }
            }
        })
    }

    fn csv_button(&self, sorted: ReadSignal<Vec<T>>) -> View {
        let name = self.name;
        let columns: Vec<(&'static str, Text<T>)> =
            self.columns.iter().filter_map(|Column { title, csv, .. }| Some((*title, (*csv)?))).collect();
        let save = move |_| {
            let text = sorted.with_untracked(|rows| csv(&columns, rows));
            save_text(&format!("{}.csv", name.replace(' ', "-")), "text/csv", &text);
        };
        view! { button(class="secondary small", r#type="button", on:click=save) { (icon::icon(icon::DOWNLOAD)) "CSV" } }
    }
}

/// To the next page, and back to the first.
fn server_pages(ServerPages { next, first, further }: ServerPages) -> View {
    let cursor = state::param(state::CURSOR, "");
    let back = View::from_dynamic(move || {
        cursor.with(|cursor| !cursor.is_empty()).then(|| {
            let href = state::href(&[(state::CURSOR, None)]);
            view! { a(class="secondary small", href=href) { (first) } }
        })
    });
    let on = View::from_dynamic(move || {
        // The link keeps what else the URL says now.
        cursor.track();
        next.get_clone().map(|next| {
            let href = state::href(&[(state::CURSOR, Some(&next))]);
            view! { a(class="secondary small", href=href) { (further) } }
        })
    });
    view! { (back) (on) }
}

/// The rows as RFC 4180 has them.
fn csv<T>(columns: &[(&'static str, Text<T>)], rows: &[T]) -> String {
    let head = csv_line(columns.iter().map(|(title, _)| *title));
    rows.iter().fold(head, |text, row| text + &csv_line(columns.iter().map(|(_, cell)| cell(row))))
}

/// Hands a file to the user.
pub(crate) fn save_text(name: &str, media_type: &str, text: &str) {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = web_sys::js_sys::Array::of1(&JsValue::from(text));
    let Ok(blob) = Blob::new_with_str_sequence_and_options(&parts, &options) else { return };
    let Ok(url) = Url::create_object_url_with_blob(&blob) else { return };
    let link = document().create_element("a").ok().and_then(|link| link.dyn_into::<HtmlAnchorElement>().ok());
    if let Some(link) = link {
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    drop(Url::revoke_object_url(&url));
}

#[cfg(test)]
mod tests {
    use super::csv;

    #[test]
    fn cells_survive_a_spreadsheet() {
        let columns: [(&str, super::Text<(&'static str, i32)>); 2] =
            [("Name", |row| row.0.to_owned()), ("Figure", |row| row.1.to_string())];
        let text = csv(&columns, &[("a,b", -3), ("say \"hi\"", 0), ("=1+1", 7)]);
        assert_eq!(text, "Name,Figure\r\n\"a,b\",-3\r\n\"say \"\"hi\"\"\",0\r\n'=1+1,7\r\n");
    }
}
