//! What a new job runs: a function that is there, or a file, which becomes a private function with one version first.

use std::rc::Rc;

use protocol::api::NewFunction;
use protocol::placement::{LaneReason, lane_of};
use protocol::{Kind, Lane, LaneChoice, Limits};
use sycamore::prelude::*;
use wasm_bindgen::{JsCast as _, JsValue};

use super::draft::{Draft, Written};
use super::form::{self, Known};
use crate::api::Result;
use crate::pages::auth::name_hint;
use crate::pages::deploy::{Deploy, command, file_field, image_fields, name_from, of_image, progress};
use crate::ui::form::{Choice, Control, Field, Part, Text};
use crate::ui::lane::lane_why;

const PROGRAMS: &[Choice] = &[
    ("function", "A function", "One that is deployed."),
    ("file", "A file or image", "Deployed first, as a private function."),
];

/// As long as a name may be.
const NAME_CHARS_MAX: usize = 30;

/// What is run.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    draft: Draft,
    known: Known,
    deploy: Deploy,
    /// What the function of a file will be called.
    name: Signal<String>,
}

impl Program {
    /// Of this draft. Where there is no function yet, it is a file.
    pub(crate) fn of(draft: Draft, known: Known) -> Self {
        let program = Self { draft, known, deploy: Deploy::new(draft.action), name: create_signal(String::new()) };
        if untrack(|| known.functions.ready()).is_some_and(|page| page.items.is_empty()) {
            draft.program.set("file".to_owned());
        }
        // A name that a file has given is one that is free.
        create_effect(move || {
            let Some(file) = program.deploy.file.get_clone() else { return };
            let name = name_from(&file.name());
            if program.name.with_untracked(|now| *now == name) {
                program.name.set(free_name(&name, &program.taken()));
            }
        });
        program
    }

    fn taken(self) -> Vec<String> {
        let page = untrack(|| self.known.functions.ready());
        page.map(|page| page.items.iter().map(|function| function.name.to_string()).collect()).unwrap_or_default()
    }

    /// Whether it is a file; tracked.
    pub(crate) fn is_file(self) -> bool {
        self.draft.program.with(|program| program == "file")
    }

    /// Its fields.
    pub(crate) fn parts(self) -> Vec<Part> {
        let Self { draft, known, deploy, name } = self;
        let of_file = create_selector(move || self.is_file());
        let of_function = create_selector(move || !self.is_file());
        let how = Text { name: "name", placeholder: "thumbs", code: true, ..Text::default() };
        let hint = move || {
            name_hint(&name.get_clone(), "The function that is made of it. Further jobs can run it again.".to_owned())
        };
        let [_, base, line] = image_fields(deploy);
        vec![
            Part::Field(Field::new("program", "What is run", Control::Choices("program", PROGRAMS), draft.program)),
            Part::While(
                of_function,
                vec![Part::Field(form::function_field(draft, known)), Part::Field(form::version_field(draft, known))],
            ),
            Part::While(
                of_file,
                vec![
                    Part::Field(file_field(deploy, name)),
                    Part::Field(Field::new("name", "Name", Control::Line(how), name).told(Rc::new(hint))),
                    Part::While(of_image(deploy), vec![Part::Field(base), Part::Field(line)]),
                ],
            ),
            Part::Progress(progress(deploy)),
        ]
    }

    /// The job as the form stands; tracked.
    pub(crate) fn written(self) -> Written {
        let written = self.draft.written();
        if self.is_file() {
            Written { function: self.name.get_clone(), reference: String::new(), ..written }
        } else {
            written
        }
    }

    /// The lane of a file's runs with these limits, and why; none where that is open; tracked.
    pub(super) fn lane(self, limits: &Limits) -> Option<(Lane, LaneReason)> {
        let form = self.deploy.known()?.form()?;
        Some(lane_of(LaneChoice::Auto, Kind::Http, limits, form))
    }

    /// What is deployed before, by the command line; tracked.
    pub(super) fn command(self, account: &str) -> Option<String> {
        if self.is_file() { command(self.deploy, account, self.name.get_clone()) } else { None }
    }

    /// What the file was found to be.
    pub(super) fn found(self) -> View {
        let limits = create_selector(move || self.draft.limits.written().over(Limits::default()));
        View::from_dynamic(move || {
            let dropped = self.deploy.known().filter(|_| self.is_file());
            let Some(dropped) = dropped else { return view! {} };
            let kind = dropped.words();
            let lane = limits.with(|limits| self.lane(limits)).map(|(lane, reason)| {
                let why = lane_why(lane, Some(reason));
                view! { p(class="soft") { "Its runs take " (why) } }
            });
            view! { section { h2 { "What was found" } p(role="status") { (kind) } (lane) } }
        })
    }

    /// Makes the function, where it is a file. What is run then is that function: whatever else is refused, the file is
    /// not deployed again.
    pub(crate) async fn deployed(self, account: &str) -> Result<()> {
        if !untrack(|| self.is_file()) {
            return Ok(());
        }
        let name = self.name.get_clone_untracked();
        self.deploy.run(account, Some(NewFunction { public: false }), &name).await?;
        self.draft.reference.set(String::new());
        self.draft.function.set(name);
        self.draft.program.set("function".to_owned());
        self.known.functions.reload();
        Ok(())
    }

    /// Says whether what is dragged over the form is a file that no field takes.
    pub(crate) fn would_take(event: &web_sys::DragEvent) -> bool {
        let of_field = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        let files = |data: web_sys::DataTransfer| data.types().includes(&JsValue::from_str("Files"), 0);
        of_field.is_none_or(|input| input.type_() != "file")
            && !event.default_prevented()
            && event.data_transfer().is_some_and(files)
    }

    /// Takes the file that was dropped on the form.
    pub(crate) fn take(self, event: &web_sys::DragEvent) {
        self.draft.program.set("file".to_owned());
        self.deploy.take(event, self.name);
    }
}

/// The name, with a number where it is taken.
fn free_name(name: &str, taken: &[String]) -> String {
    let numbered = |number: usize| {
        let end = format!("-{number}");
        let stem = name.get(..NAME_CHARS_MAX - end.len()).unwrap_or(name).trim_end_matches('-');
        format!("{stem}{end}")
    };
    let mut names = std::iter::once(name.to_owned()).chain((2..=taken.len() + 2).map(numbered));
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::free_name;

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = ["thumbs", "thumbs-2", &"x".repeat(30)].map(str::to_owned);
        assert_eq!(free_name("photos", &taken), "photos");
        assert_eq!(free_name("thumbs", &taken), "thumbs-3");
        assert_eq!(free_name(&"x".repeat(30), &taken), format!("{}-2", "x".repeat(28)));
    }
}
