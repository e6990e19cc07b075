//! A run of the lane begins: the workload that a version always has, and the two contracts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use images::{Identity, ImageConfig, User};
use microvm::{Contract, Egress, HOSTNAME, Workload};
use protocol::{Kind, Limits};
use wasmtime_wasi_http::WasiBody;

use super::ports::Ports;
use super::version::Version;
use super::{command, server};
use crate::egress::EgressRules;
use crate::run::{Record, Started};

/// A server must take connections by then, or by its run's deadline where that comes first.
pub(super) const LISTEN_WITHIN_MS: u32 = 60_000;
/// Of an image that names none: what container runtimes give it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PIDS_MAX: u32 = 256;
const FILES_MAX: u32 = 4096;

/// What is started for every run of a version.
pub(super) fn workload(
    image: &ImageConfig,
    kind: Kind,
    limits: &Limits,
    env: BTreeMap<String, String>,
    egress: &EgressRules,
) -> Workload {
    let mut all: BTreeMap<String, String> = image.env.iter().cloned().collect();
    let Identity { user, groups, home } = &image.identity;
    for (name, value) in [("PATH", PATH), ("HOSTNAME", HOSTNAME), ("HOME", home)] {
        all.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    all.extend(env);
    let contract = match kind {
        Kind::Server => {
            let port = Ports::of(image).asked;
            all.insert("PORT".to_owned(), port.to_string());
            Contract::Server { port, listen_within_ms: LISTEN_WITHIN_MS }
        }
        Kind::Http | Kind::Command => Contract::Command,
    };
    let arguments = image.argv().skip(1).map(str::to_owned);
    let User { uid, gid } = *user;
    Workload {
        contract,
        argv: std::iter::once(image.program.clone()).chain(arguments).collect(),
        env: all.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cwd: image.working_dir.clone(),
        uid,
        gid,
        groups: groups.clone(),
        memory_bytes: Some(limits.memory.0),
        pids_max: PIDS_MAX,
        files_max: FILES_MAX,
        // Files are memory: a full disk is told before the memory is used up.
        overlay_bytes: limits.memory.0 / 2,
        egress: if egress.is_empty() { Egress::None } else { Egress::Proxy },
    }
}

/// Makes a run ready. Its machine starts at the first poll.
pub(crate) fn start(version: &Arc<Version>, request: http::Request<WasiBody>, record: &Arc<Record>) -> Started {
    match version.workload.contract {
        Contract::Server { .. } => server::start(version, request, record),
        Contract::Command => command::start(version, request, record),
    }
}

/// Runs a story in a task of its own, which goes on when nobody waits: a machine says last what it has used, and the
/// record settles then.
pub(super) fn apart(story: impl Future<Output = ()> + Send + 'static) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if let Err(error) = tokio::spawn(story).await {
            tracing::error!(%error, "a run in a machine broke");
        }
    })
}

#[cfg(test)]
mod tests {
    use images::Architecture;

    use super::super::ports::PORT;
    use super::*;

    fn image(user: User, env: &[(&str, &str)]) -> ImageConfig {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ImageConfig {
            program: "/bin/app".to_owned(),
            entrypoint: vec!["app".to_owned(), "--now".to_owned()],
            cmd: Vec::new(),
            env: env.collect(),
            working_dir: "/work".to_owned(),
            identity: Identity { user, groups: vec![29, 44], home: "/home/app".to_owned() },
            exposed_ports: Vec::new(),
            architecture: Architecture::HOST,
        }
    }

    fn made(image: &ImageConfig, env: &[(&str, &str)]) -> Workload {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        workload(image, Kind::Command, &Limits::default(), env, &EgressRules::default())
    }

    #[test]
    fn f08_an_image_that_names_nobody_is_roots_and_its_server_listens_where_it_says() {
        let root = User { uid: 0, gid: 0 };
        assert_eq!((made(&image(root, &[]), &[]).uid, made(&image(root, &[]), &[]).gid), (0, 0));
        let port = |ports: &[u16], env: &[(&str, &str)]| {
            let image = ImageConfig { exposed_ports: ports.to_vec(), ..image(root, env) };
            let made = workload(&image, Kind::Server, &Limits::default(), BTreeMap::new(), &EgressRules::default());
            let Contract::Server { port, .. } = made.contract else { panic!("a server") };
            assert!(made.env.contains(&format!("PORT={port}")), "{:?}", made.env);
            port
        };
        assert_eq!(port(&[], &[("PORT", "3000")]), PORT);
        assert_eq!(port(&[80, 443], &[]), 80);
        assert_eq!(port(&[80, PORT], &[]), PORT);
        assert_eq!(port(&[80, 3000], &[("PORT", "3000")]), 3000);
    }

    #[test]
    fn f07_a_user_finds_its_home_and_has_its_groups() {
        let app = User { uid: 1000, gid: 1001 };
        let workload = made(&image(app, &[]), &[("COLOUR", "green")]);
        assert_eq!((workload.uid, workload.gid, workload.groups.as_slice()), (1000, 1001, &[29, 44][..]));
        let path = format!("PATH={PATH}");
        assert_eq!(workload.env, ["COLOUR=green", "HOME=/home/app", "HOSTNAME=function", path.as_str()]);
        // What the image or the version says itself stays.
        let workload = made(&image(app, &[("HOME", "/srv"), ("PATH", "/bin")]), &[("HOSTNAME", "mine")]);
        assert_eq!(workload.env, ["HOME=/srv", "HOSTNAME=mine", "PATH=/bin"]);
    }
}
