//! Who the user is: signup, login, logout, whoami, token.

use std::io::Read as _;

use protocol::Code;
use protocol::api::{CreateKey, Key, Login as LoginBody, LoginCode, Me, Role, Signup as SignupBody};
use protocol::headers;
use protocol::route::Scope;
use reqwest::{Method, Response};

use crate::args::{Credentials, Login, Signup, account_kind};
use crate::client::{Client, Credential, refused, segment};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::fields;
use crate::prompt;

/// Makes a user and an account, and a key for this command line.
pub(crate) async fn signup(context: &Context, args: Signup) -> Result<(), Failure> {
    let output = &context.output;
    let email = prompt::value(output, args.email, "E-mail address", "--email ADDRESS")?;
    let password = prompt::password(output, &args.password, true)?;
    let invitation = args.invitation.map(|link| last_part(&link));
    let account = match (args.account_name, &invitation) {
        (None, Some(_)) => None,
        (given, _) => Some(prompt::value(
            output,
            given.or_else(|| context.wanted_account().map(str::to_owned)),
            "Account name, a part of your functions' URLs",
            "--account-name NAME",
        )?),
    };
    let mut body = SignupBody {
        email,
        password,
        kind: account.is_some().then(|| account_kind(args.company)),
        account: account.clone(),
        invitation,
        operator_token: args.operator_token.map(|link| last_part(&link)),
        code: args.code,
    };
    let nobody = context.anonymous()?;
    let answered = start_session(&nobody, &body).await;
    let (me, session) = match answered {
        Err(refused) if refused.is(Code::EmailCodeNeeded) && body.code.is_none() => {
            output.note(format!("a code was sent to {}", body.email));
            body.code = Some(prompt::value(output, None, "Code", "--code CODE")?);
            start_session(&nobody, &body).await?
        }
        answered => answered?,
    };
    let stored = store_key(context, &me, session, account.as_deref()).await?;
    output.result(&me, || format!("signed up as {}, account {stored}", body.email))?;
    output.note(format!(
        "a key for this command line is in the profile `{}`\nnext: crowdcloud new hello && crowdcloud deploy hello",
        context.profile()
    ));
    Ok(())
}

/// Logs in, and makes a key for this command line; or takes a key that there is.
pub(crate) async fn login(context: &Context, args: Login) -> Result<(), Failure> {
    if args.key_stdin {
        let mut key = String::new();
        std::io::stdin().lock().take(4096).read_to_string(&mut key)?;
        let key = key.trim();
        let client = context.anonymous()?.with(Credential::Key(key.to_owned()));
        let account = context.account(&client).await?;
        context.keep_key(account.as_str(), key)?;
        context
            .output
            .result(&serde_json::json!({ "account": account }), || format!("logged in, account {account}"))?;
        return Ok(());
    }
    let (me, session) = log_in(context, args.credentials).await?;
    let account = store_key(context, &me, session, context.wanted_account()).await?;
    let email = me.user.as_ref().map(|user| user.email.as_str()).unwrap_or_default();
    context.output.result(&me, || format!("logged in as {email}, account {account}"))?;
    Ok(())
}

/// A log-in of the user, with a code where the platform asks for one.
pub(super) async fn log_in(context: &Context, given: Credentials) -> Result<(Me, Client), Failure> {
    let (output, client) = (&context.output, context.anonymous()?);
    let email = prompt::value(output, given.email, "E-mail address", "--email ADDRESS")?;
    let password = prompt::password(output, &given.password, false)?;
    let request = client.api(Method::POST, "/sessions")?.json(&LoginBody { email, password });
    let response = request.send().await.map_err(|error| client.lost(&error))?;
    let response = match cookie(&response, headers::CHALLENGE_COOKIE) {
        Some(challenge) if !response.status().is_success() => {
            let code = prompt::value(output, given.code, "Code of your second factor", "--code CODE")?;
            let cookie = format!("{}={challenge}", headers::CHALLENGE_COOKIE);
            let request = client.api(Method::POST, "/sessions/code")?.header("cookie", cookie);
            client.send(request.json(&LoginCode { code })).await?
        }
        _ if response.status().is_success() => response,
        _ => return Err(refused(response).await),
    };
    session_of(&client, response).await
}

/// Revokes the stored key, and forgets it.
pub(crate) async fn logout(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    let revoked = match key_id(&key) {
        Some(id) => context.client()?.delete(&format!("/keys/{}", segment(&id))).await,
        None => Ok(()),
    };
    context.forget_key(&key)?;
    match revoked {
        // It was revoked before: nothing to do.
        Err(failure) if matches!(failure.exit(), Exit::Authentication | Exit::NotFound) => {}
        other => other?,
    }
    context.output.result(&serde_json::json!({ "logged_out": true }), || "logged out".to_owned())?;
    Ok(())
}

/// Who the key in use is.
pub(crate) async fn whoami(context: &Context) -> Result<(), Failure> {
    let me: Me = context.client()?.get("/me").await?;
    context.output.result(&me, || {
        let mut rows = vec![("platform", context.url.clone()), ("profile", context.profile().to_owned())];
        if let Some(user) = &me.user {
            rows.push(("user", user.email.clone()));
        }
        for membership in &me.accounts {
            rows.push(("account", membership.account.name.to_string()));
        }
        if let Some(scopes) = &me.scopes {
            let names: Vec<String> = scopes.iter().map(|scope| super::access::scope_name(*scope)).collect();
            rows.push(("scopes", names.join(", ")));
        }
        fields(&rows)
    })?;
    Ok(())
}

/// Prints the key in use.
pub(crate) fn token(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    context.output.result(&serde_json::json!({ "token": key }), || key.clone())?;
    Ok(())
}

/// Signs up; the answer sets the session's cookie.
pub(crate) async fn start_session(client: &Client, body: &SignupBody) -> Result<(Me, Client), Failure> {
    let response = client.send(client.api(Method::POST, "/signup")?.json(body)).await?;
    session_of(client, response).await
}

/// What a response says of the session that it begins.
async fn session_of(client: &Client, response: Response) -> Result<(Me, Client), Failure> {
    let cookie = cookie(&response, headers::SESSION_COOKIE);
    let me: Me = response.json().await.map_err(|error| client.lost(&error))?;
    let cookie = cookie.ok_or_else(|| {
        Failure::new(Exit::Platform, "unexpected_answer", "The answer carries no session")
            .help("check that --url is a CrowdCloud platform's")
    })?;
    Ok((me, client.with(Credential::Session { cookie, account: None })))
}

/// The cookie of this name that a response sets.
fn cookie(response: &Response, name: &str) -> Option<String> {
    let lines = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// Makes a key that may do what the user may, through the session; stores it, and ends the session.
async fn store_key(context: &Context, me: &Me, session: Client, wanted: Option<&str>) -> Result<String, Failure> {
    let mut memberships = me.accounts.iter();
    let found = match wanted {
        Some(wanted) => memberships.find(|membership| membership.account.name.as_str() == wanted).ok_or_else(|| {
            let yours: Vec<&str> = me.accounts.iter().map(|membership| membership.account.name.as_str()).collect();
            Failure::new(Exit::NotFound, "account_not_found", format!("You are not a member of {wanted}"))
                .help(format!("add --account with one of: {}", yours.join(", ")))
        })?,
        None => memberships.next().ok_or_else(|| {
            Failure::new(Exit::NotFound, "account_not_found", "You are a member of no account")
                .help("ask for an invitation, or make an account with `crowdcloud accounts create NAME`")
        })?,
    };
    let account = found.account.name.to_string();
    let scope = match found.role {
        Role::Owner | Role::Admin => Scope::Admin,
        Role::Member => Scope::Deploy,
    };
    let host = rustix::system::uname();
    let name = format!("command line on {}", host.nodename().to_string_lossy());
    let body = CreateKey { name, scopes: vec![scope], function: None, expires_days: None };
    let key: Key = session.acting_for(&account).post("/keys", &body).await?;
    let secret = key.secret.ok_or_else(|| {
        Failure::new(Exit::Platform, "unexpected_answer", "The platform made a key, but did not show it")
    })?;
    context.keep_key(&account, &secret)?;
    // The key is what this command line works with; the log-in has done its work.
    drop(session.delete("/sessions/current").await);
    Ok(account)
}

/// `cck_<id>_<secret>`: the id, as the API names it.
fn key_id(key: &str) -> Option<String> {
    // The secret may have underscores of its own.
    let (id, _) = key.strip_prefix(headers::KEY_PREFIX)?.split_once('_')?;
    Some(format!("key_{id}"))
}

/// Of a link its last part: a token, or what stands after `=` or `#`.
fn last_part(link: &str) -> String {
    link.rsplit(['/', '=', '#']).next().unwrap_or(link).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_tokens_are_both_understood() {
        assert_eq!(last_part("http://127.0.0.1:8080/invite/abc"), "abc");
        assert_eq!(last_part("http://127.0.0.1:8080/signup?operator=abc"), "abc");
        assert_eq!(last_part("abc"), "abc");
    }

    #[test]
    fn a_key_names_its_id() {
        assert_eq!(key_id("cck_0123__se_cret").as_deref(), Some("key_0123"));
        assert_eq!(key_id("nonsense"), None);
    }
}
