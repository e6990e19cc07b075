//! The fields of a deployment. What only images have is asked only where the file is one.

use protocol::{ArtifactForm, Lane};
use sycamore::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::File;

use super::dropped::Dropped;
use super::{Deploy, options::Options};
use crate::format;
use crate::ui::code::code_block;
use crate::ui::form::{Choice, Control, Field, Part, Text};
use crate::ui::icon;
use crate::ui::lane::lane_why;
use crate::ui::placement::PLACEMENTS;

/// What the file dialog offers; other files can be dropped, and chosen by "all files".
const ACCEPT: &str = ".wasm,.tar,.tar.gz,.tgz,.py,.sh,application/wasm,application/x-tar,application/gzip,*/*";

const LANES: &[Choice] = &[
    ("auto", "Auto", "WebAssembly in the wasm lane, all else in a VM."),
    ("wasm", "wasm", "wasmtime: starts in milliseconds, one CPU."),
    ("vm", "vm", "A microVM of its own: native code, more CPUs."),
];

/// Where a file is dropped or chosen; says what it is. Its name gives `name`, where that is empty.
pub(crate) fn file_field(deploy: Deploy, name: Signal<String>) -> Field {
    let zone = drop_zone(deploy, name);
    Field::new("artifact", "File", Control::Drawn(zone), create_signal(String::new()))
}

fn drop_zone(deploy: Deploy, name: Signal<String>) -> View {
    let over = create_signal(false);
    let dropped = move |event: web_sys::DragEvent| {
        event.prevent_default();
        over.set(false);
        deploy.take(&event, name);
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
    let wrong = deploy.action.is_about(&["artifact"]);
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
        }
    }
}

/// A file's size.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a file's size is a whole number")]
pub(crate) fn size(file: &File) -> u64 {
    file.size() as u64
}

/// What is asked for the file, while it is `chosen`.
pub(crate) fn asked(deploy: Deploy, chosen: ReadSignal<bool>) -> Part {
    let Options { lane, kept, placement, .. } = deploy.options;
    let note = View::from_dynamic(move || {
        kept.with(|kept| kept.number).map(|number| {
            view! { p(class="hint") { "As v" (number) " has it; its environment and egress are kept." } }
        })
    });
    let image = image_fields(deploy).map(Part::Field).into();
    Part::While(
        chosen,
        vec![
            Part::About(note),
            Part::Field(Field::new("lane", "Lane", Control::Choices("lane", LANES), lane)),
            Part::About(lane_expected(deploy)),
            Part::Row("What one run may use", deploy.options.limits.fields()),
            Part::Field(Field::new("placement", "Placement", Control::Choices("placement", PLACEMENTS), placement)),
            Part::While(of_image(deploy), image),
        ],
    )
}

/// Whether the chosen file is no WebAssembly, as far as is known.
pub(crate) fn of_image(deploy: Deploy) -> ReadSignal<bool> {
    create_selector(move || deploy.known().is_some_and(|dropped| dropped.form() != Some(ArtifactForm::Wasm)))
}

/// Contract, base and command line.
pub(crate) fn image_fields(deploy: Deploy) -> [Field; 3] {
    let Options { kind, base, command, .. } = deploy.options;
    let menu = |name: &'static str, options: [(&str, &str); 3]| {
        let options = options.map(|(value, label)| (value.to_owned(), label.to_owned()));
        Control::Menu(name, *create_signal(options.to_vec()))
    };
    let kinds = [("", "Auto"), ("command", "Command (stdin, stdout)"), ("server", "Server (HTTP on $PORT)")];
    let bases = [("", "Its own"), ("python", "python (with numpy)"), ("shell", "shell (small tools)")];
    let line = Text {
        name: "command",
        placeholder: "/bin/thumbs --quality 80",
        optional: true,
        code: true,
        ..Text::default()
    };
    [
        Field::new("kind", "Contract", menu("kind", kinds), kind),
        Field::new("base", "Base", menu("base", bases), base),
        Field::new("command", "Command line", Control::Line(line), command)
            .hint("Words as a shell reads them, with quotes. Empty: what the image says."),
    ]
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
    let words = create_memo(move || command(deploy, &account, name()).or_else(|| otherwise.clone()));
    View::from_dynamic(move || match words.get_clone() {
        Some(words) => {
            let block = code_block(words, "command");
            view! { p(class="soft as") { "As CLI" } (block) }
        }
        None => view! {},
    })
}

/// The deployment by the command line, where a file is chosen; tracked.
pub(crate) fn command(deploy: Deploy, account: &str, name: String) -> Option<String> {
    let file = deploy.file.with(|file| file.as_ref().map(File::name))?;
    let dropped = deploy.known().unwrap_or(Dropped::Unknown);
    let name = if name.is_empty() { "NAME".to_owned() } else { name };
    Some(deploy.options.written().cli(&file, &name, account, &dropped))
}
