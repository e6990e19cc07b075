//! Jobs as they change: by server-sent events, or by asking again and again where those cannot be had.

use protocol::JobId;
use protocol::api::Page;
use protocol::job::{Job, JobSort};
use sycamore::futures::spawn_local_scoped;
use sycamore::prelude::*;

use super::filter::Filter;
use crate::calls;
use crate::load::{Load, POLL_AFTER_TROUBLE_MS, POLL_MS, Resource, seen, sleep};

/// Many changes are shown at once, so often.
const SHOWN_EVERY_MS: i32 = 150;
/// A list that has grown so long is asked for anew.
const GROWN_MAX: usize = 200;

/// The jobs of this filter, live.
pub(crate) fn list(account: String, filter: ReadSignal<Filter>) -> Resource<Page<Job>> {
    let list: Resource<Page<Job>> = Resource::fed();
    create_effect(move || {
        let (account, filter) = (account.clone(), filter.get_clone());
        list.show_kept(calls::jobs::list(&account, &filter.query()));
        spawn_local_scoped(async move {
            loop {
                let pause = follow(&account, &filter, list).await;
                sleep(pause).await;
                seen().await;
            }
        });
    });
    list
}

/// One stream, until it breaks off. Gives how long to wait before the next.
async fn follow(account: &str, filter: &Filter, list: Resource<Page<Job>>) -> i32 {
    // Where nothing is shown yet, the list does not wait for the stream.
    let first = async {
        if list.data.with_untracked(|data| *data == Load::Waiting)
            && let Ok(page) = calls::jobs::list(account, &filter.query()).await
        {
            list.put(Ok(page));
        }
    };
    // First the stream, then the list: nothing falls between.
    let (changes, ()) = futures::future::join(crate::live::changes(account), first).await;
    let mut page = match calls::jobs::list(account, &filter.query()).await {
        Ok(page) => page,
        Err(trouble) => {
            list.put(Err(trouble));
            return POLL_AFTER_TROUBLE_MS;
        }
    };
    list.put(Ok(page.clone()));
    let Ok(mut changes) = changes else { return POLL_MS };
    while let Some(jobs) = changes.next().await {
        for job in jobs {
            merge(&mut page, job, filter);
        }
        list.put(Ok(page.clone()));
        if page.items.len() > GROWN_MAX {
            break;
        }
        sleep(SHOWN_EVERY_MS).await;
    }
    SHOWN_EVERY_MS
}

/// Puts a job where it belongs.
fn merge(page: &mut Page<Job>, job: Job, filter: &Filter) {
    let known = page.items.iter().position(|row| row.id == job.id);
    match (known, filter.holds(&job)) {
        (Some(place), true) => {
            let Some(row) = page.items.get_mut(place).filter(|row| row.revision <= job.revision) else { return };
            // One that ended anew has another place.
            if filter.cursor.is_some() || filter.sort.order(row, &job).is_eq() {
                *row = job;
            } else {
                drop(page.items.remove(place));
                insert(page, job, filter.sort);
            }
        }
        (Some(place), false) => drop(page.items.remove(place)),
        (None, true) if filter.cursor.is_none() => insert(page, job, filter.sort),
        (None, _) => {}
    }
}

fn insert(page: &mut Page<Job>, job: Job, sort: JobSort) {
    let place = page.items.partition_point(|row| sort.order(row, &job).is_lt());
    // One that comes after all of these is on a later page.
    if place < page.items.len() || page.next.is_none() {
        page.items.insert(place, job);
    }
}

/// One job, live.
pub(crate) fn one(account: String, id: JobId) -> Resource<Job> {
    let job = Resource::fed();
    spawn_local_scoped(async move {
        loop {
            let pause = match calls::jobs::changes_of(&account, id).await {
                Ok(mut changes) => {
                    while let Some(states) = changes.next().await {
                        if let Some(last) = states.into_iter().last() {
                            put_newer(job, last);
                        }
                    }
                    POLL_MS
                }
                Err(_) => match calls::jobs::show(&account, id).await {
                    Ok(now) => {
                        put_newer(job, now);
                        POLL_MS
                    }
                    Err(trouble) => {
                        job.put(Err(trouble));
                        POLL_AFTER_TROUBLE_MS
                    }
                },
            };
            sleep(pause).await;
            seen().await;
        }
    });
    job
}

/// What was asked for earlier may come later.
pub(crate) fn put_newer(shown: Resource<Job>, job: Job) {
    if untrack(|| shown.ready()).is_none_or(|old| old.revision <= job.revision) {
        shown.put(Ok(job));
    }
}

#[cfg(test)]
mod tests {
    use super::merge;
    use crate::pages::jobs::filter::Filter;
    use crate::pages::jobs::sample;
    use protocol::Timestamp;
    use protocol::api::Page;
    use protocol::job::{Job, JobSort, JobState};

    fn ids(page: &Page<Job>) -> Vec<u128> {
        page.items.iter().map(sample::number).collect()
    }

    #[test]
    fn changes_find_their_place() {
        let mut page = Page { items: vec![sample::job(5), sample::job(3)], next: Some("older".to_owned()) };
        let all = Filter::default();
        merge(&mut page, sample::job(7), &all);
        merge(&mut page, sample::job(4), &all);
        assert_eq!(ids(&page), [7, 5, 4, 3]);
        merge(&mut page, sample::job(1), &all);
        assert_eq!(ids(&page), [7, 5, 4, 3], "that is on the next page");
        let newer = Job { state: JobState::Running, revision: 9, ..sample::job(5) };
        merge(&mut page, newer, &all);
        merge(&mut page, sample::job(5), &all);
        assert_eq!(page.items[1].state, JobState::Running, "what comes late is older");
        page.next = None;
        merge(&mut page, sample::job(1), &all);
        assert_eq!(ids(&page), [7, 5, 4, 3, 1]);
    }

    #[test]
    fn changes_find_their_place_in_every_order() {
        let ended = |number, at, revision| Job {
            state: JobState::Dead,
            ended: Some(Timestamp(at)),
            revision,
            ..sample::job(number)
        };
        let mut page = Page { items: vec![ended(5, 10, 1), ended(3, 20, 1)], next: None };
        let by_end = Filter { sort: JobSort::FirstEndedFirst, ..Filter::default() };
        merge(&mut page, ended(7, 15, 1), &by_end);
        merge(&mut page, sample::job(9), &by_end);
        assert_eq!(ids(&page), [5, 7, 3], "one that is open has no place");
        merge(&mut page, ended(5, 30, 2), &by_end);
        assert_eq!(ids(&page), [7, 3, 5], "it was tried again");
        let mut page = Page { items: vec![sample::job(3), sample::job(5)], next: Some("newer".to_owned()) };
        merge(&mut page, sample::job(9), &Filter { sort: JobSort::OldestFirst, ..Filter::default() });
        assert_eq!(ids(&page), [3, 5], "that is on a later page");
    }

    #[test]
    fn what_the_filter_lets_go_goes() {
        let mut page = Page { items: vec![sample::job(5)], next: None };
        let queued = Filter::of_states(&[JobState::Queued]);
        merge(&mut page, Job { state: JobState::Running, revision: 9, ..sample::job(5) }, &queued);
        assert_eq!(ids(&page), [0; 0]);
        let older = Filter { cursor: Some("c".to_owned()), ..Filter::default() };
        merge(&mut page, sample::job(8), &older);
        assert_eq!(ids(&page), [0; 0], "an older page stays as it is");
    }
}
