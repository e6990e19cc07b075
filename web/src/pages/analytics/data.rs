//! What the page's parts share: what is asked for, its answers, and the deployments that charts over time mark.

use std::collections::BTreeMap;

use futures::future::join_all;
use protocol::Timestamp;
use protocol::api::UsageReport;
use sycamore::prelude::*;

use super::asked::Asked;
use super::columns::column_of;
use crate::api::Result;
use crate::calls;
use crate::charts::model::Mark;
use crate::load::{Resource, settled};
use crate::session::Here;
use crate::ui::period::{Period, Span};

/// Deployments of so many functions are looked up.
const FUNCTIONS_MAX: usize = 12;

/// What every part of the page goes by.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) here: Here,
    pub(super) asked: ReadSignal<Asked>,
    deployments: Resource<Vec<Deployment>>,
    /// Usage of the period, by time.
    pub(super) moved: Resource<Told>,
}

/// Usage, and what was asked for when it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) asked: Asked,
    pub(super) span: Span,
    pub(super) report: UsageReport,
}

/// A version that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deployment {
    pub(super) at: Timestamp,
    pub(super) function: String,
    pub(super) version: u32,
}

impl Subject {
    /// Of this account, as the URL asks.
    pub(super) fn of(here: &Here, asked: ReadSignal<Asked>) -> Self {
        let account = here.account.clone();
        let function = create_selector(move || asked.with(|asked| asked.function.clone()));
        let deployments = Resource::new(move || {
            let (account, function) = (account.clone(), function.get_clone());
            async move {
                // The figures come first: browsers have few connections.
                settled().await;
                deployments(&account, &function).await
            }
        });
        let moved = usage(here, asked, |asked| asked.period.by().to_owned(), |asked| asked.period.span());
        Self { here: here.clone(), asked, deployments, moved }
    }

    /// The period that is asked for now.
    pub(super) fn period(&self) -> Period {
        self.asked.with_untracked(|asked| asked.period)
    }

    /// Usage by what the URL asks for, kept up to date.
    pub(super) fn usage(
        &self,
        by: impl Fn(&Asked) -> String + 'static,
        span: impl Fn(&Asked) -> Span + 'static,
    ) -> Resource<Told> {
        usage(&self.here, self.asked, by, span)
    }

    /// Usage of a time before, where the URL asks to compare.
    pub(super) fn compared(
        &self,
        by: impl Fn(&Asked) -> String + 'static,
        span: impl Fn(&Asked) -> Span + 'static,
    ) -> Resource<Option<Told>> {
        let (account, asked) = (self.here.account.clone(), self.asked);
        Resource::every(
            move || asked.with(|asked| asked.period.refresh_ms()),
            move || {
                let (account, asked) = (account.clone(), asked.get_clone());
                let (by, span) = (by(&asked), span(&asked));
                async move { if asked.compares { told(&account, asked, &by, span).await.map(Some) } else { Ok(None) } }
            },
        )
    }

    /// Deployments within these columns; tracked.
    pub(super) fn marks(&self, spans: &[Span]) -> Vec<Mark> {
        self.deployments.ready().map(|all| marks(&all, spans)).unwrap_or_default()
    }
}

fn usage(
    here: &Here,
    asked: ReadSignal<Asked>,
    by: impl Fn(&Asked) -> String + 'static,
    span: impl Fn(&Asked) -> Span + 'static,
) -> Resource<Told> {
    let account = here.account.clone();
    Resource::every(
        move || asked.with(|asked| asked.period.refresh_ms()),
        move || {
            let (account, asked) = (account.clone(), asked.get_clone());
            let (by, span) = (by(&asked), span(&asked));
            async move { told(&account, asked, &by, span).await }
        },
    )
}

async fn told(account: &str, asked: Asked, by: &str, span: Span) -> Result<Told> {
    let report = calls::usage::report(account, by, span, &asked.usage_query()).await?;
    Ok(Told { asked, span, report })
}

/// Versions of the account's functions, or of one of them.
async fn deployments(account: &str, function: &str) -> Result<Vec<Deployment>> {
    let names: Vec<String> = match function {
        "" => {
            let page = calls::functions(account).await?;
            page.items.into_iter().take(FUNCTIONS_MAX).map(|function| function.name.to_string()).collect()
        }
        name => vec![name.to_owned()],
    };
    let mut all = Vec::new();
    let pages = join_all(names.iter().map(|name| calls::versions(account, name))).await;
    for (name, page) in names.iter().zip(pages) {
        // One that was deleted meanwhile has none.
        let Ok(page) = page else { continue };
        let of = |version: &protocol::api::Version| Deployment {
            at: version.created,
            function: name.clone(),
            version: version.number,
        };
        all.extend(page.items.iter().map(of));
    }
    Ok(all)
}

/// One mark for each column that has deployments.
fn marks(all: &[Deployment], spans: &[Span]) -> Vec<Mark> {
    let mut found: BTreeMap<usize, BTreeMap<&str, Vec<u32>>> = BTreeMap::new();
    for deployment in all {
        if let Some(place) = column_of(deployment.at, spans) {
            found.entry(place).or_default().entry(&deployment.function).or_default().push(deployment.version);
        }
    }
    let words = |(function, mut versions): (&str, Vec<u32>)| {
        versions.sort_unstable();
        match versions.as_slice() {
            [one] => format!("{function} v{one}"),
            [first, .., last] => format!("{function} v{first} to v{last}"),
            [] => function.to_owned(),
        }
    };
    let mark = |(place, functions): (usize, BTreeMap<&str, Vec<u32>>)| Mark {
        place,
        name: functions.into_iter().map(words).collect::<Vec<_>>().join(", "),
    };
    found.into_iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::{Deployment, marks};
    use crate::charts::model::Mark;
    use crate::pages::analytics::columns::spans;
    use crate::ui::period::Span;

    #[test]
    fn deployments_are_marked_where_they_happened() {
        let spans = spans(Span { from: Timestamp(0), to: Timestamp(30) }, 10);
        let deployed =
            |function: &str, version, at| Deployment { at: Timestamp(at), function: function.to_owned(), version };
        let all = [
            deployed("b", 3, 12),
            deployed("b", 2, 11),
            deployed("a", 1, 19),
            deployed("a", 2, 20),
            deployed("a", 0, -1),
        ];
        let mark = |place, name: &str| Mark { place, name: name.to_owned() };
        assert_eq!(marks(&all, &spans), [mark(1, "a v1, b v2 to v3"), mark(2, "a v2")]);
    }
}
