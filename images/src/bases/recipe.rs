//! What each base is made of: packages, and what their scripts would have written on a machine that installs them.

use super::BaseId;
use crate::image::{Architecture, User};

/// Raised when a recipe changes: bases of an older one are made anew.
pub(super) const RECIPE: u32 = 2;

const SHELL: [&str; 16] = [
    "base-files",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "libc-bin",
    "libgcc-s1",
    "libstdc++6",
    "mawk",
    "sed",
    "tar",
    "tzdata",
];
/// OpenBLAS, and not the reference BLAS: numpy's products are many times faster with it.
const PYTHON: [&str; 3] = ["python3", "python3-numpy", "libopenblas0-pthread"];

/// Needed to install packages, and by nothing that runs in a base.
const LEFT_OUT: [&str; 4] = ["debconf", "dpkg", "libmd0", "perl-base"];

/// Nobody reads it in a base. Licences stay.
const DROPPED: [&str; 20] = [
    "boot/",
    "usr/games/",
    "usr/include/",
    "usr/lib/python3/dist-packages/numpy/core/include/",
    "usr/lib/systemd/",
    "usr/share/applications/",
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/doc-base/",
    "usr/share/gdb/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/menu/",
    "usr/share/pixmaps/",
    "usr/share/zoneinfo/right/",
    "var/cache/",
    "var/lib/",
    "var/log/",
];
const DOC: &str = "usr/share/doc/";
const COPYRIGHT: &str = "/copyright";
/// Certificates that the packages trust, one in each file.
pub(super) const TRUSTED: &str = "/usr/share/ca-certificates/";
/// All of them, where programs look for them.
pub(super) const TRUSTED_TOGETHER: &str = "etc/ssl/certs/ca-certificates.crt";
const PACKAGES_OF_PYTHON: &str = "usr/lib/python3/dist-packages/";

/// Folders that no package has.
pub(super) const FOLDERS: [(&str, u16); 10] = [
    ("app", 0o755),
    ("dev", 0o755),
    ("home/function", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr/local/bin", 0o755),
    ("var/tmp", 0o1777),
];

/// What a Debian of today has at its root: all programs and libraries are below `/usr`.
pub(super) const ROOT_LINKS: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")];

/// What a base is made of.
pub(super) struct Recipe {
    pub(super) packages: Vec<&'static str>,
    /// Links that scripts would have made: where, and to what. Only where nothing is yet.
    pub(super) links: Vec<(String, String)>,
    pub(super) files: Vec<(&'static str, String)>,
    pub(super) env: Vec<(String, String)>,
    /// Whether there are Python sources to compile.
    pub(super) python: bool,
}

/// The recipe of a base.
pub(super) fn of(base: BaseId, architecture: Architecture) -> Recipe {
    let mut recipe = Recipe {
        packages: SHELL.to_vec(),
        links: vec![
            link("usr/bin/sh", "dash"),
            link("usr/bin/awk", "mawk"),
            link("usr/bin/which", "which.debianutils"),
            link("usr/sbin/rmt", "rmt-tar"),
            // Where OpenSSL looks.
            link("usr/lib/ssl/cert.pem", &format!("/{TRUSTED_TOGETHER}")),
            link("usr/lib/ssl/certs", "/etc/ssl/certs"),
            link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
        ],
        files: files(),
        env: vec![variable("HOME", "/home/function"), variable("LANG", "C.UTF-8")],
        python: false,
    };
    if base == BaseId::Python {
        recipe.packages.extend(PYTHON);
        let libraries = format!("usr/lib/{}", architecture.multiarch());
        for library in ["libblas.so.3", "liblapack.so.3", "libopenblas.so.0"] {
            recipe.links.push(link(&format!("{libraries}/{library}"), &format!("openblas-pthread/{library}")));
        }
        // The root is read-only, and all that is on it is compiled already.
        recipe.env.push(variable("PYTHONDONTWRITEBYTECODE", "1"));
        recipe.env.push(variable("PYTHONUNBUFFERED", "1"));
        recipe.python = true;
    }
    recipe
}

/// Whether a package is only there to install others.
pub(super) fn is_left_out(package: &str) -> bool {
    LEFT_OUT.contains(&package)
}

/// Whether a file of a package is kept.
pub(super) fn keeps(path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let path = path.trim_start_matches("./");
    if path.starts_with(DOC) {
        return path.ends_with(COPYRIGHT) || path.trim_start_matches(DOC).trim_end_matches('/').split('/').count() == 1;
    }
    let is_test = path.strip_prefix(PACKAGES_OF_PYTHON).is_some_and(|path| path.split('/').any(|part| part == "tests"));
    !is_test && !DROPPED.iter().any(|dropped| path.starts_with(dropped))
}

fn files() -> Vec<(&'static str, String)> {
    let User { uid, gid } = User::FUNCTION;
    vec![
        (
            "etc/passwd",
            format!(
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                 function:x:{uid}:{gid}:function:/home/function:/bin/sh\n"
            ),
        ),
        ("etc/group", format!("root:x:0:\nnogroup:x:65534:\nfunction:x:{gid}:\n")),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("etc/timezone", "Etc/UTC\n".to_owned()),
        ("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n".to_owned()),
    ]
}

fn link(path: &str, target: &str) -> (String, String) {
    (path.to_owned(), target.to_owned())
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_stay_and_manuals_go() {
        for kept in ["./usr/bin/env", "./usr/share/doc/", "./usr/share/doc/bash/", "./usr/share/doc/bash/copyright"] {
            assert!(keeps(kept.as_bytes()), "{kept}");
        }
        for dropped in [
            "./usr/share/doc/bash/README",
            "./usr/share/man/man1/x.1",
            "./usr/lib/python3/dist-packages/numpy/core/tests/x.py",
        ] {
            assert!(!keeps(dropped.as_bytes()), "{dropped}");
        }
    }
}
