//! The ends of routes: at the names of deleted functions, and at names that functions had before, the bucket tells that
//! nothing is there any more, or what it is called now. It does so for as many days as a deleted function is kept.

use protocol::Timestamp;
use protocol::route::Route;
use sea_orm::{ColumnTrait as _, EntityTrait as _, ExprTrait as _, QueryFilter as _};

use super::route;
use crate::config::Config;
use crate::db::Db;
use crate::db::columns::Col;
use crate::db::entities::functions::{Column, Entity};
use crate::error::Result;

const DAY_MS: i64 = 86_400_000;
/// Old ends are looked for each day: a look that failed is made up for. What is older is forgotten when a publisher begins.
const LATELY_MS: i64 = 3 * DAY_MS;

/// Ends of this time and earlier are told no more. A gateway may know a function for a day after its end.
pub(crate) fn old(config: &Config, now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::from(Ord::max(config.deleted_days, 1)).saturating_mul(DAY_MS)))
}

/// The keys of the ends that were told until this time, and not much less long.
pub(crate) async fn lately(db: &Db, until: Timestamp) -> Result<Vec<String>> {
    let from = Timestamp(until.0.saturating_sub(LATELY_MS));
    let ended = |at: Column| at.gt(Col(from)).and(at.lte(Col(until)));
    let left = Column::Former.is_not_null().and(ended(Column::Updated));
    let rows = Entity::find().filter(ended(Column::Deleted).or(left)).all(db.read()).await?;
    let mut keys = Vec::new();
    for row in rows {
        let former = row.former.clone().filter(|_| row.deleted.is_none());
        let route = match former {
            Some(former) => route::at_former_name(db.read(), row, former.0).await?,
            None => route::build(db.read(), row).await?,
        };
        keys.push(Route::key(&route.account_name, &route.function_name));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_for_as_long_as_a_deleted_function_is_kept() {
        let days = |deleted_days| old(&Config { deleted_days, ..Config::default() }, Timestamp(40 * DAY_MS));
        assert_eq!(days(30), Timestamp(10 * DAY_MS));
        assert_eq!(days(0), Timestamp(39 * DAY_MS));
    }
}
