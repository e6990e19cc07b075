//! Makes a new function's folder from a template.

use std::path::Path;

use crate::args::New;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table;

/// A folder that can be copied: `{{name}}` in its files becomes the function's name.
struct Template {
    name: &'static str,
    about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// All templates.
const TEMPLATES: &[Template] = &[];

/// `new`
pub(crate) fn new(context: &Context, args: &New) -> Result<(), Failure> {
    if args.list {
        let items: Vec<_> = TEMPLATES.iter().map(|t| serde_json::json!({ "name": t.name, "about": t.about })).collect();
        context.output.result(&serde_json::json!({ "items": items, "next": null }), || {
            table(["template", "about"], TEMPLATES.iter().map(|t| [t.name.to_owned(), t.about.to_owned()]))
        });
        return Ok(());
    }
    let path = args.name.clone().unwrap_or_default();
    let folder = Path::new(&path);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    super::access::function_name(&name)?;
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
        std::fs::write(file, text.replace("{{name}}", &name))?;
    }
    context.output.result(&serde_json::json!({ "name": name, "folder": path, "template": template.name }), || {
        format!("made {path} from the template {}", template.name)
    });
    context.output.note(format!("next: crowdcloud deploy {path}"));
    Ok(())
}
