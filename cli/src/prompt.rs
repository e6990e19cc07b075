//! Questions on a terminal. Without one, what is missing is an error that names the flag.

use std::io::{BufRead as _, Read as _, Write as _};

use crate::args::Password;
use crate::failure::Failure;
use crate::output::Output;

/// A value: given, or asked for.
pub(crate) fn value(output: &Output, given: Option<String>, question: &str, flag: &str) -> Result<String, Failure> {
    if let Some(value) = given {
        return Ok(value);
    }
    if !output.interactive {
        return Err(Failure::usage(format!("{question} is missing"))
            .why("there is no terminal to ask on")
            .help(format!("add {flag}")));
    }
    line(question)
}

/// A password: from a file, from standard input, or asked for without an echo.
pub(crate) fn password(output: &Output, given: &Password, twice: bool) -> Result<String, Failure> {
    let unreadable = |why: std::io::Error| Failure::usage("The password cannot be read").why(why);
    let text = if let Some(path) = &given.password_file {
        std::fs::read_to_string(path)
            .map_err(|why| unreadable(why).help(format!("check the file {}", path.display())))?
    } else if given.password_stdin {
        let mut text = String::new();
        std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text).map_err(unreadable)?;
        text
    } else if output.interactive {
        let password = hidden("Password")?;
        if twice && hidden("Password again")? != password {
            return Err(Failure::usage("The two passwords differ").help("try again"));
        }
        password
    } else {
        return Err(Failure::usage("The password is missing")
            .why("there is no terminal to ask on")
            .help("add --password-stdin or --password-file FILE"));
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Asks before something that cannot be undone.
pub(crate) fn confirm(output: &Output, question: &str) -> Result<(), Failure> {
    if output.yes {
        return Ok(());
    }
    if !output.interactive {
        return Err(Failure::usage(format!("{question}: not confirmed"))
            .why("there is no terminal to ask on")
            .help("add --yes"));
    }
    match line(&format!("{question}? [y/N]"))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage("Not confirmed").help("answer y, or add --yes")),
    }
}

fn line(question: &str) -> Result<String, Failure> {
    write!(std::io::stderr(), "{question}: ")?;
    let mut text = String::new();
    if std::io::stdin().lock().read_line(&mut text)? == 0 {
        return Err(Failure::usage("The input has ended"));
    }
    Ok(text.trim().to_owned())
}

/// A line that is not shown while it is typed.
fn hidden(question: &str) -> Result<String, Failure> {
    write!(std::io::stderr(), "{question}: ")?;
    Ok(console::Term::stderr().read_secure_line()?)
}
