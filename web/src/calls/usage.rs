//! Calls about what runs used.

use protocol::api::{Invocation, InvocationPage, UsageNow, UsageReport};
use protocol::job::JobSummary;

use crate::api::{Call, Result};
use crate::nav::encode;
use crate::ui::period::Span;

/// Groups on a page, the most that there may be.
const GROUPS: u32 = 200;
/// No more pages are asked for: of groups beyond them only the sums are known.
const PAGES_MAX: usize = 25;
/// A search that finds nothing goes on by itself for so many pages.
const SEARCHED_PAGES_MAX: usize = 5;

/// All groups of a period. `by` is a time, something else, or both: `hour,status`. `filter` is what runs it is of, such
/// as `&function=thumbs`.
pub(crate) async fn report(account: &str, by: &str, span: Span, filter: &str) -> Result<UsageReport> {
    let path = format!("/usage?by={by}&{}&limit={GROUPS}{filter}", span.query());
    let mut whole: UsageReport = Call::get(&path).of(account).send().await?;
    for _ in 1..PAGES_MAX {
        let Some(cursor) = whole.next.take() else { break };
        let page: UsageReport = Call::get(&format!("{path}&cursor={cursor}")).of(account).send().await?;
        whole.items.extend(page.items);
        whole.next = page.next;
    }
    Ok(whole)
}

/// What the account has going on, and what there is to run it.
pub(crate) async fn now(account: &str) -> Result<UsageNow> {
    Call::get("/usage/now").of(account).send().await
}

/// The account's jobs by state: open ones now, and those that ended in the period.
pub(crate) async fn jobs(account: &str, span: Span) -> Result<JobSummary> {
    jobs_of(account, span, "").await
}

/// The same of some jobs; `filter` is which, such as `&function=thumbs`.
pub(crate) async fn jobs_of(account: &str, span: Span, filter: &str) -> Result<JobSummary> {
    Call::get(&format!("/jobs/summary?{}{filter}", span.query())).of(account).send().await
}

/// A page of runs. `query` is what of them is asked for, such as `&outcome=failed`; `cursor` is the page's, empty for the
/// newest. A search may find nothing for a while: then it goes on by itself, so far at most.
pub(crate) async fn runs(account: &str, query: &str, cursor: &str, rows: u32) -> Result<InvocationPage> {
    let path = format!("/invocations?limit={rows}{query}");
    let of = |cursor: &str| if cursor.is_empty() { path.clone() } else { format!("{path}&cursor={}", encode(cursor)) };
    let mut page: InvocationPage = Call::get(&of(cursor)).of(account).send().await?;
    for _ in 1..SEARCHED_PAGES_MAX {
        let Some(next) = page.next.clone().filter(|_| page.items.is_empty()) else { break };
        let mut damaged = page.damaged;
        page = Call::get(&of(&next)).of(account).send().await?;
        damaged.append(&mut page.damaged);
        page.damaged = damaged;
    }
    Ok(page)
}

/// The newest run of a function that went wrong in a period.
pub(crate) async fn last_wrong(account: &str, function: &str, span: Span) -> Result<Option<Invocation>> {
    let query = format!("&function={function}&outcome=failed,timed_out,platform_failed&{}", span.query());
    Ok(runs(account, &query, "", 1).await?.items.into_iter().next())
}
