//! The table against the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::PROGRAMS;

/// Calls of programs begin so; what follows up to the next quote is the name.
const CALLS: [&str; 3] =
    [concat!("Command::", "new(\""), concat!("provision::", "find(\""), concat!("provision::", "fetch(\"")];
/// That one only describes a command line.
const DESCRIBES: &str = "clap::";

/// Programs that are called by a name that is written into the call. A path is a guest's or the caller's own.
fn called(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, call) in CALLS.iter().flat_map(|call| text.match_indices(call)) {
        let name = text[at + call.len()..].split('"').next().unwrap_or_default();
        if !text[..at].ends_with(DESCRIBES) && !name.contains('/') {
            found.push(name.to_owned());
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            let built = ["target", "dist", "node_modules"].contains(&name.as_str()) || name.starts_with('.');
            if !built && !path.join("CACHEDIR.TAG").exists() {
                sources(&path, into);
            }
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

#[test]
fn f01_a_new_machine_is_possible_every_program_that_is_called_stands_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(root, &mut files);
    assert!(files.len() > 300, "the sources were not found: {}", files.len());
    let known: BTreeSet<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    assert_eq!(known.len(), PROGRAMS.len(), "a program stands in the table twice");
    let mut unknown = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in called(&text).into_iter().filter(|name| !known.contains(name.as_str())) {
            unknown.push(format!("{}: {name}", file.display()));
        }
    }
    assert_eq!(unknown, Vec::<String>::new(), "say in provision/src/programs.rs how a new machine gets these");
}

#[test]
fn calls_are_found_in_sources() {
    for call in CALLS {
        assert_eq!(called(&format!("let x = {call}tar\").arg(1);")), ["tar"]);
    }
    let call = CALLS[0];
    assert!(called(&format!("let x = {call}/init\");")).is_empty());
    assert!(called(&format!("{DESCRIBES}{call}executor\")")).is_empty());
}
