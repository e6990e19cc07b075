//! Python's pip, wherever it is.

use std::process::Command;

use anyhow::bail;

use super::apt;
use crate::steps::quiet;

/// pip, as a command without arguments; installed by apt where there is none and root may.
pub(super) fn find() -> anyhow::Result<Command> {
    let module = || {
        let mut python = Command::new("python3");
        python.args(["-m", "pip"]);
        python
    };
    let works = |command: &mut Command| quiet(command.arg("--version")).is_ok();
    if works(&mut module()) {
        return Ok(module());
    }
    if works(&mut Command::new("pip3")) {
        return Ok(Command::new("pip3"));
    }
    if apt::is_root() && provision::find("apt-get").is_some() {
        apt::install(&["python3-pip"])?;
        return Ok(module());
    }
    bail!("Python's pip is not installed")
}
