//! What a deployment asks for beside its file: lane, limits, contract, base, command line.

use std::collections::BTreeMap;

use protocol::api::{CreateVersion, Version};
use protocol::placement::{LaneReason, lane_of};
use protocol::{ArtifactForm, Base, Digest, Kind, Lane, LaneChoice, Limits, PlacementClass, command_line};
use sycamore::prelude::*;

use super::dropped::Dropped;
use crate::api::Result;
use crate::format::shell;
use crate::ui::limits::{LimitFields, LimitTexts};
use crate::ui::placement::of_word;

/// The fields, as they are written.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// `auto`, `wasm` or `vm`.
    pub(crate) lane: Signal<String>,
    /// What one run may use.
    pub(crate) limits: LimitFields,
    /// Whose nodes it trusts.
    pub(crate) placement: Signal<String>,
    /// `command`, `server`, or empty: found out.
    pub(crate) kind: Signal<String>,
    /// `python`, `shell`, or empty: found out.
    pub(crate) base: Signal<String>,
    /// A command line, in words as a shell reads them.
    pub(crate) command: Signal<String>,
    /// What further versions keep and this page does not change.
    pub(crate) kept: Signal<Kept>,
}

/// What a further version keeps of the one before.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kept {
    /// The one before.
    pub(crate) number: Option<u32>,
    limits: Limits,
    egress: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Options {
    /// As the platform would have it.
    pub(crate) fn new() -> Self {
        Self {
            lane: create_signal("auto".to_owned()),
            limits: LimitFields::of(&Limits::default()),
            placement: create_signal(PlacementClass::default().as_str().to_owned()),
            kind: create_signal(String::new()),
            base: create_signal(String::new()),
            command: create_signal(String::new()),
            kept: create_signal(Kept::default()),
        }
    }

    /// As this version has it.
    pub(crate) fn follow(self, version: &Version) {
        self.lane.set(lane_word(version.lane).to_owned());
        self.limits.follow(&version.limits);
        self.placement.set(version.placement.as_str().to_owned());
        // The other contracts are found out anew: the next file may be of another kind.
        self.kind.set(if version.kind == Some(Kind::Server) { "server" } else { "" }.to_owned());
        self.base.set(version.base.map_or("", Base::as_str).to_owned());
        self.command.set(command_line::line(&version.command));
        self.kept.set(Kept {
            number: Some(version.number),
            limits: version.limits,
            egress: version.egress.clone(),
            env: version.env.clone(),
        });
    }

    /// The fields as one value; tracked.
    pub(crate) fn written(self) -> Written {
        Written {
            lane: self.lane.get_clone(),
            limits: self.limits.written(),
            placement: self.placement.get_clone(),
            kind: self.kind.get_clone(),
            base: self.base.get_clone(),
            command: self.command.get_clone(),
            kept: self.kept.get_clone(),
        }
    }
}

/// The fields at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    lane: String,
    limits: LimitTexts,
    placement: String,
    kind: String,
    base: String,
    command: String,
    kept: Kept,
}

fn lane_word(lane: LaneChoice) -> &'static str {
    match lane {
        LaneChoice::Auto => "auto",
        LaneChoice::Wasm => "wasm",
        LaneChoice::Vm => "vm",
    }
}

impl Written {
    fn lane(&self) -> LaneChoice {
        match self.lane.as_str() {
            "wasm" => LaneChoice::Wasm,
            "vm" => LaneChoice::Vm,
            _ => LaneChoice::Auto,
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self.kind.as_str() {
            "command" => Some(Kind::Command),
            "server" => Some(Kind::Server),
            _ => None,
        }
    }

    /// The lane that the platform will choose for a file, and why; none where that is open.
    pub(crate) fn expected(&self, dropped: &Dropped) -> Option<(Lane, LaneReason)> {
        let form = dropped.form()?;
        // WebAssembly is never a server: its contract is in the file.
        let kind = if form == ArtifactForm::Wasm { None } else { self.kind() };
        Some(lane_of(self.lane(), kind.unwrap_or(Kind::Http), &self.limits.guess(), form))
    }

    /// What is asked of the API; the trouble names the field that cannot be read.
    pub(crate) fn version(&self, artifact: Digest, dropped: &Dropped) -> Result<CreateVersion> {
        let limits = self.limits.read(self.kept.limits)?;
        limits.check()?;
        // Base, command and contract are of images: WebAssembly says itself how it is spoken to.
        let image = dropped.form() != Some(ArtifactForm::Wasm);
        Ok(CreateVersion {
            artifact,
            kind: if image { self.kind() } else { None },
            lane: self.lane(),
            placement: of_word(&self.placement).unwrap_or_default(),
            egress: self.kept.egress.clone(),
            limits,
            env: self.kept.env.clone(),
            alias: None,
            base: if image { self.base.parse().ok() } else { None },
            command: if image { command_line::words(&self.command)? } else { Vec::new() },
            create: None,
        })
    }

    /// The same deployment by the command line.
    pub(crate) fn cli(&self, file: &str, function: &str, account: &str, dropped: &Dropped) -> String {
        let mut words = vec![format!("crowdcloud deploy {} --name {function} --account {account}", shell(file))];
        let mut flag = |name: &str, value: &str, usual: &str| {
            if value.trim() != usual {
                words.push(format!("--{name} {}", shell(value.trim())));
            }
        };
        flag("lane", &self.lane, "auto");
        for (limit, text) in self.limits.each() {
            flag(limit.flag, text, &limit.of(&Limits::default()).to_string());
        }
        flag("placement", &self.placement, PlacementClass::default().as_str());
        if dropped.form() != Some(ArtifactForm::Wasm) {
            flag("kind", &self.kind, "");
            flag("base", &self.base, "");
            flag("command", &self.command, "");
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Written};
    use crate::pages::deploy::dropped::Dropped;
    use crate::ui::limits::LimitTexts;
    use protocol::placement::LaneReason;
    use protocol::{Base, ByteSize, Digest, Kind, Lane, LaneChoice, Limits, Millis, PlacementClass};

    fn limit(name: &str, text: &str) -> Written {
        Written { limits: LimitTexts::usual().with(name, text), ..written() }
    }

    fn written() -> Written {
        Written {
            lane: "auto".into(),
            limits: LimitTexts::usual(),
            placement: "any".into(),
            kind: String::new(),
            base: String::new(),
            command: String::new(),
            kept: Kept::default(),
        }
    }

    #[test]
    fn what_is_untouched_is_the_platform_s_default() {
        let asked = written().version(Digest::of(b"x"), &Dropped::Component).unwrap();
        assert_eq!((asked.limits, asked.lane, asked.kind), (Limits::default(), LaneChoice::Auto, None));
    }

    #[test]
    fn images_have_contract_base_and_command_and_webassembly_has_not() {
        let asked = Written {
            lane: "vm".into(),
            limits: LimitTexts::usual().with("cpus", " 2 ").with("memory", "1.5GiB").with("timeout", "2m"),
            kind: "server".into(),
            base: "python".into(),
            command: "/bin/serve  --fast 'two words'".into(),
            ..written()
        };
        let image = asked.version(Digest::of(b"x"), &Dropped::Archive).unwrap();
        assert_eq!((image.kind, image.base), (Some(Kind::Server), Some(Base::Python)));
        assert_eq!(image.command, ["/bin/serve", "--fast", "two words"]);
        assert_eq!((image.limits.cpus, image.limits.memory), (2, ByteSize::mib(1536)));
        assert_eq!(image.limits.timeout, Millis::seconds(120));
        let wasm = asked.version(Digest::of(b"x"), &Dropped::Component).unwrap();
        assert_eq!((wasm.kind, wasm.base, wasm.command.len()), (None, None, 0));
    }

    #[test]
    fn it_runs_where_its_deployer_trusts() {
        let asked = Written { placement: "own".into(), ..written() };
        assert_eq!(asked.version(Digest::of(b"x"), &Dropped::Component).unwrap().placement, PlacementClass::Own);
        let command = asked.cli("thumbs.wasm", "thumbs", "ada", &Dropped::Component);
        assert_eq!(command, "crowdcloud deploy thumbs.wasm --name thumbs --account ada --placement own");
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        let of = |written: Written| written.version(Digest::of(b"x"), &Dropped::Archive).unwrap_err();
        for (name, text) in
            [("cpus", "two"), ("cpus", "0"), ("memory", "much"), ("memory", "9TiB"), ("timeout", "30 sheep")]
        {
            assert!(of(limit(name, text)).is_about(&[&format!("limits.{name}")]), "{name} {text}");
        }
        assert!(of(Written { command: "/bin/sh -c 'echo".into(), ..written() }).is_about(&["command"]));
    }

    #[test]
    fn the_lane_is_told_before_the_deploy() {
        let expected = |written: Written, dropped| written.expected(&dropped);
        assert_eq!(expected(written(), Dropped::Component), Some((Lane::Wasm, LaneReason::Wasm)));
        assert_eq!(expected(limit("cpus", "2"), Dropped::Module), Some((Lane::Vm, LaneReason::Cpus)));
        assert_eq!(expected(written(), Dropped::Archive), Some((Lane::Vm, LaneReason::Image)));
        assert_eq!(
            expected(Written { kind: "server".into(), ..written() }, Dropped::Archive),
            Some((Lane::Vm, LaneReason::Server))
        );
        assert_eq!(
            expected(Written { lane: "vm".into(), ..written() }, Dropped::Component),
            Some((Lane::Vm, LaneReason::Asked))
        );
        assert_eq!(expected(written(), Dropped::Unknown), None);
    }

    #[test]
    fn the_command_line_says_what_differs() {
        let plain = written().cli("thumbs.wasm", "thumbs", "ada", &Dropped::Component);
        assert_eq!(plain, "crowdcloud deploy thumbs.wasm --name thumbs --account ada");
        let vm = Written { lane: "vm".into(), command: "/bin/a -b".into(), ..limit("cpus", "2") };
        assert_eq!(
            vm.cli("my image.tar", "thumbs", "ada", &Dropped::Archive),
            "crowdcloud deploy 'my image.tar' --name thumbs --account ada --lane vm --cpus 2 --command '/bin/a -b'"
        );
    }
}
