//! The portal's frame: which page a place shows, and to whom.

use protocol::api::Me;
use sycamore::prelude::*;
use sycamore_router::Router;

use crate::connection;
use crate::nav::{self, History};
use crate::pages;
use crate::part::later;
use crate::route::Place;
use crate::session::{self, Session, State};
use crate::shell::Shell;
use crate::ui::time::Clock;
use crate::ui::trouble::trouble_view;

/// Who may see a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Everybody.
    Open,
    /// Those who are logged in.
    Inside,
}

/// The whole portal.
#[component]
pub(crate) fn App() -> View {
    Clock::start();
    connection::start();
    Session::start();
    view! { Router(integration=History, view=|place: ReadSignal<Place>| view! { div(class="app") { (doors(place)) } }) }
}

fn doors(place: ReadSignal<Place>) -> View {
    let door = create_selector(move || {
        place.with(|place| match place {
            Place::Signup | Place::Login | Place::Forgot | Place::Reset { .. } | Place::Invite { .. } => Door::Open,
            _ => Door::Inside,
        })
    });
    View::from_dynamic(move || match door.get() {
        Door::Open => outside(place),
        Door::Inside => inside(place),
    })
}

fn outside(place: ReadSignal<Place>) -> View {
    View::from_dynamic(move || match place.get_clone() {
        Place::Signup => later!(door, signup(_: ()) => pages::auth::signup())(()),
        Place::Login => later!(door, login(_: ()) => pages::auth::login())(()),
        Place::Forgot => later!(door, forgot(_: ()) => pages::reset::forgot())(()),
        Place::Reset { token } => later!(door, reset(token: String) => pages::reset::reset(token))(token),
        Place::Invite { token } => later!(door, invite(token: String) => pages::invite::invite(token))(token),
        _ => view! {},
    })
}

fn inside(place: ReadSignal<Place>) -> View {
    let session = Session::get();
    // What is known of the session, without the details that change while the shell stays.
    let known = create_selector(move || {
        session.with(|state| match state {
            State::In(_) => State::In(Me { user: None, accounts: Vec::new(), scopes: None }),
            state => state.clone(),
        })
    });
    View::from_dynamic(move || match known.get_clone() {
        State::Asking => view! { div(class="boot", aria-busy="true") { span(class="pulse") {} } },
        State::Unknown(trouble) => unknown(session, trouble),
        State::Out => {
            let path = nav::pathname();
            let login = if path == "/" { "/login".to_owned() } else { format!("/login?next={}", nav::encode(&path)) };
            sycamore::futures::spawn_local_scoped(async move { nav::replace(&login) });
            view! {}
        }
        State::In(_) => rooms(place),
    })
}

fn unknown(session: Session, trouble: crate::api::Trouble) -> View {
    let trouble = trouble_view(trouble);
    view! {
        div(class="boot") {
            (trouble)
            button(class="secondary", r#type="button", on:click=move |_| session.ask()) { "Try again" }
        }
    }
}

fn rooms(place: ReadSignal<Place>) -> View {
    let session = Session::get();
    let home = create_selector(move || place.with(|place| *place == Place::Home));
    View::from_dynamic(move || {
        if home.get() {
            if let State::In(me) = session.state() {
                sycamore::futures::spawn_local_scoped(async move { nav::replace(&session::home(&me)) });
            }
            return view! {};
        }
        view! { Shell(place=place) }
    })
}
