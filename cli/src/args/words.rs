//! Words and pairs, as they are typed.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use protocol::api::Role;
use protocol::route::{Scope, Share};
use protocol::{Kind, LaneChoice, PlacementClass};

/// A word of an enum, as the API writes it.
pub(super) fn word<T: serde::de::DeserializeOwned>(text: &str, expected: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| format!("expected one of {expected}"))
}

pub(super) fn lane(text: &str) -> Result<LaneChoice, String> {
    word(text, "auto, wasm, vm")
}

pub(super) fn kind(text: &str) -> Result<Kind, String> {
    word(text, "http, command, server")
}

/// Each with who could read the work.
pub(super) fn placement() -> impl TypedValueParser<Value = PlacementClass> {
    let values = PlacementClass::ALL.map(|class| PossibleValue::new(class.as_str()).help(class.readers()));
    PossibleValuesParser::new(values).try_map(|text| word::<PlacementClass>(&text, "own, operator, verified, any"))
}

pub(super) fn scope(text: &str) -> Result<Scope, String> {
    word(text, "invoke, read, deploy, admin")
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    word(text, "member, admin, owner")
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn version(text: &str) -> Result<u32, String> {
    text.strip_prefix('v').unwrap_or(text).parse().map_err(|_| "expected a version such as v3".to_owned())
}

pub(super) fn share(text: &str) -> Result<Share, String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "100"));
    let weight = weight.parse().ok().filter(|weight| *weight <= 100).ok_or("a share is 0 to 100")?;
    Ok(Share { version: version(name)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_as_in_the_contract() {
        assert_eq!(share("v3=90"), Ok(Share { version: 3, weight: 90 }));
        assert_eq!(share("v4"), Ok(Share { version: 4, weight: 100 }));
        assert!(share("v4=101").is_err());
        assert!(share("x=1").is_err());
    }
}
