//! Lines of CSV (RFC 4180) that a spreadsheet takes for what they are.

/// A line of these cells.
#[must_use]
pub fn line(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    cells.into_iter().map(|cell| quoted(cell.as_ref())).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A cell. What a spreadsheet would run as a formula is made text.
fn quoted(cell: &str) -> String {
    let number = cell.parse::<f64>().is_ok();
    let formula = !number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(line(["hello@v3", "-3", ""]), "hello@v3,-3,\r\n");
        assert_eq!(line(["the \"first\", or so"]), "\"the \"\"first\"\", or so\"\r\n");
        let formula = line(["=HYPERLINK(\"http://example.org\")"]);
        assert_eq!(formula, "\"'=HYPERLINK(\"\"http://example.org\"\")\"\r\n");
    }
}
