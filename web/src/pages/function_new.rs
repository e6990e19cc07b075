//! From a file to a function: drop it, and it is uploaded, created, prepared and live.

use std::rc::Rc;

use protocol::api::NewFunction;
use sycamore::prelude::*;

use crate::load::Action;
use crate::nav;
use crate::pages::auth::name_hint;
use crate::pages::deploy::{Deploy, asked, file_field, progress, same};
use crate::session::Here;
use crate::ui::form::{Choice, Control, Field, Form, Part, Text, sending};
use crate::ui::page;

/// The page.
pub(crate) fn function_new() -> View {
    let here = Here::get();
    let deploy = Deploy::new(Action::new());
    let name = create_signal(String::new());
    let public = create_signal("private".to_owned());
    let account = here.account.clone();
    let commands = format!("crowdcloud new thumbs --template thumbnail\ncrowdcloud deploy thumbs --account {account}");
    let command = same(deploy, account.clone(), move || name.get_clone(), Some(commands));
    let send = sending(move || {
        let (here, function) = (here.clone(), name.get_clone_untracked());
        let create = NewFunction { public: public.with_untracked(|public| public == "public") };
        async move {
            deploy.run(&here.account, Some(create), &function).await?;
            nav::go(&here.path(&format!("functions/{function}/test")));
            Ok(())
        }
    });
    let how = Text { name: "name", placeholder: "thumbs", code: true, ..Text::default() };
    let url = move || name_hint(&name.get_clone(), format!("{}/f/{account}/{}/", nav::origin(), name.get_clone()));
    let form = Form {
        parts: vec![
            Part::Field(file_field(deploy, name)),
            Part::Field(Field::new("name", "Name", Control::Line(how), name).told(Rc::new(url))),
            Part::Field(Field::new("create", "Who may call it", Control::Choices("public", VISIBILITY), public)),
            asked(deploy, deploy.chosen()),
            Part::Progress(progress(deploy)),
        ],
        action: deploy.action,
        submit: "Deploy",
        busy: "Deploying…",
        beside: view! {},
        send,
    };
    let about = "From WebAssembly, an image archive, a Linux executable or a script.";
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
    let (head, body) = (page::head("New function", about, view! {}), page::beside(form.view(), panel));
    view! { (head) (body) }
}

/// Who may call a function, as a choice.
pub(crate) const VISIBILITY: &[Choice] = &[
    ("private", "Private", "Calls need a key of this account."),
    ("public", "Public", "Anybody who knows the URL may call it, and this account pays."),
];
