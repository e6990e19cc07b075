//! Several jobs of a list, chosen to be cancelled or tried again at once.

use std::collections::BTreeSet;

use protocol::JobId;
use protocol::api::Page;
use protocol::job::{Job, JobState};
use sycamore::prelude::*;

use crate::api::{Result, Trouble};
use crate::calls;
use crate::format;
use crate::load::{Action, Resource};
use crate::session::Here;
use crate::ui::copy::short_id;
use crate::ui::dialog::{Confirm, confirm_while};

/// The jobs that are chosen.
#[derive(Clone, Copy)]
pub(crate) struct Selected(Signal<BTreeSet<JobId>>);

/// What is done to each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Cancel,
    Retry,
}

impl Act {
    /// Whether it can be done to this one.
    fn fits(self, job: &Job) -> bool {
        match self {
            Self::Cancel => !job.state.ended() && !job.cancelling,
            Self::Retry => job.state.ended() && job.state.may_become(JobState::Queued),
        }
    }
}

impl Selected {
    /// None.
    pub(crate) fn new() -> Self {
        Self(create_signal(BTreeSet::new()))
    }

    /// The box of one row.
    pub(crate) fn check_box(self, job: &Job) -> View {
        let id = job.id;
        let label = format!("Choose {}", short_id(&id.to_string()));
        let checked = move || self.0.with(|chosen| chosen.contains(&id));
        let turn = move |_| {
            self.0.update(|chosen| {
                if !chosen.remove(&id) {
                    chosen.insert(id);
                }
            });
        };
        view! { input(r#type="checkbox", aria-label=label, prop:checked=checked(), on:change=turn) }
    }
}

/// Those of the rows that are chosen and fit.
fn of_rows(rows: &[Job], chosen: &BTreeSet<JobId>, act: Act) -> Vec<JobId> {
    rows.iter().filter(|job| chosen.contains(&job.id) && act.fits(job)).map(|job| job.id).collect()
}

/// What can be done to the chosen rows of a list.
pub(crate) fn bar(here: &Here, list: Resource<Page<Job>>, selected: Selected) -> View {
    let rows = move || list.ready().map(|page| page.items).unwrap_or_default();
    let fitting = move |act| create_selector(move || selected.0.with(|chosen| of_rows(&rows(), chosen, act)));
    let (open, ended) = (fitting(Act::Cancel), fitting(Act::Retry));
    let chosen = create_selector(move || {
        let rows = rows();
        selected.0.with(|chosen| rows.iter().filter(|job| chosen.contains(&job.id)).count())
    });
    let all = move |_| selected.0.set(untrack(rows).iter().map(|job| job.id).collect());
    let none = move |_| selected.0.set(BTreeSet::new());
    let cancel = cancel_button(here, open, selected);
    let retry = retry_button(here, ended, selected);
    let count = move || match chosen.get() {
        0 => "None chosen".to_owned(),
        chosen => format!("{chosen} chosen"),
    };
    view! {
        div(class="chosen") {
            button(class="secondary small", r#type="button", on:click=all) { "Choose all shown" }
            button(class="quiet small", r#type="button", hidden=chosen.get() == 0, on:click=none) { "Choose none" }
            span(class="soft", role="status") { (count()) }
            (cancel)
            (retry)
        }
    }
}

fn cancel_button(here: &Here, open: ReadSignal<Vec<JobId>>, selected: Selected) -> View {
    let ask = Confirm {
        trigger: "Cancel the chosen",
        class: "danger-quiet small",
        title: "Cancel the chosen jobs?".to_owned(),
        effects: vec![
            "Those that wait end at once; those that run are stopped on their nodes, half done.".to_owned(),
            "Each can be tried again later.".to_owned(),
        ],
        confirm: "Cancel them",
        typed: None,
    };
    let account = here.account.clone();
    let offered = create_selector(move || open.with(|ids| !ids.is_empty()));
    confirm_while(offered, ask, move || {
        let (account, ids) = (account.clone(), open.get_clone_untracked());
        async move {
            each(&account, ids, Act::Cancel).await?;
            selected.0.set(BTreeSet::new());
            Ok(())
        }
    })
}

fn retry_button(here: &Here, ended: ReadSignal<Vec<JobId>>, selected: Selected) -> View {
    let action = Action::new();
    let account = here.account.clone();
    let press = move |_| {
        let (account, ids) = (account.clone(), ended.get_clone_untracked());
        action.run(async move {
            each(&account, ids, Act::Retry).await?;
            selected.0.set(BTreeSet::new());
            Ok(())
        });
    };
    let words = move || format!("Try {} again", format::count(ended.with(Vec::len), "job"));
    view! {
        span(hidden=ended.with(Vec::is_empty)) {
            button(class="secondary small", r#type="button", disabled=action.busy.get(), on:click=press) { (words()) }
        }
        (action.view())
    }
}

/// One after the other. The trouble is the first one's, with how many it was.
async fn each(account: &str, ids: Vec<JobId>, act: Act) -> Result<()> {
    let count = ids.len();
    let mut troubles = Vec::new();
    for id in ids {
        let done = match act {
            Act::Cancel => calls::jobs::cancel(account, id).await,
            Act::Retry => calls::jobs::retry(account, id).await,
        };
        troubles.extend(done.err());
    }
    summed(troubles, count)
}

fn summed(troubles: Vec<Trouble>, of: usize) -> Result<()> {
    let failed = troubles.len();
    match troubles.into_iter().next() {
        None => Ok(()),
        Some(first) if of == 1 => Err(first),
        Some(first) => Err(Trouble { cause: format!("{failed} of {of} did not go: {}", first.cause), ..first }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Act, of_rows, summed};
    use crate::api::Trouble;
    use crate::pages::jobs::sample;
    use protocol::job::{Job, JobState};

    #[test]
    fn only_what_an_act_fits_is_done() {
        let rows = [
            sample::job(1),
            Job { cancelling: true, state: JobState::Running, ..sample::job(2) },
            Job { state: JobState::Dead, ..sample::job(3) },
            Job { state: JobState::Succeeded, ..sample::job(4) },
            Job { state: JobState::Cancelled, ..sample::job(5) },
        ];
        let chosen: BTreeSet<_> = rows.iter().take(4).map(|job| job.id).collect();
        let of = |act| of_rows(&rows, &chosen, act);
        assert_eq!(of(Act::Cancel), [rows[0].id]);
        assert_eq!(of(Act::Retry), [rows[2].id], "what succeeded is not done again; what is not chosen is left alone");
    }

    #[test]
    fn troubles_are_counted() {
        let trouble = || Trouble::here("conflict", "It has ended.", "");
        assert_eq!(summed(Vec::new(), 3), Ok(()));
        assert_eq!(summed(vec![trouble()], 1), Err(trouble()));
        assert_eq!(summed(vec![trouble(), trouble()], 3).unwrap_err().cause, "2 of 3 did not go: It has ended.");
    }
}
