//! This crate is shared with the browser: no I/O, and a clock only where `mint` asks for one.

use std::fs;
use std::path::Path;

#[test]
fn nothing_here_does_io_or_reads_a_clock() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.ends_with("tests.rs") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        for word in ["std::fs", "std::net", "std::thread", "std::process", "std::env", "Instant::"] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, _) in
            lines.iter().enumerate().filter(|(_, line)| line.contains("SystemTime::") || line.contains("now_v7"))
        {
            let gated =
                lines[number.saturating_sub(5)..number].iter().any(|line| line.contains("cfg(feature = \"mint\")"));
            assert!(gated, "{}:{} reads a clock in the browser", path.display(), number + 1);
        }
    }
    assert!(seen > 8);
}
