//! Lines as they come from nodes. Each is kept once, however often it is sent, also where its row has become part of a block
//! meanwhile; and of each run no more than is allowed, whatever its node says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::node::{LogLine, RunLog};
use protocol::ticket::{Purpose, Ticket};
use protocol::{AccountId, Field, NodeId, RunId, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait as _,
    QueryFilter as _, Statement, Value,
};

use super::block::{self, LINE_BYTES};
use super::seen::Seen;
use crate::App;
use crate::config::Config;
use crate::db::columns::{Col, signed, unsigned};
use crate::db::count;
use crate::db::entities::{log_runs, run_logs};
use crate::error::{Result, invalid};
use crate::identity::accounts::erased_among;

const LINES_PER_BATCH_MAX: usize = 20_000;
const ROWS_MAX: usize = 500;
/// Lines of one transaction.
const LINES_AT_ONCE: usize = 2_000;

/// `POST /logs` of a node. Lines without a valid ticket are dropped.
pub(crate) async fn keep(app: &App, node: NodeId, batch: Vec<RunLog>) -> Result<()> {
    let lines: usize = batch.iter().map(|log| log.lines.len()).sum();
    if lines > LINES_PER_BATCH_MAX {
        return Err(invalid(Field::BODY, format!("At most {LINES_PER_BATCH_MAX} lines at once")));
    }
    // Of runs alone, and not for ever: lines come a moment after they were written, or after a while without a network.
    let then = Timestamp(Timestamp::now().0.saturating_sub(signed(app.config.log_late_max.0)));
    let valid = batch.into_iter().filter_map(|log| {
        let ticket = app.tickets.check_signed(&log.ticket, node, &[Purpose::Run], then).ok();
        let ticket = ticket.filter(|ticket| ticket.run == log.run);
        if ticket.is_none() {
            tracing::warn!(%node, run = %log.run, "a log without a valid ticket is dropped");
        }
        let ticket = ticket.filter(|ticket| !app.calibration.is_check(ticket));
        ticket.map(|ticket| (ticket, log.lines))
    });
    let valid: Vec<(Ticket, Vec<LogLine>)> = valid.collect();
    if valid.iter().all(|(_, lines)| lines.is_empty()) {
        return Ok(());
    }
    // Where one of them fails all come again, and what is kept already is known.
    for some in in_pieces(valid, LINES_AT_ONCE) {
        let tx = app.db.begin_bulk().await?;
        let last = insert(&tx, some, &app.config).await?;
        tx.commit().await?;
        app.logs.has_kept(last.unsigned_abs());
    }
    Ok(())
}

/// The same lines in their order, so many at once.
fn in_pieces(logs: Vec<(Ticket, Vec<LogLine>)>, lines_max: usize) -> Vec<Vec<(Ticket, Vec<LogLine>)>> {
    let (mut pieces, mut piece, mut count) = (Vec::new(), Vec::new(), 0);
    for (ticket, mut lines) in logs {
        while !lines.is_empty() {
            let left = lines.split_off(lines.len().min(lines_max - count));
            count += lines.len();
            piece.push((ticket.clone(), lines));
            lines = left;
            if count == lines_max {
                pieces.push(std::mem::take(&mut piece));
                count = 0;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Inserts what is new; the greatest id that it may have.
async fn insert(tx: &DatabaseTransaction, logs: Vec<(Ticket, Vec<LogLine>)>, config: &Config) -> Result<i64, DbErr> {
    // The counter's lock makes lines visible in the order of their ids: a follower skips none, and a block has all before
    // its last one. Who holds it is alone with what runs have written.
    let wanted = logs.iter().map(|(_, lines)| lines.len()).sum::<usize>();
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let last = count(tx, "log", wanted).await?;
    let mut id = last - wanted;
    let erased = erased_among(tx, logs.iter().map(|(ticket, _)| ticket.account)).await?;
    let mut written = Written::read(tx, logs.iter().map(|(ticket, _)| ticket.run)).await?;
    let mut arrived: BTreeMap<AccountId, (i64, i64)> = BTreeMap::new();
    let mut rows = Vec::new();
    let now = Timestamp::now();
    for (ticket, lines) in logs.into_iter().filter(|(ticket, _)| !erased.contains(&ticket.account)) {
        for line in lines {
            // PostgreSQL's text takes no zero bytes.
            let text = block::cut(line.text.replace('\0', "\u{fffd}"));
            if !written.take(&ticket, line.sequence, text.len(), config) {
                continue;
            }
            id += 1;
            let (lines, bytes) = arrived.entry(ticket.account).or_default();
            *lines += 1;
            *bytes = bytes.saturating_add(i64::try_from(text.len() + LINE_BYTES).unwrap_or(i64::MAX));
            rows.push(run_logs::ActiveModel {
                id: Set(id),
                account_id: Set(ticket.account.into()),
                function_id: Set(ticket.function.into()),
                run_id: Set(ticket.run.into()),
                sequence: Set(i32::try_from(line.sequence).unwrap_or(i32::MAX)),
                // A lender's clock decides nothing: at most where between its ticket's issue and now a line stands.
                at: Set(line.at.max(ticket.issued).min(now).into()),
                stream: Set(line.stream.into()),
                text: Set(text),
            });
        }
    }
    // What a run had written when the table of runs was made, its rows alone know.
    let again = OnConflict::columns([run_logs::Column::RunId, run_logs::Column::Sequence]).do_nothing().to_owned();
    for chunk in rows.chunks(ROWS_MAX) {
        match run_logs::Entity::insert_many(chunk.iter().cloned())
            .on_conflict(again.clone())
            .exec_without_returning(tx)
            .await
        {
            Ok(_) | Err(DbErr::RecordNotInserted) => {}
            Err(error) => return Err(error),
        }
    }
    written.write(tx).await?;
    for (account, (lines, bytes)) in arrived {
        wait(tx, account, lines, bytes, now).await?;
    }
    Ok(last)
}

/// So many more lines of an account wait for a block.
async fn wait(
    tx: &DatabaseTransaction,
    account: AccountId,
    lines: i64,
    bytes: i64,
    now: Timestamp,
) -> Result<(), DbErr> {
    let sql = "INSERT INTO log_accounts (account_id, blocks, packed, cleared, deleted, row_count, waiting, waiting_bytes, \
               waiting_since, bytes, since) VALUES ($1, 0, 0, 0, 0, $2, $3, $4, $5, 0, 0) \
               ON CONFLICT (account_id) DO UPDATE SET row_count = log_accounts.row_count + excluded.row_count, \
               waiting_since = CASE WHEN log_accounts.waiting = 0 THEN excluded.waiting_since \
               ELSE log_accounts.waiting_since END, \
               waiting = log_accounts.waiting + excluded.waiting, \
               waiting_bytes = log_accounts.waiting_bytes + excluded.waiting_bytes";
    let values: [Value; 5] = [Col(account).into(), lines.into(), lines.into(), bytes.into(), Col(now).into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(drop)
}

/// What the runs of a batch have written.
struct Written {
    runs: HashMap<RunId, Run>,
    changed: HashSet<RunId>,
}

#[derive(Default)]
struct Run {
    bytes: u64,
    seen: Seen,
    until: Timestamp,
}

impl Written {
    async fn read(tx: &DatabaseTransaction, runs: impl Iterator<Item = RunId>) -> Result<Self, DbErr> {
        let ids: Vec<RunId> = runs.collect::<BTreeSet<_>>().into_iter().collect();
        let mut runs = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(ROWS_MAX) {
            let of_ids = log_runs::Column::RunId.is_in(ids.iter().map(|id| Col(*id)));
            for row in log_runs::Entity::find().filter(of_ids).all(tx).await? {
                let run = Run { bytes: unsigned(row.bytes), seen: Seen::load(row.seen), until: row.until.0 };
                runs.insert(row.run_id.0, run);
            }
        }
        Ok(Self { runs, changed: HashSet::new() })
    }

    /// Whether the run's line of this number is new and not too much.
    fn take(&mut self, ticket: &Ticket, sequence: u32, bytes: usize, config: &Config) -> bool {
        let run = self.runs.entry(ticket.run).or_default();
        let size = run.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if size > config.log_size_max.0 || !run.seen.takes(sequence) {
            return false;
        }
        run.bytes = size;
        run.seen.insert(sequence);
        run.until = run.until.max(ticket.ends().plus(config.log_late_max.duration()));
        self.changed.insert(ticket.run);
        true
    }

    async fn write(self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let Self { runs, changed } = self;
        let mut rows: Vec<(RunId, Run)> = runs.into_iter().filter(|(id, _)| changed.contains(id)).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        let rows = rows.into_iter().map(|(id, run)| log_runs::ActiveModel {
            run_id: Set(id.into()),
            bytes: Set(signed(run.bytes)),
            seen: Set(run.seen.store()),
            until: Set(run.until.into()),
        });
        let rows: Vec<log_runs::ActiveModel> = rows.collect();
        let columns = [log_runs::Column::Bytes, log_runs::Column::Seen, log_runs::Column::Until];
        let replace = OnConflict::column(log_runs::Column::RunId).update_columns(columns).to_owned();
        for chunk in rows.chunks(ROWS_MAX) {
            log_runs::Entity::insert_many(chunk.iter().cloned())
                .on_conflict(replace.clone())
                .exec_without_returning(tx)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::node::LogStream;

    use super::*;
    use crate::tests::tickets::any_ticket;

    #[test]
    fn pieces_are_all_lines_in_their_order() {
        let log = |count: u32| {
            let ticket = any_ticket(NodeId::new());
            let (run, at, stream) = (ticket.run, Timestamp(0), LogStream::Stdout);
            let lines: Vec<LogLine> =
                (0..count).map(|sequence| LogLine { run, sequence, at, stream, text: String::new() }).collect();
            (ticket, lines)
        };
        let logs: Vec<(Ticket, Vec<LogLine>)> = [3, 0, 4, 1].map(log).into();
        let flat = |logs: &[(Ticket, Vec<LogLine>)]| -> Vec<LogLine> {
            logs.iter().flat_map(|(_, lines)| lines).cloned().collect()
        };
        let wanted = flat(&logs);
        let pieces = in_pieces(logs, 3);
        assert_eq!(pieces.iter().map(|piece| flat(piece).len()).collect::<Vec<_>>(), [3, 3, 2]);
        assert_eq!(flat(&pieces.concat()), wanted);
    }
}
