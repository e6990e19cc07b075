//! Bases made from Debian's packages, once for this machine, and functions that run on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use images::bases::{self, BaseId, BuildError, Shelf};
use images::{Architecture, Image, InputKind};
use tempfile::TempDir;

use crate::archives::{Tar, elf};
use crate::look::{Bench, list};

/// Where this machine keeps its bases; the same place for all tests.
fn shelf() -> &'static Shelf {
    static SHELF: OnceLock<Shelf> = OnceLock::new();
    let find = || {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
        let shelf = Shelf::new(cache.join("crowdcloud/bases"));
        for id in BaseId::ALL {
            bases::build(id, Architecture::HOST, &shelf).unwrap_or_else(|error| panic!("{error}"));
        }
        shelf
    };
    SHELF.get_or_init(find)
}

fn bench(shelf: &Shelf) -> Bench {
    Bench { bases: shelf.clone(), architecture: Architecture::HOST, ..Bench::new() }
}

/// The files of images, the lowest first, laid over each other.
fn unpacked(images: &[&Path]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for image in images {
        lay(image, folder.path());
    }
    folder
}

/// Lays an image's files over those of a root.
fn lay(image: &Path, root: &Path) {
    let mut unsquashfs = crate::look::unsquashfs();
    let output = unsquashfs.args(["-n", "-q", "-f", "-d"]).arg(root).arg(image).output().unwrap();
    // Another user cannot give files away, and need not.
    assert!(output.status.success() || !is_root(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

/// Runs a program in a root of its own.
fn run(root: &Path, env: &[(String, String)], argv: &[&str]) -> Output {
    let mut command = if is_root() {
        Command::new("chroot")
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["-r", "chroot"]);
        unshare
    };
    command.arg(root).args(argv).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.envs(env.iter().cloned()).output().unwrap()
}

fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What an image says when it is started on its base.
fn start(shelf: &Shelf, image: &Image) -> String {
    let base = image.base.map(|id| shelf.open(id, Architecture::HOST).unwrap().rootfs.path);
    let mut layers: Vec<&Path> = base.iter().map(PathBuf::as_path).collect();
    layers.push(&image.rootfs.path);
    let root = unpacked(&layers);
    let argv: Vec<&str> = image.config.argv().collect();
    said(run(root.path(), &image.config.env, &argv))
}

/// The bases' files, unpacked once: that takes longer than what is asked of them.
struct Roots(BTreeMap<BaseId, TempDir>);

impl Roots {
    fn unpack() -> Self {
        let root = |id| unpacked(&[&shelf().open(id, Architecture::HOST).unwrap().rootfs.path]);
        Self(BaseId::ALL.into_iter().map(|id| (id, root(id))).collect())
    }

    fn of(&self, id: BaseId) -> &Path {
        self.0[&id].path()
    }

    /// What an image of one handler says when it is started on its base, where nothing of it stays.
    fn start(&self, image: &Image) -> String {
        let root = self.of(image.base.unwrap());
        lay(&image.rootfs.path, root);
        let argv: Vec<&str> = image.config.argv().collect();
        let said = said(run(root, &image.config.env, &argv));
        std::fs::remove_dir_all(root.join("app")).unwrap();
        said
    }
}

/// What is looked at on bases that are unpacked once.
type Step = fn(&Roots);

#[test]
fn functions_find_on_their_bases_what_they_need() {
    let steps: [(&str, Step); 5] = [
        ("the shell has its tools", the_shell_has_its_tools),
        ("python has numpy and is compiled", python_has_numpy_and_is_compiled),
        ("bases know certificates and zones", f09_bases_know_certificates_and_zones),
        ("a script is a small image above its base", a_script_is_a_small_image_above_its_base),
        ("a text is what its base makes of it", a_text_is_what_its_base_makes_of_it),
    ];
    let roots = Roots::unpack();
    for (name, step) in steps {
        eprintln!("step: {name}");
        step(&roots);
    }
}

fn python_has_numpy_and_is_compiled(roots: &Roots) {
    let base = shelf().open(BaseId::Python, Architecture::HOST).unwrap();
    let root = roots.of(BaseId::Python);
    let python = |text: &str| said(run(root, &base.env, &["python3", "-c", text]));
    let product = "import numpy as n; a = n.eye(300) * 2; print(int((a @ a).sum()), round(n.linalg.det(n.eye(9)*2)))";
    assert_eq!(python(product), "1200 512\n");
    let modules = "import ssl, sqlite3, json, zlib, bz2, lzma, hashlib, http.server, multiprocessing, ctypes, decimal";
    assert_eq!(python(modules), "");
    let uncompiled = "import sys, os.path, numpy, http.server\n\
                      files = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]\n\
                      print(len(files) > 100, [f for f in files if not os.path.exists(f)])";
    assert_eq!(python(uncompiled), "True []\n");
    let dangling = said(run(root, &base.env, &["/bin/sh", "-c", "find / -xdev -xtype l"]));
    assert_eq!(dangling, "");
    let shell = "import subprocess; print(subprocess.run('echo $HOME', shell=True, capture_output=True).stdout)";
    assert_eq!(python(shell), "b'/home/function\\n'\n");
}

fn the_shell_has_its_tools(roots: &Roots) {
    let base = shelf().open(BaseId::Shell, Architecture::HOST).unwrap();
    let root = roots.of(BaseId::Shell);
    let sh = |text: &str| said(run(root, &base.env, &["/bin/sh", "-c", text]));
    assert_eq!(sh("seq 4 | awk '{ s += $1 } END { print s }'"), "10\n");
    assert_eq!(sh("printf 'b\\na\\n' | sort | sed s/a/x/ | gzip | zcat | tr -d '\\n'"), "xb");
    assert_eq!(sh("bash -c 'echo ${BASH_VERSION%%.*}'; getent passwd 1000 | cut -d: -f1"), "5\nfunction\n");
    assert_eq!(sh("which sed; find / -xdev -xtype l"), "/usr/bin/sed\n", "no link leads nowhere");
    assert_eq!(sh("stat -c '%a %u' /tmp /home/function | tr '\\n' ' '"), "1777 0 755 1000 ");
    assert!(!root.join("usr/share/man").exists() && root.join("usr/share/doc/bash/copyright").exists());
}

fn f09_bases_know_certificates_and_zones(roots: &Roots) {
    for id in BaseId::ALL {
        let base = shelf().open(id, Architecture::HOST).unwrap();
        let root = roots.of(id);
        let sh = |text: &str| said(run(root, &base.env, &["/bin/sh", "-c", text]));
        let dates =
            "TZ=Europe/Berlin date -d @0 '+%H %Z'; TZ=America/New_York date -d @0 '+%H %Z'; date -d @0 '+%H %Z'";
        assert_eq!(sh(dates), "01 CET\n19 EST\n00 UTC\n", "{id}");
        let certificates: usize = sh("grep -c BEGIN /etc/ssl/certs/ca-certificates.crt").trim().parse().unwrap();
        assert!(certificates > 100, "{id}: {certificates}");
        if id == BaseId::Python {
            let text = "import ssl, datetime, zoneinfo\n\
                        print(len(ssl.create_default_context().get_ca_certs()) > 100)\n\
                        print(datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset())";
            assert_eq!(said(run(root, &base.env, &["python3", "-c", text])), "True\n2:00:00\n");
        }
    }
}

/// A whole base, compression included.
fn made_again(id: BaseId) {
    let shelf = shelf();
    let again = tempfile::tempdir().unwrap();
    let lock = format!("{id}-{}.lock", Architecture::HOST);
    std::fs::copy(shelf.folder().join(&lock), again.path().join(&lock)).unwrap();
    std::os::unix::fs::symlink(shelf.folder().join("packages"), again.path().join("packages")).unwrap();
    let rebuilt = bases::build(id, Architecture::HOST, &Shelf::new(again.path())).unwrap();
    let known = shelf.open(id, Architecture::HOST).unwrap();
    assert_eq!(rebuilt.rootfs.digest, known.rootfs.digest);
    let locks = [shelf.folder(), again.path()].map(|folder| std::fs::read_to_string(folder.join(&lock)).unwrap());
    assert_eq!(locks[0], locks[1]);
    // Another package than the lock's is refused.
    let wrong = locks[0].replacen("sha256:", "sha256:0", 1);
    std::fs::write(again.path().join(&lock), wrong).unwrap();
    std::fs::remove_file(&rebuilt.rootfs.path).unwrap();
    let exchanged = bases::build(id, Architecture::HOST, &Shelf::new(again.path()));
    assert!(matches!(exchanged, Err(BuildError::Exchanged { .. })), "{exchanged:?}");
}

/// The small one; `CROWDCLOUD_ALL_BASES` says all of them.
#[test]
fn the_same_lock_gives_the_same_base() {
    let all = std::env::var_os("CROWDCLOUD_ALL_BASES").is_some();
    for id in BaseId::ALL.into_iter().filter(|id| all || *id == BaseId::Shell) {
        made_again(id);
    }
}

#[test]
fn a_version_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let architecture = Architecture::HOST;
    let lock = folder.path().join(format!("shell-{architecture}.lock"));
    let text = format!("# shell for {architecture}, recipe 2\nbash 0.1-never sha256:00\n");
    std::fs::write(&lock, text).unwrap();
    match bases::build(BaseId::Shell, architecture, &Shelf::new(folder.path())) {
        Err(BuildError::Gone { lock: named, .. }) => assert_eq!(named, lock),
        other => panic!("{other:?}"),
    }
}

fn a_script_is_a_small_image_above_its_base(roots: &Roots) {
    let bench = bench(shelf());
    let image = bench.image(b"#!/bin/sh\necho \"from $(basename $0)\"\n");
    assert_eq!((image.base, image.report.kind), (Some(BaseId::Shell), InputKind::Script));
    assert_eq!(list(&image.rootfs.path).keys().collect::<Vec<_>>(), ["/", "/app", "/app/handler.sh"]);
    assert!(image.rootfs.size.0 <= 8192, "{:?}", image.rootfs.size);
    assert_eq!(image.config.program, "/app/handler.sh");
    assert_eq!(roots.start(&image), "from handler.sh\n");

    let python = bench.image(b"#!/usr/bin/env python3\nimport numpy\nprint(numpy.arange(4).sum())\n");
    assert_eq!(python.base, Some(BaseId::Python));
    assert_eq!(roots.start(&python), "6\n");
    let ruby = bench.convert(b"#!/usr/bin/env ruby\n").unwrap_err();
    assert!(ruby.to_string().contains("ruby"), "{ruby}");
}

fn a_text_is_what_its_base_makes_of_it(roots: &Roots) {
    let on_python = Bench { base: Some(BaseId::Python), ..bench(shelf()) };
    let python = on_python.image(b"print(6 * 7)\n");
    assert_eq!(python.config.argv().collect::<Vec<_>>(), ["/usr/bin/python3", "/app/handler.py"]);
    assert_eq!(python.config.program, "/usr/bin/python3");
    assert_eq!(roots.start(&python), "42\n");
    let on_shell = Bench { base: Some(BaseId::Shell), ..bench(shelf()) };
    let shell = on_shell.image(b"echo $((6 * 7))\n");
    assert_eq!(roots.start(&shell), "42\n");
}

#[test]
fn files_on_a_base_keep_its_links() {
    let shelf = shelf();
    let files = Tar::default()
        .dir("bin")
        .program("bin/greet", b"#!/bin/bash\necho \"hello ${1:-you}\"\n")
        .file("app/words.txt", b"x")
        .bytes();
    let on_base =
        Bench { base: Some(BaseId::Shell), command: vec!["greet".to_owned(), "all".to_owned()], ..bench(shelf) };
    let image = on_base.image(&files);
    let names: Vec<String> = list(&image.rootfs.path).into_keys().collect();
    assert_eq!(names, ["/", "/app", "/app/words.txt", "/usr", "/usr/bin", "/usr/bin/greet"]);
    assert_eq!(start(shelf, &image), "hello all\n");
}

#[test]
fn a_dynamic_executable_stands_on_the_shell_base() {
    let shelf = shelf();
    let bench = Bench { command: vec!["/app/function".into(), "--list".into()], ..bench(shelf) };
    // This very test is a dynamic executable.
    let input = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let image = images::convert(input, &bench.options()).unwrap();
    assert_eq!((image.base, image.report.kind), (Some(BaseId::Shell), InputKind::Executable));
    let base = shelf.open(BaseId::Shell, Architecture::HOST).unwrap();
    let root = unpacked(&[&base.rootfs.path, &image.rootfs.path]);
    let output = run(root.path(), &image.config.env, &["/app/function", "--list"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaint.contains("GLIBC_") {
        // This machine's libraries are newer than the base's.
        return;
    }
    assert!(said(output).contains("a_dynamic_executable_stands_on_the_shell_base"));
    let strange = bench.convert(&elf(62, Some("/lib/ld-musl-x86_64.so.1"))).unwrap_err();
    assert!(strange.to_string().contains("ld-musl"), "{strange}");
}
