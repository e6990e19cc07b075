//! Fields for limits, made from the table of limits.

use protocol::Limits;
use protocol::limits::{Limit, Unit};
use sycamore::prelude::*;

use super::form::{Control, Field, Text};
use crate::api::{Result, Trouble};
use crate::format::spaced;

/// What a limit may be: `1 MiB to 64 GiB`.
pub(crate) fn range(limit: Limit, min: &Limits, max: &Limits) -> String {
    format!("{} to {}", spaced(limit.of(min)), spaced(limit.of(max)))
}

const COUNT: usize = Limits::ALL.len();

/// In the order of forms: first those that jobs have, too.
pub(crate) fn in_order() -> impl Iterator<Item = Limit> {
    let others = Limits::ALL.into_iter().filter(|limit| Limits::of_jobs().all(|of_jobs| of_jobs != *limit));
    Limits::of_jobs().chain(others)
}

/// What is being written, by limit.
#[derive(Clone, Copy)]
pub(crate) struct LimitFields([Signal<String>; COUNT]);

impl LimitFields {
    /// Empty ones.
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| create_signal(String::new())))
    }

    /// With these values.
    pub(crate) fn of(limits: &Limits) -> Self {
        let fields = Self::new();
        fields.follow(limits);
        fields
    }

    /// Takes these values.
    pub(crate) fn follow(self, limits: &Limits) {
        for (field, limit) in self.0.into_iter().zip(Limits::ALL) {
            field.set(limit.of(limits).to_string());
        }
    }

    /// As one value; tracked.
    pub(crate) fn written(self) -> LimitTexts {
        LimitTexts(self.0.map(|field| field.get_clone()))
    }

    /// What is written for one.
    pub(crate) fn value(self, limit: Limit) -> Signal<String> {
        let place = Limits::ALL.iter().position(|of| *of == limit).unwrap_or_default();
        self.0[place]
    }

    /// Those of a job, each of which may stay as it is deployed.
    pub(crate) fn of_job(self) -> Vec<Field> {
        let field = |limit: Limit| {
            let (name, inputmode) = (limit.name, inputmode(limit));
            let how = Text { name, inputmode, placeholder: "deployed", optional: true, ..Text::default() };
            Field::new(limit.name, limit.label, Control::Line(how), self.value(limit))
        };
        Limits::of_jobs().map(field).collect()
    }

    /// All of them as fields of a version, each with its range.
    pub(crate) fn fields(self) -> Vec<Field> {
        let field = |limit: Limit| {
            let how = Text { name: limit.name, inputmode: inputmode(limit), ..Text::default() };
            let hint = range(limit, &Limits::MIN, &Limits::MAX);
            Field::new(&limit.field(), limit.label, Control::Line(how), self.value(limit)).hint(&hint)
        };
        in_order().map(field).collect()
    }
}

fn inputmode(limit: Limit) -> &'static str {
    if limit.unit == Unit::Count { "numeric" } else { "" }
}

/// What is written at one moment, by limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LimitTexts([String; COUNT]);

impl LimitTexts {
    /// Each limit, and what is written for it.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Limit, &str)> {
        in_order().map(move |limit| (limit, self.text(limit)))
    }

    /// What is written for this one.
    pub(crate) fn text(&self, limit: Limit) -> &str {
        Limits::ALL.iter().zip(&self.0).find(|(of, _)| **of == limit).map_or("", |(_, text)| text.trim())
    }

    /// As values. What is written as `kept` would be is the same to the last digit: sizes are shown rounded. The trouble
    /// names the field that cannot be read.
    pub(crate) fn read(&self, kept: Limits) -> Result<Limits> {
        let mut limits = kept;
        for (limit, text) in self.each().filter(|(limit, text)| *text != limit.of(&kept).to_string()) {
            let amount = limit.read(text).map_err(|_| {
                let fix = format!("Write it as {}.", limit.unit.written());
                Trouble::of_input(limit.field(), format!("{text:?} cannot be read."), &fix)
            })?;
            limit.set(&mut limits, amount);
        }
        Ok(limits)
    }

    /// As values, as far as they can be read; the defaults else.
    pub(crate) fn guess(&self) -> Limits {
        self.over(Limits::default())
    }

    /// The same, over these.
    pub(crate) fn over(&self, mut limits: Limits) -> Limits {
        for (limit, text) in self.each() {
            if let Ok(amount) = limit.read(text) {
                limit.set(&mut limits, amount);
            }
        }
        limits
    }
}

#[cfg(test)]
impl LimitTexts {
    /// The defaults.
    pub(crate) fn usual() -> Self {
        Self(Limits::ALL.map(|limit| limit.of(&Limits::default()).to_string()))
    }

    /// The same with another text for the limit of this name.
    pub(crate) fn with(mut self, name: &str, text: &str) -> Self {
        let place = Limits::ALL.iter().position(|limit| limit.name == name).unwrap();
        text.clone_into(&mut self.0[place]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{LimitTexts, range};
    use protocol::{ByteSize, Limits};

    #[test]
    fn what_is_untouched_is_kept_to_the_last_digit() {
        let kept = Limits { memory: ByteSize::mib(1500), body: ByteSize(5_000_000), ..Limits::default() };
        let shown = LimitTexts::usual().with("memory", "1.4GiB").with("body", "4.7MiB");
        assert_eq!(shown.read(kept).unwrap(), kept);
        let changed = shown.with("memory", " 1.5GiB ").read(kept).unwrap();
        assert_eq!(changed, Limits { memory: ByteSize::mib(1536), ..kept });
    }

    #[test]
    fn ranges_have_spaces_before_their_units() {
        let memory = Limits::ALL.into_iter().find(|limit| limit.name == "memory").unwrap();
        assert_eq!(range(memory, &Limits::MIN, &Limits::MAX), "1 MiB to 64 GiB");
    }

    #[test]
    fn every_limit_s_refusal_names_its_field() {
        for limit in Limits::ALL {
            let trouble = LimitTexts::usual().with(limit.name, "much").read(Limits::default()).unwrap_err();
            assert!(trouble.is_about(&[&limit.field()]), "{trouble:?}");
            assert_eq!(LimitTexts::usual().with(limit.name, "much").guess(), Limits::default());
        }
    }
}
