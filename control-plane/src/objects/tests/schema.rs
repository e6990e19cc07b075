//! Each column that refers to a blob is in the list.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::objects::REFERENCES;
use crate::tests::harness::{Ground, suite};

suite!(each_column_that_refers_to_a_blob_is_known);

async fn each_column_that_refers_to_a_blob_is_known(ground: Ground) {
    let connection = ground.app.db.read();
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns \
             WHERE tables.type = 'table' AND columns.name LIKE '%blob'"
        }
        _ => {
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns \
             WHERE table_schema = 'public' AND column_name LIKE '%blob'"
        }
    };
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    let found: BTreeSet<(String, String)> =
        rows.iter().map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())).collect();
    let known = REFERENCES.map(|(table, column)| (table.to_owned(), column.to_owned()));
    assert_eq!(found, BTreeSet::from(known), "what refers to a blob and is not listed is deleted under its owner");
}
