//! The frame around every page of a logged-in user: accounts, places, the user's own menu.

use protocol::api::{AccountKind, Membership, Role};
use sycamore::prelude::*;

use crate::connection;
use crate::load;
use crate::nav;
use crate::pages;
use crate::part::{self, later};
use crate::places::{self, Entry, PLACES, Visit};
use crate::route::Place;
use crate::session::{Here, Session};
use crate::ui::icon;
use crate::ui::palette::palette;
use crate::ui::theme::theme_toggle;

/// The frame.
#[component(inline_props)]
pub(crate) fn Shell(place: ReadSignal<Place>) -> View {
    load::watch_frame();
    part::bring_ahead(places::PARTS);
    let session = Session::get();
    // The account of the page; where a page has none, the first, so that the way back is there.
    let account = create_selector(move || {
        place
            .with(|place| place.account().map(str::to_owned))
            .or_else(|| session.accounts().first().map(|membership| membership.account.name.to_string()))
    });
    let membership = create_selector(move || {
        let account = account.get_clone()?;
        session.accounts().into_iter().find(|membership| membership.account.name.as_str() == account)
    });
    let content = View::from_dynamic(move || match (place_kind(place), membership.get_clone()) {
        (Kind::Own, _) => View::from_dynamic(move || match place.get_clone() {
            Place::Security => later!(own, security(_: ()) => pages::security::security())(()),
            Place::NewAccount => later!(own, account_new(_: ()) => pages::account_new::account_new())(()),
            _ => pages::not_found::not_found(),
        }),
        (Kind::Account, Some(membership)) => account_pages(place, membership),
        (Kind::Account, None) => pages::not_found::no_account(account.get_clone().unwrap_or_default()),
    });
    let side = View::from_dynamic(move || sidebar(place, membership.get_clone()));
    let palette = palette(account);
    let offline = connection::line();
    view! {
        a(class="skip", href="#main", rel="external") { "Skip to the page" }
        div(class="shell") {
            (side)
            main(id="main", tabindex="-1") { (offline) (content) }
        }
        (palette)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A page of the user's own.
    Own,
    /// A page of an account.
    Account,
}

fn place_kind(place: ReadSignal<Place>) -> Kind {
    create_selector(move || if place.with(|place| place.account().is_some()) { Kind::Account } else { Kind::Own }).get()
}

fn account_pages(place: ReadSignal<Place>, membership: Membership) -> View {
    let here = Here { account: membership.account.name.to_string(), role: membership.role };
    let role = here.role;
    provide_context_in_new_scope(here, move || {
        let found = create_selector(move || place.with(Place::found));
        // What the page is made for; its tab changes while it stays.
        let page = create_selector(move || found.with(|found| (found.place, found.values.clone())));
        let tab = create_selector(move || found.with(|found| found.tab.clone()));
        View::from_dynamic(move || {
            let (place, values) = page.get_clone();
            match place.and_then(|place| PLACES.get(place)).filter(|entry| role >= entry.role) {
                Some(entry) => (entry.show)(Visit { values, tab }),
                None => pages::not_found::not_found(),
            }
        })
    })
}

fn sidebar(place: ReadSignal<Place>, membership: Option<Membership>) -> View {
    let links = membership.clone().map(|membership| account_links(place, &membership));
    let switcher = switcher(membership);
    let menu = user_menu();
    let theme = theme_toggle();
    view! {
        aside(class="side") {
            div(class="side-top") {
                a(class="brand", href="/", aria-label="CrowdCloud, home") { (brand_mark()) span { "CrowdCloud" } }
                (switcher)
            }
            (links)
            div(class="side-foot") { (menu) (theme) }
        }
    }
}

/// The mark: a run bar.
pub(crate) fn brand_mark() -> View {
    view! {
        svg(class="mark", "viewBox"="0 0 20 16", aria-hidden="true") {
            rect(x="0", y="1", width="8", height="4", rx="1", class="mark-a") {}
            rect(x="4", y="6", width="14", height="4", rx="1", class="mark-b") {}
            rect(x="13", y="11", width="7", height="4", rx="1", class="mark-c") {}
        }
    }
}

/// So many lines fit a phone; the others are behind "More".
const LINES_ON_PHONES: usize = 4;

fn account_links(place: ReadSignal<Place>, membership: &Membership) -> View {
    let line = create_selector(move || place.with(Place::found).place.and_then(places::line_of));
    let lines: Vec<(usize, &'static Entry)> =
        PLACES.iter().enumerate().filter(|(_, entry)| entry.icon.is_some() && membership.role >= entry.role).collect();
    let account = membership.account.name.as_str();
    let spare: Vec<usize> = lines.iter().skip(LINES_ON_PHONES).map(|(index, _)| *index).collect();
    let beyond = create_selector(move || line.get().is_some_and(|line| spare.contains(&line)));
    let links: Vec<View> = lines.iter().map(|(index, entry)| account_link(account, *index, entry, line)).collect();
    let more: Vec<View> =
        lines.iter().skip(LINES_ON_PHONES).map(|(index, entry)| account_link(account, *index, entry, line)).collect();
    let class = move || if beyond.get() { "more-places current" } else { "more-places" };
    view! {
        nav(class="places", aria-label="Account") {
            (links)
            button(class=class, r#type="button", "popovertarget"="more-places", aria-haspopup="true") {
                (icon::icon(icon::MORE)) span { "More" }
            }
        }
        nav(class="menu more-menu", id="more-places", "popover"="auto", aria-label="More", on:click=hide_popovers) { (more) }
    }
}

fn account_link(account: &str, index: usize, entry: &'static Entry, line: ReadSignal<Option<usize>>) -> View {
    let shape = entry.icon.map(icon::icon);
    let (href, title) = (entry.href(account), entry.title);
    let current = move || (line.get() == Some(index)).then_some("page");
    view! { a(href=href, aria-current=current) { (shape) span { (title) } } }
}

fn initial(name: &str) -> String {
    name.chars().take(1).collect::<String>().to_uppercase()
}

fn kind_word(kind: AccountKind, role: Role) -> String {
    let kind = match kind {
        AccountKind::Personal => "Personal",
        AccountKind::Company => "Company",
    };
    let role = match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    };
    format!("{kind} · {role}")
}

fn switcher(membership: Option<Membership>) -> View {
    let present = membership.as_ref().map(|membership| membership.account.name.to_string()).unwrap_or_default();
    let about = membership.map(|m| kind_word(m.account.kind, m.role)).unwrap_or_default();
    let (letter, name) =
        (initial(&present), if present.is_empty() { "No account".to_owned() } else { present.clone() });
    let session = Session::get();
    let others: Vec<View> = session
        .accounts()
        .into_iter()
        .map(|membership| {
            let name = membership.account.name.to_string();
            let href = format!("/a/{name}");
            let current = (name == present).then_some("true");
            let about = kind_word(membership.account.kind, membership.role);
            let letter = initial(&name);
            view! {
                a(href=href, aria-current=current, on:click=hide_popovers) {
                    span(class="avatar", aria-hidden="true") { (letter) }
                    span(class="two") { b { (name) } span(class="soft") { (about) } }
                }
            }
        })
        .collect();
    view! {
        button(class="switcher", r#type="button", "popovertarget"="accounts", aria-haspopup="true") {
            span(class="avatar", aria-hidden="true") { (letter) }
            span(class="two") { b { (name) } span(class="soft") { (about) } }
            (icon::icon(icon::UPDOWN))
        }
        nav(class="menu accounts", id="accounts", "popover"="auto", aria-label="Accounts") {
            (others)
            a(class="menu-foot", href="/accounts/new", on:click=hide_popovers) { (icon::icon(icon::PLUS)) "New account" }
        }
    }
}

fn user_menu() -> View {
    let session = Session::get();
    let email = session.email().unwrap_or_default();
    let letter = initial(&email);
    let title = email.clone();
    let leave = move |_| async move {
        if session.leave().await.is_ok() {
            nav::go("/login");
        }
    };
    view! {
        button(class="user", r#type="button", "popovertarget"="user-menu", aria-haspopup="true", title=title) {
            span(class="avatar round", aria-hidden="true") { (letter) }
            span(class="email") { (email) }
        }
        nav(class="menu user-menu", id="user-menu", "popover"="auto", aria-label="You") {
            a(href="/me/security", on:click=hide_popovers) { (icon::icon(icon::SHIELD)) "Security" }
            button(class="menu-item", r#type="button", id="logout", on:click=leave) { (icon::icon(icon::LOGOUT)) "Log out" }
        }
    }
}

fn hide_popovers(_: web_sys::MouseEvent) {
    let Ok(open) = document().query_selector_all("[popover]:popover-open") else { return };
    for index in 0..open.length() {
        let Some(element) = open.get(index) else { continue };
        if let Ok(element) = wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlElement>(element) {
            drop(element.hide_popover());
        }
    }
}
