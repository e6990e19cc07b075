//! What a new account shows: the way to the first call.

use sycamore::prelude::*;

use crate::nav;
use crate::session::Here;
use crate::ui::code::code_block;

/// What a new account shows: the way to the first call, as commands that work.
pub(crate) fn first_steps(here: &Here) -> View {
    let origin = nav::origin();
    let account = here.account.clone();
    let login = code_block(format!("crowdcloud login --url {origin}"), "command");
    let new = code_block("crowdcloud new thumbs --template thumbnail", "command");
    let deploy = code_block(format!("crowdcloud deploy thumbs --account {account}"), "command");
    let call = code_block(
        format!(
            "curl -H \"Authorization: Bearer $(crowdcloud token)\" \\\n  --data-binary @photo.jpg '{origin}/f/{account}/thumbs?width=320' -o small.jpg"
        ),
        "command",
    );
    let upload = here.path("functions/new");
    let nav_upload = upload.clone();
    view! {
        div(class="steps") {
            div(class="steps-head") {
                h2 { "From nothing to a call" }
                p(class="about") {
                    "Four commands, filled in for " b { (account) } ". Or "
                    a(href=nav_upload) { "drop a file" } " here and call it from the page."
                }
            }
            ol {
                li { h3 { "Log in on your machine" } (login) }
                li { h3 { "Make a function from a template" } p(class="soft") { "An image thumbnailer in Rust, ready to build." } (new) }
                li { h3 { "Deploy it" } p(class="soft") { "Prints its URL and a curl that works as pasted." } (deploy) }
                li { h3 { "Call it" } p(class="soft") { "Functions are private: the call carries a key." } (call) }
            }
            a(class="secondary", href=upload) { "Drop a file instead" }
        }
    }
}
