//! Dead letters: looked at, put back, deleted; one of them, or all.

use protocol::api::Page;
use protocol::queue::Message;
use sycamore::prelude::*;

use super::{Subject, columns, messages, same};
use crate::calls;
use crate::load::{Action, Resource};
use crate::ui::code::{api_curl, code_block};
use crate::ui::dialog::{Confirm, confirm_while};
use crate::ui::page::badge;
use crate::ui::table::Column;

/// The tab.
pub(super) fn part(subject: &Subject) -> View {
    let list = messages(subject, true);
    let of_rows = subject.clone();
    let acts = Column::new("Actions", move |one: &Message| acts(&of_rows, list, one)).number().note();
    let none = || view! { p(class="nothing") { "No dead letters: each message was acknowledged, or still may be." } };
    let table = columns(list).column(acts).empty(none).live(list, |page: Page<Message>| page.items, same);
    let all = all(subject, list);
    let (account, name) = (&subject.here.account, &subject.name);
    let redrive =
        code_block(format!("crowdcloud queues redrive {name} --account {account}"), "command to put them back");
    let discard =
        code_block(format!("crowdcloud queues discard {name} --all --account {account}"), "command to delete them");
    let curl = code_block(api_curl(account, "-X POST", &format!("/queues/{name}/redrive")), "curl command");
    view! {
        (all)
        (table)
        p(class="hint table-foot") { "They were leased as often as the queue allows, and nobody acknowledged them." }
        p(class="soft as") { "As CLI" }
        (redrive)
        (discard)
        p(class="soft as") { "As curl" }
        (curl)
    }
}

/// The rows and the counts, once something was done to them.
fn look_again(subject: &Subject, list: Resource<Page<Message>>) {
    list.reload();
    subject.queue.reload();
}

/// What can be done to all of them at once. It stays mounted while the rows change.
fn all(subject: &Subject, list: Resource<Page<Message>>) -> View {
    let queue = subject.queue;
    let some = create_selector(move || queue.ready().is_some_and(|queue| queue.dead > 0));
    let action = Action::new();
    let of_redrive = subject.clone();
    let press = move |_| {
        let subject = of_redrive.clone();
        action.run(async move {
            calls::queues::redrive_all(&subject.here.account, &subject.name).await?;
            look_again(&subject, list);
            Ok(())
        });
    };
    let ask = Confirm {
        trigger: "Delete all",
        class: "danger-quiet small",
        title: format!("Delete all dead letters of {}?", subject.name),
        effects: vec!["Those on other pages are deleted, too.".to_owned(), "They cannot be brought back.".to_owned()],
        confirm: "Delete them",
        typed: None,
    };
    let of_discard = subject.clone();
    let discard = confirm_while(some, ask, move || {
        let subject = of_discard.clone();
        async move {
            calls::queues::discard_all(&subject.here.account, &subject.name).await?;
            look_again(&subject, list);
            Ok(())
        }
    });
    let trouble = action.view();
    view! {
        div(class="row queue-acts") {
            button(
                class="secondary small", r#type="button", hidden=!some.get(), disabled=action.busy.get(),
                on:click=press,
            ) { "Put all back" }
            (discard)
        }
        (trouble)
    }
}

/// What can be done to one. The row stays under the pointer after that, and says what was done.
fn acts(subject: &Subject, list: Resource<Page<Message>>, one: &Message) -> View {
    let id = one.id;
    let done = create_signal("");
    let open = create_selector(move || done.get().is_empty());
    let action = Action::new();
    let of_redrive = subject.clone();
    let press = move |_| {
        let subject = of_redrive.clone();
        action.run(async move {
            calls::queues::redrive(&subject.here.account, &subject.name, id).await?;
            done.set("put back");
            look_again(&subject, list);
            Ok(())
        });
    };
    let ask = Confirm {
        trigger: "Delete",
        class: "danger-quiet small",
        title: "Delete this dead letter?".to_owned(),
        effects: vec![format!("{id} is gone, with its body."), "It cannot be brought back.".to_owned()],
        confirm: "Delete it",
        typed: None,
    };
    let of_discard = subject.clone();
    let discard = confirm_while(open, ask, move || {
        let subject = of_discard.clone();
        async move {
            calls::queues::discard(&subject.here.account, &subject.name, id).await?;
            done.set("deleted");
            look_again(&subject, list);
            Ok(())
        }
    });
    let trouble = action.view();
    let word = View::from_dynamic(move || (!open.get()).then(|| badge("", done.get())));
    view! {
        span(class="queue-acts") {
            (word)
            button(
                class="secondary small", r#type="button", hidden=!open.get(), disabled=action.busy.get(),
                on:click=press,
            ) { "Put back" }
            (discard)
        }
        (trouble)
    }
}
