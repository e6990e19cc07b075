//! Embeds the portal's files: those in the folder `CROWDCLOUD_PORTAL_DIR`, or none.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const FOLDER: &str = "CROWDCLOUD_PORTAL_DIR";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={FOLDER}");
    let mut files = Vec::new();
    if let Some(folder) = env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        let folder = folder.canonicalize()?;
        // Whoever builds the portal at this moment holds this, and has made it newer than all that was built before: so
        // cargo asks again, though at its start the portal's files were not there to be newer.
        let lock = folder.with_extension("lock");
        println!("cargo::rerun-if-changed={}", lock.display());
        if let Ok(lock) = fs::File::open(lock) {
            lock.lock_shared()?;
        }
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &folder, &mut files)?;
    }
    files.sort();
    let mut table = String::from("pub(super) static FILES: &[super::File] = &[\n");
    for (path, file) in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let etag = format!("\"{}\"", &blake3::hash(&fs::read(file)?).to_hex()[..32]);
        let media_type = media_type(path);
        let file = file.to_str().ok_or_else(|| io::Error::other("a path is not UTF-8"))?;
        writeln!(
            table,
            "    super::File {{ path: {path:?}, media_type: {media_type:?}, etag: {etag:?}, bytes: include_bytes!({file:?}) }},",
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    fs::write(out.join("portal_files.rs"), table)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push((format!("/{}", name.replace('\\', "/")), path));
        }
    }
    Ok(())
}

fn media_type(path: &str) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    match (guess.type_().as_str(), guess.subtype().as_str()) {
        ("text", _) | ("application", "javascript" | "json") => format!("{guess}; charset=utf-8"),
        _ => guess.to_string(),
    }
}
