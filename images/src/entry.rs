//! What is started in a tree, and as whom: an image's word, checked against its files before anything runs.

use crate::accounts::Accounts;
use crate::elf;
use crate::error::Error;
use crate::image::{Architecture, ImageConfig, User};
use crate::oci::RunConfig;
use crate::single::interpreter_line;
use crate::source::{Blob, Store, Stores};
use crate::tree::{Body, Found, Tree, show};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Scripts whose interpreters are scripts: Linux allows as many.
const INTERPRETERS_MAX: usize = 5;
const ENV_BYTES_MAX: usize = 128 * 1024;
/// The protocol of an exposed port that can be asked, and of one that names none.
const TCP: &str = "tcp";

/// What the caller asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wishes<'a> {
    pub(crate) architecture: Architecture,
    pub(crate) command: &'a [String],
}

/// What the input says about its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    working_dir: String,
    user: String,
    ports: Vec<String>,
}

impl Settings {
    /// Of what has no word of its own: files without a base are an image, everything else is a function's.
    pub(crate) fn of_command(entrypoint: Vec<String>, env: &[(String, String)], is_image: bool) -> Self {
        let env = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let User { uid, gid } = User::FUNCTION;
        let user = if is_image { String::new() } else { format!("{uid}:{gid}") };
        Self { entrypoint, env, user, ..Self::default() }
    }

    pub(crate) fn of_image(config: &RunConfig) -> Self {
        // As container runtimes have it, the empty word takes an entrypoint away.
        let entrypoint = if config.entrypoint == [""] { Vec::new() } else { config.entrypoint.clone() };
        Self {
            entrypoint,
            cmd: config.cmd.clone(),
            env: config.env.clone(),
            working_dir: config.working_dir.clone(),
            user: config.user.clone(),
            ports: config.exposed_ports.keys().cloned().collect(),
        }
    }
}

/// The configuration of what the tree holds.
pub(crate) fn config(
    tree: &mut Tree<'_>,
    stores: &Stores,
    mut settings: Settings,
    wishes: &Wishes<'_>,
) -> Result<ImageConfig, Error> {
    if !wishes.command.is_empty() {
        settings.entrypoint = wishes.command.to_vec();
        settings.cmd.clear();
    }
    let working_dir = working_dir(tree, &settings.working_dir)?;
    let env = env(&settings.env)?;
    let Some(name) = settings.entrypoint.iter().chain(&settings.cmd).next() else {
        return Err(Error::MissingEntryPoint("the image has neither an entrypoint nor a command".to_owned()));
    };
    if name.is_empty() {
        return Err(Error::MissingEntryPoint("the first word of what is to be started is empty".to_owned()));
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value.as_str());
    let search = Search { tree, stores, path, working_dir: &working_dir, architecture: wishes.architecture };
    let program = search.program(name, 0)?;
    let identity = Accounts::read(tree, stores)?.find(&settings.user)?;
    Ok(ImageConfig {
        program,
        entrypoint: settings.entrypoint,
        cmd: settings.cmd,
        env,
        identity,
        exposed_ports: ports(&settings.ports)?,
        architecture: wishes.architecture,
        working_dir,
    })
}

/// As `docker run` does, the folder is made where it is missing.
fn working_dir(tree: &mut Tree<'_>, said: &str) -> Result<String, Error> {
    if said.is_empty() {
        return Ok("/".to_owned());
    }
    if !said.starts_with('/') {
        return Err(Error::InvalidConfig(format!("the working folder `{said}` is not absolute")));
    }
    if tree.find(said.as_bytes()).is_some_and(|found| !matches!(found.node.body, Body::Directory(_))) {
        return Err(Error::InvalidConfig(format!("the working folder `{said}` is a file in the image")));
    }
    tree.ensure_folder(said.as_bytes())?;
    Ok(said.to_owned())
}

fn env(said: &[String]) -> Result<Vec<(String, String)>, Error> {
    if said.iter().map(String::len).sum::<usize>() > ENV_BYTES_MAX {
        return Err(Error::InvalidConfig(format!("the environment has more than {ENV_BYTES_MAX} bytes")));
    }
    let mut env: Vec<(String, String)> = Vec::new();
    for line in said {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.is_empty() || line.contains('\0') {
            return Err(Error::InvalidConfig(format!("`{}` is no variable of an environment", line.escape_debug())));
        }
        env.push((name.to_owned(), value.to_owned()));
    }
    Ok(env)
}

/// `8080/tcp`, `8080`, or a range such as `8000-8010/tcp`; other protocols cannot be reached.
fn ports(said: &[String]) -> Result<Vec<u16>, Error> {
    let mut ports = Vec::new();
    for text in said {
        let (range, protocol) = text.split_once('/').unwrap_or((text, TCP));
        if !protocol.eq_ignore_ascii_case(TCP) {
            continue;
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = port(first).zip(port(last)).filter(|(first, last)| first <= last);
        let (first, last) = bounds.ok_or_else(|| no_port(text))?;
        ports.extend(first..=last);
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

fn no_port(text: &str) -> Error {
    let shown = text.escape_debug();
    Error::InvalidConfig(format!(
        "the image exposes `{shown}`, which is no port: EXPOSE takes `8080`, `8080/tcp` or `8000-8010/tcp`"
    ))
}

struct Search<'s, 't> {
    tree: &'s Tree<'t>,
    stores: &'s Stores,
    path: &'s str,
    working_dir: &'s str,
    architecture: Architecture,
}

impl Search<'_, '_> {
    /// The absolute path of a program that can be started, links followed.
    fn program(&self, name: &str, interpreters: usize) -> Result<String, Error> {
        let candidates: Vec<String> = if name.starts_with('/') {
            vec![name.to_owned()]
        } else if name.contains('/') {
            vec![format!("{}/{name}", self.working_dir)]
        } else {
            self.path.split(':').filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/{name}")).collect()
        };
        let mut refused = format!("`{name}` is not in the image");
        for candidate in candidates {
            let Some(found) = self.tree.find(candidate.as_bytes()) else { continue };
            match &found.node.body {
                Body::File(blob) if found.node.meta.is_executable() => {
                    self.check_start(&found, *blob, interpreters)?;
                    // The name before links are followed: busybox and the like look at it.
                    return Ok(candidate);
                }
                Body::File(_) => refused = format!("`{candidate}` is not executable (no x in its mode)"),
                Body::Directory(_) | Body::Symlink(_) => refused = format!("`{candidate}` is not a file"),
            }
        }
        Err(Error::MissingEntryPoint(refused))
    }

    /// Whether the kernel could start it: a binary for this machine with its loader, or a script with its interpreter.
    fn check_start(&self, found: &Found<'_>, blob: Blob, interpreters: usize) -> Result<(), Error> {
        if blob.store == Store::Base {
            return Ok(());
        }
        let shown = show(&found.path);
        let head = self.stores.head(blob)?;
        if head.starts_with(elf::MAGIC) {
            let needs = elf::inspect(self.stores.read(blob), self.architecture)?;
            return match needs.loader {
                Some(loader) if self.tree.find(&loader).is_none() => {
                    let loader = show(&loader);
                    let detail = format!("`{shown}` needs the loader `{loader}`, which is not in the image");
                    Err(Error::MissingEntryPoint(detail))
                }
                _ => Ok(()),
            };
        }
        let Some(words) = interpreter_line(&head) else {
            let detail = format!("`{shown}` is neither a Linux executable nor a script that begins with `#!`");
            return Err(Error::MissingEntryPoint(detail));
        };
        let in_script = |detail: String| Error::MissingEntryPoint(format!("the interpreter of `{shown}`: {detail}"));
        let Some(interpreter) = words.first().filter(|word| word.starts_with('/')) else {
            return Err(in_script("no absolute path".to_owned()));
        };
        if interpreters >= INTERPRETERS_MAX {
            return Err(in_script("a script, whose interpreter is a script, and so on".to_owned()));
        }
        let started = |name: &str| match self.program(name, interpreters + 1) {
            Err(Error::MissingEntryPoint(detail)) => Err(in_script(detail.escape_debug().to_string())),
            other => other.map(drop),
        };
        started(interpreter)?;
        let asks_env = interpreter.ends_with("/env");
        match words.get(1) {
            Some(name) if asks_env && !name.starts_with('-') && !name.contains('=') => started(name),
            _ => Ok(()),
        }
    }
}
