//! An account's settings: what it is, who is in it, its keys, and who changed what.

use sycamore::prelude::*;

use protocol::api::AccountKind;

use crate::pages::{not_found, settings_audit, settings_keys, settings_team};
use crate::session::{Here, Session};
use crate::ui::copy::id_chip;
use crate::ui::page;
use crate::ui::time::time;

/// The page.
pub(crate) fn settings(tab: ReadSignal<String>) -> View {
    let here = Here::get();
    let mut links = vec![
        (here.path("settings/general"), "General"),
        (here.path("settings/team"), "Team"),
        (here.path("settings/keys"), "Keys"),
    ];
    if here.administers() {
        links.push((here.path("settings/audit"), "Audit"));
    }
    let base = here.path("settings");
    let present = create_memo(move || {
        let tab = tab.get_clone();
        format!("{base}/{}", if tab.is_empty() { "general" } else { &tab })
    });
    let tabs = page::tabs("Settings", links, move || present.get_clone());
    let body = View::from_dynamic(move || match tab.get_clone().as_str() {
        "" | "general" => general(&here),
        "team" => settings_team::team(here.clone()),
        "keys" => settings_keys::keys(here.clone()),
        "audit" => settings_audit::audit(&here),
        _ => not_found::not_found(),
    });
    let head = page::head("Settings", "", view! {});
    view! { (head) (tabs) (body) }
}

fn general(here: &Here) -> View {
    let account = Session::get().accounts().into_iter().find(|m| m.account.name.as_str() == here.account);
    let Some(membership) = account else { return view! {} };
    let account = membership.account;
    let kind = match account.kind {
        AccountKind::Personal => "Personal",
        AccountKind::Company => "Company: members, each with a role",
    };
    let role = match membership.role {
        protocol::api::Role::Owner => "Owner: everything",
        protocol::api::Role::Admin => "Admin: members, keys, budgets, settings",
        protocol::api::Role::Member => "Member: deploys, runs, sees own costs",
    };
    let name = account.name.to_string();
    let urls = format!("/f/{name}/<function>/");
    let made = time(account.created);
    let id = id_chip(&account.id.to_string());
    let body = view! {
        dl(class="facts") {
            dt { "Name" } dd { b { (name) } }
            dt { "Functions at" } dd(class="mono") { (urls) }
            dt { "Kind" } dd { (kind) }
            dt { "Your role" } dd { (role) }
            dt { "Id" } dd { (id) }
            dt { "Created" } dd { (made) }
        }
    };
    page::section("Account", "", body)
}
