//! The documents around layers: whose image it is, what it starts, and that nothing was exchanged.

use images::{Architecture, Error, InputKind, User};
use serde_json::json;

use crate::archives::{ImageOf, Layer, Layout, Tar, elf, gzip, root, sum};
use crate::look::Bench;

fn image() -> ImageOf {
    ImageOf::new(vec![Layer::gzip(root())])
}

fn arm() -> ImageOf {
    let root = Tar::default().program("bin/sh", &elf(183, None)).program("app/run", &elf(183, None));
    ImageOf { architecture: "arm64", ..ImageOf::new(vec![Layer::gzip(root)]) }
}

#[test]
fn a_configuration_comes_through() {
    let mut image = image();
    let accounts = Tar::default()
        .file("etc/passwd", b"root:x:0:0::/:/bin/sh\nweb:x:33:44::/var:/bin/false\n")
        .file("etc/group", b"root:x:0:\nstaff:x:50:web\nadm:x:60:root,web\n");
    image.layers.push(Layer::plain(accounts));
    image.config["ExposedPorts"] = json!({ "8080/tcp": {}, "53/udp": {}, "80": {} });
    image.config["WorkingDir"] = json!("/var/work");
    image.config["User"] = json!("web");
    let bench = Bench::new();
    let converted = bench.image(&image.oci());
    let config = &converted.config;
    assert_eq!(config.program, "/app/run");
    assert_eq!(config.argv().collect::<Vec<_>>(), ["/app/run", "--now"]);
    assert_eq!(config.env, [("PATH".into(), "/bin:/usr/bin".into()), ("A".into(), "b=c".into())]);
    assert_eq!(config.exposed_ports, [80, 8080]);
    let identity = &config.identity;
    assert_eq!((identity.user, identity.home.as_str()), (User { uid: 33, gid: 44 }, "/var"));
    assert_eq!(identity.groups, [50, 60]);
    assert_eq!((config.working_dir.as_str(), config.architecture), ("/var/work", Architecture::Amd64));
    assert!(crate::look::list(&converted.rootfs.path).contains_key("/var/work"), "it is made");

    for (said, expected) in [
        ("", (0, 0)),
        (":", (0, 0)),
        (":staff", (0, 50)),
        (":9", (0, 9)),
        ("7", (7, 0)),
        ("33", (33, 44)),
        ("7:8", (7, 8)),
        ("web:staff", (33, 50)),
        ("web:9", (33, 9)),
    ] {
        image.config["User"] = json!(said);
        let user = bench.image(&image.oci()).config.identity.user;
        assert_eq!((user.uid, user.gid), expected, "{said}");
    }
    for said in ["nobody-here", "web:nobody-here", ":nobody-here", "4294967295"] {
        image.config["User"] = json!(said);
        assert!(matches!(bench.convert(&image.oci()), Err(Error::InvalidConfig(_))));
    }
    image.config["User"] = json!("web");
    image.config["WorkingDir"] = json!("/etc/passwd");
    let Err(Error::InvalidConfig(why)) = bench.convert(&image.oci()) else { panic!("a file would be lost") };
    assert_eq!(why, "the working folder `/etc/passwd` is a file in the image");
}

#[test]
fn a_command_of_the_caller_replaces_the_images() {
    let bench = Bench { command: vec!["sh".into(), "-c".into(), "true".into()], ..Bench::new() };
    let config = bench.image(&image().oci()).config;
    assert_eq!((config.program.as_str(), config.entrypoint.len(), config.cmd.len()), ("/bin/sh", 3, 0));
}

#[test]
fn null_is_nothing() {
    let mut image = image();
    image.config = json!({ "Entrypoint": null, "Cmd": ["sh"], "Env": null, "ExposedPorts": null, "User": null });
    assert_eq!(Bench::new().image(&image.docker()).config.program, "/bin/sh");
    image.config = json!({ "Entrypoint": null, "Cmd": null });
    for archive in [image.oci(), image.docker()] {
        assert!(matches!(Bench::new().convert(&archive), Err(Error::MissingEntryPoint(_))));
    }
    image.config = json!(null);
    assert!(matches!(Bench::new().convert(&image.oci()), Err(Error::MissingEntryPoint(_))));
}

#[test]
fn an_entrypoint_may_be_a_text_which_is_one_word() {
    let bench = Bench::new();
    let mut image = image();
    let argv =
        |image: &ImageOf| -> Vec<String> { bench.image(&image.oci()).config.argv().map(str::to_owned).collect() };
    image.config = json!({ "Entrypoint": "/app/run", "Cmd": ["--now"] });
    assert_eq!(argv(&image), ["/app/run", "--now"]);
    image.config = json!({ "Entrypoint": ["/app/run"], "Cmd": "two words" });
    assert_eq!(argv(&image), ["/app/run", "two words"]);
    image.config = json!({ "Entrypoint": "/app/run --now" });
    let Err(Error::MissingEntryPoint(why)) = bench.convert(&image.oci()) else { panic!("nobody splits it") };
    assert_eq!(why, "`/app/run --now` is not in the image");
    // The empty word takes an entrypoint away.
    for empty in [json!(""), json!([""])] {
        image.config = json!({ "Entrypoint": empty, "Cmd": ["/app/run"] });
        assert_eq!(argv(&image), ["/app/run"]);
        image.config = json!({ "Entrypoint": empty });
        assert!(matches!(bench.convert(&image.oci()), Err(Error::MissingEntryPoint(_))));
    }
    for wrong in [json!(7), json!({}), json!(true), json!([7])] {
        image.config = json!({ "Entrypoint": wrong });
        let Err(Error::Unreadable(why)) = bench.convert(&image.oci()) else { panic!("{wrong}") };
        assert!(why.contains("the configuration is not valid"), "{why}");
    }
}

#[test]
fn a_command_whose_first_word_is_empty_starts_nothing() {
    for command in [vec![String::new()], vec![String::new(), "/app/run".to_owned()]] {
        let bench = Bench { command, ..Bench::new() };
        let Err(Error::MissingEntryPoint(why)) = bench.convert(&image().oci()) else { panic!("it starts something") };
        assert_eq!(why, "the first word of what is to be started is empty");
    }
}

#[test]
fn exposed_ports_may_be_ranges_and_what_is_no_port_is_refused() {
    let bench = Bench::new();
    let mut image = image();
    image.config["ExposedPorts"] =
        json!({ "8000-8003/tcp": {}, "8002": {}, "9000-9001": {}, "80/TCP": {}, "1-9/udp": {} });
    assert_eq!(bench.image(&image.oci()).config.exposed_ports, [80, 8000, 8001, 8002, 8003, 9000, 9001]);
    for wrong in ["http", "0", "65536", "8010-8000/tcp", "8000-", "-1", "1-2-3/tcp", "", "80 "] {
        image.config["ExposedPorts"] = json!({ wrong: {} });
        let Err(Error::InvalidConfig(why)) = bench.convert(&image.oci()) else { panic!("`{wrong}` is a port") };
        assert!(why.contains(&format!("exposes `{wrong}`")) && why.contains("EXPOSE takes"), "{why}");
    }
}

#[test]
fn every_usual_archive_is_read() {
    let bench = Bench::new();
    let image = image();
    let oci = bench.image(&image.oci());
    assert_eq!(oci.report.kind, InputKind::OciArchive);
    let docker = bench.image(&image.docker());
    assert_eq!(docker.report.kind, InputKind::DockerArchive);
    assert_eq!(bench.image(&gzip(&image.docker())).rootfs, oci.rootfs, "saved through gzip");
    assert_eq!(docker.rootfs, oci.rootfs);

    // Old dockers: a folder for each layer, some of them links to others; layers may be empty.
    let document = image.document();
    let name = &sum(&document)[7..];
    let manifest = json!([{ "Config": format!("{name}.json"), "Layers": ["b/layer.tar"] }]);
    let old = Tar::default()
        .dir("a")
        .file("./a/layer.tar", &image.layers[0].tar)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file(&format!("{name}.json"), &document)
        .file("manifest.json", manifest.to_string().as_bytes());
    assert_eq!(bench.image(&old.bytes()).rootfs, oci.rootfs);
}

#[test]
fn the_right_machines_image_is_chosen() {
    let platform = |name: &str| Some(json!({ "os": "linux", "architecture": name }));
    let both = || Layout::default().image(&image(), platform("amd64")).image(&arm(), platform("arm64"));
    let amd = Bench::new();
    let arm_bench = Bench { architecture: Architecture::Arm64, ..Bench::new() };
    for layout in [both(), both().nest(), both().nest().nest()] {
        let bytes = layout.bytes();
        assert_eq!(amd.image(&bytes).config.architecture, Architecture::Amd64);
        assert_eq!(arm_bench.image(&bytes).rootfs.digest, arm_bench.image(&arm().oci()).rootfs.digest);
    }
    // What BuildKit hangs beside images, and an image of another machine whose blobs were not saved.
    let mut layout = both().image(&image(), platform("unknown"));
    let last = layout.manifests.last_mut().unwrap();
    last["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let absent = json!({ "digest": sum(b"absent"), "size": 6, "platform": { "os": "linux", "architecture": "s390x" } });
    layout.manifests.push(absent);
    assert_eq!(amd.image(&layout.nest().bytes()).config.program, "/app/run");
}

#[test]
fn another_machines_image_is_refused_by_name() {
    let wrong = |result: Result<images::Image, Error>| match result {
        Err(Error::WrongPlatform { found, wanted }) => (found, wanted),
        other => panic!("{other:?}"),
    };
    let bench = Bench::new();
    let names = ("linux/arm64".to_owned(), "linux/amd64".to_owned());
    assert_eq!(wrong(bench.convert(&arm().oci())), names);
    assert_eq!(wrong(bench.convert(&arm().docker())), names);
    let platform = Some(json!({ "os": "linux", "architecture": "arm64" }));
    assert_eq!(wrong(bench.convert(&Layout::default().image(&arm(), platform).bytes())), names);
    let windows = ImageOf { os: "windows", ..image() };
    assert_eq!(wrong(bench.convert(&windows.oci())).0, "windows/amd64");
    // The documents say one thing, the program another.
    let mislabelled = ImageOf { architecture: "amd64", ..arm() };
    assert_eq!(wrong(bench.convert(&mislabelled.oci())), names);
    assert_eq!(wrong(bench.convert(&Layout::default().bytes())).0, "no machine");
}

/// An image of amd64 that says which one it is.
fn marked(mark: &str) -> ImageOf {
    ImageOf::new(vec![Layer::plain(root().file("mark", mark.as_bytes()))])
}

#[test]
fn f11_of_several_images_the_best_that_runs_is_chosen_and_named() {
    let platform = |architecture: &str, variant: &str| match variant {
        "" => Some(json!({ "os": "linux", "architecture": architecture })),
        _ => Some(json!({ "os": "linux", "architecture": architecture, "variant": variant })),
    };
    let bench = Bench::new();
    let chosen = |layout: Layout| {
        let image = bench.image(&layout.bytes());
        let mark = String::from_utf8(crate::look::cat(&image.rootfs.path, "mark")).unwrap();
        (mark, image.report.choice.map(|choice| choice.platform))
    };
    // No machine here has the highest level; every one has the lowest.
    let levels = |nest: bool| {
        let layout = Layout::default()
            .image(&arm(), platform("arm64", "v8"))
            .image(&marked("plain"), platform("amd64", ""))
            .image(&marked("second"), platform("amd64", "v1"))
            .image(&marked("highest"), platform("amd64", "v4"));
        if nest { layout.nest() } else { layout }
    };
    for nest in [false, true] {
        assert_eq!(chosen(levels(nest)), ("plain".to_owned(), Some("linux/amd64".to_owned())));
    }
    let notes = bench.image(&levels(true).bytes()).report.notes();
    let expected =
        "The archive holds linux/arm64/v8, linux/amd64, linux/amd64/v1, linux/amd64/v4: linux/amd64 was chosen.";
    assert_eq!(notes, [expected]);

    // A signature, which is kept as images are, and what a builder says of its image.
    let mut layout = Layout::default().image(&marked("plain"), None).image(&marked("said"), platform("unknown", ""));
    layout.manifests[1]["platform"]["os"] = json!("unknown");
    let empty = layout.blob("application/vnd.oci.empty.v1+json", b"{}");
    let signature = json!({ "schemaVersion": 2, "config": empty, "layers": [] });
    let signature = layout.blob("application/vnd.oci.image.manifest.v1+json", signature.to_string().as_bytes());
    layout.manifests.push(signature);
    assert_eq!(chosen(layout), ("plain".to_owned(), None));

    // Only what has names of its own is several images.
    let mut named = Layout::default().image(&marked("one"), None).image(&marked("two"), None);
    named.manifests[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "one" });
    named.manifests[1]["annotations"] = json!({ "org.opencontainers.image.ref.name": "two" });
    assert!(matches!(bench.convert(&named.bytes()), Err(Error::Unsupported(_))));
    let twice = Layout::default().image(&marked("one"), None).image(&marked("one"), None);
    assert_eq!(chosen(twice), ("one".to_owned(), None));
}

#[test]
fn an_exchanged_byte_is_found() {
    let bench = Bench::new();
    let broken = |archive: &[u8]| match bench.convert(archive) {
        Err(Error::BrokenDigest { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let image = ImageOf::new(vec![Layer::plain(root()), Layer::gzip(Tar::default().file("x", b"y"))]);
    let flip = |mut archive: Vec<u8>, needle: &[u8]| {
        let at = archive.windows(needle.len()).position(|window| window == needle).unwrap();
        archive[at] ^= 1;
        archive
    };
    // A file in a layer, in both kinds of archive.
    assert_eq!(broken(&flip(image.oci(), b"echo hello")), "layer 0");
    assert_eq!(broken(&flip(image.docker(), b"echo hello")), "layer 0, unpacked,");
    // A variable in the configuration, and a word of the manifest.
    assert_eq!(broken(&flip(image.oci(), b"A=b=c")), "the configuration");
    assert_eq!(broken(&flip(image.docker(), b"A=b=c")), "the configuration");
    assert_eq!(broken(&flip(image.oci(), b"schemaVersion\":2}")), "the manifest");
    // Bytes behind the tar's end count, too.
    let mut layer = Layer::plain(root());
    layer.stored.extend_from_slice(b"more");
    assert_eq!(broken(&ImageOf::new(vec![layer]).docker()), "layer 0, unpacked,");
    // The configuration's sum of another layer.
    let mut image = image;
    image.layers[1].stored = gzip(&Tar::default().file("x", b"z").bytes());
    assert_eq!(broken(&image.oci()), "layer 1, unpacked,");
}
