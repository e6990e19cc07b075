//! One function: its head and tabs, which stay while the tabs change.

use protocol::api::Function;
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Load, Resource, placeholder};
use crate::nav;
use crate::pages::functions::visibility;
use crate::pages::{analytics, function_logs, function_settings, function_test, function_triggers, function_versions};
use crate::session::Here;
use crate::ui::code::code_line;
use crate::ui::copy::copy_button;
use crate::ui::icon;
use crate::ui::lane::{lane_why, limits_words};
use crate::ui::page;
use crate::ui::trouble::trouble_view;

/// The function that the tabs are about.
#[derive(Clone)]
pub(crate) struct Subject {
    /// Whose.
    pub(crate) here: Here,
    /// Its name.
    pub(crate) name: String,
    /// What is known of it.
    pub(crate) data: Resource<Function>,
}

impl Subject {
    /// The URL for programs.
    pub(crate) fn url(&self) -> String {
        format!("{}/f/{}/{}", nav::origin(), self.here.account, self.name)
    }

    /// The account's name.
    pub(crate) fn account(&self) -> &str {
        &self.here.account
    }

    /// The path of a tab.
    pub(crate) fn tab(&self, tab: &str) -> String {
        self.here.path(&format!("functions/{}/{tab}", self.name))
    }
}

/// The page.
pub(crate) fn function(name: String, tab: ReadSignal<String>) -> View {
    let here = Here::get();
    let (account, asked) = (here.account.clone(), name.clone());
    let data = Resource::new(move || {
        let (account, name) = (account.clone(), asked.clone());
        async move { calls::function(&account, &name).await }
    });
    let subject = Subject { here, name, data };
    let state = create_selector(move || match data.data.get_clone() {
        Load::Waiting => Load::Waiting,
        Load::Ready(_) => Load::Ready(()),
        Load::Failed(trouble) => Load::Failed(trouble),
    });
    View::from_dynamic(move || match state.get_clone() {
        Load::Waiting => placeholder(6),
        Load::Failed(trouble) => {
            let head = page::head(&subject.name, "", view! {});
            let trouble = trouble_view(trouble);
            view! { (head) (trouble) }
        }
        Load::Ready(()) => present(subject.clone(), tab),
    })
}

fn present(subject: Subject, tab: ReadSignal<String>) -> View {
    nav::title(&subject.name);
    let tabs = ["versions", "metrics", "test", "logs", "triggers", "settings"];
    let labels = ["Versions", "Metrics", "Test", "Logs", "Triggers", "Settings"];
    let links = tabs.iter().zip(labels).map(|(tab, label)| (subject.tab(tab), label)).collect();
    let first = subject.clone();
    let root = create_memo(move || {
        let tab = tab.get_clone();
        first.tab(if tab.is_empty() { "versions" } else { &tab })
    });
    let tab_links = page::tabs("Function", links, move || root.get_clone());
    let head = head(&subject);
    let body = View::from_dynamic(move || {
        let subject = subject.clone();
        match tab.get_clone().as_str() {
            "" | "versions" => function_versions::versions(subject),
            "metrics" => analytics::of_function(&subject.here, &subject.name),
            "test" => function_test::test(subject),
            "logs" => function_logs::logs(subject),
            "triggers" => function_triggers::triggers(subject),
            "settings" => function_settings::settings(subject),
            _ => crate::pages::not_found::not_found(),
        }
    });
    view! { (head) (tab_links) (body) }
}

fn head(subject: &Subject) -> View {
    let data = subject.data;
    let list = subject.here.path("functions");
    let name = subject.name.clone();
    let program = code_line(format!("{}/", subject.url()), "URL for programs");
    let browser = create_memo(move || {
        let location = window().location();
        let protocol = location.protocol().unwrap_or_default();
        data.ready().map(|function| format!("{protocol}//{}/", function.host)).unwrap_or_default()
    });
    let public = create_selector(move || data.ready().is_some_and(|function| function.public));
    let live = create_selector(move || data.ready().and_then(|function| function.live));
    let lane = View::from_dynamic(move || match live.get() {
        Some(live) => {
            let (lane, limits) = (lane_why(live.lane, None), limits_words(&live.limits));
            view! { (lane) span(class="hint") { (limits) } }
        }
        None => view! {},
    });
    view! {
        header(class="head function-head") {
            div {
                p(class="crumb") { a(href=list) { "Functions" } }
                div(class="row") { h1 { (name) } (visibility(public.get())) (lane) }
            }
            div(class="urls") {
                span(class="line") { span(class="line-name") { "Programs" } (program) }
                span(class="line") {
                    span(class="line-name") { "Browsers" }
                    a(href=browser.get_clone(), target="_blank", rel="external noopener") { code { (browser.get_clone()) } (icon::icon(icon::EXTERNAL)) }
                    (copy_button(browser.get_clone(), "URL for browsers"))
                }
            }
        }
    }
}
