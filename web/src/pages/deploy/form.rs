//! The fields of a deployment. What only images have is asked only where the file is one.

use protocol::limits::Limit;
use protocol::{ArtifactForm, Lane, Limits};
use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::File;

use super::dropped::Dropped;
use super::field::Field;
use super::{Deploy, options::Options};
use crate::format;
use crate::ui::code::code_block;
use crate::ui::form::{self, Text};
use crate::ui::icon;
use crate::ui::lane::lane_why;
use crate::ui::limits::{in_order, range};

/// What the file dialog offers; other files can be dropped, and chosen by "all files".
const ACCEPT: &str = ".wasm,.tar,.tar.gz,.tgz,.py,.sh,application/wasm,application/x-tar,application/gzip,*/*";

const LANES: &[(&str, &str, &str)] = &[
    ("auto", "Auto", "WebAssembly in the wasm lane, all else in a VM."),
    ("wasm", "wasm", "wasmtime: starts in milliseconds, one CPU."),
    ("vm", "vm", "A microVM of its own: native code, more CPUs."),
];

/// Where a file is dropped or chosen; says what it is.
pub(crate) fn drop_zone(deploy: Deploy, name: Signal<String>) -> View {
    let over = create_signal(false);
    let dropped = move |event: web_sys::DragEvent| {
        event.prevent_default();
        over.set(false);
        deploy.choose(event.data_transfer().and_then(|data| data.files()), name);
    };
    let dragged = move |event: web_sys::DragEvent| {
        event.prevent_default();
        over.set(true);
    };
    let chosen = move |event: web_sys::Event| {
        let input = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        deploy.choose(input.and_then(|input| input.files()), name);
    };
    // Built anew, a file of the same name is another one: without this the browser would not say that it was chosen.
    let choosing = move |event: web_sys::MouseEvent| {
        if let Some(Ok(input)) = event.target().map(|target| target.dyn_into::<web_sys::HtmlInputElement>()) {
            input.set_value("");
        }
    };
    let class = move || match (over.get(), deploy.file.with(Option::is_some)) {
        (true, _) => "drop over",
        (_, true) => "drop full",
        _ => "drop",
    };
    let what = move || deploy.known().map_or(String::new(), |dropped| dropped.words());
    let wrong = deploy.is_wrong([Field::File]);
    let invalid = move || wrong.get().then_some("true");
    view! {
        div(class="drop-part") {
            label(class=class(), on:drop=dropped, on:dragover=dragged, on:dragleave=move |_| over.set(false)) {
                (icon::icon(icon::UPLOAD))
                (match deploy.file.get_clone() {
                    Some(file) => {
                        let (name, bytes) = (file.name(), format::bytes(size(&file)));
                        view! {
                            span(class="two") {
                                b { (name) }
                                span(class="soft", role="status") { (bytes) " · " (what()) }
                            }
                        }
                    }
                    None => view! {
                        span(class="two") {
                            b { "Drop a file here, or choose one" }
                            span(class="soft") { "WebAssembly, an image archive (.tar, .tar.gz), a Linux executable, a script" }
                        }
                    },
                })
                input(
                    class="drop-input", r#type="file", name="artifact", accept=ACCEPT, aria-invalid=invalid(),
                    on:click=choosing, on:change=chosen,
                )
            }
            (deploy.wrong([Field::File]))
        }
    }
}

/// A file's size.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a file's size is a whole number")]
pub(crate) fn size(file: &File) -> u64 {
    file.size() as u64
}

/// What is asked for the file, once there is one.
pub(crate) fn asked(deploy: Deploy) -> View {
    let chosen = create_selector(move || deploy.file.with(Option::is_some));
    View::from_dynamic(move || {
        if chosen.get() {
            fields(deploy)
        } else {
            view! {}
        }
    })
}

fn fields(deploy: Deploy) -> View {
    let Options { lane, kept, .. } = deploy.options;
    let of_image = create_selector(move || deploy.known().is_some_and(|d| d.form() != Some(ArtifactForm::Wasm)));
    let image = View::from_dynamic(move || {
        if of_image.get() {
            image_fields(deploy)
        } else {
            view! {}
        }
    });
    let note = kept.with_untracked(|kept| kept.number).map(|number| {
        view! { p(class="hint") { "As v" (number) " has it; its environment, egress and placement are kept." } }
    });
    view! {
        (note)
        div(class="field-part") {
            (form::choices("Lane", "lane", lane, LANES))
            (lane_expected(deploy))
            (deploy.wrong([Field::Lane]))
        }
        (room(deploy))
        (image)
    }
}

/// The limits.
fn room(deploy: Deploy) -> View {
    let line = |limit: Limit| {
        let wrong = Some(deploy.is_wrong([Field::Limit(limit)]));
        let hint = range(limit, &Limits::MIN, &Limits::MAX);
        deploy.options.limits.line(limit, hint, Text { wrong, ..Text::default() })
    };
    let lines: Vec<View> = in_order().map(line).collect();
    view! {
        fieldset(class="field-part") {
            legend(class="field-label") { "What one run may use" }
            div(class="three") { (lines) }
            (deploy.wrong(Limits::ALL.map(Field::Limit)))
        }
    }
}

/// Contract, base and command line.
fn image_fields(deploy: Deploy) -> View {
    let Options { kind, base, command, .. } = deploy.options;
    let option = |value: &str, label: &str| (value.to_owned(), label.to_owned());
    let kinds = vec![
        option("", "Auto"),
        option("command", "Command (stdin, stdout)"),
        option("server", "Server (HTTP on $PORT)"),
    ];
    let bases =
        vec![option("", "Its own"), option("python", "python (with numpy)"), option("shell", "shell (small tools)")];
    let line = Text {
        name: "command",
        placeholder: "/bin/thumbs --quality 80",
        optional: true,
        code: true,
        wrong: Some(deploy.is_wrong([Field::Command])),
        ..Text::default()
    };
    let hint = "Words as a shell reads them, with quotes. Empty: what the image says.";
    let kind = form::field("Contract", "", form::select("kind", kind, kinds));
    let base = form::field("Base", "", form::select("base", base, bases));
    let command = form::field("Command line", hint, form::text(command, line));
    view! {
        div(class="field-part") {
            div(class="three pair") { (kind) (base) }
            (deploy.wrong([Field::Kind, Field::Base]))
        }
        div(class="field-part") { (command) (deploy.wrong([Field::Command])) }
    }
}

/// The lane that its runs will take, told before the deploy.
fn lane_expected(deploy: Deploy) -> View {
    let expected = create_selector(move || {
        let dropped = deploy.known()?;
        Some((deploy.options.written().expected(&dropped), dropped.form()))
    });
    View::from_dynamic(move || match expected.get() {
        Some((Some((Lane::Wasm, _)), Some(ArtifactForm::Image))) => view! {
            p(class="hint warn-text") { "Only WebAssembly runs in the wasm lane: choose auto or vm." }
        },
        Some((Some((lane, reason)), _)) => {
            let why = lane_why(lane, Some(reason));
            view! { p(class="hint", role="status") { "Its runs take " (why) } }
        }
        _ => view! {},
    })
}

/// The same by the command line; `otherwise` where no file is chosen.
pub(crate) fn same(
    deploy: Deploy,
    account: String,
    name: impl Fn() -> String + 'static,
    otherwise: Option<String>,
) -> View {
    let words = create_memo(move || {
        let Some(file) = deploy.file.with(|file| file.as_ref().map(File::name)) else { return otherwise.clone() };
        let dropped = deploy.known().unwrap_or(Dropped::Unknown);
        let name = Some(name()).filter(|name| !name.is_empty()).unwrap_or_else(|| "NAME".to_owned());
        Some(deploy.options.written().cli(&file, &name, &account, &dropped))
    });
    View::from_dynamic(move || match words.get_clone() {
        Some(words) => {
            let block = code_block(words, "command");
            view! { p(class="soft as") { "As CLI" } (block) }
        }
        None => view! {},
    })
}
