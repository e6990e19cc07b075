//! Second factors and forgotten passwords.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tests::{DoneExt as _, Platform};

use crate::windows::Journey;

/// What an app that was told this secret shows now.
fn code_of(secret: &str) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    totp_rs::Builder::new().with_secret(secret).build().unwrap().generate(now).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_factor_is_set_up_and_asked_for() {
    let platform = Platform::start();
    let ada = Journey::SecondFactor.open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.visit("/me/security").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Set up a second factor").await;
    ada.element("svg.qr").await;
    let secret = ada.element("form .line code").await.text().await.unwrap();
    ada.fills("code", "000000").await;
    ada.presses("Turn it on").await;
    ada.sees("invalid_code").await;
    ada.fills("code", &code_of(&secret)).await;
    ada.presses("Turn it on").await;
    ada.sees("The recovery codes are shown only now.").await;
    ada.sees("10 recovery codes left").await;
    let codes = ada.element(".once pre code").await.text().await.unwrap();
    let codes: Vec<&str> = codes.lines().collect();
    assert_eq!(codes.len(), 10, "{codes:?}");

    ada.logs_out().await;
    ada.fills("email", "ada@example.org").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Log in").await;
    ada.fills("code", codes[0]).await;
    ada.presses("Log in with the code").await;
    ada.arrives("/a/ada").await;

    // The command line asks for one, too.
    let login = "crowdcloud login --email ada@example.org --password-stdin";
    let password = format!("{}\n", crate::browser::PASSWORD);
    let without = platform.cli().shell_with(login, password.as_bytes());
    assert_eq!(without.status, 2, "{without:?}");
    platform.cli().shell_with(&format!("{login} --code {}", codes[1]), password.as_bytes()).ok();

    ada.visit("/me/security").await;
    ada.sees("8 recovery codes left").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.fills("code", codes[2]).await;
    ada.presses("Turn it off").await;
    ada.sees("whoever knows your password logs in as you").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_password_is_replaced_by_the_link_of_a_mail_and_by_no_other() {
    let (smtp, mails) = mail_server();
    let config = format!(
        "[control-plane]\nsmtp-url = \"{smtp}\"\nmail-from = \"CrowdCloud <cloud@example.org>\"\n\
         portal-url = \"http://portal.test\"\n"
    );
    let platform = Platform::start_set(&config, &[]);
    let ada = Journey::Password.open(&platform.url).await;
    ada.visit("/login").await;
    ada.presses("Forgot your password?").await;
    ada.arrives("/forgot").await;
    ada.fills("email", "nobody@example.org").await;
    ada.presses("Send a link").await;
    ada.sees("If somebody has this address here, a link is on its way.").await;
    ada.visit("/reset/guess").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Set the password").await;
    ada.sees("reset_invalid").await;

    // Where mails go out, whoever signs up shows by a code that the address is theirs.
    ada.asks_to_sign_up("ada", "personal").await;
    ada.fills("code", "AAAA-AAAA").await;
    ada.presses("Sign up with the code").await;
    ada.sees("This is no code of this address").await;
    let mail = mails.recv_timeout(MAIL_WITHIN).unwrap();
    ada.fills("code", signup_code(&mail)).await;
    ada.presses("Sign up with the code").await;
    ada.arrives("/a/ada").await;

    // Whoever has an account gets a link, which works once.
    ada.logs_out().await;
    ada.visit("/forgot").await;
    ada.fills("email", "ada@example.org").await;
    ada.presses("Send a link").await;
    ada.sees("a link is on its way").await;
    let mail = mails.recv_timeout(MAIL_WITHIN).unwrap();
    let token = mail.split("http://portal.test/reset/").nth(1).unwrap();
    let token: String = token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    ada.visit(&format!("/reset/{token}")).await;
    ada.fills("password", "a battery of correct horses").await;
    ada.presses("Set the password").await;
    ada.sees("The password is set").await;
    ada.presses("Log in").await;
    ada.arrives("/login").await;
    ada.fills("email", "ada@example.org").await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Log in").await;
    ada.sees("invalid_login").await;
    ada.fills("password", "a battery of correct horses").await;
    ada.presses("Log in").await;
    ada.arrives("/a/ada").await;
    ada.logs_out().await;
    ada.visit(&format!("/reset/{token}")).await;
    ada.fills("password", crate::browser::PASSWORD).await;
    ada.presses("Set the password").await;
    ada.sees("reset_invalid").await;
}

/// The code of a mail: two halves of four, on a line of their own.
fn signup_code(mail: &str) -> &str {
    let half = |half: &str| half.len() == 4 && half.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let code = |line: &&str| line.split_once('-').is_some_and(|(first, second)| half(first) && half(second));
    mail.lines().map(str::trim).find(code).unwrap_or_else(|| panic!("no code in:\n{mail}"))
}

/// How long a mail may take.
const MAIL_WITHIN: Duration = Duration::from_secs(30);

/// A mail server: its URL, and the mails that it takes.
fn mail_server() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (sender, mails) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            drop(takes_mail(stream).map(|mail| sender.send(mail)));
        }
    });
    (url, mails)
}

fn takes_mail(mut answers: TcpStream) -> std::io::Result<String> {
    let mut lines = BufReader::new(answers.try_clone()?).lines();
    answers.write_all(b"220 mail.test\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        if line != "DATA" {
            answers.write_all(b"250 mail.test\r\n")?;
            continue;
        }
        answers.write_all(b"354 go on\r\n")?;
        let mut mail = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if line == "." {
                break;
            }
            mail.push_str(&line);
            mail.push('\n');
        }
        answers.write_all(b"250 taken\r\n")?;
        // Long lines are broken by a last `=`.
        return Ok(mail.replace("=\n", "").replace("=3D", "="));
    }
    Ok(String::new())
}
