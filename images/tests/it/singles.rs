//! Single executables, and what there is to say where a base is missing.

use images::bases::BaseId;
use images::{Architecture, Blame, Error, InputKind};

use crate::archives::{elf, root};
use crate::look::{Bench, cat, list};

#[test]
fn a_static_executable_needs_nothing() {
    let program = elf(62, None);
    let bench = Bench::new();
    let image = bench.image(&program);
    assert_eq!((image.base, image.report.kind), (None, InputKind::Executable));
    assert_eq!((image.config.program.as_str(), image.config.working_dir.as_str()), ("/app/function", "/"));
    assert_eq!(list(&image.rootfs.path)["/app/function"].mode, "-rwxr-xr-x");
    assert_eq!(cat(&image.rootfs.path, "app/function"), program);

    let arm = Bench { architecture: Architecture::Arm64, ..Bench::new() }.image(&elf(183, None));
    assert_eq!(arm.config.architecture, Architecture::Arm64);
}

#[test]
fn another_machines_executable_is_refused_by_name() {
    for (machine, name) in [(183, "linux/arm64"), (243, "linux/machine type 243")] {
        match Bench::new().convert(&elf(machine, None)) {
            Err(Error::WrongPlatform { found, wanted }) => {
                assert_eq!((found.as_str(), wanted.as_str()), (name, "linux/amd64"))
            }
            other => panic!("{other:?}"),
        }
    }
    let mut narrow = elf(62, None);
    narrow[4] = 1;
    assert!(matches!(Bench::new().convert(&narrow), Err(Error::WrongPlatform { .. })));
}

#[test]
fn what_is_no_executable_has_no_entry_point() {
    let mut object = elf(62, None);
    object[16] = 1; // ET_REL
    let mut library = elf(62, None);
    library[16] = 3; // ET_DYN
    library[24..32].fill(0);
    for broken in [object, library, elf(62, None)[..40].to_vec()] {
        assert!(matches!(Bench::new().convert(&broken), Err(Error::MissingEntryPoint(_))));
    }
    // A loader's name that would be gigabytes long.
    let mut long = elf(62, Some("/lib/ld.so"));
    long[96..104].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert!(matches!(Bench::new().convert(&long), Err(Error::MissingEntryPoint(_))));
}

#[test]
fn a_base_that_is_not_here_is_the_hosts_fault() {
    let missing = |bench: Bench, input: &[u8]| match bench.convert(input) {
        Err(error @ Error::NoBase { .. }) => assert_eq!(error.blame(), Blame::Host),
        other => panic!("{other:?}"),
    };
    missing(Bench::new(), b"#!/bin/sh\n");
    missing(Bench::new(), &elf(62, Some("/lib64/ld-linux-x86-64.so.2")));
    missing(Bench { base: Some(BaseId::Python), ..Bench::new() }, b"print(1)\n");
    missing(Bench { base: Some(BaseId::Shell), ..Bench::starting("/app/run") }, &root().bytes());
}

#[test]
fn names_of_bases_are_known() {
    assert_eq!("python".parse::<BaseId>().unwrap(), BaseId::Python);
    assert!(matches!("perl".parse::<BaseId>(), Err(Error::Unsupported(_))));
}
