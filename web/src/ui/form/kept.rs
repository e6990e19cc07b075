//! What was typed where a session ended: it comes back to the same user, at the same place.

use std::cell::RefCell;

use sycamore::prelude::*;

use crate::nav;
use crate::session;

/// So many fields of ended sessions are remembered.
const KEPT_MAX: usize = 64;

thread_local! {
    /// What was typed where a session ended: user, place and input, and the text.
    static KEPT: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Puts back what was kept of these inputs of the page for its user, and keeps what is in them when the session ends.
pub(crate) fn keep(mut fields: Vec<(String, Signal<String>)>) {
    let (Some(user), place) = (session::user(), nav::pathname()) else { return };
    for (input, _) in &mut fields {
        *input = format!("{user} {place} {input}");
    }
    for (key, value) in &fields {
        let kept = KEPT.with_borrow_mut(|kept| {
            let found = kept.iter().position(|(of, _)| of == key)?;
            Some(kept.remove(found).1)
        });
        if let Some(kept) = kept {
            value.set(kept);
        }
    }
    on_cleanup(move || {
        if session::is_over() {
            for (key, value) in fields.into_iter().filter(|(_, value)| value.is_alive()) {
                KEPT.with_borrow_mut(|kept| {
                    kept.push((key, value.get_clone_untracked()));
                    let over = kept.len().saturating_sub(KEPT_MAX);
                    kept.drain(..over);
                });
            }
        }
    });
}

/// Forgets what was kept: whoever logs out has ended what they wrote.
pub(crate) fn forget() {
    KEPT.with_borrow_mut(Vec::clear);
}
