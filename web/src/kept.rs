//! Responses of the API, kept as they came: a page that is visited again shows at once what it showed last, while the same
//! is asked for anew. Nothing is kept across what its user changes, nor from one session to the next.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::api::Result;

/// Bounds of what is kept: responses, bytes of all of them, and how long.
const RESPONSES_MAX: usize = 64;
const BYTES_MAX: usize = 2 << 20;
const KEPT_MS: i64 = 5 * 60_000;

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
    static GLANCING: Cell<bool> = const { Cell::new(false) };
}

/// What `asked` comes to by kept responses alone; none where one of them is not there.
pub(crate) fn glance<T>(asked: impl Future<Output = Result<T>>) -> Option<T> {
    GLANCING.set(true);
    let polled = pin!(asked).poll(&mut Context::from_waker(Waker::noop()));
    GLANCING.set(false);
    match polled {
        Poll::Ready(answer) => answer.ok(),
        Poll::Pending => None,
    }
}

/// Whether only kept responses are asked for: then nothing may be sent.
pub(crate) fn is_glancing() -> bool {
    GLANCING.get()
}

/// The kept response to this question.
pub(crate) fn response(question: &str, now_ms: i64) -> Option<String> {
    CACHE.with_borrow(|cache| cache.get(question, now_ms).map(str::to_owned))
}

/// Forgets everything.
pub(crate) fn forget() {
    CACHE.with_borrow_mut(Cache::clear);
}

/// A question that was sent; its response is kept, unless everything was forgotten meanwhile.
pub(crate) struct Sent {
    question: String,
    era: u64,
}

impl Sent {
    /// Is sent now.
    pub(crate) fn new(question: String) -> Self {
        Self { question, era: CACHE.with_borrow(|cache| cache.era) }
    }

    /// Its response has come.
    pub(crate) fn keep(self, body: &str, now_ms: i64) {
        CACHE.with_borrow_mut(|cache| cache.put(self, body, now_ms));
    }
}

/// The responses, the one that came last at the end.
#[derive(Default)]
struct Cache {
    responses: VecDeque<Kept>,
    bytes: usize,
    /// Counts how often everything was forgotten.
    era: u64,
}

struct Kept {
    question: String,
    body: String,
    came_ms: i64,
}

impl Cache {
    fn get(&self, question: &str, now_ms: i64) -> Option<&str> {
        let kept = self.responses.iter().find(|kept| kept.question == question)?;
        (now_ms - kept.came_ms < KEPT_MS).then_some(kept.body.as_str())
    }

    fn put(&mut self, Sent { question, era }: Sent, body: &str, now_ms: i64) {
        if era != self.era {
            return;
        }
        if let Some(place) = self.responses.iter().position(|kept| kept.question == question) {
            self.remove(place);
        }
        if body.len() > BYTES_MAX {
            return;
        }
        self.bytes += body.len();
        self.responses.push_back(Kept { question, body: body.to_owned(), came_ms: now_ms });
        while self.responses.len() > RESPONSES_MAX || self.bytes > BYTES_MAX {
            self.remove(0);
        }
    }

    fn remove(&mut self, place: usize) {
        if let Some(kept) = self.responses.remove(place) {
            self.bytes -= kept.body.len();
        }
    }

    fn clear(&mut self) {
        *self = Self { era: self.era + 1, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Cache, KEPT_MS, RESPONSES_MAX, Sent, glance, is_glancing};
    use crate::api::Trouble;

    fn sent(cache: &Cache, question: &str) -> Sent {
        Sent { question: question.to_owned(), era: cache.era }
    }

    fn put(cache: &mut Cache, question: &str, body: &str, now_ms: i64) {
        let sent = sent(cache, question);
        cache.put(sent, body, now_ms);
    }

    #[test]
    fn the_last_response_is_kept_for_a_while() {
        let mut cache = Cache::default();
        put(&mut cache, "jobs", "[1]", 0);
        put(&mut cache, "jobs", "[1,2]", 5);
        assert_eq!(cache.get("jobs", 5), Some("[1,2]"));
        assert_eq!(cache.get("runs", 5), None);
        assert_eq!(cache.get("jobs", 5 + KEPT_MS), None);
        assert_eq!((cache.responses.len(), cache.bytes), (1, 5));
    }

    #[test]
    fn a_response_that_was_under_way_at_a_change_is_not_kept() {
        let mut cache = Cache::default();
        put(&mut cache, "runs", "[]", 0);
        let before = sent(&cache, "jobs");
        cache.clear();
        cache.put(before, "[old]", 1);
        assert_eq!((cache.get("jobs", 1), cache.get("runs", 1), cache.bytes), (None, None, 0));
        put(&mut cache, "jobs", "[new]", 2);
        assert_eq!(cache.get("jobs", 2), Some("[new]"));
    }

    #[test]
    fn the_oldest_give_way() {
        let mut cache = Cache::default();
        for number in 0..=RESPONSES_MAX {
            put(&mut cache, &number.to_string(), "", 0);
        }
        assert_eq!((cache.responses.len(), cache.get("0", 0), cache.get("1", 0)), (RESPONSES_MAX, None, Some("")));
        put(&mut cache, "large", &"x".repeat(BYTES_MAX), 0);
        put(&mut cache, "more", "x", 0);
        assert_eq!((cache.get("large", 0), cache.get("more", 0), cache.bytes), (None, Some("x"), 1));
        put(&mut cache, "too large", &"x".repeat(BYTES_MAX + 1), 0);
        assert_eq!((cache.get("too large", 0), cache.bytes), (None, 1));
    }

    #[test]
    fn a_glance_waits_for_nothing() {
        assert_eq!(glance(async { Ok(is_glancing()) }), Some(true));
        assert_eq!(glance(std::future::pending::<Result<u8, Trouble>>()), None);
        assert_eq!(glance(async { Err::<u8, _>(Trouble::unreachable()) }), None);
        assert!(!is_glancing());
    }
}
