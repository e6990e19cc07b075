//! API keys.

use protocol::api::{CreateKey, Key};
use protocol::route::Scope;
use protocol::{Code, Name, Problem};

use crate::args::{Keys, List};
use crate::client::segment;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{table, time};
use crate::prompt;

/// `keys`
pub(crate) async fn keys(context: &Context, verb: Option<Keys>) -> Result<(), Failure> {
    let client = context.client()?;
    match verb.unwrap_or_else(|| Keys::List(List::first())) {
        Keys::List(list) => {
            super::show_page::<Key>(context, &client, "/keys", &list, |keys| {
                let rows = keys.iter().map(|key| {
                    [
                        key.id.to_string(),
                        key.name.clone(),
                        key.scopes.iter().map(|scope| scope_name(*scope)).collect::<Vec<_>>().join(","),
                        key.function.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
                        key.last_used.map_or_else(|| "never".to_owned(), time),
                        key.expires.map_or_else(|| "never".to_owned(), time),
                    ]
                });
                table(["id", "name", "scopes", "functions", "last used", "ends"], rows)
            })
            .await
        }
        Keys::Create { name, scope, function, expires_days } => {
            let function = function.map(|name| parse_name(&name, "function")).transpose()?;
            let key = create(&client, name, scope, function, expires_days).await?;
            let output = &context.output;
            if key.secret.is_none() {
                // Something on the way has repeated the request.
                let help = key.help.unwrap_or_default();
                let lost = Failure::new(Exit::Conflict, "secret_lost", format!("The key {} was made, unseen", key.id));
                return Err(lost.help(help));
            }
            output.result(&key, || key.secret.clone().unwrap_or_default())?;
            output.note("keep it: it is shown this once");
            Ok(())
        }
        Keys::Delete { key } => {
            prompt::confirm(&context.output, &format!("Revoke the key {key}"))?;
            client.delete(&format!("/keys/{}", segment(&key))).await?;
            context.output.result(&serde_json::json!({ "deleted": key }), || format!("revoked {key}"))?;
            Ok(())
        }
    }
}

/// Makes a key.
pub(super) async fn create(
    client: &crate::client::Client,
    name: String,
    scopes: Vec<Scope>,
    function: Option<Name>,
    expires_days: Option<u32>,
) -> Result<Key, Failure> {
    client.post("/keys", &CreateKey { name, scopes, function, expires_days }).await
}

/// A name that is one, given in this field.
pub(super) fn parse_name(text: &str, field: &str) -> Result<Name, Failure> {
    let wrong = |error| Problem::of(Code::InvalidName, field, format!("{text:?}: {error}"));
    text.parse::<Name>().map_err(|error| wrong(error).into())
}

/// A scope, as the API writes it.
pub(super) fn scope_name(scope: Scope) -> String {
    super::accounts::lower(&scope)
}
