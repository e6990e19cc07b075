//! Triggers that were paused.

use protocol::Timestamp;
use protocol::api::Page;
use protocol::job::Job;
use protocol::trigger::Trigger;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Value, json};

use super::ada;
use crate::db::columns::Col;
use crate::db::entities::triggers;
use crate::tests::harness::Ground;

const HOUR_MS: i64 = 3_600_000;

/// Whatever is made up of missed times: those of a pause were not missed.
pub(super) async fn f25_times_of_a_pause_are_never_made_up(ground: Ground) {
    let (ada, app) = (ada(&ground).await, &ground.app);
    let jobs = async || ada.get("/jobs").await.read::<Page<Job>>().items.len();
    for missed in ["all", "once", "skip"] {
        let set = async |more: Value| -> Trigger {
            let mut asked = json!({"cron": "*/5 * * * *", "missed": missed, "job": {"function": "hello"}});
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ada.put("/triggers/often", asked).await.read()
        };
        set(json!({"paused": true})).await;
        // As if it had been paused an hour ago.
        let an_hour_ago = Timestamp(Timestamp::now().0 - HOUR_MS);
        triggers::Entity::update_many()
            .set(triggers::ActiveModel { next: Set(Some(Col(an_hour_ago))), ..Default::default() })
            .filter(triggers::Column::Cron.is_not_null())
            .exec(app.db.write())
            .await
            .unwrap();
        crate::triggers::once(app, Timestamp::now()).await.unwrap();
        assert_eq!(jobs().await, 0, "{missed}: it is paused");
        let resumed = set(json!({"paused": false})).await;
        crate::triggers::once(app, Timestamp(resumed.next.unwrap().0 - 1)).await.unwrap();
        assert_eq!(jobs().await, 0, "{missed}: it goes on with its next time");
        assert!(resumed.next.unwrap().0 > an_hour_ago.0 + HOUR_MS, "{resumed:?}");
    }
}
