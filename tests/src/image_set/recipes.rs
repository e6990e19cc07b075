//! The recipes. Programs of the images that are longer than a line are files in `tests/images`.

use serde_json::{Value, json};

use super::{Call, Entry, Form, Layer, Outcome, Packing, Recipe, Source, What};

/// A user that the images know.
const APP: u32 = 1234;
/// 4 MiB.
const HOLE: u64 = 4 << 20;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n\
                      app:x:1234:1234::/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\napp:x:1234:\nvideo:x:44:app\naudio:x:29:app\n";
const PYTHON: &[&str] = &["python3-minimal", "libpython3-stdlib"];
/// Names by which busybox is called.
const APPLETS: [&str; 5] = ["bin/sh", "bin/cat", "bin/id", "bin/ls", "bin/httpd"];

/// What others stand for where each kind is wanted once, and which do: a framework is polka, which is Node's; trust runs
/// Python; levels and saved are busybox; and both bad manners are those of a small server among the tests of the VM lane.
pub(super) const STOOD_FOR: [&str; 5] = ["bottle", "node", "busybox", "http-1-0", "closing"];

/// The whole set, the largest first.
#[must_use]
pub fn all() -> Vec<Recipe> {
    [frameworks(), servers(), commands(), forms(), refused()].concat()
}

/// Each kind once: what takes longest to convert and to start is in the set several times.
#[must_use]
pub fn each_kind() -> Vec<Recipe> {
    all().into_iter().filter(|recipe| !STOOD_FOR.contains(&recipe.name)).collect()
}

/// Servers that are written, and what they are written with.
fn frameworks() -> Vec<Recipe> {
    let bottle = Source::Pypi {
        wheel: "bottle==0.13.4",
        sha256: "045684fbd2764eac9cdeb824861d1551d113e8b683d8d26e296898d3dd99a12e",
        into: "srv",
    };
    let polka = Source::Npm { package: "polka@0.5.2", into: "srv" };
    vec![
        Recipe {
            layers: vec![of(
                vec![Source::Debian(PYTHON), bottle],
                vec![text("srv/app.py", include_str!("../../images/app.py"))],
            )],
            config: json!({ "Cmd": ["python3", "/srv/app.py"], "User": "app" }),
            flags: &["--kind", "server"],
            outcome: runs(
                &["by user 1234 of group 1234", "asked at port 8080, which it finds in PORT"],
                vec![
                    get("/hello/ada", "hello ada, from user 1234 of /home/app at 127.0.0.1"),
                    post("/sum", "[1, 2, 39]", "{\"sum\": 42}"),
                ],
                "",
            ),
            ..recipe("bottle", "is a web framework of PyPI's, run by a user of its own")
        },
        Recipe {
            layers: vec![debian(&["nodejs"], vec![text("srv/app.js", include_str!("../../images/app.js"))])],
            config: json!({ "Entrypoint": ["node"], "Cmd": ["/srv/app.js"], "Env": ["NODE_ENV=production"] }),
            flags: &["--kind", "server"],
            outcome: runs(
                &["`node /srv/app.js` is started"],
                vec![get("/a?b=c", "GET /a?b=c with 0 bytes"), post("/", "four", "POST / with 4 bytes")],
                "",
            ),
            ..recipe("node", "serves by Node's own http")
        },
        Recipe {
            layers: vec![of(
                vec![Source::Debian(&["nodejs"]), polka],
                vec![text("srv/server.js", include_str!("../../images/server.js"))],
            )],
            config: json!({
                "Cmd": ["node", "server.js"], "Env": ["PORT=3000"], "ExposedPorts": { "3000/tcp": {} },
                "WorkingDir": "/srv",
            }),
            outcome: runs(&["asked at port 3000, which the image names"], vec![get("/hello/ada", "hello ada")], ""),
            ..recipe("polka", "is a web framework of npm's")
        },
    ]
}

/// Servers as packages have them, and what they do otherwise than most.
fn servers() -> Vec<Recipe> {
    vec![
        Recipe {
            layers: vec![debian(
                &["nginx-light"],
                vec![
                    text("etc/nginx/conf.d/site.conf", "server { listen 80; root /srv; }\n"),
                    text("srv/index.html", "served by nginx\n"),
                    Entry { mode: 0o600, ..text("srv/of-root", "a secret") },
                    link("var/log/nginx/access.log", "/dev/stdout"),
                    link("var/log/nginx/error.log", "/dev/stderr"),
                ],
            )],
            config: json!({ "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": { "80/tcp": {} } }),
            outcome: runs(
                &["by root.", "asked at port 80, which the image names"],
                // What only root may read shows that it is not root who reads.
                vec![get("/", "served by nginx"), Call { status: 403, says: None, ..get("/of-root", "") }],
                "GET /of-root HTTP",
            ),
            ..recipe("nginx", "starts as root, drops to its user, and logs to /dev/stdout through links")
        },
        Recipe {
            layers: vec![busybox(Packing::Plain, vec![text("srv/index.html", "served by busybox\n")])],
            config: json!({ "Cmd": ["httpd", "-f", "-p", "80", "-h", "/srv"], "ExposedPorts": { "80/tcp": {} } }),
            outcome: runs(
                &["`httpd -f -p 80 -h /srv` is started in `/` by root."],
                vec![get("/", "served by busybox")],
                "",
            ),
            ..recipe("busybox", "is one static program with many names")
        },
        Recipe {
            layers: vec![debian(PYTHON, vec![text("srv/index.html", "served as in 1996\n")])],
            config: json!({
                "Entrypoint": ["python3", "-m", "http.server"], "Cmd": ["8000"], "ExposedPorts": { "8000/tcp": {} },
                "WorkingDir": "/srv",
            }),
            outcome: runs(
                &["is started in `/srv`", "asked at port 8000"],
                vec![get("/", "served as in 1996"), get("/", "served as in 1996")],
                "GET / ",
            ),
            ..recipe("http-1-0", "speaks HTTP/1.0")
        },
        Recipe {
            layers: vec![debian(PYTHON, vec![text("srv/closing.py", include_str!("../../images/closing.py"))])],
            config: json!({ "Cmd": ["python3", "/srv/closing.py"], "ExposedPorts": { "8000/tcp": {} } }),
            outcome: runs(
                &["asked at port 8000"],
                vec![
                    get("/", "GET with 0 bytes"),
                    get("/", "GET with 0 bytes"),
                    post("/", "four", "POST with 4 bytes"),
                    get("/", "GET with 0 bytes"),
                ],
                "",
            ),
            ..recipe("closing", "closes each connection without saying so")
        },
    ]
}

/// What takes a request as its input.
fn commands() -> Vec<Recipe> {
    let esbuild = Source::NpmProgram {
        package: "@esbuild/linux-x64@0.28.2",
        path: "@esbuild/linux-x64/bin/esbuild",
        into: "bin/esbuild",
    };
    let trusting = vec![
        Source::Debian(&["python3-minimal", "libpython3-stdlib", "ca-certificates", "tzdata"]),
        Source::Authority { into: "srv" },
    ];
    vec![
        Recipe {
            layers: vec![Layer { sources: vec![esbuild], ..Layer::default() }],
            config: json!({ "Entrypoint": ["/bin/esbuild"], "Cmd": ["--loader=ts"] }),
            outcome: runs(
                &["It is a command: a request is its input"],
                vec![post("/", "let answer: number = 6 * 7", "let answer = 6 * 7;")],
                "",
            ),
            ..recipe("go", "is one static program of Go's and nothing else")
        },
        Recipe {
            layers: vec![shell(Vec::new())],
            config: json!({
                "Cmd": ["/bin/sh", "-c", "head -c5 /dev/stdin >/dev/stdout; echo ' and more' >>/proc/self/fd/1; \
                                          echo for the log >/dev/stderr"],
                "User": "33",
            }),
            outcome: runs(
                &["by user 33 of group 33"],
                vec![post("/", "input and the rest", "input and more")],
                "for the log",
            ),
            ..recipe("streams", "opens /dev/stdin, /dev/stdout and /dev/stderr by name, as another user than root")
        },
        Recipe {
            layers: vec![shell(Vec::new())],
            config: json!({
                "Cmd": ["/bin/sh", "-c", "id -u; id -G; echo $HOME; uname -n; echo mine >$HOME/file && cat $HOME/file"],
                "User": "app",
            }),
            outcome: runs(
                &["also of groups 29, 44"],
                vec![get("/", "1234\n1234 29 44\n/home/app\nfunction\nmine")],
                "",
            ),
            ..recipe("groups", "has a user with further groups and a home folder")
        },
        Recipe {
            layers: vec![busybox(Packing::Gzip, Vec::new())],
            config: json!({
                "Cmd": ["/bin/sh", "-c", "echo hi >out.txt && cat out.txt && id -u"], "WorkingDir": "/work",
            }),
            outcome: runs(&["is started in `/work` by root."], vec![get("/", "hi\n0")], ""),
            ..recipe("work", "writes into a folder of root's, as an image without a user may")
        },
        Recipe {
            layers: vec![of(
                trusting,
                vec![
                    link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"),
                    text("srv/trust.py", include_str!("../../images/trust.py")),
                ],
            )],
            config: json!({ "Cmd": ["python3", "/srv/trust.py"], "Env": ["TZ=America/New_York"] }),
            outcome: runs(
                &[],
                vec![get(
                    "/",
                    "over a hundred roots\nhttps: secure\nwithout roots: refused\nBerlin: 2026-07-01T14:00:00+02:00\n\
                     here: 19:00 EST",
                )],
                "",
            ),
            ..recipe("trust", "has time zones, and asks over HTTPS whom its certificate authorities vouch for")
        },
    ]
}

/// Ways in which images are written down.
fn forms() -> Vec<Recipe> {
    let lower = vec![
        text("etc/greeting", "old\n"),
        text("etc/kept", "kept\n"),
        text("etc/gone", ""),
        text("etc/emptied/below", ""),
    ];
    let upper = vec![
        text("etc/greeting", "new\n"),
        text("etc/.wh.gone", ""),
        text("etc/emptied/.wh..wh..opq", ""),
        text("etc/emptied/above", ""),
    ];
    let look = "cat /etc/greeting /etc/kept; ls /etc/emptied; test -e /etc/gone || echo removed";
    vec![
        Recipe {
            layers: vec![
                busybox(Packing::Gzip, lower),
                Layer { entries: upper, packing: Packing::Zstd, ..Layer::default() },
            ],
            config: json!({ "Cmd": ["/bin/sh", "-c", look] }),
            outcome: runs(&[], vec![get("/", "new\nkept\nabove\nremoved")], ""),
            ..recipe("zstd", "has layers packed by gzip and by zstd; the upper one removes files of the lower")
        },
        Recipe {
            layers: vec![busybox(Packing::Gzip, Vec::new())],
            config: json!({ "Cmd": ["/bin/sh", "-c", "echo the right one"] }),
            form: Form::OciIndex,
            outcome: runs(&["linux/amd64 was chosen."], vec![get("/", "the right one")], ""),
            ..recipe("levels", "is one of several images for different machines; the others would fail")
        },
        Recipe {
            layers: vec![busybox(Packing::Plain, Vec::new())],
            config: json!({ "Entrypoint": ["sh", "-c"], "Cmd": ["cat; echo \" and $VERSION\""], "Env": ["VERSION=1"] }),
            form: Form::Docker,
            outcome: runs(&["`sh -c "], vec![post("/", "input", "input and 1")], ""),
            ..recipe("saved", "is as `docker save` writes it")
        },
        Recipe {
            layers: vec![shell(vec![
                Entry { what: What::Sparse(HOLE, "the end\n"), ..text("srv/disk", "") },
                text("srv/look.sh", "wc -c </srv/disk; tail -c8 /srv/disk; tr -d '\\000' </srv/disk | wc -c\n"),
            ])],
            form: Form::Files,
            flags: &["--command", "/bin/sh /srv/look.sh"],
            outcome: runs(
                &["`/bin/sh /srv/look.sh` is started in `/` by root."],
                vec![get("/", "4194312\nthe end\n8")],
                "",
            ),
            ..recipe("sparse", "is an archive of the files themselves, with a hole in one")
        },
    ]
}

/// What cannot run, and why.
fn refused() -> Vec<Recipe> {
    let refused = |code, because| Outcome::Refused { code, because };
    let layers = vec![busybox(Packing::Gzip, Vec::new())];
    vec![
        Recipe {
            layers: layers.clone(),
            config: json!({ "Cmd": ["/bin/sh"] }),
            form: Form::OciArm,
            outcome: refused("wrong_architecture", "the image is for linux/arm64/v8; wanted is linux/amd64"),
            ..recipe("arm", "is for another machine")
        },
        Recipe {
            layers: layers.clone(),
            outcome: refused("no_entry_point", "the image has neither an entrypoint nor a command"),
            ..recipe("idle", "starts nothing")
        },
        Recipe {
            layers,
            config: json!({ "Cmd": ["/bin/sh"], "User": "nobody-here" }),
            outcome: refused("image_invalid", "nobody-here"),
            ..recipe("stranger", "names a user that it does not know")
        },
    ]
}

fn recipe(name: &'static str, shows: &'static str) -> Recipe {
    let outcome = runs(&[], Vec::new(), "");
    Recipe { name, shows, layers: Vec::new(), config: Value::Null, form: Form::Oci, flags: &[], outcome }
}

fn runs(notes: &'static [&'static str], calls: Vec<Call>, log: &'static str) -> Outcome {
    Outcome::Runs { notes, calls, log }
}

fn get(path: &'static str, says: &'static str) -> Call {
    Call { method: "GET", path, body: "", status: 200, says: Some(says) }
}

fn post(path: &'static str, body: &'static str, says: &'static str) -> Call {
    Call { method: "POST", body, ..get(path, says) }
}

/// Debian's packages, and more.
fn debian(packages: &'static [&'static str], more: Vec<Entry>) -> Layer {
    of(vec![Source::Debian(packages)], more)
}

/// The usual small programs, and more.
fn shell(more: Vec<Entry>) -> Layer {
    debian(&["dash", "coreutils"], [vec![link("bin/sh", "dash")], more].concat())
}

/// One static program under its names, and more.
fn busybox(packing: Packing, more: Vec<Entry>) -> Layer {
    let links = APPLETS.map(|name| link(name, "busybox")).to_vec();
    Layer { packing, ..debian(&["busybox-static"], [links, more].concat()) }
}

/// What comes from these places, with the accounts and folders that packages' scripts would have made, and more.
fn of(sources: Vec<Source>, more: Vec<Entry>) -> Layer {
    let folder = |path, mode, owner| Entry { path, what: What::Folder, mode, owner };
    let usual = vec![
        text("etc/passwd", PASSWD),
        text("etc/group", GROUP),
        folder("root", 0o700, 0),
        folder("run", 0o755, 0),
        folder("tmp", 0o1777, 0),
        folder("home/app", 0o750, APP),
    ];
    Layer { sources, entries: [usual, more].concat(), packing: Packing::Gzip }
}

fn text(path: &'static str, text: &'static str) -> Entry {
    Entry { path, what: What::Text(text), mode: 0o644, owner: 0 }
}

fn link(path: &'static str, target: &'static str) -> Entry {
    Entry { what: What::Link(target), ..text(path, "") }
}
