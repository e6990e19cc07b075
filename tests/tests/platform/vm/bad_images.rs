//! Images that cannot be, or that want more than an image may: each is refused at the deploy with a status and a code,
//! nothing of it stays on the node, and the next one is deployed as if nothing had been.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Cli, Platform};

use super::archive::{kind, member, oci_archive, oci_of, run};
use super::{ECHO, needs_vm_lane, program};

/// Says what is in the image behind the names in the body.
const LOOK: &str = r#"
fn main() {
    for name in std::io::stdin().lines() {
        let name = name.unwrap();
        match (std::fs::symlink_metadata(&name), std::fs::read(&name)) {
            (Err(error), _) => println!("{name}: {:?}", error.kind()),
            (Ok(_), Err(error)) => println!("{name}: is there, {:?}", error.kind()),
            (Ok(_), Ok(bytes)) => println!("{name}: {}", String::from_utf8_lossy(&bytes)),
        }
    }
}
"#;

/// Deploys what is refused; the problem document.
fn refused(user: &Cli, artifact: &str, status: u64, code: &str) -> String {
    let done = user.run(&format!("deploy {artifact} --name broken --memory 256MiB --timeout 60s --json"));
    assert!(done.status == 2 || done.status == 6, "{artifact}: {done:?}");
    let line = done.stderr.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
    let problem: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{artifact}: {problem}");
    assert!(!problem["help"].as_str().unwrap().contains("_start"), "that is for WebAssembly: {problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

/// What is in a folder, in bytes on the disk.
fn disk_use(folder: &Path) -> u64 {
    run(folder, "du -sk . | cut -f1").parse::<u64>().unwrap() << 10
}

pub(super) fn a_bad_image_is_refused_and_nothing_of_it_stays(platform: &Platform) {
    let cleo = platform.user("cleo");
    needs_vm_lane(&cleo);
    program(&cleo, "echo", ECHO);
    let (echo, folder) = (cleo.work().join("echo"), cleo.work().join("oci"));
    std::fs::create_dir_all(&folder).unwrap();
    let good = oci_archive(&folder, "[\"/bin/echo\"]", &[("bin/echo", &echo)]);
    run(&folder, "cp image.tar good.tar && rm -rf good.root && mv root good.root");
    let node = platform.data().join("nodes/local-1/images");
    let before = disk_use(&node);
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).unwrap();
        folder.join(name).display().to_string()
    };
    let whole = std::fs::read(&good).unwrap();

    // Archives that are not whole, or not what they say.
    for length in [100, 700, whole.len() / 2] {
        refused(&cleo, &file("cut.tar", &whole[..length]), 422, "image_invalid");
    }
    refused(&cleo, &file("zip", b"PK\x03\x04 and more"), 422, "image_invalid");
    let mut exchanged = whole.clone();
    let at = exchanged.windows(9).rposition(|window| window == b"a line fo").unwrap();
    exchanged[at] = b'A';
    let said = refused(&cleo, &file("exchanged.tar", &exchanged), 422, "image_invalid");
    assert!(said.contains("digest"), "{said}");

    // Names that lead out of the image.
    let elf = std::fs::read(&echo).unwrap();
    let layer = |members: &[Vec<u8>]| {
        let all = [member(kind::FILE, "bin/echo", "", &elf), members.concat(), vec![0; 1024]].concat();
        std::fs::write(folder.join("layer.tar"), all).unwrap();
        oci_of(&folder, "amd64", "[\"/bin/echo\"]", "layer.tar")
    };
    for name in ["../escaped", "bin/../../escaped", "/../escaped"] {
        let said = refused(&cleo, &layer(&[member(kind::FILE, name, "", b"x")]), 422, "image_invalid");
        assert!(said.contains("leaves the root"), "{name}: {said}");
    }
    let link = layer(&[member(kind::HARD_LINK, "shadow", "../../../../etc/shadow", b"")]);
    assert!(refused(&cleo, &link, 422, "image_invalid").contains("leaves the root"));
    let through = [member(kind::SYMLINK, "out", "/etc", b""), member(kind::HARD_LINK, "x", "out/hostname", b"")];
    refused(&cleo, &layer(&through), 422, "image_invalid");

    // What there is to start.
    refused(&cleo, &oci_of_root(&folder, "arm64", "[\"/bin/echo\"]"), 422, "wrong_architecture");
    refused(&cleo, &oci_of_root(&folder, "amd64", "[\"/bin/nothing\"]"), 422, "no_entry_point");
    refused(&cleo, &oci_of_root(&folder, "amd64", "[]"), 422, "no_entry_point");

    // A layer that becomes a thousand times as large is not unpacked to its end.
    run(&folder, "rm -rf zeros && mkdir zeros && truncate -s 512M zeros/zeros && cp -r good.root/bin zeros");
    run(&folder, "tar -C zeros -cf - . | gzip -9 > layer.tar.gz");
    let bomb = oci_of(&folder, "amd64", "[\"/bin/echo\"]", "layer.tar.gz");
    assert!(std::fs::metadata(&bomb).unwrap().len() < 4 << 20);
    let started = Instant::now();
    let said = refused(&cleo, &bomb, 413, "image_too_large");
    assert!(said.contains("for each compressed byte"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());

    // Each failed version says why, none became live, and the node keeps nothing of them.
    let versions = cleo.json("versions list broken --limit 50")["items"].clone();
    let all = versions.as_array().unwrap();
    assert!(all.len() >= 10 && all.iter().all(|version| version["state"] == "failed"), "{versions}");
    assert_eq!(cleo.run("invoke broken").status, 4);
    assert!(disk_use(&node) <= before + (1 << 20), "{} bytes stay", disk_use(&node) - before);
    assert!(!std::fs::exists("/escaped").unwrap() && !folder.join("escaped").exists());
    cleo.ok(&format!("deploy {} --name broken --memory 256MiB --timeout 60s", folder.join("good.tar").display()));
    assert_eq!(cleo.ok("invoke broken /x -d well"), "POST /x COLOUR= well");
}

/// The good image's files in another image.
fn oci_of_root(folder: &Path, architecture: &str, entrypoint: &str) -> String {
    run(folder, "tar -C good.root -cf layer.tar .");
    oci_of(folder, architecture, entrypoint, "layer.tar")
}

pub(super) fn f14_devices_are_left_out_which_is_said_and_links_stay_inside(platform: &Platform) {
    let dora = platform.user("dora");
    needs_vm_lane(&dora);
    program(&dora, "look", LOOK);
    let folder = dora.work().join("oci");
    std::fs::create_dir_all(&folder).unwrap();
    let secret = folder.join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let secret = secret.to_str().unwrap();
    let members = [
        member(kind::FILE, "bin/look", "", &std::fs::read(dora.work().join("look")).unwrap()),
        member(kind::FILE, "/inside", "", b"of the image"),
        member(kind::SYMLINK, "absolute", secret, b""),
        member(kind::SYMLINK, "climbing", "../../../../../../inside", b""),
        member(kind::BLOCK, "disk", "", b""),
        member(kind::CHARACTER, "memory", "", b""),
        vec![0; 1024],
    ];
    std::fs::write(folder.join("layer.tar"), members.concat()).unwrap();
    let image = oci_of(&folder, "amd64", "[\"/bin/look\"]", "layer.tar");
    dora.ok(&format!("deploy {image} --name look --memory 256MiB --timeout 60s"));
    let seen = dora.ok("invoke look -d '/inside\n/absolute\n/climbing\n/disk\n/memory'");
    let lines: Vec<&str> = seen.lines().collect();
    let expected = [
        "/inside: of the image",
        "/absolute: is there, NotFound",
        "/climbing: of the image",
        "/disk: NotFound",
        "/memory: NotFound",
    ];
    assert_eq!(lines, expected);
    let version = dora.json("versions show look v1");
    assert!(version["notes"].to_string().contains("2 device files were left out"), "{version}");
}
