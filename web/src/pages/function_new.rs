//! From a file to a function: drop it, and it is uploaded, created, prepared and live.

use protocol::api::NewFunction;
use sycamore::prelude::*;

use crate::nav;
use crate::pages::auth::name_hint;
use crate::pages::deploy::{Deploy, Field, asked, drop_zone, progress, same};
use crate::session::Here;
use crate::ui::form::{self, Text};
use crate::ui::page;

/// The page.
pub(crate) fn function_new() -> View {
    let here = Here::get();
    let deploy = Deploy::new();
    let name = create_signal(String::new());
    let public = create_signal("private".to_owned());
    let account = here.account.clone();
    let commands = format!("crowdcloud new thumbs --template thumbnail\ncrowdcloud deploy thumbs --account {account}");
    let command = same(deploy, account.clone(), move || name.get_clone(), Some(commands));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let (here, function) = (here.clone(), name.get_clone());
        let create = NewFunction { public: public.get_clone() == "public" };
        deploy.action.run(async move {
            deploy.run(&here.account, Some(create), &function).await?;
            nav::go(&here.path(&format!("functions/{function}/test")));
            Ok(())
        });
    };
    let wrong = Some(deploy.is_wrong([Field::Name]));
    let how = Text { name: "name", placeholder: "thumbs", code: true, wrong, ..Text::default() };
    let url = move || name_hint(&name.get_clone(), format!("{}/f/{account}/{}/", nav::origin(), name.get_clone()));
    let about = "From WebAssembly, an image archive, a Linux executable or a script.";
    let form = view! {
        form(class="form", on:submit=submit) {
            (drop_zone(deploy, name))
            div(class="field-part") {
                label(class="field") {
                    span(class="field-label") { "Name" }
                    (form::text(name, how))
                    span(class="hint") { (url()) }
                }
                (deploy.wrong([Field::Name]))
            }
            (form::choices("Who may call it", "public", public, VISIBILITY))
            (asked(deploy))
            (progress(deploy))
            (form::submit("Deploy", "Deploying…", deploy.action))
        }
    };
    let panel = view! {
        section { h2 { "From the command line" } (command) }
        section {
            h2 { "What can be deployed" }
            ul(class="panel-list") {
                li { b { "WebAssembly" } ": a component, or a command of WASI: in the wasm lane, or in a VM" }
                li { b { "An image" } ": of docker save or an OCI layout, as .tar or .tar.gz" }
                li { b { "A Linux executable" } ": it reads its request on stdin, or serves on $PORT" }
                li { b { "A script" } ": its first line names its interpreter" }
            }
        }
    };
    let (head, body) = (page::head("New function", about, view! {}), page::beside(form, panel));
    view! { (head) (body) }
}

/// Who may call a function, as a choice.
pub(crate) const VISIBILITY: &[(&str, &str, &str)] = &[
    ("private", "Private", "Calls need a key of this account."),
    ("public", "Public", "Anybody who knows the URL may call it, and this account pays."),
];
