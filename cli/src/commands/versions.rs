//! Versions and the aliases that move between them.

use protocol::api::{Alias, Function, Page, Rollback as RollbackBody, SetAlias, Version};
use protocol::route::Share;
use protocol::{Limits, Name};
use reqwest::Method;

use super::accounts::lower;
use super::functions::path;
use crate::args::{Aliases, List, Rollback, Versions};
use crate::client::segment;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{fields, table, time};
use crate::prompt;

/// `versions`
pub(crate) async fn versions(
    context: &Context,
    function: Option<String>,
    verb: Option<Versions>,
) -> Result<(), Failure> {
    let verb = match verb {
        Some(verb) => verb,
        None => Versions::List { function: super::needed(function)?, list: List::first() },
    };
    let client = context.client()?;
    match verb {
        Versions::List { function, list } => {
            let at = format!("{}/versions", path(&function));
            super::show_page::<Version>(context, &client, &at, &list, |versions| {
                let rows = versions.iter().map(|version| {
                    [
                        format!("v{}", version.number),
                        lower(&version.state),
                        names(&version.aliases),
                        version.format.clone().unwrap_or_default(),
                        version.runs_in.map_or_else(|| "-".to_owned(), |lane| lane.to_string()),
                        version.limits.cpus.to_string(),
                        version.limits.memory.to_string(),
                        version.artifact_size.to_string(),
                        time(version.created),
                        version.created_by.clone(),
                    ]
                });
                table(
                    ["version", "state", "aliases", "format", "lane", "cpus", "memory", "size", "created", "by"],
                    rows,
                )
            })
            .await
        }
        Versions::Show { function, version } => {
            let version: Version = client.get(&format!("{}/versions/{version}", path(&function))).await?;
            context.output.result(&version, || show(&version))?;
            Ok(())
        }
    }
}

/// `rollback`
pub(crate) async fn rollback(context: &Context, args: &Rollback) -> Result<(), Failure> {
    let body = RollbackBody { to: args.to };
    let alias: Alias = context.client()?.post(&format!("{}/rollback", path(&args.function)), &body).await?;
    context.output.result(&alias, || format!("{}: {} is {}", args.function, alias.name, shares(&alias.shares)))?;
    Ok(())
}

/// `aliases`
pub(crate) async fn aliases(context: &Context, function: Option<String>, verb: Option<Aliases>) -> Result<(), Failure> {
    let client = context.client()?;
    let output = &context.output;
    let verb = match verb {
        Some(verb) => verb,
        None => Aliases::List { function: super::needed(function)? },
    };
    match verb {
        Aliases::List { function } => {
            let function: Function = client.get(&path(&function)).await?;
            let page = Page { items: function.aliases, next: None };
            output.result(&page, || {
                let rows =
                    page.items.iter().map(|alias| [alias.name.to_string(), shares(&alias.shares), time(alias.updated)]);
                table(["alias", "versions", "moved"], rows)
            })?;
            Ok(())
        }
        Aliases::Set { function, alias, shares: wanted } => {
            let total: u32 = wanted.iter().map(|share| u32::from(share.weight)).sum();
            if total != 100 {
                return Err(Failure::usage(format!("The shares sum up to {total}, not to 100"))
                    .help(format!("for example: crowdcloud aliases set {function} {alias} v1=90 v2=10")));
            }
            let at = format!("{}/aliases/{}", path(&function), segment(&alias));
            let alias: Alias = client.change(Method::PUT, &at, &SetAlias { shares: wanted }).await?;
            output.result(&alias, || format!("{function}: {} is {}", alias.name, shares(&alias.shares)))?;
            Ok(())
        }
        Aliases::Delete { function, alias } => {
            prompt::confirm(output, &format!("Delete the alias {alias} of {function}"))?;
            client.delete(&format!("{}/aliases/{}", path(&function), segment(&alias))).await?;
            output.result(&serde_json::json!({ "deleted": alias }), || format!("deleted {alias}"))?;
            Ok(())
        }
    }
}

/// `v3`, or `v3=90 v4=10`.
pub(super) fn shares(shares: &[Share]) -> String {
    match shares {
        [only] => format!("v{}", only.version),
        several => {
            several.iter().map(|share| format!("v{}={}", share.version, share.weight)).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The lane of its runs, and why it is that one.
fn lane(version: &Version) -> String {
    match (version.runs_in, version.lane_reason) {
        (Some(lane), Some(reason)) => format!("{lane} ({reason})"),
        _ => lower(&version.lane),
    }
}

/// How it is spoken to, once that is known.
fn kind(version: &Version) -> String {
    version.kind.map_or_else(|| "-".to_owned(), |kind| lower(&kind))
}

/// What was found in an artifact and decided for its runs, a line each.
pub(super) fn found(version: &Version) -> Vec<String> {
    let format = version.format.as_deref().unwrap_or("artifact");
    let mut lines =
        vec![format!("{format}, spoken to as {}", kind(version)), format!("runs in the lane {}", lane(version))];
    lines.extend(version.notes.iter().cloned());
    lines
}

fn names(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(",")
}

fn show(version: &Version) -> String {
    let mut rows = vec![
        ("version", format!("v{}", version.number)),
        ("id", version.id.to_string()),
        ("state", lower(&version.state)),
        ("aliases", names(&version.aliases)),
        ("artifact", version.artifact.to_string()),
        ("size", version.artifact_size.to_string()),
        ("kind", kind(version)),
        ("format", version.format.clone().unwrap_or_default()),
        ("lane", lane(version)),
        ("placement", lower(&version.placement)),
    ];
    rows.extend(Limits::ALL.map(|limit| (limit.name, limit.of(&version.limits).to_string())));
    rows.extend([
        ("egress", version.egress.join(" ")),
        ("env", version.env.keys().cloned().collect::<Vec<_>>().join(" ")),
        ("created", format!("{} by {}", time(version.created), version.created_by)),
    ]);
    if let Some(base) = version.base {
        rows.push(("base", base.as_str().to_owned()));
    }
    if !version.command.is_empty() {
        rows.push(("command", protocol::command_line::line(&version.command)));
    }
    rows.extend(version.notes.iter().map(|note| ("note", note.clone())));
    rows.extend(version.warning.clone().map(|warning| ("warning", warning)));
    if let Some(problem) = &version.problem {
        rows.push(("problem", problem.to_string()));
    }
    fields(&rows)
}
