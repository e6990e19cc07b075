//! Lists of very many rows. A page costs the same wherever it lies, because an index has the list's order.

use sea_orm::Order;

use super::*;

const fn direction(descending: bool) -> Order {
    if descending { Order::Desc } else { Order::Asc }
}

loop_queries! {
    /// An account's jobs in the order of their submission, after one of them.
    jobs_by_submission(account: AccountId = sample(AccountId::from_uuid), descending: bool = false, after: Option<JobId> = Some(sample(JobId::from_uuid))) -> Select<jobs::Entity>, Plan::Order(&["jobs_account"]), {
        let mut query = jobs::Entity::find().filter(jobs::Column::AccountId.eq(Col(account)));
        if let Some(after) = after {
            let id = jobs::Column::Id;
            query = query.filter(if descending { id.lt(Col(after)) } else { id.gt(Col(after)) });
        }
        query.order_by(jobs::Column::Id, direction(descending))
    }

    /// An account's jobs that have ended, in the order of their ends, after one of them.
    jobs_by_end(account: AccountId = sample(AccountId::from_uuid), descending: bool = true, after: Option<(Timestamp, JobId)> = Some((THEN, sample(JobId::from_uuid)))) -> Select<jobs::Entity>, Plan::Order(&["jobs_by_end"]), {
        let mut query = jobs::Entity::find()
            .filter(jobs::Column::AccountId.eq(Col(account)))
            .filter(jobs::Column::Ended.is_not_null());
        if let Some((ended, id)) = after {
            let place = Expr::tuple([Expr::col(jobs::Column::Ended), Expr::col(jobs::Column::Id)]);
            let last = Expr::tuple([Expr::val(Col(ended)), Expr::val(Col(id))]);
            query = query.filter(if descending { place.lt(last) } else { place.gt(last) });
        }
        query.order_by(jobs::Column::Ended, direction(descending)).order_by(jobs::Column::Id, direction(descending))
    }
}
