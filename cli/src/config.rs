//! The user's configuration file: profiles, and the keys that belong to each server. Mode 0600, in the XDG folder.
//!
//! Keys are kept under the URL of their server, so that a key never travels to another one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserConfig {
    /// The profile that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// One set of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The account to act for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// Keys, and what else is kept, by the server's URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) servers: BTreeMap<String, Server>,
}

/// What is kept for one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// The PEM file of the certificates that are believed beside those of public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// This command line's keys, by account.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) keys: BTreeMap<String, String>,
    /// Keys that may only call one function, by `account/function`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) function_keys: BTreeMap<String, String>,
}

impl UserConfig {
    /// Where the file is.
    pub(crate) fn path() -> Result<PathBuf, Failure> {
        let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".config"))).ok_or_else(|| {
            Failure::new(Exit::Usage, "config", "There is no home folder").help("set HOME or XDG_CONFIG_HOME")
        })?;
        Ok(folder.join("crowdcloud").join("config.toml"))
    }

    /// Reads the file; nothing there is the same as an empty one.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let broken = |why: String| {
            Failure::new(Exit::Usage, "config", format!("{} cannot be read", path.display()))
                .why(why)
                .help("correct the file, or remove it and log in again")
        };
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| broken(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// Writes the file whole or not at all, readable by its owner alone.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|error| {
            Failure::new(Exit::Platform, "config", "The configuration cannot be written").why(error)
        })?;
        let write = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let temporary = path.with_extension(format!("tmp{}", std::process::id()));
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|error| {
            Failure::new(Exit::Platform, "config", format!("{} cannot be written", path.display())).why(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/config.toml");
        assert_eq!(UserConfig::load(&path).unwrap(), UserConfig::default());
        let mut config = UserConfig::default();
        let profile = config.profiles.entry("default".to_owned()).or_default();
        profile.url = Some("http://127.0.0.1:1".to_owned());
        let server = profile.servers.entry("http://127.0.0.1:1".to_owned()).or_default();
        server.keys.insert("ada".to_owned(), "cck_x".to_owned());
        config.save(&path).unwrap();
        assert_eq!(UserConfig::load(&path).unwrap(), config);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "colour = 'red'\n").unwrap();
        assert_eq!(UserConfig::load(&path).unwrap_err().exit(), Exit::Usage);
    }
}
