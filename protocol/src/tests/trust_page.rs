//! docs/trust.md says of each placement who could read the work, in the words that everybody else reads.

use std::path::Path;

use crate::PlacementClass;
use crate::node::{CHECKS_NEEDED, OPERATOR_CHECKS_NEEDED};

#[test]
fn the_page_has_each_placement_with_its_sentence() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trust.md");
    let page = std::fs::read_to_string(path).unwrap();
    for class in PlacementClass::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` | ", class.as_str())));
        let row = row.unwrap_or_else(|| panic!("{} is not there", class.as_str()));
        assert!(row.ends_with(&format!(" | {} |", class.readers())), "{row}");
    }
    let proven = format!("{CHECKS_NEEDED} agreed checks, {OPERATOR_CHECKS_NEEDED} of them");
    assert!(page.contains(&proven), "{proven}");
}
