//! What a command works with: the resolved settings, the user's file, the connection and the output.

use std::path::{Path, PathBuf};

use protocol::Name;

use crate::args::Global;
use crate::authorities::{self, Authorities};
use crate::client::{Client, Credential};
use crate::config::{Profile, Server, UserConfig};
use crate::failure::{Exit, Failure};
use crate::manifest::Project;
use crate::output::Output;

/// Where `crowdcloud up` listens if nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Everything that a client command needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// How to speak.
    pub(crate) output: Output,
    /// The platform, without a slash at its end.
    pub(crate) url: String,
    profile: String,
    account: Option<String>,
    ca_file: Option<PathBuf>,
    path: PathBuf,
    config: UserConfig,
}

impl Context {
    /// Flags before environment (clap has merged these two) before crowdcloud.toml before the user's file.
    pub(crate) fn new(global: &Global, project: Option<&Project>) -> Result<Self, Failure> {
        let path = UserConfig::path()?;
        let config = UserConfig::load(&path)?;
        Self::of(global, project, path, config)
    }

    fn of(global: &Global, project: Option<&Project>, path: PathBuf, config: UserConfig) -> Result<Self, Failure> {
        let profile = global.profile.clone().or_else(|| config.profile.clone()).unwrap_or_else(|| "default".to_owned());
        let stored = config.profiles.get(&profile);
        let manifest = project.map(|project| &project.manifest);
        let url = global
            .url
            .clone()
            .or_else(|| manifest.and_then(|manifest| manifest.url.clone()))
            .or_else(|| stored.and_then(|profile| profile.url.clone()))
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::usage(format!("{url:?} is not a URL of a platform"))
                .help(format!("use --url http://HOST:PORT, such as {DEFAULT_URL}")));
        }
        let account = global
            .account
            .clone()
            .or_else(|| manifest.and_then(|manifest| manifest.account.clone()))
            .or_else(|| stored.filter(|p| p.url.as_deref() == Some(&*url)).and_then(|p| p.account.clone()));
        let kept = stored.and_then(|profile| profile.servers.get(&url)?.ca_file.clone());
        let ca_file = match global.ca_file.as_deref() {
            Some(said) => authorities::file_of(said).map(authorities::absolute),
            None => kept,
        };
        Ok(Self { output: Output::new(global), url, profile, account, ca_file, path, config })
    }

    /// The key in use: `CROWDCLOUD_KEY`, else the stored one of the account.
    pub(crate) fn key(&self) -> Result<String, Failure> {
        if let Some(key) = std::env::var("CROWDCLOUD_KEY").ok().filter(|key| !key.is_empty()) {
            return Ok(key);
        }
        let keys = self.server().map(|server| &server.keys);
        let found = match (&self.account, keys) {
            (Some(account), Some(keys)) => keys.get(account),
            (None, Some(keys)) if keys.len() == 1 => keys.values().next(),
            _ => None,
        };
        found.cloned().ok_or_else(|| {
            let (what, help) = match &self.account {
                Some(account) if keys.is_some_and(|keys| !keys.is_empty()) => (
                    format!("There is no key for the account {account} at {}", self.url),
                    format!("crowdcloud login --url {} --account {account}", self.url),
                ),
                _ => (
                    format!("You are not logged in at {}", self.url),
                    "`crowdcloud signup` makes a user, `crowdcloud login` stores a key".to_owned(),
                ),
            };
            Failure::new(Exit::Authentication, "unauthenticated", what).help(help)
        })
    }

    /// A client with the key in use.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.url, Credential::Key(self.key()?), &self.authorities()?)
    }

    /// A client that is nobody yet.
    pub(crate) fn anonymous(&self) -> Result<Client, Failure> {
        Client::new(&self.url, Credential::None, &self.authorities()?)
    }

    /// The file of certificates that are believed beside those of public authorities.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    fn authorities(&self) -> Result<Authorities, Failure> {
        Authorities::of(self.ca_file())
    }

    /// The account that was asked for, if any.
    pub(crate) fn wanted_account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The account of the key in use.
    pub(crate) async fn account(&self, client: &Client) -> Result<Name, Failure> {
        let me: protocol::api::Me = client.get("/me").await?;
        let membership = me.accounts.into_iter().next();
        membership.map(|membership| membership.account.name).ok_or_else(|| {
            Failure::new(Exit::Authentication, "missing_account", "The key has no account").help("crowdcloud login")
        })
    }

    /// The stored key that may only call this function.
    pub(crate) fn function_key(&self, function: &str) -> Option<String> {
        self.server()?.function_keys.get(function).cloned()
    }

    /// Keeps a key that may only call this function; none: forgets it.
    pub(crate) fn keep_function_key(&self, function: &str, key: Option<&str>) -> Result<(), Failure> {
        self.change(|server, _| {
            match key {
                Some(key) => server.function_keys.insert(function.to_owned(), key.to_owned()),
                None => server.function_keys.remove(function),
            };
        })
    }

    /// Keeps this command line's key of an account, which becomes the profile's, and how the server is known.
    pub(crate) fn keep_key(&self, account: &str, key: &str) -> Result<(), Failure> {
        self.change(|server, settings| {
            server.ca_file.clone_from(&self.ca_file);
            server.keys.insert(account.to_owned(), key.to_owned());
            settings.1 = Some(account.to_owned());
        })
    }

    /// Forgets the key in use, and the functions' keys that it made.
    pub(crate) fn forget_key(&self, key: &str) -> Result<(), Failure> {
        self.change(|server, settings| {
            let gone: Vec<String> =
                server.keys.iter().filter(|(_, held)| *held == key).map(|(name, _)| name.clone()).collect();
            for account in gone {
                server.keys.remove(&account);
                server.function_keys.retain(|function, _| !function.starts_with(&format!("{account}/")));
                if settings.1.as_deref() == Some(&*account) {
                    settings.1 = server.keys.keys().next().cloned();
                }
            }
        })
    }

    /// The name of the profile.
    pub(crate) fn profile(&self) -> &str {
        &self.profile
    }

    fn server(&self) -> Option<&Server> {
        self.config.profiles.get(&self.profile)?.servers.get(&self.url)
    }

    /// Changes the file as it is now, not as it was read: another command may have written since.
    fn change(&self, edit: impl FnOnce(&mut Server, &mut (Option<String>, Option<String>))) -> Result<(), Failure> {
        let mut config = UserConfig::load(&self.path)?;
        let profile: &mut Profile = config.profiles.entry(self.profile.clone()).or_default();
        let same = profile.url.as_deref() == Some(&*self.url);
        let mut settings = (Some(self.url.clone()), profile.account.clone().filter(|_| same));
        edit(profile.servers.entry(self.url.clone()).or_default(), &mut settings);
        (profile.url, profile.account) = settings;
        config.save(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorities::tests::PEM;

    fn context(folder: &Path, url: &str, ca_file: Option<&Path>) -> Context {
        let path = folder.join("config.toml");
        let config = UserConfig::load(&path).unwrap();
        let global = Global {
            url: Some(url.to_owned()),
            ca_file: ca_file.map(Path::to_owned),
            profile: Some("default".to_owned()),
            ..Global::default()
        };
        Context::of(&global, None, path, config).unwrap()
    }

    #[test]
    fn a_platform_s_certificates_are_kept_with_its_key_and_for_no_other_platform() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, ca) = (folder.path(), folder.path().join("ca.pem"));
        std::fs::write(&ca, PEM).unwrap();
        let (one, other) = ("https://one.example", "https://other.example");
        let first = context(folder, one, Some(&ca));
        assert_eq!(first.authorities().unwrap().certificates().len(), 1);
        first.keep_key("ada", "cck_x").unwrap();
        context(folder, other, None).keep_key("ada", "cck_y").unwrap();
        assert_eq!(context(folder, one, None).ca_file(), Some(&*ca));
        assert_eq!(context(folder, other, None).ca_file(), None);
        assert!(context(folder, one, None).client().is_ok());
        context(folder, other, Some(&ca)).keep_key("ada", "cck_y").unwrap();
        assert_eq!(context(folder, other, None).ca_file(), Some(&*ca));
        context(folder, other, Some(Path::new("none"))).keep_key("ada", "cck_y").unwrap();
        assert_eq!(context(folder, other, None).ca_file(), None, "it was withdrawn");
        std::fs::remove_file(&ca).unwrap();
        let gone = context(folder, one, None).client().unwrap_err();
        assert!(gone.code() == "ca_file" && gone.what().contains("ca.pem"), "{}", gone.what());
    }
}
