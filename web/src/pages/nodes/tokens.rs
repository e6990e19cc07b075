//! Tokens that no machine has used yet.

use protocol::api::{NodeToken, Page};
use sycamore::prelude::*;

use crate::calls;
use crate::load::{Load, Resource};
use crate::session::Here;
use crate::ui::copy::id_chip;
use crate::ui::dialog::{Confirm, confirm};
use crate::ui::page;
use crate::ui::time::{now_ms, time};
use crate::ui::trouble::trouble_view;

/// The section; nothing where there are none.
pub(super) fn unused(here: &Here, list: Resource<Page<NodeToken>>) -> View {
    let here = here.clone();
    View::from_dynamic(move || match list.data.get_clone() {
        Load::Waiting => view! {},
        Load::Failed(trouble) => trouble_view(trouble),
        Load::Ready(page) => {
            let now = now_ms();
            let open = page.items.into_iter().filter(|token| token.used.is_none() && token.expires.0 > now);
            let rows: Vec<View> = open.map(|token| row(&here, &token, list)).collect();
            if rows.is_empty() {
                view! {}
            } else {
                table(rows)
            }
        }
    })
}

fn table(rows: Vec<View>) -> View {
    let body = view! {
        table(class="rows") {
            thead {
                tr {
                    th(scope="col") { "Token" }
                    th(scope="col") { "Machine" }
                    th(scope="col") { "Ends" }
                    th(scope="col") { span(class="unseen") { "Actions" } }
                }
            }
            tbody { (rows) }
        }
    };
    page::section("Unused tokens", "Each lets one machine join this account. None can be shown again.", body)
}

fn row(here: &Here, token: &NodeToken, list: Resource<Page<NodeToken>>) -> View {
    let id = token.id;
    let chip = id_chip(&id.to_string());
    let name = token.name.clone().unwrap_or_else(|| "as the machine is called".to_owned());
    let ends = time(token.expires);
    let ask = Confirm {
        trigger: "Delete",
        class: "quiet small",
        title: "Delete the token?".to_owned(),
        effects: vec!["No machine can join with it any more.".to_owned()],
        confirm: "Delete",
        typed: None,
    };
    let account = here.account.clone();
    let delete = confirm(ask, move || {
        let account = account.clone();
        async move {
            calls::nodes::delete_token(&account, id).await?;
            list.reload();
            Ok(())
        }
    });
    view! {
        tr {
            td(data-label="Token") { (chip) }
            td(data-label="Machine", class="wrap") { (name) }
            td(data-label="Ends", class="soft") { (ends) }
            td(class="number") { (delete) }
        }
    }
}
