//! Lists of jobs in each order, page by page.

use protocol::api::Page;
use protocol::job::Job;
use protocol::{Code, JobId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::{ada, submit};
use crate::db::columns::Col;
use crate::db::entities::jobs;
use crate::tests::harness::Ground;

pub(super) async fn lists_are_sorted_over_all_pages(ground: Ground) {
    let ada = ada(&ground).await;
    let mut made: Vec<JobId> = Vec::new();
    for _ in 0..5 {
        made.push(submit(&ada, json!({})).await.id);
    }
    // The second and the last are open; two of the others ended at the same time.
    let ends = [(made[3], 10), (made[0], 20), (made[2], 20)];
    for (id, _) in ends {
        ada.post(&format!("/jobs/{id}/cancel"), json!({})).await;
    }
    let tx = ground.app.db.begin().await.unwrap();
    for (id, ended) in ends {
        let ended = Expr::val(Col(Timestamp(ended)));
        let one = jobs::Entity::update_many().col_expr(jobs::Column::Ended, ended);
        one.filter(jobs::Column::Id.eq(Col(id))).exec(&tx).await.unwrap();
    }
    tx.commit().await.unwrap();

    let listed = async |query: &str| {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<Job> = ada.get(&format!("/jobs?limit=2&{query}{cursor}")).await.read();
            all.extend(page.items.iter().filter_map(|job| made.iter().position(|id| *id == job.id)));
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    };
    let orders: [(&str, &[usize]); 9] = [
        ("", &[4, 3, 2, 1, 0]),
        ("sort=-submitted", &[4, 3, 2, 1, 0]),
        ("sort=submitted", &[0, 1, 2, 3, 4]),
        ("sort=ended", &[3, 0, 2]),
        ("sort=-ended", &[2, 0, 3]),
        ("sort=submitted&state=queued", &[1, 4]),
        ("sort=-ended&function=hello&state=cancelled", &[2, 0, 3]),
        ("sort=ended&ended_from=1970-01-01T00:00:00.015Z", &[0, 2]),
        ("sort=ended&state=queued", &[]),
    ];
    for (query, wanted) in orders {
        assert_eq!(listed(query).await, wanted, "{query}");
    }

    // A cursor is of its order.
    let first: Page<Job> = ada.get("/jobs?limit=1&sort=ended").await.read();
    let cursor = first.next.unwrap();
    for path in [format!("/jobs?cursor={cursor}"), "/jobs?sort=name".to_owned(), "/jobs?sort=".to_owned()] {
        assert_eq!(ada.get(&path).await.code(), Code::InvalidRequest, "{path}");
    }
}
