//! Rules of the house that no compiler knows: which crate may need which, who may write a subject, how files open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::floors;
use crate::workspace::{Package, Workspace};

/// Longer files are split by noun.
const LINES_MAX: usize = 600;

/// What a subject of a node begins with.
const SUBJECT: &str = concat!("cc.", "node");
/// The one file that may say so.
const SUBJECTS_FILE: &str = "fabric/src/subjects.rs";

/// What a run is sent to, and the folders that may say so: who sends, who serves, and the words themselves.
const RUN_ENDPOINT: &str = concat!("NodeEndpoint", "::Run");
const RUNS: [&str; 3] = ["placing/", "executor/", "fabric/"];

/// Problems of these codes are about one input, so that they are made with its field (`Problem::of`, `invalid`).
const OF_AN_INPUT: [&str; 7] =
    ["InvalidField", "InvalidName", "NameTaken", "EmailTaken", "EmailCodeNeeded", "ArtifactNotFound", "ExceedsNodes"];
/// What makes a problem without a field.
const WITHOUT_FIELD: [&str; 4] = ["refuse(", "Problem::new(", "Problem::from(", "Trouble::here("];

/// Folders of programs that read problems: they go by `code` and `field`, never by the words.
const READERS: [&str; 3] = ["web/src/", "cli/src/", "gateway/src/"];
/// What holds the words of a problem, and what would look into them.
const WORDS: [&str; 6] = ["detail", "cause", "title", "help", "fix", "what()"];
const LOOKS: [&str; 6] = [".contains(", ".starts_with(", ".ends_with(", ".strip_prefix(", ".find(", " == \""];

/// Names of metrics, and what they say, stand in one table: these would be names elsewhere.
const NAMED_METRICS: [&str; 3] = [concat!("counter", "!(\""), concat!("gauge", "!(\""), concat!("histogram", "!(\"")];

/// Which of our crates a crate may need. A new arrow is a commit of its own, with its reason.
const ARROWS: [(&str, &[&str]); 23] = [
    ("protocol", &[]),
    ("provision", &[]),
    ("confine", &[]),
    ("componentize", &["provision"]),
    ("fabric", &["protocol"]),
    ("images", &["protocol", "provision"]),
    ("scheduler", &["protocol"]),
    ("store", &["protocol", "fabric"]),
    ("books", &["protocol"]),
    ("placing", &["protocol", "fabric", "scheduler", "store"]),
    ("gateway", &["protocol", "fabric", "scheduler", "store", "placing"]),
    ("control-plane", &["protocol", "fabric", "scheduler", "store", "books", "placing"]),
    ("guest-agent", &[]),
    ("microvm", &["guest-agent", "provision"]),
    ("wasm-host", &["protocol"]),
    ("wasm-guest", &["protocol", "wasm-host"]),
    ("lending", &["protocol"]),
    ("executor", &["protocol", "confine", "fabric", "store", "lending", "images", "microvm", "wasm-host", "provision"]),
    (
        "cli",
        &[
            "protocol",
            "fabric",
            "scheduler",
            "store",
            "books",
            "gateway",
            "control-plane",
            "executor",
            "lending",
            "componentize",
        ],
    ),
    ("web", &["protocol"]),
    ("tests", &["protocol", "fabric", "store", "provision"]),
    // The set of images and the browser are the tests'; the benchmarks measure the same ones. Of the control plane they
    // measure the sweep of its index, by itself.
    (
        "bench",
        &[
            "protocol",
            "fabric",
            "store",
            "scheduler",
            "control-plane",
            "images",
            "microvm",
            "provision",
            "wasm-host",
            "tests",
        ],
    ),
    ("xtask", &["componentize", "provision"]),
];

/// Each broken rule, as a line that names the place.
pub(crate) fn broken(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut broken = arrows(&workspace.packages);
    let mut read = Vec::new();
    for path in sources(&workspace.root)? {
        let text = std::fs::read_to_string(&path)?;
        let name = path.strip_prefix(&workspace.root).unwrap_or(&path).display().to_string();
        broken.extend(file(&name, &text));
        read.push((name, text));
    }
    broken.extend(floors::broken(&read));
    Ok(broken)
}

fn arrows(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut broken = Vec::new();
    for package in packages {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            broken.push(format!("{}: a crate that the invariants do not know", package.name));
            continue;
        };
        if !package.dir.ends_with(&package.name) {
            broken.push(format!("{}: its folder has another name", package.name));
        }
        for need in package.needs.iter().filter(|need| !allowed.contains(&need.as_str())) {
            broken.push(format!("{} -> {need}: not an arrow of the house (ARCHITECTURE.md)", package.name));
        }
    }
    broken
}

fn file(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!("{name}: does not open with `//!` and why it exists"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        broken.push(format!("{name}: {lines} lines, more than {LINES_MAX}; split it by noun"));
    }
    broken.extend(problems(name, text));
    // Comments may explain it, and the tests of a hostile node must say what it says.
    let code = || text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let tests = name.contains("/tests/") || name.ends_with("/tests.rs");
    if name != SUBJECTS_FILE && !tests && code().any(|line| line.contains(SUBJECT)) {
        broken.push(format!("{name}: says `{SUBJECT}`; only {SUBJECTS_FILE} builds and parses subjects"));
    }
    if !RUNS.iter().any(|folder| name.starts_with(folder)) && !tests && code().any(|line| line.contains(RUN_ENDPOINT)) {
        broken.push(format!("{name}: says `{RUN_ENDPOINT}`; only placing sends runs to nodes"));
    }
    if !tests && code().any(|line| NAMED_METRICS.iter().any(|named| line.contains(named))) {
        broken.push(format!("{name}: names a metric; names stand in fabric/src/metric_names.rs"));
    }
    broken
}

/// Problems that do not say which input they are about, and programs that read their words.
fn problems(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    if name.contains("/tests/") || name.ends_with("/tests.rs") || name.starts_with("xtask/") {
        return broken;
    }
    let flat: String = code.split_whitespace().collect();
    for (maker, code) in WITHOUT_FIELD.iter().flat_map(|maker| OF_AN_INPUT.map(|code| (maker, code))) {
        if flat.contains(&format!("{maker}Code::{code}")) || flat.contains(&format!("{maker}protocol::Code::{code}")) {
            broken.push(format!("{name}: `{maker}Code::{code}` names no field"));
        }
    }
    let reads = |line: &&str| {
        let word = |word: &str, look: &str| {
            line.contains(&format!(".{word}{look}")) || line.contains(&format!(" {word}{look}"))
        };
        WORDS.iter().any(|one| LOOKS.iter().any(|look| word(one, look)))
    };
    if READERS.iter().any(|folder| name.starts_with(folder)) {
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        broken.extend(lines.filter(reads).map(|line| format!("{name}: goes by words: {}", line.trim())));
    }
    broken
}

/// All Rust files but what is built or hidden.
fn sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let built = ["target", "dist", "node_modules"].contains(&name.as_str()) || name.starts_with('.');
            if entry.file_type()?.is_dir() {
                if !built && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_be_broken() {
        let needs = |name: &str, needs: &[&str]| Package {
            name: name.to_owned(),
            dir: Path::new("/w").join(name),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
        };
        assert_eq!(arrows(&[needs("gateway", &["protocol", "fabric"])]), Vec::<String>::new());
        assert_eq!(arrows(&[needs("gateway", &["executor"])]).len(), 1, "sideways");
        assert_eq!(arrows(&[needs("protocol", &["fabric"])]).len(), 1, "upward");
        assert_eq!(arrows(&[needs("surprise", &[])]).len(), 1, "unknown");

        assert_eq!(file("a.rs", "//! Why.\n"), Vec::<String>::new());
        assert_eq!(file("a.rs", "fn main() {}\n").len(), 1);
        assert_eq!(file("a.rs", &"//! x\n".repeat(LINES_MAX + 1)).len(), 1);
        let subject = format!("//! x\nconst X: &str = \"{SUBJECT}.n\";\n");
        assert_eq!(file("gateway/src/a.rs", &subject).len(), 1);
        for allowed in [SUBJECTS_FILE, "fabric/tests/it/hostile.rs"] {
            assert_eq!(file(allowed, &subject), Vec::<String>::new());
        }
        assert_eq!(file("gateway/src/a.rs", &format!("//! x\n/// {SUBJECT}.n\n")), Vec::<String>::new());

        let sends = format!("//! x\nlet to = Target::Node(node, {RUN_ENDPOINT});\n");
        assert_eq!(file("gateway/src/run/send.rs", &sends).len(), 1);
        assert_eq!(file("placing/src/attempt.rs", &sends), Vec::<String>::new());
        let counts = format!("//! x\nlet seen = metrics::{}seen_total\");\n", NAMED_METRICS[0]);
        assert_eq!(file("executor/src/a.rs", &counts).len(), 1);
    }

    #[test]
    fn problems_name_fields_and_are_not_read_by_their_words() {
        let said = |name: &str, line: &str| problems(name, &format!("//! x\nfn a() {{\n    {line}\n}}\n")).len();
        let forgotten = concat!("return Err(refuse(\n    Code::Invalid", "Field,\n \"cpus\"));");
        assert_eq!(said("control-plane/src/a.rs", forgotten), 1);
        assert_eq!(said("control-plane/src/tests/a.rs", forgotten), 0);
        assert_eq!(said("control-plane/src/a.rs", "refuse_field(Code::InvalidField, \"cpus\", \"\")"), 0);
        for read in
            ["trouble.cause.starts_with(\"cpus\")", "problem.detail.contains(\"memory\")", "if title == \"x\" {"]
        {
            assert_eq!(said("web/src/a.rs", read), 1, "{read}");
            assert_eq!(said("executor/src/a.rs", read), 0, "{read}");
        }
        assert_eq!(said("cli/src/a.rs", "failure.is(Code::NameTaken)"), 0);
    }

    #[test]
    fn this_workspace_keeps_them() {
        let workspace = Workspace::find().unwrap();
        assert_eq!(broken(&workspace).unwrap(), Vec::<String>::new());
    }
}
