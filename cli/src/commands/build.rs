//! Builds a function: the manifest's own command, in its folder.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::args::Build;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::manifest::Project;
use crate::output::Output;

/// `build`
pub(crate) async fn build(context: &Context, args: &Build) -> Result<(), Failure> {
    let project = Project::open(&args.dir)?;
    let artifact = run(&context.output, &project).await?;
    let size = protocol::ByteSize(std::fs::metadata(&artifact)?.len());
    context
        .output
        .result(&serde_json::json!({ "name": project.manifest.name, "artifact": artifact, "size": size }), || {
            artifact.display().to_string()
        });
    Ok(())
}

/// Builds what needs building, and says where the artifact is.
pub(super) async fn run(output: &Output, project: &Project) -> Result<PathBuf, Failure> {
    let artifact = project.artifact();
    if let Some(command) = &project.manifest.build {
        output.note(format!("building {}: {command}", project.manifest.name));
        let status = Command::new("sh")
            .args(["-c", command])
            .current_dir(&project.dir)
            .stdin(Stdio::null())
            // The result of this program is not the compiler's chatter.
            .stdout(std::io::stderr())
            .status()
            .await?;
        if !status.success() {
            return Err(Failure::new(Exit::Function, "build_failed", format!("`{command}` failed"))
                .why(format!("{status} in {}", project.dir.display()))
                .help("its messages are above; correct the code, then try again"));
        }
    }
    match std::fs::metadata(&artifact) {
        Ok(metadata) if metadata.is_file() => Ok(artifact),
        _ => Err(Failure::new(Exit::Usage, "no_artifact", format!("There is no artifact at {}", artifact.display()))
            .why(match &project.manifest.build {
                Some(command) => format!("`{command}` has not made it"),
                None => "crowdcloud.toml has no `build`, so it must be there already".to_owned(),
            })
            .help("correct `artifact` or `build` in crowdcloud.toml")),
    }
}
