//! Builds a function: by the manifest's own command, or, where there is a Cargo.toml, from Rust to a component.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::args::Build;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::manifest::Project;
use crate::output::Output;

/// What to do where a build does not make what the manifest names.
const CORRECT: &str = "correct `artifact` or `build` in crowdcloud.toml";

/// `build`
pub(crate) async fn build(context: &Context, args: &Build) -> Result<(), Failure> {
    let project = Project::open(&args.dir)?;
    let artifact = run(&context.output, &project).await?;
    let size = protocol::ByteSize(std::fs::metadata(&artifact)?.len());
    context
        .output
        .result(&serde_json::json!({ "name": project.manifest.name, "artifact": artifact, "size": size }), || {
            artifact.display().to_string()
        })?;
    Ok(())
}

/// Builds what needs building, and says where the artifact is.
pub(super) async fn run(output: &Output, project: &Project) -> Result<PathBuf, Failure> {
    match &project.manifest.build {
        Some(command) => by_command(output, project, command).await?,
        None if is_rust(project) => by_cargo(output, project, &project.artifact()).await?,
        None => {}
    }
    artifact(project).map_err(|missing| missing.why(never_made(project)).help(CORRECT))
}

/// Where the artifact is that an earlier build has made.
pub(super) fn built(project: &Project) -> Result<PathBuf, Failure> {
    artifact(project).map_err(|missing| {
        if project.manifest.build.is_none() && !is_rust(project) {
            return missing.why(never_made(project)).help(CORRECT);
        }
        let build = format!("crowdcloud build {}", project.dir.display());
        missing
            .why("it was not built yet, and --no-build builds nothing")
            .help(format!("leave out --no-build, or build it before: {build}"))
    })
}

fn artifact(project: &Project) -> Result<PathBuf, Failure> {
    let artifact = project.artifact();
    match std::fs::metadata(&artifact) {
        Ok(metadata) if metadata.is_file() => Ok(artifact),
        _ => Err(Failure::new(Exit::Usage, "no_artifact", format!("There is no artifact at {}", artifact.display()))),
    }
}

fn never_made(project: &Project) -> String {
    match &project.manifest.build {
        Some(command) => format!("`{command}` has not made it"),
        None if is_rust(project) => "cargo has not made it".to_owned(),
        None => "crowdcloud.toml has no `build`, and there is no Cargo.toml: it must be there already".to_owned(),
    }
}

fn is_rust(project: &Project) -> bool {
    project.dir.join("Cargo.toml").is_file()
}

/// The manifest's own command.
async fn by_command(output: &Output, project: &Project, command: &str) -> Result<(), Failure> {
    output.note(format!("building {}: {command}", project.manifest.name));
    let status = Command::new("sh")
        .args(["-c", command])
        .current_dir(&project.dir)
        .stdin(Stdio::null())
        // The result of this program is not the compiler's chatter.
        .stdout(std::io::stderr())
        .status()
        .await?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(Exit::Function, "build_failed", format!("`{command}` failed"))
        .why(format!("{status} in {}", project.dir.display()))
        .help("its messages are above; correct the code, then try again"))
}

/// From Rust source to a component.
async fn by_cargo(output: &Output, project: &Project, artifact: &Path) -> Result<(), Failure> {
    output.note(format!("building {} with cargo", project.manifest.name));
    let (output, dir, artifact) = (output.clone(), project.dir.clone(), artifact.to_owned());
    let built = tokio::task::spawn_blocking(move || {
        let toolchain = componentize::Toolchain::find(&|step| output.note(step)).map_err(|error| {
            Failure::new(Exit::Platform, "no_toolchain", "There is no compiler for wasm here").why(error)
        })?;
        let module = componentize::build(&toolchain, &dir).map_err(|error| {
            Failure::new(Exit::Function, "build_failed", "The function could not be built")
                .why(error)
                .help("its messages are above; correct the code, then try again")
        })?;
        let component = componentize::component(&std::fs::read(module)?)
            .map_err(|error| Failure::new(Exit::Function, "build_failed", "No component could be made").why(error))?;
        if let Some(folder) = artifact.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&artifact, component)
            .map_err(|error| crate::output::unwritten(&artifact.display().to_string(), error))
    });
    built.await.map_err(|error| Failure::new(Exit::Platform, "build_failed", "The build broke off").why(error))?
}
