//! docs/adding.md leads to files that are there.

use std::path::Path;

#[test]
fn every_file_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/adding.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let mut seen = 0;
    for path in quoted.filter(|path| path.contains('/') && !path.contains([' ', '<', '{'])) {
        let is_file = [".rs", ".md"].iter().any(|end| path.ends_with(end));
        if is_file || !path.starts_with('/') {
            assert!(root.join(path).exists(), "docs/adding.md names {path}, which is not there");
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}
