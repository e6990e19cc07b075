//! Archives that skopeo itself wrote.

use std::path::Path;
use std::process::Command;

use images::InputKind;

use crate::archives::{ImageOf, Layer, Tar, root};
use crate::look::Bench;

#[test]
fn archives_of_skopeo_give_the_same_image_needs_skopeo() {
    let image = ImageOf::new(vec![
        Layer::gzip(root().file("etc/old", b"1").file("big", &[7; 400_000])),
        Layer::gzip(Tar::default().file("etc/.wh.old", b"").symlink("etc/new", "../big")),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.tar");
    std::fs::write(&ours, image.oci()).unwrap();
    let bench = Bench::new();
    let expected = bench.image(&image.oci());
    for (transport, kind) in [("oci-archive", InputKind::OciArchive), ("docker-archive", InputKind::DockerArchive)] {
        let theirs = folder.path().join(transport);
        copy(&format!("oci-archive:{}", ours.display()), transport, &theirs);
        let converted = bench.image(&std::fs::read(&theirs).unwrap());
        assert_eq!(converted.report.kind, kind);
        assert_eq!((converted.rootfs, converted.config), (expected.rootfs.clone(), expected.config.clone()));
    }
}

fn copy(from: &str, transport: &str, to: &Path) {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", from]);
    let output = skopeo.arg(format!("{transport}:{}:a/b:latest", to.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
