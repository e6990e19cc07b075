//! Programs of the tests' own, from one file of Rust each: compiled once, whichever tests run them.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// They are alone in their guest, and small.
const FLAGS: [&str; 8] =
    ["--edition", "2024", "-C", "opt-level=1", "-C", "target-feature=+crt-static", "-C", "strip=symbols"];

/// A static program from this source; do not change it, others run it too.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn compiled(source: &str) -> PathBuf {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let digest = Sha256::new().chain_update(version).chain_update(FLAGS.concat()).chain_update(source).finalize();
    let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let folder = crate::target().join("programs-of-tests");
    let program = folder.join(&name);
    if !program.is_file() {
        // In a folder of its own until it is whole: another test may compile the same.
        let own = folder.join(format!("{name}.{}", std::process::id()));
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("program.rs"), source).unwrap();
        let done = Command::new("rustc").args(FLAGS).args(["-o", "program", "program.rs"]).current_dir(&own).status();
        assert!(done.unwrap().success(), "it does not compile:\n{source}");
        std::fs::rename(own.join("program"), &program).unwrap();
        std::fs::remove_dir_all(&own).unwrap();
    }
    program
}
