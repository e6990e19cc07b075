//! Makes the set of images where this machine has not got it, and prints where each is; with a folder, copies them there
//! under their names, for whoever wants to deploy one or to run it elsewhere.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> ExitCode {
    match run(std::env::args_os().nth(1).map(PathBuf::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(into: Option<PathBuf>) -> anyhow::Result<()> {
    let set = tests::image_set::all();
    if let Some(folder) = &into {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for (number, recipe) in set.iter().enumerate() {
        let say = |line: &str| eprintln!("[image-set] {} of {}, {}: {line}", number + 1, set.len(), recipe.name);
        let mut archive = recipe.archive(&say)?;
        if let Some(folder) = &into {
            let copy = folder.join(format!("{}.tar", recipe.name));
            std::fs::copy(&archive, &copy).with_context(|| copy.display().to_string())?;
            archive = copy;
        }
        println!("{}\t{}", archive.display(), recipe.shows);
    }
    Ok(())
}
