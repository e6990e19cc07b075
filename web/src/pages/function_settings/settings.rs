//! What of a version its function's settings change, as it is written and as it is sent; and what of it differs. Pure.

use std::collections::BTreeMap;

use protocol::api::{CreateVersion, Version};
use protocol::{Limits, PlacementClass};

use crate::api::{Result, Trouble};
use crate::format::{shell, spaced};
use crate::ui::limits::{LimitTexts, in_order};
use crate::ui::placement::of_word;

/// The settings of a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    limits: Limits,
    placement: PlacementClass,
    egress: Vec<String>,
    env: BTreeMap<String, String>,
}

/// The same as it stands in the fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub(super) limits: LimitTexts,
    pub(super) placement: String,
    /// Hosts, with blanks or line ends between them.
    pub(super) egress: String,
    /// `NAME=value` on each line.
    pub(super) env: String,
}

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) what: String,
    pub(super) before: String,
    pub(super) after: String,
    /// The flags of `deploy` that do it.
    pub(super) flags: Vec<String>,
}

impl Settings {
    /// Those of a version.
    pub(super) fn of(version: &Version) -> Self {
        Self {
            limits: version.limits,
            placement: version.placement,
            egress: version.egress.clone(),
            env: version.env.clone(),
        }
    }

    /// A version of the same artifact with these.
    pub(super) fn version(self, of: &Version) -> CreateVersion {
        let Self { limits, placement, egress, env } = self;
        CreateVersion {
            artifact: of.artifact,
            kind: of.kind,
            lane: of.lane,
            placement,
            egress,
            limits,
            env,
            alias: None,
            base: of.base,
            command: of.command.clone(),
            create: None,
        }
    }

    /// What is different in the other.
    pub(super) fn changes(&self, to: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for limit in in_order() {
            let (before, after) = (limit.of(&self.limits), limit.of(&to.limits));
            if before != after {
                changes.push(Change {
                    what: limit.label.to_owned(),
                    before: spaced(before),
                    after: spaced(after),
                    flags: vec![format!("--{} {after}", limit.flag)],
                });
            }
        }
        if self.placement != to.placement {
            changes.push(Change {
                what: "Placement".to_owned(),
                before: self.placement.as_str().to_owned(),
                after: to.placement.as_str().to_owned(),
                flags: vec![format!("--placement {}", to.placement.as_str())],
            });
        }
        if self.egress != to.egress {
            let hosts = |hosts: &[String]| if hosts.is_empty() { "none".to_owned() } else { hosts.join(", ") };
            changes.push(Change {
                what: "Egress".to_owned(),
                before: hosts(&self.egress),
                after: hosts(&to.egress),
                flags: to.egress.iter().map(|host| format!("--egress {}", shell(host))).collect(),
            });
        }
        let names: std::collections::BTreeSet<&String> = self.env.keys().chain(to.env.keys()).collect();
        for name in names {
            let (before, after) = (self.env.get(name), to.env.get(name));
            if before != after {
                let flag = after.map(|value| format!("--env {}", shell(&format!("{name}={value}"))));
                let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not set".to_owned());
                changes.push(Change {
                    what: name.clone(),
                    before: shown(before),
                    after: shown(after),
                    flags: flag.into_iter().collect(),
                });
            }
        }
        changes
    }

    /// The hosts, as the field shows them.
    pub(super) fn egress_text(&self) -> String {
        self.egress.join("\n")
    }

    /// The variables, as the field shows them.
    pub(super) fn env_text(&self) -> String {
        let line =
            |(name, value): (&String, &String)| format!("{name}={}", value.replace('\\', "\\\\").replace('\n', "\\n"));
        self.env.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Written {
    /// As values; the trouble names the field that cannot be read. What is untouched stays as `kept` has it.
    pub(super) fn read(&self, kept: &Settings) -> Result<Settings> {
        let limits = self.limits.read(kept.limits)?;
        limits.check()?;
        Ok(Settings {
            limits,
            placement: of_word(&self.placement).unwrap_or(kept.placement),
            egress: self.egress.split_whitespace().map(str::to_owned).collect(),
            env: read_env(&self.env)?,
        })
    }
}

fn read_env(text: &str) -> Result<BTreeMap<String, String>> {
    let wrong =
        |cause: String| Trouble::of_input("env", cause, "Write NAME=value, each name once, on a line of its own.");
    let mut env = BTreeMap::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| wrong(format!("`{line}` has no `=`.")))?;
        if env.insert(name.trim().to_owned(), unescaped(value)).is_some() {
            return Err(wrong(format!("`{}` stands there twice.", name.trim())));
        }
    }
    Ok(env)
}

/// A value of several lines has `\n` where they end.
fn unescaped(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('\\')) => plain.push('\\'),
            _ => {
                plain.push(c);
                continue;
            }
        }
        chars.next();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{Settings, Written};
    use crate::ui::limits::LimitTexts;
    use protocol::{ByteSize, PlacementClass};

    fn written(settings: &Settings) -> Written {
        Written {
            limits: LimitTexts::usual(),
            placement: settings.placement.as_str().to_owned(),
            egress: settings.egress_text(),
            env: settings.env_text(),
        }
    }

    fn settings() -> Settings {
        let env = [("KEY", "two\nlines"), ("PATH", r"C:\new\\")];
        Settings {
            placement: PlacementClass::Own,
            egress: vec!["api.example.com".to_owned(), "*.example.org:443".to_owned()],
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_untouched_is_read_as_it_was() {
        let kept = settings();
        let read = written(&kept).read(&kept).unwrap();
        assert_eq!(read, kept);
        assert_eq!(kept.changes(&read), []);
    }

    #[test]
    fn each_change_is_told_with_what_was_before() {
        let kept = settings();
        let changed = Written {
            limits: LimitTexts::usual().with("memory", "256MiB"),
            placement: "any".to_owned(),
            egress: String::new(),
            env: "KEY=one\nNEW=a b".to_owned(),
        };
        let read = changed.read(&kept).unwrap();
        assert_eq!(read.limits.memory, ByteSize::mib(256));
        let told: Vec<String> = kept
            .changes(&read)
            .into_iter()
            .map(|change| format!("{}: {} > {} {}", change.what, change.before, change.after, change.flags.join(" ")))
            .collect();
        let wanted = [
            "Memory: 128 MiB > 256 MiB --memory 256MiB",
            "Placement: own > any --placement any",
            "Egress: api.example.com, *.example.org:443 > none ",
            "KEY: two\nlines > one --env KEY=one",
            "NEW: not set > a b --env 'NEW=a b'",
            r"PATH: C:\new\\ > not set ",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        let kept = settings();
        for env in ["NAME", "A=1\nA=2"] {
            let wrong = Written { env: env.to_owned(), ..written(&kept) };
            assert!(wrong.read(&kept).unwrap_err().is_about(&["env"]), "{env}");
        }
        let wrong = Written { limits: LimitTexts::usual().with("memory", "much"), ..written(&kept) };
        assert!(wrong.read(&kept).unwrap_err().is_about(&["limits.memory"]));
    }
}
