//! Embeds the portal's files: those in the folder `CROWDCLOUD_PORTAL_DIR`, or none. Each is there as it is, and as brotli
//! and gzip make it, where that is worth it.

use std::fmt::Write as _;
use std::io::Write as _;
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
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    let mut table = String::from("pub(super) static FILES: &[super::File] = &[\n");
    for (number, (path, file)) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let bytes = fs::read(file)?;
        let etag = &blake3::hash(&bytes).to_hex()[..32];
        let media_type = media_type(path);
        let brotli = kept(&bytes, brotli(&bytes)?, &out.join(format!("{number}.br")))?;
        let gzip = kept(&bytes, gzip(&bytes)?, &out.join(format!("{number}.gz")))?;
        let plain = embedded(file)?;
        writeln!(
            table,
            "    super::File {{ path: {path:?}, media_type: {media_type:?}, etag: {etag:?}, plain: {plain}, \
             brotli: {brotli}, gzip: {gzip} }},",
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    fs::write(out.join("portal_files.rs"), table)
}

/// The expression of a file's bytes.
fn embedded(file: &Path) -> io::Result<String> {
    let file = file.to_str().ok_or_else(|| io::Error::other("a path is not UTF-8"))?;
    Ok(format!("include_bytes!({file:?})"))
}

/// Writes what is a tenth shorter at least; the expression of its bytes.
fn kept(plain: &[u8], coded: Vec<u8>, file: &Path) -> io::Result<String> {
    if coded.len() + plain.len() / 10 >= plain.len() {
        return Ok("None".to_owned());
    }
    fs::write(file, coded)?;
    Ok(format!("Some({})", embedded(file)?))
}

fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut &*plain, &mut coded, &params)?;
    Ok(coded)
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
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
