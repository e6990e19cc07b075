//! What a deployment may ask for: pure checks of its fields.

use std::collections::BTreeMap;

use protocol::api::CreateVersion;
use protocol::words::count;
use protocol::{ArtifactForm, Base, Field, Kind, LaneChoice, Limits};

use crate::config::Config;
use crate::error::{Result, invalid};

const COMMAND_WORDS_MAX: usize = 256;
const COMMAND_BYTES_MAX: usize = 16 << 10;

/// Refuses the first field that is out of range, and says the range.
pub(crate) fn check(asked: &CreateVersion, config: &Config) -> Result<()> {
    asked.limits.check()?;
    if asked.lane == LaneChoice::Wasm {
        let in_lane = |error: protocol::Invalid| invalid(error.field, format!("{} in the wasm lane", error.why));
        asked.limits.check_up_to(&Limits::WASM_MAX).map_err(in_lane)?;
    }
    check_env(&asked.env, config)?;
    check_egress(&asked.egress, config)?;
    check_command(asked)
}

fn check_env(env: &BTreeMap<String, String>, config: &Config) -> Result<()> {
    let all = Field::from("env");
    let wrong = |what: String| Err(invalid(all.clone(), format!("`env`: {what}")));
    if env.len() > config.env_count_max as usize {
        return wrong(format!("{}; at most {}", count(env.len(), "variable"), config.env_count_max));
    }
    let size: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > config.env_size_max.as_usize() {
        return wrong(format!("{size} bytes in all; at most {}", config.env_size_max));
    }
    for (name, value) in env {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return wrong(format!("`{}` is not a variable's name", name.escape_debug()));
        }
        if value.contains('\0') {
            return Err(invalid(all.key(name), format!("`env`: the value of `{name}` has a zero byte")));
        }
    }
    Ok(())
}

/// A host is a name or an address, with an optional port, and `*.` for what is below it.
fn check_egress(hosts: &[String], config: &Config) -> Result<()> {
    let all = Field::from("egress");
    if hosts.len() > config.egress_max as usize {
        let hosts = count(hosts.len(), "host");
        return Err(invalid(all, format!("`egress`: {hosts}; at most {}", config.egress_max)));
    }
    for (index, host) in hosts.iter().enumerate() {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let authority = name.parse::<http::uri::Authority>();
        let good =
            authority.as_ref().is_ok_and(|a| !a.as_str().contains('@') && !a.host().is_empty() && name.len() <= 253);
        if !good || name.contains('*') {
            return Err(invalid(all.index(index), format!("`egress`: `{}` is not a host", host.escape_debug())));
        }
    }
    Ok(())
}

/// What is started in a VM is a program's arguments: few, short, and without zero bytes.
fn check_command(asked: &CreateVersion) -> Result<()> {
    let all = Field::from("command");
    let wrong = |what: &str| Err(invalid(all.clone(), format!("`command`: {what}")));
    if asked.command.len() > COMMAND_WORDS_MAX {
        return wrong(&format!("{} words; at most {COMMAND_WORDS_MAX} words", asked.command.len()));
    }
    if asked.command.iter().map(String::len).sum::<usize>() > COMMAND_BYTES_MAX {
        return wrong(&format!("at most {COMMAND_BYTES_MAX} bytes in all"));
    }
    let bad = |(index, word): &(usize, &String)| word.contains('\0') || (*index == 0 && word.is_empty());
    if let Some((index, _)) = asked.command.iter().enumerate().find(bad) {
        return Err(invalid(all.index(index), "`command`: a word is empty or has a zero byte"));
    }
    let needs_vm = asked.base.is_some() || !asked.command.is_empty() || asked.kind == Some(Kind::Server);
    if asked.lane == LaneChoice::Wasm && needs_vm {
        return Err(invalid("lane", "`lane`: servers, bases and commands are of the VM lane"));
    }
    Ok(())
}

/// What is known of the artifact before a node has looked at it: only images have a base or a command.
pub(crate) fn form_asked(base: Option<Base>, command: &[String]) -> ArtifactForm {
    if base.is_some() || !command.is_empty() { ArtifactForm::Image } else { ArtifactForm::Wasm }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut CreateVersion)) -> CreateVersion {
        let mut asked = serde_json::from_str(&format!(r#"{{"artifact":"{}"}}"#, "0".repeat(64))).unwrap();
        change(&mut asked);
        asked
    }

    #[test]
    fn ranges() {
        let config = Config::default();
        assert!(check(&asked(|_| {}), &config).is_ok());
        assert!(check(&asked(|a| a.limits.cpus = 0), &config).is_err());
        assert!(
            check(&asked(|a| a.egress = vec!["api.example.com:443".into(), "*.example.com".into()]), &config).is_ok()
        );
        for host in ["", "http://a", "a b", "*", "a.*.b", "u@a"] {
            assert!(check(&asked(|a| a.egress = vec![host.into()]), &config).is_err(), "{host:?}");
        }
        for name in ["", "1A", "A-B", "Ä"] {
            assert!(check(&asked(|a| _ = a.env.insert(name.into(), String::new())), &config).is_err(), "{name:?}");
        }
        assert!(check(&asked(|a| _ = a.env.insert("A".into(), "\0".into())), &config).is_err());
        assert!(check(&asked(|a| _ = a.env.insert("A".into(), "x".repeat(33_000))), &config).is_err());
        assert!(check(&asked(|a| a.command = vec!["/bin/sh".into(), "-c".into()]), &config).is_ok());
        for command in [vec![String::new()], vec!["a".into(), "\0".into()], vec!["x".repeat(20_000)]] {
            assert!(check(&asked(|a| a.command = command.clone()), &config).is_err(), "{command:?}");
        }
        assert!(check(&asked(|a| a.limits.cpus = 2), &config).is_ok());
        assert!(check(&asked(|a| (a.lane, a.limits.cpus) = (LaneChoice::Wasm, 2)), &config).is_err());
        assert!(check(&asked(|a| (a.lane, a.kind) = (LaneChoice::Wasm, Some(Kind::Server))), &config).is_err());
    }
}
