//! Pages: `?limit=50&cursor=`. A cursor is the last row's place, in base64url, so that nobody builds one by hand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::Code;
use protocol::api::Page;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result, refuse_field};

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 200;

/// The query parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Rows on a page: 1 to 200, 50 where it is left out.
    #[serde(default, deserialize_with = "rows")]
    limit: Option<u64>,
    /// `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u64>, D::Error> {
    let rows = u64::deserialize(deserializer)?;
    match (1..=LIMIT_MAX).contains(&rows) {
        true => Ok(Some(rows)),
        false => Err(D::Error::custom(format_args!("it is {rows}; allowed: 1 to {LIMIT_MAX}"))),
    }
}

impl Paging {
    /// Rows on the page.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }

    /// The parameter with which the request asks for a page; none where it does not.
    pub(crate) fn set(&self) -> Option<&'static str> {
        let cursor = self.cursor.as_ref().map(|_| "cursor");
        self.limit.map(|_| "limit").or(cursor)
    }

    /// Rows to fetch: one more tells whether there is a next page.
    pub(crate) fn fetch(&self) -> u64 {
        self.limit() + 1
    }

    /// The last row of the page before.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let wrong =
            || -> Error { refuse_field(Code::InvalidRequest, "cursor", "`cursor` is not one that a list has given.") };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        text.parse().map(Some).map_err(|_| wrong())
    }
}

/// Cuts the extra row off and makes the cursor of the last one left.
pub(crate) fn page<T>(mut rows: Vec<T>, paging: &Paging, key: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(paging.limit()).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| cursor(&key(row)));
    Page { items: rows, next }
}

/// The cursor that goes on after the row with this place.
pub(crate) fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// A whole list as its only page.
pub(crate) fn whole<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}
