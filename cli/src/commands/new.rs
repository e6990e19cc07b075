//! Makes a new function's folder from a template.

use std::path::Path;

use crate::args::New;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{table, unwritten};

/// A folder that can be copied; the template's name in its files becomes the function's.
struct Template {
    name: &'static str,
    about: &'static str,
    /// The name that the example has in its own files.
    example: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// A Rust example: its manifest, its crate, its source.
macro_rules! rust_template {
    ($name:literal, $about:literal, $example:literal, [$($more:literal),*]) => {
        Template {
            name: $name,
            about: $about,
            example: $example,
            files: &[$(
                ($more, include_str!(concat!("../../../functions-examples/", $example, "/", $more))),
            )*],
        }
    };
}

/// All templates: the very examples that the platform's tests deploy.
const TEMPLATES: &[Template] = &[
    rust_template!("rust", "an HTTP function in Rust", "hello", ["crowdcloud.toml", "Cargo.toml", "src/lib.rs"]),
    rust_template!(
        "thumbnail",
        "JPEG and PNG in, resized out",
        "thumbnail",
        ["crowdcloud.toml", "Cargo.toml", "src/lib.rs", "src/http.rs", "src/resize.rs"]
    ),
    rust_template!(
        "markdown",
        "Markdown to a page with highlighted code",
        "markdown",
        ["crowdcloud.toml", "Cargo.toml", "src/lib.rs", "src/page.rs", "src/page.css", "src/welcome.md"]
    ),
    rust_template!(
        "command",
        "a WASI command: stdin in, stdout out",
        "shout",
        ["crowdcloud.toml", "Cargo.toml", "src/lib.rs"]
    ),
];

/// A crate of its own, wherever it is put; built as the examples are.
const CRATE_END: &str = "
# A workspace of its own, wherever this folder is put.
[workspace]

[profile.release]
lto = true
codegen-units = 1
panic = \"abort\"
";

/// The examples' own versions of their dependencies; cargo drops those that are not needed.
const LOCK: &str = include_str!("../../../functions-examples/Cargo.lock");

impl Template {
    /// The file's text for a function of this name.
    fn fill(&self, file: &Path, text: &str, name: &str) -> String {
        let cargo = file.file_name().is_some_and(|file| file == "Cargo.toml");
        let manifest = file.file_name().is_some_and(|file| file == crate::manifest::FILE);
        let own = format!("name = \"{}\"", self.example);
        if cargo {
            // A crate's name does not begin with a digit.
            let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "fn-" } else { "" };
            return text.replace(&own, &format!("name = \"{prefix}{name}\"")) + CRATE_END;
        }
        if manifest {
            let text = text.replace(&own, &format!("name = \"{name}\""));
            return text.replace(&format!("{}.wasm", self.example), &format!("{name}.wasm"));
        }
        text.to_owned()
    }
}

/// `new`
pub(crate) fn new(context: &Context, args: &New) -> Result<(), Failure> {
    if args.list {
        let items: Vec<_> = TEMPLATES.iter().map(|t| serde_json::json!({ "name": t.name, "about": t.about })).collect();
        context.output.result(&serde_json::json!({ "items": items, "next": null }), || {
            table(["template", "about"], TEMPLATES.iter().map(|t| [t.name.to_owned(), t.about.to_owned()]))
        })?;
        return Ok(());
    }
    let path = args.name.clone().unwrap_or_default();
    let folder = Path::new(&path);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    super::access::parse_name(&name, "name")?;
    let template = TEMPLATES.iter().find(|template| template.name == args.template).ok_or_else(|| {
        let names: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
        Failure::usage(format!("There is no template {:?}", args.template))
            .help(format!("use one of: {}", names.join(", ")))
    })?;
    if folder.exists() && folder.read_dir().map_or(true, |mut entries| entries.next().is_some()) {
        return Err(Failure::new(Exit::Conflict, "exists", format!("{} exists and is not empty", folder.display()))
            .help("choose another name, or remove it"));
    }
    for (file, text) in template.files {
        let file = folder.join(file);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, template.fill(&file, text, &name))
            .map_err(|error| unwritten(&file.display().to_string(), error))?;
    }
    std::fs::write(folder.join("Cargo.lock"), LOCK)?;
    context.output.result(&serde_json::json!({ "name": name, "folder": path, "template": template.name }), || {
        format!("made {path} from the template {}", template.name)
    })?;
    context.output.note(format!("next: crowdcloud deploy {path}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_s_manifest_is_valid_under_another_name() {
        for template in TEMPLATES {
            let (file, text) = template.files[0];
            let text = template.fill(Path::new(file), text, "2nd-try");
            let manifest: protocol::Manifest = toml::from_str(&text).unwrap();
            assert_eq!(manifest.name.as_str(), "2nd-try", "{}", template.name);
            assert!(!text.contains(&format!("\"{}\"", template.example)), "{text}");
            let (file, text) = template.files[1];
            let cargo: toml::Table = template.fill(Path::new(file), text, "2nd-try").parse().unwrap();
            assert_eq!(cargo["package"]["name"].as_str(), Some("fn-2nd-try"));
        }
    }
}
