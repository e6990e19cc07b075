//! A deployment from the page: a file, what is asked for it, and how far it has come.

mod dropped;
mod form;
mod options;
mod progress;

use protocol::api::{CreateVersion, NewFunction, PlatformLimits, Version, VersionState};
use protocol::{Code, Name, Problem};
use sycamore::prelude::*;
use web_sys::File;

pub(crate) use self::dropped::Dropped;
pub(crate) use self::form::{asked, command, file_field, image_fields, of_image, same};
pub(crate) use self::options::Options;
pub(crate) use self::progress::progress;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::format;
use crate::load::{Action, Resource, sleep};
use crate::ui::upload::{Upload, upload};

/// Nothing was chosen.
const NO_FILE: &str = "no_file";

/// How often a compiling version is looked at.
const COMPILE_POLL_MS: i32 = 1_000;

/// How far a deployment has come.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Step {
    Choose,
    Upload,
    Create,
    Prepare,
    Live,
}

/// A deployment from this page.
#[derive(Clone, Copy)]
pub(crate) struct Deploy {
    /// The chosen file.
    pub(crate) file: Signal<Option<File>>,
    /// What it is; none before it was looked at.
    dropped: Signal<Option<Dropped>>,
    /// What is asked for it.
    pub(crate) options: Options,
    /// How far it has come.
    step: Signal<Step>,
    /// Of the upload.
    upload: Upload,
    /// Busy, or in trouble.
    pub(crate) action: Action,
    /// What the platform allows.
    limits: Resource<PlatformLimits>,
}

impl Deploy {
    /// Nothing chosen; `action` is of the form that it is a part of.
    pub(crate) fn new(action: Action) -> Self {
        Self {
            file: create_signal(None),
            dropped: create_signal(None),
            options: Options::new(),
            step: create_signal(Step::Choose),
            upload: Upload::new(),
            action,
            limits: Resource::new(calls::limits),
        }
    }

    /// Takes the file that was dropped.
    pub(crate) fn take(self, event: &web_sys::DragEvent, name: Signal<String>) {
        self.choose(event.data_transfer().and_then(|data| data.files()), name);
    }

    fn choose(self, files: Option<web_sys::FileList>, name: Signal<String>) {
        let Some(file) = files.and_then(|files| files.get(0)) else { return };
        if self.action.busy.get_untracked() {
            return;
        }
        if name.with(String::is_empty) {
            name.set(name_from(&file.name()));
        }
        self.action.trouble.set(None);
        self.step.set(Step::Choose);
        self.dropped.set(None);
        self.file.set(Some(file.clone()));
        sycamore::futures::spawn_local_scoped(async move {
            let dropped = dropped::look(&file).await;
            if !self.dropped.is_alive() || self.file.get_clone_untracked().as_ref() != Some(&file) {
                return;
            }
            self.dropped.set(Some(dropped));
            self.take_base();
        });
    }

    /// The base that the file asks for, where it asks for one.
    fn take_base(self) {
        if let Some(base) = self.dropped.with_untracked(|dropped| dropped.as_ref().and_then(Dropped::base)) {
            self.options.base.set(base.as_str().to_owned());
        }
    }

    /// Starts from what this version has.
    pub(crate) fn follow(self, version: &Version) {
        self.options.follow(version);
        self.take_base();
    }

    /// Whether a file is chosen.
    pub(crate) fn chosen(self) -> ReadSignal<bool> {
        create_selector(move || self.file.with(Option::is_some))
    }

    /// What the file is, where one is chosen and was looked at; tracked.
    pub(crate) fn known(self) -> Option<Dropped> {
        self.dropped.get_clone()
    }

    /// Uploads the file and makes a version of it, and with it the function where that is new; waits until it is ready.
    pub(crate) async fn run(self, account: &str, create: Option<NewFunction>, function: &str) -> Result<Version> {
        let Some(file) = self.file.get_clone_untracked() else {
            return Err(
                Trouble::here(NO_FILE, "No file is chosen.", "Drop a file above, or choose one.").at("artifact")
            );
        };
        let dropped = match self.dropped.get_clone_untracked() {
            Some(dropped) => dropped,
            None => dropped::look(&file).await,
        };
        let written = untrack(|| self.options.written());
        // What cannot be read is told before anything is sent.
        written.version(protocol::Digest([0; 32]), &dropped)?;
        if create.is_some() {
            check_name(function)?;
        }
        self.check_size(&file)?;
        self.step.set(Step::Upload);
        // The body of an upload is the file.
        let artifact = upload(account, "/artifacts", &file, self.upload).await;
        let artifact =
            artifact.map_err(|trouble| if trouble.field.is_some() { trouble.at("artifact") } else { trouble })?;
        self.step.set(Step::Create);
        if create.is_some() && answers(account, function).await? {
            return Err(Problem::of(Code::NameTaken, "name", format!("There is a function `{function}`.")).into());
        }
        self.step.set(Step::Prepare);
        let body = CreateVersion { create, ..written.version(artifact.digest, &dropped)? };
        let made = make_version(account, function, &body).await;
        let version = made.map_err(|trouble| of_archive(trouble, &dropped))?;
        self.step.set(Step::Live);
        Ok(version)
    }

    /// What is too large is not sent at all.
    fn check_size(self, file: &File) -> Result<()> {
        let most = untrack(|| self.limits.ready()).map(|limits| limits.artifact);
        match most.filter(|most| form::size(file) > most.0) {
            Some(most) => {
                let cause =
                    format!("The file has {}; at most {}.", format::bytes(form::size(file)), format::bytes(most.0));
                Err(Trouble::here(Code::ArtifactTooLarge.as_str(), cause, "Leave out what is not needed.")
                    .at("artifact"))
            }
            None => Ok(()),
        }
    }
}

/// An archive of files is told what to start.
fn of_archive(trouble: Trouble, dropped: &Dropped) -> Trouble {
    let starts_nothing = trouble.code == Code::NoEntryPoint.as_str() && *dropped == Dropped::Archive;
    if starts_nothing { trouble.at("command") } else { trouble }
}

/// Makes a version, and waits until it is ready.
pub(crate) async fn make_version(account: &str, function: &str, body: &CreateVersion) -> Result<Version> {
    let mut version = calls::create_version(account, function, body).await?;
    while version.state == VersionState::Compiling {
        sleep(COMPILE_POLL_MS).await;
        version = calls::version(account, function, version.number).await?;
    }
    match version.problem {
        Some(problem) => Err(problem.into()),
        None => Ok(version),
    }
}

fn check_name(name: &str) -> Result<()> {
    let wrong = |error| Problem::of(Code::InvalidName, "name", format!("`{name}`: {error}."));
    name.parse::<Name>().map(drop).map_err(|error| wrong(error).into())
}

/// Whether the function is there, and a version of it ever answered: one whose file was refused may be tried again.
async fn answers(account: &str, function: &str) -> Result<bool> {
    match calls::function(account, function).await {
        Ok(function) => Ok(!function.aliases.is_empty()),
        Err(trouble) if trouble.code == Code::FunctionNotFound.as_str() => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// A function's name from a file's: `My_Thumbs-v2.wasm` gives `my-thumbs-v2`.
pub(crate) fn name_from(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let stem = stem.strip_suffix(".tar").unwrap_or(stem);
    let mut name = String::new();
    for c in stem.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    name.truncate(30);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Dropped, name_from, of_archive};
    use crate::api::Trouble;
    use protocol::{Code, Problem};

    #[test]
    fn an_archive_of_files_is_told_what_to_start() {
        let trouble = || Trouble::from(Problem::of(Code::NoEntryPoint, "artifact", "no `_start`"));
        assert!(of_archive(trouble(), &Dropped::Archive).is_about(&["command"]));
        assert!(of_archive(trouble(), &Dropped::Module).is_about(&["artifact"]));
    }

    #[test]
    fn names_come_from_files() {
        assert_eq!(name_from("My_Thumbs-v2.wasm"), "my-thumbs-v2");
        assert_eq!(name_from("__a  b__.component.wasm"), "a-b-component");
        assert_eq!(name_from("thumbs.tar.gz"), "thumbs");
        assert_eq!(name_from("ünï.wasm"), "n");
        assert!(name_from(&"x".repeat(80)).len() <= 30);
    }
}
