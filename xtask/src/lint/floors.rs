//! The floors of a crate that is too large to have none: what stands higher may need what is below it, or beside it on its
//! floor, and nothing above. ARCHITECTURE.md says why each floor is where it is.

use std::collections::{BTreeMap, BTreeSet};

/// The floors of one crate.
struct House {
    folder: &'static str,
    /// From the top down; a module is a file or a folder below `src`. The crate's root is above all.
    floors: &'static [&'static [&'static str]],
    /// What the root gives another name.
    renamed: &'static [(&'static str, &'static str)],
    /// Arrows that still run up: from, to, in how many files. They may only become fewer.
    upward: &'static [(&'static str, &'static str, usize)],
}

static HOUSES: [House; 2] = [
    House {
        folder: "gateway/src/",
        floors: &[
            &["accept", "serve"],
            &["api", "artifacts", "connect_node", "handle", "portal", "test_call"],
            &["run"],
            &["respond_async"],
            &[
                "address",
                "clients",
                "concurrency",
                "config",
                "core_client",
                "encoding",
                "epochs",
                "error",
                "finite",
                "half_close",
                "headers",
                "hosts",
                "install",
                "issuer",
                "keys",
                "linger",
                "meters",
                "mirror",
                "models",
                "node_connections",
                "nodes",
                "pieces",
                "proxies",
                "pulse",
                "quiet",
                "quota",
                "refusals",
                "relief",
                "response",
                "routes",
                "single_flight",
                "splice",
                "spool",
                "stall",
                "state",
                "stranger",
                "tls",
                "unreadable",
                "upload",
            ],
        ],
        renamed: &[],
        upward: &[],
    },
    House {
        folder: "control-plane/src/",
        floors: &[
            &["api", "erasure", "openapi"],
            &["app"],
            &[
                "audit",
                "functions",
                "identity",
                "jobs",
                "keep",
                "logs",
                "nodes",
                "objects",
                "operator",
                "queues",
                "settlement",
                "training",
                "triggers",
                "usage",
            ],
            &["etag", "finite", "idempotency", "leader", "paging", "routes_outbox", "tickets", "words"],
            &["db"],
            &["config", "error"],
        ],
        renamed: &[("App", "app"), ("ControlFabrics", "app"), ("Config", "config")],
        upward: &[
            ("db", "idempotency", 1),
            ("db", "identity", 1),
            ("functions", "app", 7),
            ("idempotency", "app", 2),
            ("idempotency", "identity", 3),
            ("identity", "app", 8),
            ("jobs", "app", 16),
            ("keep", "app", 1),
            ("logs", "app", 5),
            ("nodes", "app", 4),
            ("objects", "app", 4),
            ("queues", "app", 3),
            ("routes_outbox", "app", 2),
            ("routes_outbox", "functions", 1),
            ("routes_outbox", "nodes", 1),
            ("settlement", "app", 14),
            ("training", "app", 3),
            ("triggers", "app", 2),
            ("usage", "app", 2),
        ],
    },
];

/// Each broken rule of all houses; the sources by their names.
pub(super) fn broken(sources: &[(String, String)]) -> Vec<String> {
    HOUSES.iter().flat_map(|house| house.broken(sources)).collect()
}

impl House {
    fn broken(&self, sources: &[(String, String)]) -> Vec<String> {
        let mut broken = Vec::new();
        let mut upward: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for (name, text) in sources {
            let Some(inside) = name.strip_prefix(self.folder).filter(|inside| *inside != "lib.rs") else { continue };
            if inside.contains("tests/") || inside.ends_with("tests.rs") {
                continue;
            }
            let path = inside.trim_end_matches(".rs").trim_end_matches("/mod");
            let module = path.split('/').next().unwrap_or(path);
            let Some(floor) = self.floor(module) else {
                broken.push(format!("{name}: `{module}` stands on no floor (xtask/src/lint/floors.rs)"));
                continue;
            };
            for need in needs(text, path.split('/').count()) {
                let need = self.renamed.iter().find(|(from, _)| *from == need).map_or(need, |(_, to)| *to);
                // Whatever is on no floor is no module: an item of the root, or its tests.
                let above = self.floors.iter().flat_map(|floor| floor.iter()).find(|known| **known == need);
                if let Some(above) = above.filter(|above| self.floor(above).is_some_and(|needed| needed < floor)) {
                    upward.entry((module, *above)).or_default().insert(name);
                }
            }
        }
        for (from, to, count) in self.upward {
            let found = upward.get(&(*from, *to)).map_or(0, BTreeSet::len);
            if found < *count {
                broken.push(format!(
                    "{}{from} -> {to}: {found} files, no longer {count}: say so in xtask/src/lint/floors.rs",
                    self.folder
                ));
            }
        }
        for ((from, to), files) in upward {
            let known = self.upward.iter().find(|known| (known.0, known.1) == (from, to)).map_or(0, |known| known.2);
            if files.len() > known {
                let files: Vec<&str> = files.into_iter().collect();
                broken.push(format!(
                    "{}{from} -> {to}: runs up, in more than {known} files: {}",
                    self.folder,
                    files.join(", ")
                ));
            }
        }
        broken
    }

    /// Counted from the top.
    fn floor(&self, module: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&module))
    }
}

/// What a file needs of its crate's root: what follows `crate::`, or as many `super::` as lead there. Its unit tests may
/// need anything.
fn needs(text: &str, depth: usize) -> BTreeSet<&str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            let (before, rest) = (&code[..at], &code[at + root.len()..]);
            let goes_on = before.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | '$' | ':'));
            let line = before.rsplit('\n').next().unwrap_or_default();
            if !goes_on && !rest.starts_with("super::") && !line.trim_start().starts_with("//") {
                found.extend(firsts(rest));
            }
        }
    }
    found
}

/// The first word of a path, or of each path of a group.
fn firsts(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut from, mut paths) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '}' if depth == 0 => {
                paths.push(&group[from..at]);
                break;
            }
            ',' if depth == 0 => {
                paths.push(&group[from..at]);
                from = at + 1;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    paths.into_iter().map(word).collect()
}

fn word(path: &str) -> &str {
    let path = path.trim_start();
    path.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(upward: &'static [(&'static str, &'static str, usize)]) -> House {
        let floors: &[&[&str]] = &[&["api"], &["app"], &["jobs", "nodes"], &["db"]];
        House { folder: "a/src/", floors, renamed: &[("App", "app")], upward }
    }

    fn found(house: &House, files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<(String, String)> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        house.broken(&sources)
    }

    #[test]
    fn arrows_run_down_or_aside() {
        let house = house(&[]);
        let clean = [
            ("a/src/lib.rs", "use crate::api::router;"),
            ("a/src/api/mod.rs", "use crate::{db::Db, jobs::{Job, Step}, App};\nuse super::nodes;"),
            ("a/src/jobs/run.rs", "// crate::api is above\nuse crate::nodes::Node;\nuse super::super::db;"),
            ("a/src/db.rs", "use crate::Unknown;\n#[cfg(test)]\nmod tests {\n    use crate::api;\n}\n"),
            ("a/src/tests/all.rs", "use crate::api;"),
        ];
        assert_eq!(found(&house, &clean), Vec::<String>::new());
        for (name, text) in [
            ("a/src/db.rs", "use crate::jobs;"),
            ("a/src/db.rs", "use super::jobs::Job;"),
            ("a/src/db/rows.rs", "fn a() { super::super::jobs::run() }"),
            ("a/src/jobs/mod.rs", "use crate::{db::{Db, Row}, App};"),
            ("a/src/surprise.rs", ""),
        ] {
            assert_eq!(found(&house, &[(name, text)]).len(), 1, "{name}: {text}");
        }
    }

    #[test]
    fn what_runs_up_may_only_become_less() {
        let house = house(&[("jobs", "app", 1)]);
        let (one, other) = (("a/src/jobs/a.rs", "use crate::App;"), ("a/src/jobs/b.rs", "use crate::App;"));
        assert_eq!(found(&house, &[one]), Vec::<String>::new());
        assert_eq!(found(&house, &[one, other]).len(), 1, "one more");
        assert_eq!(found(&house, &[]).len(), 1, "it has gone, and is to be struck off");
    }
}
