//! Who is logged in. One signal for the whole portal.

use std::cell::Cell;

use protocol::UserId;
use protocol::api::{Me, Membership, Role};
use sycamore::prelude::*;

use crate::api::Trouble;
use crate::{calls, kept, load};

/// What is known of the user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// Nothing yet.
    Asking,
    /// Nobody is logged in.
    Out,
    /// This user is.
    In(Me),
    /// The question could not be asked.
    Unknown(Trouble),
}

/// The session, for whoever needs it.
#[derive(Clone, Copy)]
pub(crate) struct Session(Signal<State>);

thread_local! {
    static SESSION: Cell<Option<Session>> = const { Cell::new(None) };
}

impl Session {
    /// Makes the one session of this page, and asks the server who it is.
    pub(crate) fn start() -> Self {
        let session = Self(create_signal(State::Asking));
        SESSION.set(Some(session));
        provide_context(session);
        session.ask();
        session
    }

    /// The session.
    pub(crate) fn get() -> Self {
        use_context()
    }

    /// What is known, tracked.
    pub(crate) fn state(self) -> State {
        self.0.get_clone()
    }

    /// Whether `predicate` holds, tracked.
    pub(crate) fn with<T>(self, read: impl FnOnce(&State) -> T) -> T {
        self.0.with(read)
    }

    /// The user's memberships.
    pub(crate) fn accounts(self) -> Vec<Membership> {
        self.with(|state| match state {
            State::In(me) => me.accounts.clone(),
            _ => Vec::new(),
        })
    }

    /// Whether the user runs the platform.
    pub(crate) fn is_operator(self) -> bool {
        self.with(|state| matches!(state, State::In(me) if me.user.as_ref().is_some_and(|user| user.operator)))
    }

    /// The user's address.
    pub(crate) fn email(self) -> Option<String> {
        self.with(|state| match state {
            State::In(me) => me.user.as_ref().map(|user| user.email.clone()),
            _ => None,
        })
    }

    /// Somebody logged in.
    pub(crate) fn enter(self, me: Me) {
        kept::forget();
        self.0.set(State::In(me));
    }

    /// Asks the server anew.
    pub(crate) fn ask(self) {
        sycamore::futures::spawn_local_scoped(async move {
            self.refresh().await;
        });
    }

    /// Asks the server anew, and waits for its answer.
    pub(crate) async fn refresh(self) {
        let state = match calls::me().await {
            Ok(me) if me.user.is_some() => State::In(me),
            Ok(_) => State::Out,
            Err(trouble) if trouble.status == 401 => State::Out,
            Err(trouble) => State::Unknown(trouble),
        };
        if self.0.with_untracked(|old| *old != state) {
            self.0.set(state);
        }
    }

    /// Logs out, here and on the server.
    pub(crate) async fn leave(self) -> Result<(), Trouble> {
        match calls::logout().await {
            Err(trouble) if trouble.status != 401 => Err(trouble),
            _ => {
                self.0.set(State::Out);
                crate::ui::form::forget();
                Ok(())
            }
        }
    }
}

/// The server says that nobody is logged in any more.
pub(crate) fn lost() {
    let Some(Session(signal)) = SESSION.get() else { return };
    let is_in = move || signal.with_untracked(|state| matches!(state, State::In(_)));
    // The page goes with its session: whoever has just got this answer comes to its end before.
    wasm_bindgen_futures::spawn_local(async move {
        load::sleep(0).await;
        if is_in() {
            kept::forget();
            signal.set(State::Out);
        }
    });
}

/// Who is logged in.
pub(crate) fn user() -> Option<UserId> {
    let Session(state) = SESSION.get()?;
    state.with_untracked(|state| match state {
        State::In(me) => me.user.as_ref().map(|user| user.id),
        _ => None,
    })
}

/// Whether nobody is logged in any more.
pub(crate) fn is_over() -> bool {
    SESSION.get().is_some_and(|Session(state)| state.with_untracked(|state| *state == State::Out))
}

/// Where one goes after a log-in: the first account.
pub(crate) fn home(me: &Me) -> String {
    match me.accounts.first() {
        Some(membership) => format!("/a/{}", membership.account.name),
        None => "/accounts/new".to_owned(),
    }
}

/// The account that a page is about, and what the user may do there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Here {
    /// The account's name.
    pub(crate) account: String,
    /// The user's role in it.
    pub(crate) role: Role,
}

impl Here {
    /// The account of the page around.
    pub(crate) fn get() -> Self {
        use_context()
    }

    /// A path of this account.
    pub(crate) fn path(&self, rest: &str) -> String {
        if rest.is_empty() { format!("/a/{}", self.account) } else { format!("/a/{}/{rest}", self.account) }
    }

    /// May change members, keys and settings.
    pub(crate) fn administers(&self) -> bool {
        self.role >= Role::Admin
    }
}
