//! Many whole rows at once. The statements are few, whatever the number of rows: the database keeps them prepared, which
//! costs less than what an insertion of hundreds of rows takes to be built and parsed each time.

use std::fmt::Write as _;

use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, EntityName as _, EntityTrait, IdenStatic as _,
    Iterable as _, ModelTrait, Statement, Value,
};

/// Rows of one statement; what is left over goes by halves of it. SQLite takes 32,766 values in a statement.
const ROWS: usize = 64;

/// Writes rows; one that is there already, by its key, becomes the new one.
pub(crate) async fn replace<M>(
    tx: &DatabaseTransaction,
    rows: &[M],
    key: &[<M::Entity as EntityTrait>::Column],
) -> Result<(), DbErr>
where
    M: ModelTrait,
    <M::Entity as EntityTrait>::Column: Copy,
{
    run(tx, replacing(tx.get_database_backend(), rows, key)).await
}

/// Runs statements in their order.
pub(crate) async fn run(tx: &DatabaseTransaction, statements: Vec<Statement>) -> Result<(), DbErr> {
    for statement in statements {
        tx.execute_raw(statement).await?;
    }
    Ok(())
}

/// The statements that write these rows: who has them before a transaction need not make them within it.
pub(crate) fn replacing<M>(backend: DbBackend, rows: &[M], key: &[<M::Entity as EntityTrait>::Column]) -> Vec<Statement>
where
    M: ModelTrait,
    <M::Entity as EntityTrait>::Column: Copy,
{
    let columns: Vec<<M::Entity as EntityTrait>::Column> = <M::Entity as EntityTrait>::Column::iter().collect();
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    let key: Vec<&str> = key.iter().map(|column| column.as_str()).collect();
    let table = M::Entity::default();
    let (mut left, mut statements) = (rows, Vec::with_capacity(rows.len() / ROWS + 1));
    // The text for so many rows: most statements have as many as the one before.
    let mut text = (0, String::new());
    while !left.is_empty() {
        let count = ROWS.min(1 << left.len().ilog2());
        let (some, others) = left.split_at(count);
        let mut values: Vec<Value> = Vec::with_capacity(count * columns.len());
        values.extend(some.iter().flat_map(|row| columns.iter().map(|column| row.get(*column))));
        if text.0 != count {
            text = (count, sql(backend, table.table_name(), &names, &key, count));
        }
        statements.push(Statement::from_sql_and_values(backend, text.1.as_str(), values));
        left = others;
    }
    statements
}

/// The placeholders of so many rows: `($1, $2), ($3, $4)`. On SQLite they have no names: for each that has one, whoever binds
/// values looks for its name among all of the statement's, which for hundreds of them takes longer than the writing.
pub(crate) fn places(backend: DbBackend, rows: usize, columns: usize) -> String {
    let mut places = String::new();
    for place in 0..rows * columns {
        let before = match (place, place % columns) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        // Writing to a string does not fail.
        let _ = match backend {
            DbBackend::Sqlite => write!(places, "{before}?"),
            _ => write!(places, "{before}${}", place + 1),
        };
    }
    places.push(')');
    places
}

fn sql(backend: DbBackend, table: &str, columns: &[&str], key: &[&str], rows: usize) -> String {
    let places = places(backend, rows, columns.len());
    let mut sql = format!("INSERT INTO \"{table}\" (\"{}\") VALUES {places}", columns.join("\", \""));
    let _ = write!(sql, " ON CONFLICT (\"{}\") DO UPDATE SET ", key.join("\", \""));
    let others = columns.iter().filter(|column| !key.contains(column));
    for (place, column) in others.enumerate() {
        let before = if place == 0 { "" } else { ", " };
        let _ = write!(sql, "{before}\"{column}\" = excluded.\"{column}\"");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        for (backend, places) in
            [(DbBackend::Postgres, "($1, $2, $3), ($4, $5, $6)"), (DbBackend::Sqlite, "(?, ?, ?), (?, ?, ?)")]
        {
            let wanted = format!(
                "INSERT INTO \"t\" (\"a\", \"b\", \"c\") VALUES {places} \
                 ON CONFLICT (\"a\") DO UPDATE SET \"b\" = excluded.\"b\", \"c\" = excluded.\"c\""
            );
            assert_eq!(sql(backend, "t", &["a", "b", "c"], &["a"], 2), wanted);
        }
    }
}
