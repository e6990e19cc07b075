//! Builds the portal: the Sycamore app for wasm in its parts, their JavaScript glue, its styles, the script of its large
//! charts, one page that loads them.
//! Every file but the page has a hash of its content in its path, so that browsers may keep it for ever.

mod charts;
mod module;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use componentize::{TARGET, Toolchain};

use self::module::Module;
use crate::parts;
use crate::steps::say;
use crate::workspace::Workspace;

/// The one page.
const PAGE: &str = "index.html";

/// What the script of the large charts is called.
const CHARTS: &str = "charts";

/// Files by their paths.
type Files = BTreeMap<String, Vec<u8>>;

/// Builds it; the folder that holds its files.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let web = workspace.root.join("web");
    let mut cargo = toolchain.cargo_build(&web);
    cargo.args(["--profile", "portal"]);
    crate::steps::succeed(&mut cargo)?;
    let module = toolchain.target_dir().join(TARGET).join("portal").join("web.wasm");
    let module = module::make(&module, &workspace.target.join("portal").join("module"))?;
    let dist = folder(workspace);
    place(&dist, &assemble(&web, module, large_charts(&web)?)?)?;
    Ok(dist)
}

/// Says what the files that were built weigh; the first load has a bound. It takes a while: nobody waits for it who needs
/// the files alone.
pub(crate) fn weigh(workspace: &Workspace) -> anyhow::Result<()> {
    weight::check(&folder(workspace))
}

/// The script of the large charts; none where it cannot be had: each of them has a table behind it, which is then all
/// that pages show. In CI it must be there.
fn large_charts(web: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match charts::bundle(web) {
        Ok(script) => Ok(Some(script)),
        Err(error) if parts::is_ci() => bail!("the portal's large charts: {error:#}"),
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
    folder(workspace).join(PAGE).is_file()
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

/// All files of the portal, with names that point at each other.
fn assemble(web: &Path, module: Module, charts: Option<Vec<u8>>) -> anyhow::Result<Files> {
    let source = |name: &str| {
        let path = web.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let Module { mut files, glue, parts, wasm } = module;
    let style = add(&mut files, "portal", "css", styles(&web.join("style"))?.into_bytes());
    let icon = add(&mut files, "icon", "svg", source("icon.svg")?.into_bytes());
    let charts = charts.map(|script| add(&mut files, CHARTS, "js", script)).unwrap_or_default();
    let boot = fill(&source("boot.js")?, &[("glue", &glue), ("wasm", &wasm), ("charts", &charts)]);
    let boot = add(&mut files, "boot", "js", boot.into_bytes());
    let names =
        [("boot", &boot), ("glue", &glue), ("parts", &parts), ("wasm", &wasm), ("style", &style), ("icon", &icon)];
    files.insert(PAGE.to_owned(), fill(&source(PAGE)?, &names).into_bytes());
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
    // A folder's name holds the hash of all in it: it is kept as a whole.
    let kept: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in std::fs::read_dir(dist)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    for (name, content) in files {
        let path = dist.join(name);
        if std::fs::read(&path).ok().as_ref() != Some(content) {
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let written = written.and_then(|()| std::fs::write(&path, content));
            written.with_context(|| format!("{} cannot be written", path.display()))?;
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
        place(&dist, &files("old/portal.js")).unwrap();
        place(&dist, &files("new/portal.js")).unwrap();
        let names: Vec<_> = std::fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let written = std::fs::read(dist.join("new/portal.js"));
        std::fs::remove_dir_all(&dist).unwrap();
        assert_eq!(names, ["new"]);
        assert_eq!(written.unwrap(), b"x");
    }
}
