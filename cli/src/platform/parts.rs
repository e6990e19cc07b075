//! How the parts of one platform are set: flags before `CROWDCLOUD_*` before `<data>/config.toml` before defaults.
//!
//! Each service's settings are written as its command line, so that one process and several get the very same.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::UpArgs;
use super::data::DataFolder;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// The port of the portal where nothing else is said.
const PORT: u16 = 8080;

/// `<data>/config.toml`. The services' tables hold their flags: `[gateway] connections-max = 100`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct FileConfig {
    listen: Option<SocketAddr>,
    functions_domain: Option<String>,
    hosts: Vec<String>,
    nats_url: Option<String>,
    metrics_listen: Option<SocketAddr>,
    gateway: toml::Table,
    control_plane: toml::Table,
    executor: toml::Table,
}

/// Everything that `up` needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) args: UpArgs,
    pub(crate) data: DataFolder,
    /// The public port.
    pub(crate) listen: SocketAddr,
    pub(crate) nats_url: Option<String>,
    functions_domain: String,
    file: FileConfig,
}

impl Settings {
    /// Opens the data folder and reads what is set; `data` where the flags name none.
    pub(crate) fn read(args: &UpArgs, data: Option<&Path>) -> Result<Self, Failure> {
        let folder = args.data.as_deref().or(data).unwrap_or(Path::new(".crowdcloud"));
        let data = DataFolder::open(folder)?;
        let path = data.join("config.toml");
        let file: FileConfig = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Failure::new(Exit::Usage, "config", format!("{} is not valid", path.display())).why(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileConfig::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            args: args.clone(),
            listen: args.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
            nats_url: args.nats_url.clone().or_else(|| file.nats_url.clone()),
            functions_domain: args
                .functions_domain
                .clone()
                .or_else(|| file.functions_domain.clone())
                .unwrap_or_else(|| "localhost".to_owned()),
            data,
            file,
        })
    }

    /// Binds the public port; from then on `listen` has its number.
    pub(crate) fn bind(&mut self) -> Result<std::net::TcpListener, Failure> {
        let listener = std::net::TcpListener::bind(self.listen).map_err(|why| {
            Failure::new(Exit::Conflict, "port", format!("{} cannot be listened on", self.listen))
                .why(why)
                .help("stop what uses the port, or choose another: crowdcloud up --listen 127.0.0.1:8081")
        })?;
        listener.set_nonblocking(true)?;
        self.listen = listener.local_addr()?;
        Ok(listener)
    }

    /// Where the first of separate processes tells how it is; port 0 where nothing is said.
    pub(crate) fn metrics_listen(&self) -> SocketAddr {
        let set = self.args.metrics_listen.or(self.file.metrics_listen);
        set.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The folder with NATS's keys.
    pub(crate) fn nats_keys(&self) -> PathBuf {
        self.args.nats_keys.clone().unwrap_or_else(|| self.data.join("keys"))
    }

    /// The portal's address.
    pub(crate) fn url(&self) -> String {
        let ip = if self.listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.listen.ip() };
        format!("http://{}", SocketAddr::new(ip, self.listen.port()))
    }

    /// Whether the public port speaks HTTPS, too.
    pub(crate) fn has_certificate(&self) -> bool {
        let args = &self.args;
        let by_file = |name: &str| self.file.gateway.get(name).is_some_and(|value| value.as_bool() != Some(false));
        args.tls_self_signed
            || args.tls_certificate.is_some()
            || by_file("tls-certificate")
            || by_file("tls-self-signed")
    }

    /// The portal's address for other machines: at the first host that is named.
    pub(crate) fn https_url(&self) -> String {
        let hosts = if self.args.hosts.is_empty() { &self.file.hosts } else { &self.args.hosts };
        match hosts.iter().find(|host| !host.is_empty() && !host.contains('*')) {
            Some(host) if host.contains(':') || self.listen.port() == 443 => format!("https://{host}"),
            Some(host) => format!("https://{host}:{}", self.listen.port()),
            None => self.url().replacen("http://", "https://", 1),
        }
    }

    /// The link that makes the operator, while there is none.
    pub(crate) fn operator_link(&self) -> Option<String> {
        let token = std::fs::read_to_string(self.data.join("operator.token")).ok()?;
        Some(format!("{}/signup?operator={}", self.url(), token.trim()))
    }

    /// The control plane's command line.
    pub(crate) fn control_plane(&self) -> Vec<OsString> {
        let database = format!("sqlite://{}", self.data.join("crowdcloud.db").display());
        let domain = format!("{}:{}", self.functions_domain, self.listen.port());
        let mut flags = Flags::default();
        flags.add("database", database).add("ticket-key", self.data.join("ticket.key"));
        flags.add("lenders-key", self.nats_keys().join("nats-lenders.nk"));
        flags.add("operator-token", self.data.join("operator.token")).add("functions-domain", domain);
        flags.table(&self.file.control_plane)
    }

    /// A gateway's command line.
    pub(crate) fn gateway(&self, number: u16) -> Vec<OsString> {
        let mut flags = Flags::default();
        flags.add("spool", self.data.join("gateway").join(number.to_string()));
        flags.add("functions-domain", &self.functions_domain).add("grace", "1500ms");
        let hosts = if self.args.hosts.is_empty() { &self.file.hosts } else { &self.args.hosts };
        if !hosts.is_empty() {
            flags.add("host", hosts.join(","));
        }
        if let (Some(certificate), Some(key)) = (&self.args.tls_certificate, &self.args.tls_key) {
            flags.add("tls-certificate", certificate).add("tls-key", key);
        }
        let mut line = flags.table(&self.file.gateway);
        if self.args.tls_self_signed && !line.iter().any(|flag| flag == "--tls-self-signed") {
            line.push("--tls-self-signed".into());
        }
        line
    }

    /// A local node's command line.
    pub(crate) fn executor(&self, number: u16) -> Result<Vec<OsString>, Failure> {
        let mut flags = Flags::default();
        flags.add("node-data", self.data.node_folder(number)).add("node-id", self.data.node(number)?.to_string());
        flags.add("node-name", format!("local-{number}")).add("node-grace", "500ms");
        flags.add("vm-tools", super::vm_tools());
        for (flag, value) in super::replicas::of_executor(self, number) {
            flags.add(flag, value);
        }
        let mut line = flags.table(&self.file.executor);
        let (valued, plain) = self.args.lent.of_node();
        for (name, value) in valued {
            match line.iter().position(|flag| *flag == *name) {
                Some(at) if at + 1 < line.len() => line[at + 1] = value.into(),
                _ => line.extend([OsString::from(name), OsString::from(value)]),
            }
        }
        for name in plain.into_iter().chain(self.args.no_egress.then_some("--no-egress")) {
            if !line.iter().any(|flag| *flag == *name) {
                line.push(OsString::from(name));
            }
        }
        Ok(line)
    }

    /// Why local nodes have no VM lane; none where they have.
    pub(crate) fn vm_missing(&self) -> Result<Option<executor::VmMissing>, Failure> {
        let config: executor::Config = parse("executor", self.executor(1)?)?;
        Ok(executor::vm_lane_missing(&config))
    }
}

/// A command line in the making.
#[derive(Debug, Default)]
struct Flags(Vec<OsString>);

impl Flags {
    fn add(&mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> &mut Self {
        self.0.push(format!("--{name}").into());
        self.0.push(value.as_ref().to_owned());
        self
    }

    /// What the configuration file says comes after, in place of what is there.
    fn table(mut self, table: &toml::Table) -> Vec<OsString> {
        for (name, value) in table {
            if let Some(at) = self.0.iter().position(|flag| **flag == *format!("--{name}")) {
                self.0.drain(at..at + 2);
            }
            match value {
                toml::Value::Boolean(true) => self.0.push(format!("--{name}").into()),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => drop(self.add(name, text)),
                toml::Value::Array(items) => {
                    for item in items {
                        self.add(name, item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                    }
                }
                other => drop(self.add(name, other.to_string())),
            }
        }
        self.0
    }
}

/// A service's settings from its command line.
pub(crate) fn parse<T: clap::Args>(service: &'static str, line: Vec<OsString>) -> Result<T, Failure> {
    let command = T::augment_args(clap::Command::new(service).no_binary_name(true));
    let matches = command.try_get_matches_from(line);
    matches.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| {
        let text = error.render().to_string();
        let why = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Failure::new(Exit::Usage, "config", format!("The settings of the {service} are not valid"))
            .why(why.trim_start_matches("error: "))
            .help(format!("correct config.toml in the data folder; crowdcloud {service} --help lists the settings"))
    })
}

/// What to do next: all of it works as pasted.
pub(crate) fn welcome(output: &Output, settings: &Settings, probes: &[(String, SocketAddr)]) -> Result<(), Failure> {
    let url = settings.url();
    let operator = settings.operator_link();
    let mut value = serde_json::json!({ "url": url, "operator_link": operator, "data": settings.data.path() });
    if !probes.is_empty() {
        let urls = probes.iter().map(|(name, address)| (name.clone(), format!("http://{address}").into()));
        value["services"] = serde_json::Value::Object(urls.collect());
    }
    let kept = super::replicas::kept(settings);
    if let Some(kept) = &kept {
        value["store"] = serde_json::json!(kept);
    }
    output.result(&value, || {
        let mut text = format!("CrowdCloud is running: {url}/\n");
        if let Some(kept) = &kept {
            text.push_str(&format!("{kept}\n"));
        }
        if let Some(link) = &operator {
            text.push_str(&format!("operator, works once:  {link}\n"));
        }
        for (name, address) in probes {
            text.push_str(&format!("figures of {name}:  http://{address}/metrics\n"));
        }
        text
    })?;
    let program = program();
    let at = if url == crate::context::DEFAULT_URL { String::new() } else { format!(" --url {url}") };
    output.note(format!(
        "next, in another terminal:\n  {program} signup{at}\n  {program} new hello\n  {program} deploy hello\n\
         Ctrl-C stops the platform; its data stay in {}",
        settings.data.path().display()
    ));
    Ok(())
}

/// How this program is called from the user's shell.
fn program() -> String {
    let own = std::env::current_exe().and_then(|path| path.canonicalize()).ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find_map(|folder| folder.join("crowdcloud").canonicalize().ok());
    match own {
        Some(own) if found.as_ref() != Some(&own) => own.display().to_string(),
        _ => "crowdcloud".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_wins_over_what_up_sets_and_keeps_the_rest() {
        let mut flags = Flags::default();
        flags.add("spool", "/a").add("ticket-key", "/k");
        let table = "spool = '/b'\nconnections-max = 7\nwebhook-private = true\nother = false".parse().unwrap();
        let line: Vec<String> = flags.table(&table).into_iter().map(|flag| flag.into_string().unwrap()).collect();
        let mut pairs = line.join(" ");
        pairs.push(' ');
        assert!(pairs.contains("--ticket-key /k "), "{pairs}");
        assert!(pairs.contains("--spool /b ") && !pairs.contains("/a"), "{pairs}");
        assert!(pairs.contains("--connections-max 7 ") && pairs.contains("--webhook-private "), "{pairs}");
        assert!(!pairs.contains("other"), "{pairs}");
    }

    #[test]
    fn other_machines_are_told_the_https_address_at_the_host_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let line = ["crowdcloud", "up", "--tls-self-signed", "--host", "cloud.example.org", "--listen", "0.0.0.0:8443"];
        let line = line.into_iter().chain(["--data", data]);
        let command = <crate::args::Cli as clap::Parser>::try_parse_from(line).unwrap().command;
        let crate::args::Command::Up(up) = command else { panic!("it is up") };
        let settings = Settings::read(&up, None).unwrap();
        assert!(settings.has_certificate());
        assert_eq!(settings.https_url(), "https://cloud.example.org:8443");
    }
}
