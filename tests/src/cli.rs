//! A user with a shell: the literal commands, in a home folder of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home folder, a working folder, and the platform that the user has chosen.
pub struct Cli {
    folder: tempfile::TempDir,
    url: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    /// The exit status; -1 for a signal.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Cli {
    /// A user of the platform at this URL.
    ///
    /// # Panics
    /// When no folder can be made.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder, url: url.to_owned() }
    }

    /// Goes on at another address of the same platform.
    pub fn move_to(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    /// The working folder.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The user's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("home/.config/crowdcloud/config.toml")
    }

    /// A shell command, as pasted into a terminal in the working folder; `crowdcloud` is in the PATH.
    #[must_use]
    pub fn shell(&self, line: &str) -> Done {
        self.shell_with(line, &[])
    }

    /// The same, with input.
    ///
    /// # Panics
    /// When there is no shell, or the line calls a program that a new machine may lack.
    #[must_use]
    pub fn shell_with(&self, line: &str, input: &[u8]) -> Done {
        use std::io::Write as _;
        let unknown = unknown_program(line);
        assert_eq!(unknown, None, "not in the table of programs (provision/src/programs.rs): {line}");
        let home = self.folder.path().join("home");
        let program = crate::program();
        let mut path = vec![program.parent().map(Path::to_path_buf).unwrap_or_default()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.work());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CROWDCLOUD_") {
                command.env_remove(name);
            }
        }
        for kept in ["CROWDCLOUD_WASM_TOOLCHAIN", "CROWDCLOUD_NATS_SERVER"] {
            command.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        // Compilers and their caches are the machine's; what the user keeps is the user's.
        let real_home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let cache = std::env::var_os("XDG_CACHE_HOME").unwrap_or_else(|| real_home.join(".cache").into_os_string());
        let cargo = std::env::var_os("CARGO_HOME").unwrap_or_else(|| real_home.join(".cargo").into_os_string());
        let rustup = std::env::var_os("RUSTUP_HOME").unwrap_or_else(|| real_home.join(".rustup").into_os_string());
        command.env("PATH", std::env::join_paths(path).unwrap()).env("HOME", &home).env("CARGO_HOME", cargo);
        command.env("RUSTUP_HOME", rustup).env("XDG_CACHE_HOME", cache).env_remove("XDG_CONFIG_HOME");
        command.env("CROWDCLOUD_URL", &self.url).env("NO_PROXY", "127.0.0.1,localhost");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        drop(writer.join());
        Done {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A `crowdcloud` command.
    #[must_use]
    pub fn run(&self, arguments: &str) -> Done {
        self.shell(&format!("crowdcloud {arguments}"))
    }

    /// A command that must go well; its standard output without the last line's end.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, arguments: &str) -> String {
        self.run(arguments).ok()
    }

    /// A command that must go well, with `--json`.
    ///
    /// # Panics
    /// When it fails, or answers something else.
    pub fn json(&self, arguments: &str) -> serde_json::Value {
        let text = self.ok(&format!("{arguments} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    /// A command that must fail with this status and code.
    ///
    /// # Panics
    /// When it does not.
    pub fn fails(&self, arguments: &str, status: i32, code: &str) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status, status, "{arguments}: {done:?}");
        assert!(done.stderr.contains(&format!("error[{code}]")), "{arguments}: {done:?}");
        assert!(done.stdout.is_empty(), "only the result goes to standard output: {done:?}");
        done.stderr
    }

    /// Signs up.
    ///
    /// # Panics
    /// When that fails.
    pub fn signup(&self, account: &str) {
        let line = format!("crowdcloud signup --email {account}@example.com --password-stdin --account-name {account}");
        self.shell_with(&line, crate::browser::PASSWORD.as_bytes()).ok();
    }

    /// Deploys a built example under its own name.
    ///
    /// # Panics
    /// When that fails.
    pub fn deploy(&self, guest: &str, flags: &str) -> serde_json::Value {
        self.json(&format!("deploy {} --name {guest} {flags}", crate::guest(guest).display()))
    }

    /// The key in use.
    #[must_use]
    pub fn token(&self) -> String {
        self.ok("token")
    }
}

/// What a shell has without any program, and ours.
const BUILT_IN: [&str; 5] = ["crowdcloud", "cd", "echo", "printf", "test"];

/// The first program that a shell line calls and the table of programs has not.
#[must_use]
pub fn unknown_program(line: &str) -> Option<&str> {
    programs_of(line).find(|program| !BUILT_IN.contains(program) && provision::program(program).is_none())
}

/// The first word of each command of a line, without the variables that are set for it.
fn programs_of(line: &str) -> impl Iterator<Item = &str> {
    let (mut quote, mut escaped) = (None, false);
    let commands = line.split(move |char: char| {
        match (quote, char) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            (None, ';' | '|' | '&' | '\n') => return true,
            _ => {}
        }
        false
    });
    let sets = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    };
    commands.filter_map(move |command| command.split_whitespace().find(|word| !sets(word)))
}

impl Done {
    /// Standard output as text, without the last line's end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

/// What must be so of a command that has ended.
pub trait DoneExt {
    /// It went well; its standard output.
    fn ok(self) -> String;
}

impl DoneExt for Done {
    fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.text(), self.stderr);
        self.text()
    }
}

#[cfg(test)]
mod tests {
    use super::programs_of;

    #[test]
    fn programs_of_a_line() {
        let of = |line| programs_of(line).collect::<Vec<_>>();
        assert_eq!(
            of("A_B=1 crowdcloud invoke 'x; y | z' \"a \\\" && b\" && cat f | sed -n '1p' > g; echo"),
            ["crowdcloud", "cat", "sed", "echo"]
        );
        assert_eq!(of("mkdir odd && echo 'colour = 1' > odd/f || test $? = 4"), ["mkdir", "echo", "test"]);
    }
}
