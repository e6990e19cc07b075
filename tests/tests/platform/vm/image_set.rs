//! Images as people have them, made here of Debian's packages without a container tool, and run as they are: what runs
//! under `docker run` runs here.

use std::path::{Path, PathBuf};

use provision::{Apt, apt};
use serde_json::{Value, json};
use tests::{Cli, Platform, wait_until};

use super::archive::{oci_with, run};
use super::{ECHO, needs_vm_lane, program};
use crate::run_path::{get, plain};

/// A folder in which images are made, one after the other.
struct Workshop<'a> {
    user: &'a Cli,
    folder: PathBuf,
}

/// What an image is made of.
struct Recipe<'r> {
    name: &'r str,
    packages: &'r [&'r str],
    /// Files by path and content.
    files: &'r [(&'r str, &'r str)],
    config: Value,
    /// How its layer is packed: a command line that makes `layer.tar…` of `root`.
    pack: &'r str,
}

const PLAIN: &str = "tar --numeric-owner --owner=0 --group=0 -C root -cf layer.tar . && echo layer.tar";
const SPARSE: &str = "tar --sparse --numeric-owner --owner=0 --group=0 -C root -cf layer.tar . && gzip -1 layer.tar && echo layer.tar.gz";
const ACCOUNTS: [(&str, &str); 2] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\napp:x:1234:1234::/home/app:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\nwww-data:x:33:\napp:x:1234:\nvideo:x:44:app\naudio:x:29:app\n"),
];

impl Workshop<'_> {
    /// Makes the image and deploys it.
    fn deploy(&self, recipe: &Recipe<'_>, flags: &str) -> Value {
        run(&self.folder, "rm -rf root layer* && mkdir -p root/tmp root/run root/home/app && chmod 1777 root/tmp");
        let root = self.folder.join("root");
        unpack(recipe.packages, &root);
        for (path, content) in recipe.files.iter().chain(&ACCOUNTS) {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, content).unwrap();
        }
        let layer = run(&self.folder, recipe.pack);
        let image = oci_with(&self.folder, "amd64", &recipe.config.to_string(), &layer);
        self.user.ok(&format!("deploy {image} --name {} --timeout 60s --memory 256MiB {flags}", recipe.name));
        self.user.json(&format!("versions show {} v1", recipe.name))
    }
}

/// Packages with all that they need, fetched once for this machine. Their scripts do not run.
fn unpack(packages: &[&str], root: &Path) {
    if packages.is_empty() {
        return;
    }
    let kept = provision::cache_dir().join("image-set");
    std::fs::create_dir_all(&kept).unwrap();
    let wanted: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
    let fetch = |apt: &Apt| -> Result<Vec<apt::Package>, provision::Error> {
        let resolved = apt.resolve(&wanted)?;
        let is_there = |file: &str| kept.join(file).exists();
        let all: Vec<String> = resolved.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
        let missing: Vec<String> = all.iter().filter(|one| !is_there(&format!("{one}.done"))).cloned().collect();
        if !missing.is_empty() {
            apt.download(&missing, &kept)?;
            for one in &missing {
                std::fs::write(kept.join(format!("{one}.done")), "").unwrap();
            }
        }
        Ok(resolved)
    };
    let resolved = Apt::open().unwrap().attempt(&mut |apt| fetch(apt)).unwrap();
    for package in resolved {
        let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
        let archives = apt::archives(&kept).unwrap();
        let found = archives.iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&start));
        apt::unpack(found.unwrap(), root).unwrap();
    }
}

/// What a server answers, by its own address.
fn answer(platform: &Platform, key: &str, name: &str) -> String {
    let answer = get(&format!("{}/f/ada/{name}/", platform.url), Some(key));
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    String::from_utf8(plain(&answer)).unwrap()
}

#[test]
fn f08_images_of_servers_run_as_under_docker() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    let workshop = Workshop { user: &ada, folder: ada.work().join("set") };
    std::fs::create_dir_all(&workshop.folder).unwrap();
    let key = ada.token();

    // Root listens at port 80, writes its files, drops to its own user, and logs to the standard streams.
    let nginx = "user www-data; daemon off; worker_processes 1; pid /run/nginx.pid; error_log /dev/stderr;\n\
                 events { worker_connections 64; }\n\
                 http { access_log /dev/stdout; server { listen 80; root /srv; } }\n";
    let version = workshop.deploy(
        &Recipe {
            name: "nginx",
            packages: &["nginx-light"],
            files: &[("etc/nginx/own.conf", nginx), ("srv/index.html", "served by nginx")],
            config: json!({ "Cmd": ["nginx", "-c", "/etc/nginx/own.conf"], "ExposedPorts": { "80/tcp": {} } }),
            pack: PLAIN,
        },
        "",
    );
    assert_eq!((&version["kind"], version["notes"][0].as_str().unwrap().ends_with("root.")), (&"server".into(), true));
    assert_eq!(answer(&platform, &key, "nginx"), "served by nginx");
    wait_until("nginx has logged", std::time::Duration::from_secs(20), || ada.ok("logs nginx").contains("GET / HTTP"));

    let framework = "import bottle, os, socket\n\
                     @bottle.route('/')\n\
                     def home():\n\
                     \x20   host = socket.gethostbyname(socket.gethostname())\n\
                     \x20   return f\"{os.getuid()} {os.environ['HOME']} {host}\"\n\
                     bottle.run(host='0.0.0.0', port=int(os.environ['PORT']))\n";
    workshop.deploy(
        &Recipe {
            name: "bottle",
            packages: &["python3-bottle"],
            files: &[("srv/app.py", framework)],
            config: json!({ "Cmd": ["python3", "/srv/app.py"], "User": "app" }),
            pack: PLAIN,
        },
        "--kind server",
    );
    assert_eq!(answer(&platform, &key, "bottle"), "1234 /home/app 127.0.0.1");

    // HTTP/1.0, and then a server that closes each connection behind its answer without saying so.
    let closing = "import http.server, os, socketserver\n\
                   class Handler(http.server.BaseHTTPRequestHandler):\n\
                   \x20   protocol_version = os.environ['SPEAKS']\n\
                   \x20   def do_GET(self):\n\
                   \x20       self.send_response(200)\n\
                   \x20       self.send_header('content-length', '4')\n\
                   \x20       self.end_headers()\n\
                   \x20       self.wfile.write(b'well')\n\
                   \x20       self.close_connection = True\n\
                   http.server.ThreadingHTTPServer(('', 8000), Handler).serve_forever()\n";
    for (name, speaks) in [("old", "HTTP/1.0"), ("closing", "HTTP/1.1")] {
        let env = format!("SPEAKS={speaks}");
        workshop.deploy(
            &Recipe {
                name,
                packages: &["python3-minimal", "libpython3-stdlib"],
                files: &[("srv/app.py", closing)],
                config: json!({
                    "Cmd": ["python3", "/srv/app.py"], "Env": [env], "ExposedPorts": { "8000/tcp": {} },
                }),
                pack: SPARSE,
            },
            "",
        );
        assert_eq!(answer(&platform, &key, name), "well");
    }

    let node = "require('http').createServer((_, answer) => answer.end(process.version)).listen(process.env.PORT)";
    workshop.deploy(
        &Recipe {
            name: "node",
            packages: &["nodejs"],
            files: &[("srv/app.js", node)],
            config: json!({ "Entrypoint": ["node"], "Cmd": ["/srv/app.js"], "Env": ["PORT=3000"] }),
            pack: PLAIN,
        },
        "--kind server --cpus 2",
    );
    assert!(answer(&platform, &key, "node").starts_with('v'));

    workshop.deploy(
        &Recipe {
            name: "busybox",
            packages: &["busybox-static"],
            files: &[("srv/index.html", "served by busybox")],
            config: json!({ "Cmd": ["busybox", "httpd", "-f", "-p", "80", "-h", "/srv"], "ExposedPorts": { "80/tcp": {} } }),
            pack: PLAIN,
        },
        "",
    );
    assert_eq!(answer(&platform, &key, "busybox"), "served by busybox");
}

#[test]
fn f08_images_of_commands_run_as_under_docker() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    needs_vm_lane(&ada);
    let workshop = Workshop { user: &ada, folder: ada.work().join("set") };
    std::fs::create_dir_all(&workshop.folder).unwrap();
    let shell = |name: &str, packages: &[&str], more: Value, script: &str| {
        let mut config = json!({ "Cmd": ["/bin/sh", "-c", script] });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let packages: Vec<&str> = ["dash", "coreutils"].iter().chain(packages).copied().collect();
        workshop.deploy(&Recipe { name, packages: &packages, files: &[], config, pack: PLAIN }, "");
        ada.ok(&format!("invoke {name} -d input"))
    };
    // No user, and a folder of root's.
    let said = shell("work", &[], json!({ "WorkingDir": "/work" }), "echo hi > out.txt && cat out.txt && id -u");
    assert_eq!(said, "hi\n0");
    let said =
        shell("groups", &[], json!({ "User": "app" }), "id -u; id -G; echo $HOME; hostname 2>/dev/null || uname -n");
    assert_eq!(said, "1234\n1234 29 44\n/home/app\nfunction");
    let said =
        shell("streams", &[], json!({ "User": "33" }), "head -c5 /dev/stdin >/dev/stdout; echo log >/dev/stderr");
    assert_eq!(said, "input");
    let said = shell("zones", &["tzdata"], json!({}), "TZ=Europe/Berlin date -d @0 +%H; cat /etc/hosts | wc -l");
    assert_eq!(said, "01\n3");

    // From nothing, and of several levels and machines.
    program(&ada, "echo", ECHO);
    let echo = ada.work().join("echo").display().to_string();
    let pack = format!("mkdir -p root/bin && cp {echo} root/bin/echo && {PLAIN}");
    let recipe = Recipe {
        name: "scratch",
        packages: &[],
        files: &[],
        config: json!({ "Entrypoint": ["/bin/echo"] }),
        pack: &pack,
    };
    workshop.deploy(&recipe, "");
    assert_eq!(ada.ok("invoke scratch /x -d body"), "POST /x COLOUR= body");
}
