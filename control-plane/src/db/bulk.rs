//! Many whole rows at once. The statements are few, whatever the number of rows: the database keeps them prepared, which
//! costs less than what an insertion of hundreds of rows takes to be built and parsed each time.

use std::fmt::Write as _;

use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbErr, EntityName as _, EntityTrait, IdenStatic as _, Iterable as _,
    ModelTrait, Statement, Value,
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
    let columns: Vec<<M::Entity as EntityTrait>::Column> = <M::Entity as EntityTrait>::Column::iter().collect();
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    let key: Vec<&str> = key.iter().map(|column| column.as_str()).collect();
    let table = M::Entity::default();
    let mut left = rows;
    while !left.is_empty() {
        let count = ROWS.min(1 << left.len().ilog2());
        let (some, others) = left.split_at(count);
        let values: Vec<Value> = some.iter().flat_map(|row| columns.iter().map(|column| row.get(*column))).collect();
        let sql = sql(table.table_name(), &names, &key, count);
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
        left = others;
    }
    Ok(())
}

fn sql(table: &str, columns: &[&str], key: &[&str], rows: usize) -> String {
    let mut sql = format!("INSERT INTO \"{table}\" (\"{}\") VALUES ", columns.join("\", \""));
    for row in 0..rows {
        for column in 0..columns.len() {
            let before = match (row, column) {
                (0, 0) => "(",
                (_, 0) => "), (",
                _ => ", ",
            };
            // Writing to a string does not fail.
            let _ = write!(sql, "{before}${}", row * columns.len() + column + 1);
        }
    }
    let _ = write!(sql, ") ON CONFLICT (\"{}\") DO UPDATE SET ", key.join("\", \""));
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
        let wanted = "INSERT INTO \"t\" (\"a\", \"b\", \"c\") VALUES ($1, $2, $3), ($4, $5, $6) \
             ON CONFLICT (\"a\") DO UPDATE SET \"b\" = excluded.\"b\", \"c\" = excluded.\"c\"";
        assert_eq!(sql("t", &["a", "b", "c"], &["a"], 2), wanted);
    }
}
