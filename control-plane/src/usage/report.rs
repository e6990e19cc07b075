//! The one query behind every figure of usage: the sums of a period, by one of the things that runs are told apart by, by
//! time, or by both.

use http::{HeaderMap, header};
use protocol::api::{UsageBy, UsageGroup, UsageReport, UsageSums};
use protocol::route::Scope;
use protocol::{Code, Lane, RunSource, Timestamp};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement, Value};
use serde::Deserialize;

use super::every::Every;
use super::figures::{Figures, NAMES};
use super::names::{Group, Groups, Names, Shown, by_member};
use super::period::{DAY_MS, Period, Span};
use super::selection::Selection;
use super::sketch::Sketch;
use crate::App;
use crate::db::Db;
use crate::db::columns::{Col, unsigned};
use crate::error::{Result, refuse_field};
use crate::functions::upload_quota;
use crate::identity::caller::Caller;
use crate::paging::{Paging, page, whole};
use crate::words::words;

/// The period where none is asked for.
const DAYS_DEFAULT: i64 = 30;
/// A sum is read as multiples of this, and the rest.
const HALF: u64 = 1 << 32;
/// Groups of one report: a bound on its memory.
const GROUPS_MAX: usize = 20_000;

/// JSON or CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    Json,
    Csv,
}

/// Of which runs, and by what.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// What it is told by: `function`, `version`, `lane`, `principal`, `member`, `source`, `status`; or a time: `minute`,
    /// `hour`, `day`, `month`; or a time and one of the others with a comma in between, such as `day,function`. By function
    /// where it is left out.
    #[serde(default)]
    by: Option<String>,
    /// Since then: a time in RFC 3339, or a date, which begins in UTC. Left out: 30 days before the end; where it is told by
    /// minute an hour, by hour a day, by month a year.
    #[serde(default)]
    from: Option<String>,
    /// Until then: a time in RFC 3339, which does not belong to the period any more, or a date, which does. Left out: until
    /// now.
    #[serde(default)]
    to: Option<String>,
    /// Only of this function.
    #[serde(default)]
    pub(super) function: Option<String>,
    /// Only of versions with this number.
    #[serde(default)]
    pub(super) version: Option<u32>,
    /// Only in this lane.
    #[serde(default)]
    pub(super) lane: Option<Lane>,
    /// Only what was made so: `call`, `test`, `job`, `schedule`, `queue`; or several of them, with commas in between.
    #[serde(default, deserialize_with = "words")]
    #[param(value_type = Option<String>)]
    pub(super) source: Option<Vec<RunSource>>,
    /// Only on behalf of this one: `public`, a key (`key_...`), a user (`user_...`), a trigger (`trigger:NAME`), or the name
    /// of a key, or a member's address.
    #[serde(default)]
    pub(super) principal: Option<String>,
    /// Only on behalf of this member and their keys: a user (`user_...`), or an address.
    #[serde(default)]
    pub(super) member: Option<String>,
    /// `json` or `csv`; where it is left out, what `Accept` asks for. CSV is one page of everything, and has no `limit`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    format: Option<Format>,
}

/// Whether CSV is asked for.
pub(crate) fn wants_csv(query: &UsageQuery, headers: &HeaderMap) -> bool {
    let names_csv =
        |item: &str| item.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"));
    let accepted = || {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(names_csv)
    };
    query.format.map_or_else(accepted, |format| format == Format::Csv)
}

/// A time, or a date. `next`: a date means the end of that day.
pub(crate) fn moment(text: &str, field: &'static str, next: bool) -> Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let day = format!("{text}T00:00:00Z").parse::<Timestamp>().map(|day| match next {
        true => Timestamp(day.0 + DAY_MS),
        false => day,
    });
    let wrong = format!("`{field}` is neither a time in RFC 3339 nor a date such as 2026-11-30.");
    day.map_err(|_| refuse_field(Code::InvalidRequest, field, wrong))
}

/// What the groups are told apart by: a time, something else, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    every: Option<Every>,
    by: UsageBy,
}

impl Told {
    fn read(text: &str) -> Result<Self> {
        let wrong = || {
            let detail = "`by` is one of function, version, lane, principal, member, source, status; or a time: minute, \
                          hour, day, month; or a time and one of the others, such as `day,function`.";
            refuse_field(Code::InvalidRequest, "by", detail)
        };
        let word = |text: &str| serde_json::from_value::<UsageBy>(text.into()).map_err(|_| wrong());
        match text.split_once(',') {
            None => {
                let by = word(text)?;
                Ok(Self { every: Every::of(by), by })
            }
            Some((one, other)) => {
                let (one, other) = (word(one)?, word(other)?);
                let (time, by) = if one.is_time() { (one, other) } else { (other, one) };
                match Every::of(time) {
                    Some(every) if !by.is_time() => Ok(Self { every: Some(every), by }),
                    _ => Err(wrong()),
                }
            }
        }
    }
}

impl UsageQuery {
    /// The period that is asked for.
    fn period(&self, every: Option<Every>, now: Timestamp) -> Result<Period> {
        let to = match &self.to {
            Some(text) => moment(text, "to", true)?,
            None => now,
        };
        let from = match (&self.from, every) {
            (Some(text), _) => moment(text, "from", false)?,
            (None, Some(every)) => every.default_from(to),
            (None, None) => Span::Day.floor(Timestamp(to.0 - DAYS_DEFAULT * DAY_MS)),
        };
        if self.from.is_some() && from >= to {
            return Err(refuse_field(Code::InvalidRequest, "from", "`from` must be before `to`."));
        }
        Ok(Period { from, to })
    }
}

/// `GET /usage`
pub(crate) async fn report(
    app: &App,
    caller: &Caller,
    query: &UsageQuery,
    paging: &Paging,
    csv: bool,
) -> Result<UsageReport> {
    if let (true, Some(field)) = (csv, paging.set()) {
        let detail = format!("CSV is one page of everything: leave `{field}` out, or ask for JSON.");
        return Err(refuse_field(Code::InvalidRequest, field, detail));
    }
    let told = query.by.as_deref().map_or(Ok(Told { every: None, by: UsageBy::default() }), Told::read)?;
    let Told { every, by } = told;
    let of = match &query.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            Selection::new(function.account_id.0, Some(function.id.0))
        }
        None => {
            caller.grants(Scope::Read)?;
            // A key that is for one function sees what that one used.
            Selection::new(caller.account()?.id.0, caller.function)
        }
    };
    let selection = of.narrowed(&app.db, query).await?;
    let now = Timestamp::now();
    let asked = query.period(every, now)?;
    let (period, pieces) = match every {
        Some(every) => {
            let period = every.rounded(asked, now);
            (period, period.pieces(&[every.span()]))
        }
        None => {
            let period = asked.rounded(Span::Minute, now);
            (period, period.pieces(&[Span::Day, Span::Hour, Span::Minute]))
        }
    };
    let mut groups = groups(&app.db, &selection, told, &pieces).await?;
    if by == UsageBy::Member {
        groups = by_member(app, groups).await?;
    }
    let mut total = Figures::default();
    groups.values().for_each(|figures| total.add(figures));
    let names = Names::of(app, &groups).await?;
    let show = |((at, group), figures)| (names.show_at(every, at, &group), figures);
    let mut shown: Vec<(Shown, Figures)> = groups.into_iter().map(show).collect();
    shown.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(last) = paging.after::<String>()? {
        let place = shown.iter().position(|(shown, _)| shown.place() == last);
        let place = place.ok_or_else(|| {
            refuse_field(Code::InvalidRequest, "cursor", "`cursor` is not one that this list has given.")
        })?;
        shown.drain(..=place);
    }
    let rows = match csv {
        true => whole(shown),
        false => page(shown, paging, |(shown, _)| shown.place()),
    };
    let view = |(shown, figures): (Shown, Figures)| UsageGroup {
        key: shown.key,
        name: shown.name,
        at: shown.at,
        usage: figures.view(),
    };
    // What is kept is the whole account's.
    let kept = match (&query.function, caller.function, csv) {
        (None, None, false) => Some(upload_quota::kept(app, caller.account()?.id.0).await?),
        _ => None,
    };
    Ok(UsageReport {
        by,
        every: every.map(Every::word),
        from: period.from,
        to: period.to,
        items: rows.items.into_iter().map(view).collect(),
        next: rows.next,
        total: total.view(),
        kept,
    })
}

/// `GET /functions/{name}/usage`: all that a function has used.
pub(crate) async fn of_function(app: &App, caller: &Caller, name: &str) -> Result<UsageSums> {
    let function = caller.function(app, name, Scope::Read).await?;
    let selection = Selection::new(function.account_id.0, Some(function.id.0));
    // A gateway's clock may be a little ahead: a run of tomorrow counts as well.
    let all = Period::all(Timestamp(Timestamp::now().0 + DAY_MS));
    Ok(sums(&app.db, &selection, &all.pieces(&[Span::Day])).await?.view())
}

/// The sums of these pieces of time, of all that is selected.
pub(super) async fn sums(db: &Db, selection: &Selection, pieces: &[(Span, Period)]) -> Result<Figures> {
    let told = Told { every: None, by: UsageBy::Function };
    let mut total = Figures::default();
    groups(db, selection, told, pieces).await?.values().for_each(|figures| total.add(figures));
    Ok(total)
}

/// The sums of these pieces of time, by group.
async fn groups(db: &Db, selection: &Selection, told: Told, pieces: &[(Span, Period)]) -> Result<Groups> {
    let mut groups = Groups::new();
    if pieces.is_empty() {
        return Ok(groups);
    }
    let backend = db.read().get_database_backend();
    let rows = db.read().query_all_raw(statement(backend, selection, told, pieces)).await?;
    if rows.len() > GROUPS_MAX {
        let detail = format!(
            "That are more than {GROUPS_MAX} groups. Ask for a shorter period, by a longer time, or for fewer runs."
        );
        return Err(refuse_field(Code::InvalidRequest, "from", detail));
    }
    for row in rows {
        let figures = figures(&row)?;
        // A correction may have left a row of nothing behind.
        if figures.runs() == 0 {
            continue;
        }
        let at = match told.every {
            Some(_) => Some(row.try_get::<Col<Timestamp>>("", BEGINNING)?.0),
            None => None,
        };
        groups.entry((at, Group::read(told.by, &row)?)).or_default().add(&figures);
    }
    Ok(groups)
}

/// What the beginning of a group's time is called in the query.
const BEGINNING: &str = "beginning";

fn statement(backend: DbBackend, selection: &Selection, told: Told, pieces: &[(Span, Period)]) -> Statement {
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let selected = selection.condition(&mut bind);
    let times: Vec<String> = pieces
        .iter()
        .map(|(span, piece)| {
            let (from, to) = (bind(Col(piece.from).into()), bind(Col(piece.to).into()));
            format!("(span = {} AND began >= {from} AND began < {to})", span.seconds())
        })
        .collect();
    // In two parts, that no number of rows lets overflow: SQLite would fail, and PostgreSQL, which sums to decimals, at the
    // cast.
    let half = |name: &str, operator: &str, part: &str| {
        format!("CAST(COALESCE(SUM({name} {operator} {HALF}), 0) AS BIGINT) AS {name}_{part}")
    };
    let sums = NAMES.map(|name| [half(name, "/", "high"), half(name, "%", "low")].join(", ")).join(", ");
    // Sketches that stand one after the other are their sum.
    let joined = match backend {
        DbBackend::Sqlite => "group_concat",
        _ => "string_agg",
    };
    let mut columns: Vec<String> = Group::columns(told.by).iter().map(|column| (*column).to_owned()).collect();
    let mut grouped = columns.clone();
    if let Some(every) = told.every {
        columns.push(format!("{} AS {BEGINNING}", every.sql(backend)));
        grouped.push(BEGINNING.to_owned());
    }
    let sql = format!(
        "SELECT {}, {sums}, {joined}(latency, ' ') AS latencies FROM usage_sums \
         WHERE {selected} AND ({}) GROUP BY {} LIMIT {}",
        columns.join(", "),
        times.join(" OR "),
        grouped.join(", "),
        GROUPS_MAX + 1
    );
    Statement::from_sql_and_values(backend, sql, values)
}

fn figures(row: &QueryResult) -> Result<Figures, DbErr> {
    let part = |name: &str, part: &str| row.try_get::<i64>("", &format!("{name}_{part}")).map(unsigned);
    let mut figures = Figures::default();
    for (sum, name) in figures.sums.iter_mut().zip(NAMES) {
        *sum = part(name, "high")?.saturating_mul(HALF).saturating_add(part(name, "low")?);
    }
    let latencies: Option<String> = row.try_get("", "latencies")?;
    figures.latency = Sketch::read(&latencies.unwrap_or_default());
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_for_those_who_ask_for_it() {
        let asks = |format, accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, http::HeaderValue::from_static(accept));
            wants_csv(&UsageQuery { format, ..UsageQuery::default() }, &headers)
        };
        for accept in ["text/csv", "Text/CSV; charset=utf-8", "text/html, text/csv;q=0.5"] {
            assert!(asks(None, accept) && !asks(Some(Format::Json), accept), "{accept}");
        }
        for accept in ["*/*", "application/json", "text/csvx"] {
            assert!(!asks(None, accept) && asks(Some(Format::Csv), accept), "{accept}");
        }
    }

    #[test]
    fn it_is_told_by_a_time_and_one_thing_at_most() {
        let told = |text| Told::read(text).ok();
        let of = |every, by| Some(Told { every, by });
        assert_eq!(told("status"), of(None, UsageBy::Status));
        assert_eq!(told("month"), of(Some(Every::Month), UsageBy::Month));
        assert_eq!(told("minute,member"), of(Some(Every::Minute), UsageBy::Member));
        assert_eq!(told("member,minute"), told("minute,member"));
        for wrong in ["", ",", "day,", "day,hour", "day,day", "lane,status", "day,lane,status", "Day", "day, lane"] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn periods_are_times_or_dates() {
        let now: Timestamp = "2026-11-30T12:34:56Z".parse().unwrap();
        let period = |from: Option<&str>, to: Option<&str>, by| {
            let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
            let period = UsageQuery { from, to, ..UsageQuery::default() }.period(by, now).ok()?;
            Some((period.from.to_string(), period.to.to_string()))
        };
        let of = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        let by = None;
        assert_eq!(period(None, None, by), of("2026-10-31T00:00:00Z", "2026-11-30T12:34:56Z"));
        for (every, from) in [
            (Every::Minute, "2026-11-30T11:34:00Z"),
            (Every::Hour, "2026-11-29T12:00:00Z"),
            (Every::Day, "2026-10-31T00:00:00Z"),
            (Every::Month, "2025-11-01T00:00:00Z"),
        ] {
            assert_eq!(period(None, None, Some(every)), of(from, "2026-11-30T12:34:56Z"));
        }
        assert_eq!(
            period(Some("2026-11-01"), Some("2026-11-01"), by),
            of("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
        );
        assert_eq!(
            period(Some("2026-11-01T10:00:00+02:00"), Some("2026-11-01T09:00:00Z"), by),
            of("2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z")
        );
        for (from, to) in [("yesterday", "2026-11-01"), ("2026-11-31", "2026-12-31"), ("2026-11-02", "2026-11-01")] {
            assert_eq!(period(Some(from), Some(to), by), None, "{from} {to}");
        }
    }
}
