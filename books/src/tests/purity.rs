//! Nothing here does I/O, reads a clock or draws random numbers.

use std::path::{Path, PathBuf};

const IMPURE: [&str; 9] =
    ["std::fs", "std::net", "std::thread", "std::process", "std::env", "Instant::", "SystemTime", "now_v", "rand::"];

#[test]
fn it_is_pure() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::<PathBuf>::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("tests") => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    assert!(files.len() > 10);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in IMPURE {
            assert!(!text.contains(word), "{} says {word}", file.display());
        }
    }
}
