//! Builds the portal: the Sycamore app for wasm, its JavaScript glue, its styles, the script of its large charts, one page
//! that loads them.
//! Every file but the page has its content's hash in its name, so that browsers may keep it for ever.

mod charts;

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use componentize::{TARGET, Toolchain};
use wasm_bindgen_cli_support::Bindgen;

use crate::steps::say;
use crate::workspace::Workspace;

/// What the glue is called before its hash is known.
const NAME: &str = "portal";

/// What the script of the large charts is called.
const CHARTS: &str = "charts";

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Builds it; the folder that holds its files.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let web = workspace.root.join("web");
    let mut cargo = toolchain.cargo_build(&web);
    cargo.args(["--profile", "portal"]);
    crate::steps::succeed(&mut cargo)?;
    let module = toolchain.target_dir().join(TARGET).join("portal").join("web.wasm");
    let glue = bind(&module, &workspace.target.join("portal").join("glue"))?;
    let dist = folder(workspace);
    place(&dist, &assemble(&web, glue, large_charts(&web)?)?)?;
    Ok(dist)
}

/// The script of the large charts; none where it cannot be had: each of them has a table behind it, which is then all
/// that pages show. In CI it must be there.
fn large_charts(web: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match charts::bundle(web) {
        Ok(script) => Ok(Some(script)),
        Err(error) if std::env::var_os("CI").is_some_and(|value| !value.is_empty()) => {
            bail!("the portal's large charts: {error:#}")
        }
        Err(error) => {
            say(&format!("the portal is built without its large charts: {error:#}"));
            Ok(None)
        }
    }
}

/// Whether the portal that was built has its large charts.
pub(crate) fn has_charts(workspace: &Workspace) -> bool {
    let files = std::fs::read_dir(folder(workspace)).into_iter().flatten();
    files.filter_map(Result::ok).any(|file| file.file_name().to_string_lossy().starts_with(CHARTS))
}

/// Whether there are files to embed.
pub(crate) fn is_built(workspace: &Workspace) -> bool {
    folder(workspace).join("index.html").is_file()
}

/// Held while it is built beside the gateway, whose build script waits for it, and runs again for it: it may have run
/// before, for clippy, when there was no portal.
pub(crate) fn lock(workspace: &Workspace) -> anyhow::Result<File> {
    let (_, file) = place_for(workspace)?;
    file.set_modified(SystemTime::now()).context("the portal's lock cannot be renewed")?;
    file.lock().context("the portal's lock cannot be taken")?;
    Ok(file)
}

/// The folder for its files, perhaps an empty one, and the lock beside it: the gateway's build script looks at both.
pub(crate) fn place_for(workspace: &Workspace) -> anyhow::Result<(PathBuf, File)> {
    let dist = folder(workspace);
    std::fs::create_dir_all(&dist).with_context(|| format!("{} cannot be made", dist.display()))?;
    let path = dist.with_extension("lock");
    let file = File::options().create(true).append(true).open(&path);
    Ok((dist, file.with_context(|| format!("{} cannot be written", path.display()))?))
}

/// Where its files are put.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("portal").join("dist")
}

/// The module as the glue wants it, and the glue.
struct Glue {
    script: Vec<u8>,
    module: Vec<u8>,
}

fn bind(module: &Path, out: &Path) -> anyhow::Result<Glue> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(NAME).typescript(false).remove_name_section(true);
    bindgen.web(true)?.generate(out).context("the JavaScript glue cannot be made")?;
    // As it is: Debian's binaryen (108) confuses the two tables of such a module, and no browser then starts it.
    let module = out.join(format!("{NAME}_bg.wasm"));
    Ok(Glue { script: std::fs::read(out.join(format!("{NAME}.js")))?, module: std::fs::read(module)? })
}

/// All files of the portal, with names that point at each other.
fn assemble(web: &Path, glue: Glue, charts: Option<Vec<u8>>) -> anyhow::Result<Files> {
    let source = |name: &str| {
        let path = web.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let mut files = Files::new();
    let module = add(&mut files, NAME, "wasm", glue.module);
    let script = add(&mut files, NAME, "js", glue.script);
    let style = add(&mut files, NAME, "css", styles(&web.join("style"))?.into_bytes());
    let icon = add(&mut files, "icon", "svg", source("icon.svg")?.into_bytes());
    let charts = charts.map(|script| add(&mut files, CHARTS, "js", script)).unwrap_or_default();
    let boot = fill(&source("boot.js")?, &[("glue", &script), ("wasm", &module), ("charts", &charts)]);
    let boot = add(&mut files, "boot", "js", boot.into_bytes());
    let names = [("boot", &boot), ("glue", &script), ("wasm", &module), ("style", &style), ("icon", &icon)];
    files.insert("index.html".to_owned(), fill(&source("index.html")?, &names).into_bytes());
    Ok(files)
}

/// The style sheets, in the order of their names.
fn styles(folder: &Path) -> anyhow::Result<String> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut sheets = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
    sheets.sort();
    Ok(sheets.iter().map(std::fs::read_to_string).collect::<std::io::Result<Vec<String>>>()?.concat())
}

fn add(files: &mut Files, stem: &str, extension: &str, content: Vec<u8>) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let name = format!("{stem}-{:016x}.{extension}", hasher.finish());
    files.insert(name.clone(), content);
    name
}

/// `{{name}}` becomes its value.
fn fill(template: &str, values: &[(&str, &String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// Makes the folder hold just these files. What has not changed is not touched: the gateway that embeds them is
/// then not built again.
fn place(dist: &Path, files: &Files) -> anyhow::Result<()> {
    std::fs::create_dir_all(dist).with_context(|| format!("{} cannot be made", dist.display()))?;
    for entry in std::fs::read_dir(dist)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| files.contains_key(name)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, content) in files {
        let path = dist.join(name);
        if std::fs::read(&path).ok().as_ref() != Some(content) {
            std::fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Files, add, fill, place};

    #[test]
    fn names_follow_the_content() {
        let mut files = Files::new();
        let one = add(&mut files, "portal", "css", b"a{}".to_vec());
        assert_eq!(one, add(&mut files, "portal", "css", b"a{}".to_vec()));
        assert_ne!(one, add(&mut files, "portal", "css", b"b{}".to_vec()));
        assert_eq!(one.len(), "portal-.css".len() + 16);
    }

    #[test]
    fn templates_name_files() {
        assert_eq!(fill("<a href=\"/{{style}}\">{{x}}", &[("style", &"s.css".to_owned())]), "<a href=\"/s.css\">{{x}}");
    }

    #[test]
    fn the_folder_holds_the_newest_build_only() {
        let dist = std::env::temp_dir().join(format!("crowdcloud-portal-{}", std::process::id()));
        let files = |name: &str| Files::from([(name.to_owned(), b"x".to_vec())]);
        place(&dist, &files("old.js")).unwrap();
        place(&dist, &files("new.js")).unwrap();
        let names: Vec<_> = std::fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        std::fs::remove_dir_all(&dist).unwrap();
        assert_eq!(names, ["new.js"]);
    }
}
