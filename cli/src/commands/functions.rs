//! Functions: list, show, create, who may call them, rename, delete, restore.

use protocol::api::{ChangeFunction, CreateFunction, Function};
use reqwest::Method;

use crate::args::{Functions, List};
use crate::client::segment;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, table, time};
use crate::prompt;

/// `functions`
pub(crate) async fn functions(context: &Context, verb: Option<Functions>) -> Result<(), Failure> {
    let client = context.client()?;
    let output = &context.output;
    match verb.unwrap_or_else(|| Functions::List { deleted: false, list: List::first() }) {
        Functions::List { deleted, list } => {
            let path = if deleted { "/functions?deleted=true" } else { "/functions" };
            super::show_page::<Function>(context, &client, path, &list, |functions| {
                let rows = functions.iter().map(|function| {
                    [
                        function.name.to_string(),
                        function.latest.map_or_else(|| "-".to_owned(), |number| format!("v{number}")),
                        function.live.map_or_else(|| "-".to_owned(), |live| live.lane.to_string()),
                        access(function.public).to_owned(),
                        format!("{}{}", context.url, function.path),
                        time(function.updated),
                    ]
                });
                table(["name", "latest", "lane", "access", "url", "updated"], rows)
            })
            .await
        }
        Functions::Show { function } => {
            let function: Function = client.get(&path(&function)).await?;
            output.result(&function, || show(context, &function))?;
            Ok(())
        }
        Functions::Create { function, public } => {
            let function: Function = client.post("/functions", &CreateFunction { name: function, public }).await?;
            output.result(&function, || show(context, &function))?;
            Ok(())
        }
        Functions::Set { placement: Some(placement), .. } => {
            Err(Failure::usage("Placement is a version's: it is set when that is deployed")
                .help(format!("crowdcloud deploy --placement {placement}")))
        }
        Functions::Set { function, public, private: _, placement: None } => {
            let body = ChangeFunction { public: Some(public), ..ChangeFunction::default() };
            let function: Function = client.change(Method::PATCH, &path(&function), &body).await?;
            output.result(&function, || show(context, &function))?;
            Ok(())
        }
        Functions::Rename { function: former, name } => {
            let body = ChangeFunction { name: Some(name), ..ChangeFunction::default() };
            let function: Function = client.change(Method::PATCH, &path(&former), &body).await?;
            output
                .note(format!("{former} is not found any more; a crowdcloud.toml that names it makes a new function"));
            output.result(&function, || show(context, &function))?;
            Ok(())
        }
        Functions::Delete { function } => {
            prompt::confirm(output, &format!("Delete the function {function} and its versions"))?;
            client.delete(&path(&function)).await?;
            output.result(&serde_json::json!({ "deleted": function }), || format!("deleted {function}"))?;
            Ok(())
        }
        Functions::Restore { function } => {
            let place = format!("{}/restore", path(&function));
            let function: Function = client.post(&place, &serde_json::json!({})).await?;
            output.result(&function, || show(context, &function))?;
            Ok(())
        }
    }
}

/// The function's path in the API.
pub(super) fn path(function: &str) -> String {
    format!("/functions/{}", segment(function))
}

fn access(public: bool) -> &'static str {
    if public { "public" } else { "private" }
}

fn show(context: &Context, function: &Function) -> String {
    let scheme = context.url.split("://").next().unwrap_or("http");
    let mut rows = vec![
        ("name", function.name.to_string()),
        ("id", function.id.to_string()),
        ("access", access(function.public).to_owned()),
        ("url", format!("{}{}", context.url, function.path)),
        ("browsers", format!("{scheme}://{}/", function.host)),
        ("latest", function.latest.map_or_else(|| "-".to_owned(), |number| format!("v{number}"))),
    ];
    if let Some(live) = function.live {
        let (cpus, memory) = (live.limits.cpus, live.limits.memory);
        rows.push(("lane", format!("{} ({})", live.lane, live.lane_reason)));
        rows.push(("may use", format!("{cpus} CPU{}, {memory}", if cpus == 1 { "" } else { "s" })));
    }
    for alias in &function.aliases {
        rows.push(("alias", format!("{} {}", alias.name, super::versions::shares(&alias.shares))));
    }
    rows.extend(function.warning.clone().map(|warning| ("warning", warning)));
    rows.push(("created", time(function.created)));
    rows.push(("updated", time(function.updated)));
    fields(&rows)
}
