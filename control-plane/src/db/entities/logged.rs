//! Logs beside their newest lines (`run_logs`): blocks of lines in the store, how far those of each account are, and what
//! each run may still write.

use protocol::{AccountId, BlobId, Digest, FunctionId, RunId, Timestamp};

use crate::db::columns::Col;

table! {
    /// Blocks of an account's lines in the store, numbered from 1. `functions` are those that have lines in it; null where
    /// they are many. `run_filter` tells of most other runs that they have none (`logs/block.rs`).
    log_blocks = "log_blocks" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        number: i64,
        first_line: i64,
        last_line: i64,
        first_run: Col<RunId>,
        last_run: Col<RunId>,
        began: Col<Timestamp>,
        ended: Col<Timestamp>,
        lines: i64,
        bytes: i64,
        blob: Option<Col<BlobId>>,
        root: Option<Col<Digest>>,
        packed: Col<Timestamp>,
        functions: Option<Col<Vec<FunctionId>>>,
        run_filter: Vec<u8>,
    }
}

table! {
    /// An account's logs: the number of its last block; the lines up to which all are in a block (`packed`), are read from
    /// blocks (`cleared`), have no rows (`deleted`); how many rows there are, and how many of them wait for a block; the
    /// bytes of its blocks; and the time from which its lines are complete.
    log_accounts = "log_accounts" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        blocks: i64,
        packed: i64,
        cleared: i64,
        deleted: i64,
        row_count: i64,
        waiting: i64,
        waiting_bytes: i64,
        waiting_since: Col<Timestamp>,
        bytes: i64,
        since: Col<Timestamp>,
    }
}

table! {
    /// What a run has written: so many bytes of text, and which lines (a bit for each number; null where none is known). Its
    /// lines may come until then.
    log_runs = "log_runs" {
        #[sea_orm(primary_key, auto_increment = false)]
        run_id: Col<RunId>,
        bytes: i64,
        seen: Option<Vec<u8>>,
        until: Col<Timestamp>,
    }
}
