//! The one table of an account's pages. Route, title, icon, entry of the command palette and permission of a page
//! stand here and nowhere else: router, sidebar, palette and frame read them.

use protocol::api::Role;
use sycamore::prelude::*;

use crate::pages;
use crate::part::{Bringing, bring, later};
use crate::ui::icon;

/// One page of an account.
pub(crate) struct Entry {
    /// Its path below `/a/<account>`: words, `:name` for any value, and at the end `:tab?` for the tab of a page that
    /// stays mounted while its tabs change. The first entry that fits wins.
    pub(crate) path: &'static str,
    /// What sidebar, palette and page call it.
    pub(crate) title: &'static str,
    /// Its icon in the sidebar; a page without one is no line of the sidebar and belongs to the line that its path
    /// begins with.
    pub(crate) icon: Option<&'static str>,
    /// Whether the palette finds it, and by which words beside its title.
    pub(crate) palette: Option<&'static str>,
    /// The least role that may see it.
    pub(crate) role: Role,
    /// Makes the page. Only the dashboard is in the first module; the others come [`later!`].
    pub(crate) show: fn(Visit) -> View,
}

/// What the URL says beside the page itself.
#[derive(Clone)]
pub(crate) struct Visit {
    /// The values of `:name`, in the order of the path.
    pub(crate) values: Vec<String>,
    /// The tab; empty for the first. It changes while the page stays.
    pub(crate) tab: ReadSignal<String>,
}

impl Visit {
    /// The value of the first `:name` of the path.
    pub(crate) fn first(&self) -> String {
        self.values.first().cloned().unwrap_or_default()
    }
}

const fn page(path: &'static str, title: &'static str, show: fn(Visit) -> View) -> Entry {
    Entry { path, title, icon: None, palette: None, role: Role::Member, show }
}

impl Entry {
    const fn icon(mut self, icon: &'static str) -> Self {
        self.icon = Some(icon);
        self
    }

    const fn palette(mut self, words: &'static str) -> Self {
        self.palette = Some(words);
        self
    }
}

/// The pages. Those with an icon make the sidebar, in this order.
pub(crate) static PLACES: &[Entry] = &[
    page("", "Dashboard", |_| pages::dashboard::dashboard()).icon(icon::OVERVIEW).palette("overview home"),
    page("functions", "Functions", later!(functions, functions(_: Visit) => pages::functions::functions()))
        .icon(icon::FUNCTION)
        .palette(""),
    page(
        "functions/new",
        "New function",
        later!(functions, function_new(_: Visit) => pages::function_new::function_new()),
    )
    .palette("deploy upload"),
    page(
        "functions/:function/:tab?",
        "Function",
        later!(functions, function(visit: Visit) => pages::function::function(visit.first(), visit.tab)),
    ),
    page("runs", "Runs", later!(work, runs(_: Visit) => pages::runs::runs()))
        .icon(icon::RUN)
        .palette("requests invocations calls"),
    page("runs/:run", "Run", later!(work, run(visit: Visit) => pages::run::run(&visit.first()))),
    page("jobs", "Jobs", later!(work, jobs(_: Visit) => pages::jobs::overview())).icon(icon::JOB).palette("overview"),
    page("jobs/new", "New job", later!(work, job_new(_: Visit) => pages::job_new::job_new())).palette("create submit"),
    page("jobs/list", "Job list", later!(work, job_list(_: Visit) => pages::jobs::jobs())).palette("active completed"),
    page("jobs/:job", "Job", later!(work, job(visit: Visit) => pages::job::job(&visit.first()))),
    page("queues", "Queues", later!(work, queues(_: Visit) => pages::queues::queues()))
        .icon(icon::QUEUE)
        .palette("messages dead letters"),
    page(
        "queues/:queue/:tab?",
        "Queue",
        later!(work, queue(visit: Visit) => pages::queue::queue(visit.first(), visit.tab)),
    ),
    page("analytics", "Analytics", later!(work, analytics(_: Visit) => pages::analytics::analytics()))
        .icon(icon::CHART)
        .palette("usage latency cost"),
    page("nodes", "Nodes", later!(work, nodes(_: Visit) => pages::nodes::nodes()))
        .icon(icon::NODE)
        .palette("machines lend"),
    page("nodes/:node", "Node", later!(work, node(visit: Visit) => pages::node::node(&visit.first()))),
    page("settings/:tab?", "Settings", later!(own, settings(visit: Visit) => pages::settings::settings(visit.tab)))
        .icon(icon::SETTINGS)
        .palette("general"),
];

/// The parts that pages come in, the most visited first.
pub(crate) static PARTS: &[fn() -> Bringing] =
    &[bring!(work, bring_work), bring!(functions, bring_functions), bring!(own, bring_own), bring!(door, bring_door)];

/// Tabs that the palette finds too: path, title, words, least role.
pub(crate) const TABS: &[(&str, &str, &str, Role)] = &[
    ("settings/team", "Team and invitations", "members", Role::Member),
    ("settings/keys", "API keys", "", Role::Member),
    ("settings/audit", "Audit", "log changes who", Role::Admin),
];

/// A page as the URL names it: what stays mounted while only its tab changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its line of the table; none where no page is there.
    pub(crate) place: Option<usize>,
    /// The values of `:name`.
    pub(crate) values: Vec<String>,
    /// The tab; empty for the first.
    pub(crate) tab: String,
}

impl Entry {
    /// The path as a link has it; only of pages without values.
    pub(crate) fn href(&self, account: &str) -> String {
        let path = self.path.split("/:").next().unwrap_or_default();
        if path.is_empty() { format!("/a/{account}") } else { format!("/a/{account}/{path}") }
    }

    /// The values and the tab, where these segments are a path of this page.
    fn matched(&self, segments: &[String]) -> Option<(Vec<String>, String)> {
        let mut given = segments.iter();
        let mut values = Vec::new();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            match part.strip_prefix(':') {
                Some(name) if name.ends_with('?') => {
                    let tab = given.next().cloned().unwrap_or_default();
                    return given.next().is_none().then_some((values, tab));
                }
                Some(_) => values.push(given.next()?.clone()),
                None if given.next()? == part => {}
                None => return None,
            }
        }
        given.next().is_none().then(|| (values, String::new()))
    }
}

/// The page at these segments below the account.
pub(crate) fn find(segments: &[String]) -> Found {
    let found = PLACES.iter().enumerate().find_map(|(index, entry)| Some((index, entry.matched(segments)?)));
    match found {
        Some((index, (values, tab))) => Found { place: Some(index), values, tab },
        None => Found { place: None, values: Vec::new(), tab: String::new() },
    }
}

/// The line of the sidebar that a page belongs to: the one whose path its own begins with.
pub(crate) fn line_of(place: usize) -> Option<usize> {
    let first = |path: &'static str| path.split('/').next().unwrap_or_default();
    let of = first(PLACES.get(place)?.path);
    PLACES.iter().position(|entry| entry.icon.is_some() && first(entry.path) == of)
}

#[cfg(test)]
mod tests {
    use super::{PLACES, find, line_of};

    fn at(path: &str) -> (String, Vec<String>, String) {
        let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let found = find(&segments);
        let title = found.place.map_or("", |place| PLACES[place].title);
        (title.to_owned(), found.values, found.tab)
    }

    fn expected(title: &str, values: &[&str], tab: &str) -> (String, Vec<String>, String) {
        (title.to_owned(), values.iter().map(|value| (*value).to_owned()).collect(), tab.to_owned())
    }

    #[test]
    fn paths_lead_to_their_pages() {
        assert_eq!(at(""), expected("Dashboard", &[], ""));
        assert_eq!(at("functions/new"), expected("New function", &[], ""));
        assert_eq!(at("functions/thumbs"), expected("Function", &["thumbs"], ""));
        assert_eq!(at("functions/thumbs/logs"), expected("Function", &["thumbs"], "logs"));
        assert_eq!(at("jobs"), expected("Jobs", &[], ""));
        assert_eq!(at("jobs/new"), expected("New job", &[], ""));
        assert_eq!(at("jobs/list"), expected("Job list", &[], ""));
        assert_eq!(at("jobs/job_1"), expected("Job", &["job_1"], ""));
        assert_eq!(at("runs/run_1"), expected("Run", &["run_1"], ""));
        assert_eq!(at("nodes"), expected("Nodes", &[], ""));
        assert_eq!(at("nodes/node_1"), expected("Node", &["node_1"], ""));
        assert_eq!(at("queues"), expected("Queues", &[], ""));
        assert_eq!(at("queues/orders/dead"), expected("Queue", &["orders"], "dead"));
        assert_eq!(at("settings"), expected("Settings", &[], ""));
        assert_eq!(at("settings/keys"), expected("Settings", &[], "keys"));
        assert_eq!(at("no/such/place"), expected("", &[], ""));
        assert_eq!(at("functions/thumbs/logs/more"), expected("", &[], ""));
    }

    #[test]
    fn each_page_belongs_to_a_line_of_the_sidebar() {
        for (index, entry) in PLACES.iter().enumerate() {
            let line = line_of(index).expect(entry.path);
            assert!(entry.path.starts_with(PLACES[line].path.split("/:").next().unwrap()), "{}", entry.path);
        }
    }

    #[test]
    fn pages_that_the_palette_finds_have_links_without_values() {
        for entry in PLACES.iter().filter(|entry| entry.palette.is_some()) {
            assert!(!entry.href("ada").contains(':'), "{}", entry.path);
        }
    }
}
