//! The one query behind every figure of usage: the sums of a period, by one of the things that runs are told apart by.

use http::{HeaderMap, header};
use protocol::api::{UsageBy, UsageGroup, UsageReport, UsageSums};
use protocol::route::Scope;
use protocol::{AccountId, Code, FunctionId, Timestamp};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement, Value};
use serde::Deserialize;

use super::figures::{FIGURES, Figures, NAMES};
use super::names::{Group, Names, Shown, by_member};
use super::period::{DAY_MS, Period, Span};
use super::sketch::Sketch;
use crate::App;
use crate::db::columns::{Col, unsigned};
use crate::error::{Result, refuse_field};
use crate::identity::caller::Caller;
use crate::paging::{Paging, page, whole};

/// The period where none is asked for.
const DAYS_DEFAULT: i64 = 30;
/// A sum is read as multiples of this, and the rest.
const HALF: u64 = 1 << 32;

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
    /// What it is told by; by function where it is left out.
    #[serde(default)]
    by: Option<UsageBy>,
    /// Since then: a time in RFC 3339, or a date, which begins in UTC. Left out: 30 days before the end, or one day where it
    /// is told by hour.
    #[serde(default)]
    from: Option<String>,
    /// Until then: a time in RFC 3339, which does not belong to the period any more, or a date, which does. Left out: until
    /// now.
    #[serde(default)]
    to: Option<String>,
    /// Only of this function.
    #[serde(default)]
    function: Option<String>,
    /// `json` or `csv`; where it is left out, what `Accept` asks for. Without `limit`, CSV is one page of everything.
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

impl UsageQuery {
    /// The period that is asked for.
    fn period(&self, by: UsageBy, now: Timestamp) -> Result<Period> {
        let to = match &self.to {
            Some(text) => moment(text, "to", true)?,
            None => now,
        };
        let from = match (&self.from, by) {
            (Some(text), _) => moment(text, "from", false)?,
            (None, UsageBy::Hour) => Span::Hour.floor(Timestamp(to.0 - DAY_MS)),
            (None, _) => Span::Day.floor(Timestamp(to.0 - DAYS_DEFAULT * DAY_MS)),
        };
        if self.from.is_some() && from >= to {
            return Err(refuse_field(Code::InvalidRequest, "from", "`from` must be before `to`."));
        }
        Ok(Period { from, to })
    }
}

/// Whose runs: of all functions, or of one.
#[derive(Debug, Clone, Copy)]
struct Of {
    account: AccountId,
    function: Option<FunctionId>,
}

/// `GET /usage`
pub(crate) async fn report(
    app: &App,
    caller: &Caller,
    query: &UsageQuery,
    paging: &Paging,
    csv: bool,
) -> Result<UsageReport> {
    let of = match &query.function {
        Some(name) => {
            let function = caller.function(app, name, Scope::Read).await.map_err(|error| error.at("function"))?;
            Of { account: function.account_id.0, function: Some(function.id.0) }
        }
        None => {
            caller.grants(Scope::Read)?;
            // A key that is for one function sees what that one used.
            Of { account: caller.account()?.id.0, function: caller.function }
        }
    };
    let (now, by) = (Timestamp::now(), query.by.unwrap_or_default());
    let asked = query.period(by, now)?;
    let (period, spans): (Period, &[Span]) = match by {
        UsageBy::Hour => (asked.rounded(Span::Hour, now).kept(Span::Hour, now), &[Span::Hour]),
        UsageBy::Day => (asked.rounded(Span::Day, now), &[Span::Day]),
        _ => (asked.rounded(Span::Minute, now), &[Span::Day, Span::Hour, Span::Minute]),
    };
    let mut groups = groups(app, of, by, &period.pieces(spans)).await?;
    if by == UsageBy::Member {
        groups = by_member(app, groups).await?;
    }
    let mut total = Figures::default();
    groups.iter().for_each(|(_, figures)| total.add(figures));
    let names = Names::of(app, &groups).await?;
    let mut shown: Vec<(Shown, Figures)> =
        groups.into_iter().map(|(group, figures)| (names.show(&group), figures)).collect();
    shown.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(last) = paging.after::<String>()? {
        let place = shown.iter().position(|(shown, _)| shown.key == last);
        let place = place.ok_or_else(|| {
            refuse_field(Code::InvalidRequest, "cursor", "`cursor` is not one that this list has given.")
        })?;
        shown.drain(..=place);
    }
    let rows = match csv && !paging.is_limited() {
        true => whole(shown),
        false => page(shown, paging, |(shown, _)| shown.key.clone()),
    };
    let view =
        |(shown, figures): (Shown, Figures)| UsageGroup { key: shown.key, name: shown.name, usage: figures.view() };
    Ok(UsageReport {
        by,
        from: period.from,
        to: period.to,
        items: rows.items.into_iter().map(view).collect(),
        next: rows.next,
        total: total.view(),
    })
}

/// `GET /functions/{name}/usage`: all that a function has used.
pub(crate) async fn of_function(app: &App, caller: &Caller, name: &str) -> Result<UsageSums> {
    let function = caller.function(app, name, Scope::Read).await?;
    let of = Of { account: function.account_id.0, function: Some(function.id.0) };
    // A gateway's clock may be a little ahead: a run of tomorrow counts as well.
    let pieces = Period::all(Timestamp(Timestamp::now().0 + DAY_MS)).pieces(&[Span::Day]);
    let groups = groups(app, of, UsageBy::Function, &pieces).await?;
    let mut total = Figures::default();
    groups.iter().for_each(|(_, figures)| total.add(figures));
    Ok(total.view())
}

/// The sums of these pieces of time, by group.
async fn groups(app: &App, of: Of, by: UsageBy, pieces: &[(Span, Period)]) -> Result<Vec<(Group, Figures)>> {
    if pieces.is_empty() {
        return Ok(Vec::new());
    }
    let backend = app.db.read().get_database_backend();
    let statement = statement(backend, of, by, pieces);
    let mut groups = Vec::new();
    for row in app.db.read().query_all_raw(statement).await? {
        let figures = figures(&row)?;
        // A correction may have left a row of nothing behind.
        if figures.sums != [0; FIGURES] {
            groups.push((Group::read(by, &row)?, figures));
        }
    }
    Ok(groups)
}

fn statement(backend: DbBackend, of: Of, by: UsageBy, pieces: &[(Span, Period)]) -> Statement {
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let account = bind(Col(of.account).into());
    let function = of.function.map(|id| format!(" AND function_id = {}", bind(Col(id).into()))).unwrap_or_default();
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
    let columns = Group::columns(by).join(", ");
    let sql = format!(
        "SELECT {columns}, {sums}, {joined}(latency, ' ') AS latencies FROM usage_sums \
         WHERE account_id = {account}{function} AND ({}) GROUP BY {columns}",
        times.join(" OR ")
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
    fn periods_are_times_or_dates() {
        let now: Timestamp = "2026-11-30T12:34:56Z".parse().unwrap();
        let period = |from: Option<&str>, to: Option<&str>, by| {
            let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
            let period = UsageQuery { from, to, ..UsageQuery::default() }.period(by, now).ok()?;
            Some((period.from.to_string(), period.to.to_string()))
        };
        let of = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        let by = UsageBy::Lane;
        assert_eq!(period(None, None, by), of("2026-10-31T00:00:00Z", "2026-11-30T12:34:56Z"));
        assert_eq!(period(None, None, UsageBy::Hour), of("2026-11-29T12:00:00Z", "2026-11-30T12:34:56Z"));
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
