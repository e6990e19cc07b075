//! Downloads: an account's blocks as lines of JSON (`books::download`), one frame after the other.

use std::collections::VecDeque;
use std::time::Duration;

use books::download::{Lines, Period, block_line, damaged_line};
use bytes::Bytes;
use fabric::shares::Held;
use futures::Stream;
use protocol::route::Scope;
use protocol::{AccountId, Code, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use serde::Deserialize;

use super::pack::pack_all;
use super::{BlockError, apart, body, lost};
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::db::entities::{blocks, run_windows};
use crate::db::loops;
use crate::error::{Result, refuse_field};
use crate::identity::caller::Caller;
use crate::identity::standing::Standing;
use crate::objects::Address;

/// Index rows that are read at once.
const PAGE: u64 = 64;
/// Bytes of blocks' lines that are sent at once, when no runs come between them.
const LINES_MAX: usize = 64 << 10;
/// A run that was corrected may have moved so far, in milliseconds: from where its node says that it began to where its
/// gateway says so. No ticket lasts longer.
const MOVED_MAX_MS: i64 = 2 * 3_600_000;

/// Of which time.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReceiptsQuery {
    /// Since then: a time in RFC 3339, or a date, which begins in UTC. Left out: from the beginning.
    #[serde(default)]
    from: Option<String>,
    /// Until then: a time in RFC 3339, which does not belong to the period any more, or a date, which does. Left out: until
    /// now.
    #[serde(default)]
    to: Option<String>,
}

impl ReceiptsQuery {
    fn period(&self) -> Result<Period> {
        let moment = |text: &Option<String>, field, next| {
            text.as_deref().map(|text| crate::usage::moment(text, field, next)).transpose()
        };
        let period = Period { from: moment(&self.from, "from", false)?, to: moment(&self.to, "to", true)? };
        match period.from.zip(period.to) {
            Some((from, to)) if from >= to => {
                Err(refuse_field(Code::InvalidRequest, "from", "`from` must be before `to`."))
            }
            _ => Ok(period),
        }
    }
}

/// `GET /receipts`: NDJSON, and the numbers of the first and the last block that it has. What is settled and in no block yet
/// is packed first.
pub(crate) async fn download(
    app: &App,
    caller: &Caller,
    query: &ReceiptsQuery,
) -> Result<(Option<(u64, u64)>, impl Stream<Item = Result<Bytes>> + use<>)> {
    let account = caller.require(Scope::Read)?;
    let period = query.period()?;
    let share = app.bounds.receipt_downloads.try_take(account, 1);
    let share = share.map_err(|over| over.problem("downloads of receipts"))?;
    let standing = Standing::of(app, caller, &[Scope::Read])?;
    // It takes its own turns from now on.
    caller.turn.end();
    wait_and_pack(app, account).await?;
    let numbers = numbers(app, account, &period).await?;
    let download =
        Download { app: app.clone(), account, period, left: numbers, rows: VecDeque::new(), open: None, _share: share };
    let pieces = futures::stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|piece| (piece, download)))
    });
    Ok((numbers.map(|(first, last)| (unsigned(first), unsigned(last))), standing.over(pieces)))
}

/// Packs what waits. One who downloads again and again must not have a block for each run.
async fn wait_and_pack(app: &App, account: AccountId) -> Result<()> {
    let pause = app.history.settings.receipts_pause;
    let begun = std::time::Instant::now();
    loop {
        let window = run_windows::Entity::find_by_id(Col(account)).one(app.db.read()).await?;
        if window.is_none_or(|window| window.unpacked == 0) {
            return Ok(());
        }
        let last = loops::blocks_last(account).one(app.db.read()).await?;
        let now = Timestamp::now();
        let left = last.map_or(Duration::ZERO, |last| pause.saturating_sub(now.since(last.origin.0)));
        // A clock that went back, or others who pack, hold nobody up.
        if left.is_zero() || begun.elapsed() >= pause {
            return pack_all(app, account, now).await;
        }
        tokio::time::sleep(left.min(Duration::from_millis(500))).await;
    }
}

/// The numbers of the first and the last block that has runs of the period.
async fn numbers(app: &App, account: AccountId, period: &Period) -> Result<Option<(i64, i64)>> {
    let ends: Option<(Option<i64>, Option<i64>)> = blocks::Entity::find()
        .select_only()
        .column_as(blocks::Column::Number.min(), "first")
        .column_as(blocks::Column::Number.max(), "last")
        .filter(blocks::Column::AccountId.eq(Col(account)))
        .filter(overlapping(period))
        .into_tuple()
        .one(app.db.read())
        .await?;
    Ok(ends.and_then(|(first, last)| first.zip(last)))
}

/// The period, and so much more on both sides.
fn widened(period: &Period, ms: i64) -> Period {
    let earlier = |at: Timestamp| Timestamp(at.0.saturating_sub(ms));
    let later = |at: Timestamp| Timestamp(at.0.saturating_add(ms));
    Period { from: period.from.map(earlier), to: period.to.map(later) }
}

/// Blocks with runs of the period. A run that is not of the period as it is now may have been when it was packed first: blocks
/// that correct others are taken in a wider one.
fn overlapping(period: &Period) -> Condition {
    let within = |period: Period| {
        let mut all = Condition::all();
        if let Some(from) = period.from {
            all = all.add(blocks::Column::Ended.gte(Col(from)));
        }
        if let Some(to) = period.to {
            all = all.add(blocks::Column::Began.lt(Col(to)));
        }
        all
    };
    let corrects = Condition::all().add(Expr::col(blocks::Column::Corrects)).add(within(widened(period, MOVED_MAX_MS)));
    Condition::any().add(within(*period)).add(corrects)
}

/// The same of one block.
fn is_of(period: &Period, block: &blocks::Model) -> bool {
    let (began, ended) = (block.began.0, block.ended.0);
    period.overlaps(began, ended) || (block.corrects && widened(period, MOVED_MAX_MS).overlaps(began, ended))
}

/// A download on its way.
struct Download {
    app: App,
    account: AccountId,
    period: Period,
    /// The numbers of the first and the last block whose index rows are not read yet.
    left: Option<(i64, i64)>,
    rows: VecDeque<blocks::Model>,
    /// The body whose lines are told, and its next frame.
    open: Option<(books::Body, usize)>,
    _share: Held<AccountId>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut text = String::new();
        while text.len() < LINES_MAX {
            if self.open.is_some() {
                if !text.is_empty() {
                    break;
                }
                if let Some(lines) = self.frame().await? {
                    return Ok(Some(lines));
                }
                continue;
            }
            let Some(block) = self.block().await? else { break };
            text.push_str(&self.begin(&block).await);
        }
        Ok(Some(Bytes::from(text)).filter(|text| !text.is_empty()))
    }

    /// The next index row.
    async fn block(&mut self) -> Result<Option<blocks::Model>> {
        if self.rows.is_empty()
            && let Some((first, last)) = self.left
        {
            let turn = self.app.bounds.look(self.account).await;
            let rows = blocks::Entity::find()
                .filter(blocks::Column::AccountId.eq(Col(self.account)))
                .filter(blocks::Column::Number.between(first, last))
                .order_by_asc(blocks::Column::Number)
                .limit(PAGE)
                .all(self.app.db.read())
                .await?;
            drop(turn);
            self.left = rows.last().map(|row| (row.number.saturating_add(1), last)).filter(|(next, last)| next <= last);
            self.rows = rows.into();
        }
        Ok(self.rows.pop_front())
    }

    /// The block's line; what follows it is opened.
    async fn begin(&mut self, block: &blocks::Model) -> String {
        let number = unsigned(block.number);
        let address = match Address::of(block.blob, block.root) {
            _ if !is_of(&self.period, block) => return block_line(&block.header, Lines::Outside),
            None => return block_line(&block.header, Lines::Gone),
            Some(address) => address,
        };
        let mut text = block_line(&block.header, Lines::Follow);
        match body(&self.app, self.app.db.read(), (self.account, number), address).await {
            Ok(body) => self.open = Some((body, 0)),
            Err(error) => {
                lost(self.account, number, &error);
                text.push_str(&damaged_line(number, error.why()));
            }
        }
        text
    }

    /// The next frame's lines of the open body; none: it is over.
    async fn frame(&mut self) -> Result<Option<Bytes>> {
        let Some((body, frame)) = self.open.take() else { return Ok(None) };
        if frame >= body.frames().len() {
            return Ok(None);
        }
        self.open = Some((body.clone(), frame + 1));
        let number = body.number();
        Ok(Some(match apart(move || body.frame_text(frame)).await? {
            Ok(lines) => lines.into(),
            Err(error) => {
                lost(self.account, number, &error);
                damaged_line(number, BlockError::from(error).why()).into()
            }
        }))
    }
}
