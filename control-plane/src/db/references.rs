//! Who refers to blobs. A reference is the owner's row itself: there is no table of references, and whoever deletes such a row
//! does nothing else.

/// Each column that refers to a blob, and its table. What is not here is deleted under its owner: a test compares the list
/// with the schemas of both databases.
pub(crate) const REFERENCES: [(&str, &str); 6] = [
    ("artifacts", "blob"),
    ("job_inputs", "blob"),
    ("job_outputs", "blob"),
    ("blocks", "blob"),
    ("log_blocks", "blob"),
    ("models", "blob"),
];

/// That no row refers to a row of `blobs`, as a condition of SQL.
pub(super) fn unreferenced() -> String {
    let none = |(table, column)| format!("NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.{column} = blobs.id)");
    REFERENCES.map(none).join(" AND ")
}
