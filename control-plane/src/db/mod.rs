//! The database: SQLite or PostgreSQL, with the same code.
//!
//! Reads use a pool. Everything that changes something is a [`Mutation`]: its first statement takes the row
//! lock of the `revision` counter, so on both databases mutations commit in the order of their revisions, and
//! what a mutation has read cannot change before it commits.

pub(crate) mod bulk;
pub(crate) mod columns;
pub(crate) mod entities;
pub(crate) mod loops;
mod migrating;
mod migrations;
mod mutation;
mod references;
mod turns;

use std::time::Duration;

use protocol::Timestamp;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;

use migrating::Migrating;
pub use migrating::is_migrating;
pub(crate) use mutation::{Actor, Committed, Mutation, ROUTE};
pub(crate) use references::REFERENCES;
pub(crate) use turns::Writing;
use turns::{Turns, Urgency};

use crate::error::StartError;

/// Connections for leases alone: a renewal waits for nobody's work.
const LEASE_CONNECTIONS: u32 = 2;
/// PostgreSQL ends a session that has been silent for so long within a transaction: a process that was stopped in the middle
/// of one must not keep its locks from the next leader.
const SILENT_TRANSACTION_MAX: &str = "30s";
/// Memory of SQLite's writer for pages, in KiB: those that a cut of thousands of runs changes should fit, or they are written
/// twice. It is taken as it is needed.
const WRITER_CACHE_KIB: u32 = 16_384;
/// The same of each reader: SQLite's own default.
const READER_CACHE_KIB: u32 = 2_000;
/// Pages in SQLite's log before they are copied into its file: pages that cut after cut changes are copied once then.
const LOG_PAGES: u32 = 4_096;
/// A connection that was used so short a while ago is used again without a look whether it is still there, which would be one
/// more turn to the database for each statement.
const SURELY_THERE: Duration = Duration::from_secs(1);
/// For a connection, or for the turn of who is waited for.
const WAITED_MAX: Duration = Duration::from_secs(10);
const LOCKED_PAUSE: Duration = Duration::from_millis(50);
const LOCKED_TRIES_MAX: u32 = 100;

fn is_locked(error: &DbErr) -> bool {
    /// `SQLITE_BUSY`
    const BUSY: &str = "5";
    let DbErr::Conn(RuntimeErr::SqlxError(error)) = error else { return false };
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == BUSY)
}

/// Connections to the database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
    leases: DatabaseConnection,
    /// Where there is one writer.
    turns: Option<Turns>,
}

impl Db {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// When the database cannot be reached, or its schema is newer than this program.
    pub(crate) async fn open(url: &str, connections_max: u32) -> Result<Self, StartError> {
        let connect = async |max: u32, lazy: bool| {
            // One connection: the writer of SQLite.
            let cache_kib = if max == 1 { WRITER_CACHE_KIB } else { READER_CACHE_KIB };
            let mut options = ConnectOptions::new(url);
            options.max_connections(max).connect_lazy(lazy);
            options.sqlx_logging(false).acquire_timeout(WAITED_MAX);
            options.test_before_acquire_if_idle_for(SURELY_THERE);
            options.map_sqlx_postgres_opts(|postgres| {
                postgres.options([("idle_in_transaction_session_timeout", SILENT_TRANSACTION_MAX)])
            });
            options.map_sqlx_sqlite_opts(move |sqlite| {
                sqlite
                    .pragma("cache_size", format!("-{cache_kib}"))
                    .pragma("wal_autocheckpoint", LOG_PAGES.to_string())
                    .create_if_missing(true)
                    .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                    .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(5))
            });
            Box::pin(Database::connect(options)).await.map_err(StartError::Connect)
        };
        // SQLite has one writer at a time: waiting for the pool is fairer than its busy time-out.
        let db = if url.starts_with("sqlite:") {
            // Whoever opens a new file first turns its log on, and others are turned away meanwhile, whatever the busy
            // time-out says.
            let mut tries = 0;
            let write = loop {
                match connect(1, false).await {
                    Err(StartError::Connect(error)) if is_locked(&error) && tries < LOCKED_TRIES_MAX => {
                        tries += 1;
                        tokio::time::sleep(LOCKED_PAUSE).await;
                    }
                    connected => break connected?,
                }
            };
            let read = connect(connections_max, false).await?;
            Self { read, leases: write.clone(), write, turns: Some(Turns::new(WAITED_MAX)) }
        } else {
            let both = connect(connections_max, false).await?;
            let leases = connect(LEASE_CONNECTIONS, true).await?;
            Self { read: both.clone(), write: both, leases, turns: None }
        };
        db.migrate().await?;
        Ok(db)
    }

    /// All of it or nothing, and by one control plane at a time, however many start at once.
    async fn migrate(&self) -> Result<(), StartError> {
        /// Any number that nobody else takes.
        const LOCK: i64 = 0x6363_6d69_6772;
        let _under_way = Migrating::begin();
        let tx = self.begin().await.map_err(StartError::Migrate)?;
        if tx.get_database_backend() == DbBackend::Postgres {
            let lock = format!("SELECT pg_advisory_xact_lock({LOCK})");
            tx.execute_unprepared(&lock).await.map_err(StartError::Migrate)?;
        }
        let known: Vec<String> =
            migrations::Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let applied = migrations::Migrator::get_migration_models(&tx).await.map_err(StartError::Migrate)?;
        let applied_count = applied.len();
        if let Some(unknown) = applied.into_iter().find(|applied| !known.contains(&applied.version)) {
            return Err(StartError::NewerSchema { migration: unknown.version });
        }
        if (1..known.len()).contains(&applied_count) {
            let migrations = known.len() - applied_count;
            tracing::info!(migrations, "bringing the database up to date; with much data this takes a while");
        }
        migrations::Migrator::up(&*tx, None).await.map_err(StartError::Migrate)?;
        tx.commit().await.map_err(StartError::Migrate)
    }

    /// For reading.
    pub(crate) fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For single statements that change something outside of mutations (a time of last use).
    pub(crate) fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// For leases. On SQLite they are written by its one writer, whose turns are in the order in which they are asked for.
    pub(crate) fn leases(&self) -> &DatabaseConnection {
        &self.leases
    }

    /// Whether all of this process's writing is one after the other: a lease that waits for it is lost to nobody meanwhile.
    pub(crate) fn has_one_writer(&self) -> bool {
        self.write.get_database_backend() == DbBackend::Sqlite
    }

    /// A transaction that will write, and that somebody waits for; on SQLite it has the write lock from its first moment.
    pub(crate) async fn begin(&self) -> Result<Writing, DbErr> {
        self.begin_as(Urgency::Prompt).await
    }

    /// The same, where nobody waits for it at this very moment: it gives way to those that somebody waits for.
    pub(crate) async fn begin_bulk(&self) -> Result<Writing, DbErr> {
        self.begin_as(Urgency::Bulk).await
    }

    async fn begin_as(&self, urgency: Urgency) -> Result<Writing, DbErr> {
        let turn = match &self.turns {
            Some(turns) => Some(turns.next(urgency).await?),
            None => None,
        };
        let options = TransactionOptions {
            sqlite_transaction_mode: self.has_one_writer().then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(Writing::new(self.write.begin_with_options(options).await?, turn))
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        for connection in [&self.write, &self.read, &self.leases] {
            if let Err(error) = connection.clone().close().await {
                tracing::warn!(%error, "closing the database failed");
            }
        }
    }
}

/// Adds to a counter and returns its new value. The row stays locked until the transaction ends.
pub(crate) async fn count(tx: &DatabaseTransaction, counter: &str, by: i64) -> Result<i64, DbErr> {
    let backend = tx.get_database_backend();
    let sql = "UPDATE counters SET value = value + $1 WHERE name = $2 RETURNING value";
    let row = tx.query_one_raw(Statement::from_sql_and_values(backend, sql, [by.into(), counter.into()])).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(counter.to_owned()))?.try_get_by_index(0)
}

/// What the database's clock says, in milliseconds since 1970, as an expression of its SQL.
pub(crate) fn clock(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        _ => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

/// The database's clock: leases must not depend on whose process asks.
pub(crate) async fn now<C: ConnectionTrait>(connection: &C) -> Result<Timestamp, DbErr> {
    let backend = connection.get_database_backend();
    let sql = format!("SELECT {}", clock(backend));
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("time".to_owned()))?.try_get_by_index(0).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite cannot drop that a column must not be null.
    #[tokio::test]
    async fn roots_of_earlier_releases_outlive_the_index_of_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("some.db").display());
        let before = Box::pin(Database::connect(format!("{url}?mode=rwc"))).await.unwrap();
        let earlier = migrations::Migrator::migrations().iter().position(|one| one.name() == "m0040_blobs").unwrap();
        migrations::Migrator::up(&before, Some(u32::try_from(earlier).unwrap())).await.unwrap();
        let insert = |values: &str| format!("INSERT INTO artifacts (account_id, digest, size, created, root) {values}");
        before.execute_unprepared(&insert("VALUES (x'01', 'a', 3, 5, 'its root')")).await.unwrap();
        before.close().await.unwrap();

        let db = Db::open(&url, 2).await.unwrap();
        db.write().execute_unprepared(&insert("VALUES (x'01', 'b', 3, 6, NULL)")).await.unwrap();
        let asked = Statement::from_string(DbBackend::Sqlite, "SELECT root FROM artifacts ORDER BY digest");
        let rows = db.read().query_all_raw(asked).await.unwrap();
        let roots: Vec<Option<String>> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        assert_eq!(roots, [Some("its root".to_owned()), None]);
        assert!(had_roots(&db).await, "its old store may be removed once");
        db.close().await;
        let db = Db::open(&format!("sqlite://{}", folder.path().join("new.db").display()), 2).await.unwrap();
        assert!(!had_roots(&db).await, "an old store is another one's");
        db.close().await;
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_a_migration() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("some.db").display());
        let db = Db::open(&url, 2).await.unwrap();
        // Somebody writes, so that it has to wait.
        let writing = db.begin().await.unwrap();
        let opening = tokio::spawn(async move { Db::open(&url, 2).await });
        while !is_migrating() {
            assert!(!opening.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writing.rollback().await.unwrap();
        opening.await.unwrap().unwrap().close().await;
        db.close().await;
    }

    async fn had_roots(db: &Db) -> bool {
        let asked = Statement::from_string(DbBackend::Sqlite, "SELECT rooted FROM store_horizon");
        db.read().query_one_raw(asked).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    #[tokio::test]
    async fn the_writer_of_sqlite_has_memory_for_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite://{}", folder.path().join("some.db").display()), 2).await.unwrap();
        for (connection, pragma, wanted) in [
            (db.write(), "cache_size", -i64::from(WRITER_CACHE_KIB)),
            (db.read(), "cache_size", -i64::from(READER_CACHE_KIB)),
            (db.write(), "wal_autocheckpoint", i64::from(LOG_PAGES)),
        ] {
            let asked = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {pragma}"));
            let row = connection.query_one_raw(asked).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), wanted, "{pragma}");
        }
        db.close().await;
    }
}
