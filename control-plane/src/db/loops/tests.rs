//! What the planners of both databases say of each query of a loop.

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, QueryResult, Statement};

use super::{DbBackend, Plan, all};
use crate::tests::harness::{Ground, suite};

suite!(f38_each_query_of_a_loop_has_an_index);

/// The plan, line by line, with parameters as the loop has them.
async fn explain(tx: &DatabaseTransaction, query: Statement) -> Vec<String> {
    let sqlite = query.db_backend == DbBackend::Sqlite;
    let (word, column) = if sqlite { ("EXPLAIN QUERY PLAN", 3) } else { ("EXPLAIN", 0) };
    let explained = Statement { sql: format!("{word} {}", query.sql), ..query };
    let rows: Vec<QueryResult> = tx.query_all_raw(explained).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index::<String>(column).unwrap()).collect()
}

/// Whether a line of a plan reads a table from its beginning to its end, without an index.
fn reads_all(line: &str) -> bool {
    let scan = line.trim_start().strip_prefix("SCAN ").is_some_and(|scan| {
        !scan.contains(" USING ") && !scan.starts_with("line") && !scan.starts_with("CONSTANT ROW")
    });
    scan || line.contains("Seq Scan")
}

/// Whether a line puts rows into an order.
fn sorts(line: &str) -> bool {
    line.contains("TEMP B-TREE") || line.contains("Sort")
}

/// Whether a line names the index.
fn names(line: &str, index: &str) -> bool {
    line.split([' ', '(', ')', ',']).any(|word| word == index)
}

async fn f38_each_query_of_a_loop_has_an_index(ground: Ground) {
    let backend = ground.app.db.read().get_database_backend();
    let tx = ground.app.db.begin().await.unwrap();
    if backend == DbBackend::Postgres {
        // The tables are empty, and then reading all of one is the cheapest.
        for switch in ["enable_seqscan", "enable_sort"] {
            tx.execute_unprepared(&format!("SET LOCAL {switch} = off")).await.unwrap();
        }
    }
    let mut wrong = Vec::new();
    for (name, plan, query) in all(backend) {
        let sql = query.sql.clone();
        let lines = explain(&tx, query).await;
        if let Err(why) = judge(plan, &lines) {
            wrong.push(format!("{name}: {why}: {sql}\n{}", lines.join("\n")));
        }
    }
    drop(tx);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn judge(plan: Plan, lines: &[String]) -> Result<(), String> {
    let any = |wanted: &dyn Fn(&str) -> bool| lines.iter().any(|line| wanted(line));
    let key = |line: &str| {
        line.contains("sqlite_autoindex_") || line.contains("INTEGER PRIMARY KEY") || line.contains("_pkey")
    };
    let check = |fine: bool, why: String| if fine { Ok(()) } else { Err(why) };
    match plan {
        Plan::Whole => Ok(()),
        _ if any(&reads_all) => Err("reads a whole table".to_owned()),
        Plan::Key => check(any(&key), "not by its key".to_owned()),
        Plan::Order(_) if any(&sorts) => Err("sorts".to_owned()),
        Plan::Index(indices) | Plan::Order(indices) => {
            let named = any(&|line| indices.iter().any(|index| names(line, index)));
            check(named, format!("not by {indices:?}"))
        }
    }
}

#[test]
fn f38_a_plan_without_an_index_is_seen() {
    for line in ["SCAN runs", "  ->  Seq Scan on runs  (cost=0.00..1.00)", "SCAN jobs AS j"] {
        assert!(reads_all(line), "{line}");
    }
    for line in ["USE TEMP B-TREE FOR LAST TERM OF ORDER BY", "->  Incremental Sort  (cost=0.15..0.20)"] {
        assert!(sorts(line), "{line}");
    }
    for line in ["SEARCH runs USING INDEX runs_open (arrived<?)", "Index Scan using runs_open on runs", "SCAN line"] {
        assert!(!reads_all(line), "{line}");
    }
}
