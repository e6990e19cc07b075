//! From the compiled module to what browsers load: the module of the first page, its JavaScript glue, and the parts of
//! the portal that come when a page of theirs is shown (`web/src/part.rs`).
//!
//! All of them stand in one folder and name each other by relative paths; they belong together, so the folder has one
//! hash of all in its name.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::{Context, anyhow};
use wasm_bindgen_cli_support::Bindgen;
use wasm_split_cli_support::{Options, transform};

use super::Files;

/// What the folder, the glue and the first module are called.
const NAME: &str = "portal";

/// The glue's script.
const GLUE: &str = "portal.js";

/// The script that brings the parts.
const PARTS: &str = "parts.js";

/// The files of the module, and the paths of those that the first page loads.
pub(super) struct Module {
    pub(super) files: Files,
    pub(super) glue: String,
    pub(super) parts: String,
    pub(super) wasm: String,
}

/// Splits the module and makes its glue, by way of the folder `work`.
pub(super) fn make(compiled: &Path, work: &Path) -> anyhow::Result<Module> {
    if work.exists() {
        std::fs::remove_dir_all(work).with_context(|| format!("{} cannot be removed", work.display()))?;
    }
    let out = work.join("out");
    let first = work.join("first.wasm");
    split(compiled, &first, &out)?;
    let parts = read(&out)?;
    bind(&first, &out)?;
    let mut made = read(&out)?;
    // The glue's maker cleans its own module.
    for (name, module) in parts.into_iter().filter(|(name, _)| name.ends_with(".wasm")) {
        let module = without_names(&module).with_context(|| format!("{name} is no module"))?;
        made.insert(name, module);
    }
    let mut hasher = DefaultHasher::new();
    made.hash(&mut hasher);
    let folder = format!("{NAME}-{:016x}", hasher.finish());
    let path = |name: &str| format!("{folder}/{name}");
    Ok(Module {
        glue: path(GLUE),
        parts: path(PARTS),
        wasm: path(&format!("{NAME}_bg.wasm")),
        files: made.into_iter().map(|(name, content)| (path(&name), content)).collect(),
    })
}

fn split(compiled: &Path, first: &Path, out: &Path) -> anyhow::Result<()> {
    let module = std::fs::read(compiled).with_context(|| format!("{} cannot be read", compiled.display()))?;
    let (glue, parts) = (format!("./{GLUE}"), format!("./{PARTS}"));
    let mut options = Options::new(&module);
    options.output_dir = out;
    options.main_out_path = first;
    options.main_module = &glue;
    options.link_name = &parts;
    transform(options).map_err(|error| anyhow!("the portal's module cannot be split: {error:#}"))?;
    Ok(())
}

fn bind(first: &Path, out: &Path) -> anyhow::Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(first).out_name(NAME).typescript(false).remove_name_section(true);
    // The parts call what the linker exported.
    bindgen.keep_lld_exports(true);
    // As it is: wasm-opt would take off a sixteenth of the module, and nothing of what is sent, which is compressed.
    bindgen.web(true)?.generate(out).context("the JavaScript glue cannot be made")
}

/// The module without its custom sections, which no browser needs: most of them is functions' names.
fn without_names(module: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut kept = header.to_vec();
    while let Some((&kind, after)) = rest.split_first() {
        let (size, content) = leb128(after)?;
        let length = rest.len() - content.len() + size;
        let (section, following) = rest.split_at_checked(length)?;
        if kind != CUSTOM {
            kept.extend_from_slice(section);
        }
        rest = following;
    }
    Some(kept)
}

/// A section that WebAssembly itself gives no meaning.
const CUSTOM: u8 = 0;

/// A number, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

fn read(folder: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::without_names;

    #[test]
    fn names_are_left_out() {
        let header = b"\0asm\x01\0\0\0";
        let (types, names) = ([1, 1, 0], [&[0, 0x81, 0x01, 4][..], b"name", &[7; 124]].concat());
        let module = [&header[..], &names, &types, &names].concat();
        assert_eq!(without_names(&module).unwrap(), [&header[..], &types].concat());
        assert_eq!(without_names(&module[..module.len() - 1]), None);
    }
}
