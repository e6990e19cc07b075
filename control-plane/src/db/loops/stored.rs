//! The index of the store: what nothing refers to any more, and whose epochs are open.

use super::super::references::unreferenced;
use super::*;

loop_queries! {
    /// The ids of committed blobs after one, in their order: a page of those that are looked at.
    blobs_after(after: Option<BlobId> = Some(blob()), most: u64 = 10) -> Select<blobs::Entity>, Plan::Key, {
        let mut query = blobs::Entity::find().select_only().column(blobs::Column::Id);
        if let Some(after) = after {
            query = query.filter(blobs::Column::Id.gt(Col(after)));
        }
        query.order_by_asc(blobs::Column::Id).limit(most)
    }

    /// Such a page with whose they are and how large, of blobs that are not doomed, or of all: those whose copies are looked
    /// after.
    blobs_looked_after(after: Option<BlobId> = Some(blob()), doomed_too: bool = false, most: u64 = 10) -> Select<blobs::Entity>, Plan::Key, {
        let mut query = blobs::Entity::find().select_only().columns([
            blobs::Column::Id,
            blobs::Column::AccountId,
            blobs::Column::Size,
        ]);
        if let Some(after) = after {
            query = query.filter(blobs::Column::Id.gt(Col(after)));
        }
        if !doomed_too {
            query = query.filter(blobs::Column::Doomed.is_null());
        }
        query.order_by_asc(blobs::Column::Id).limit(most)
    }

    /// Disks that are to be taken out.
    drains() -> Select<store_drains::Entity>, Plan::Whole, {
        store_drains::Entity::find()
    }

    /// Engines that have been marked.
    store_engines() -> Select<store_engines::Entity>, Plan::Whole, {
        store_engines::Entity::find()
    }

    /// The ids of such a page to which nothing refers, although they were committed before a time.
    blobs_unreferenced(page: (BlobId, BlobId) = (blob(), blob()), before: Timestamp = THEN) -> Select<blobs::Entity>, Plan::Key, {
        let (first, last) = page;
        blobs::Entity::find()
            .select_only()
            .column(blobs::Column::Id)
            .filter(blobs::Column::Id.gte(Col(first)))
            .filter(blobs::Column::Id.lte(Col(last)))
            .filter(blobs::Column::Doomed.is_null())
            .filter(blobs::Column::Created.lt(Col(before)))
            .filter(Expr::cust(unreferenced()))
            .order_by_asc(blobs::Column::Id)
    }

    /// Dooms those of these blobs to which nothing refers.
    blobs_doom(ids: &[BlobId] = &[blob()], now: Timestamp = THEN) -> UpdateMany<blobs::Entity>, Plan::Key, {
        blobs::Entity::update_many()
            .col_expr(blobs::Column::Doomed, Expr::val(Col(now)))
            .filter(blobs::Column::Id.is_in(ids.iter().map(|id| Col(*id))))
            .filter(blobs::Column::Doomed.is_null())
            .filter(Expr::cust(unreferenced()))
    }

    /// Blobs that were doomed before a time, after one of them: when, which, and their size.
    blobs_doomed(before: Timestamp = THEN, after: Option<(Timestamp, BlobId)> = Some((THEN, blob())), most: u64 = 10) -> Select<blobs::Entity>, Plan::Order(&["blobs_doomed"]), {
        let mut query = blobs::Entity::find()
            .select_only()
            .columns([blobs::Column::Doomed, blobs::Column::Id, blobs::Column::Size])
            .filter(blobs::Column::Doomed.is_not_null())
            .filter(blobs::Column::Doomed.lte(Col(before)));
        if let Some((doomed, id)) = after {
            let place = Expr::tuple([Expr::col(blobs::Column::Doomed), Expr::col(blobs::Column::Id)]);
            query = query.filter(place.gt(Expr::tuple([Expr::val(Col(doomed)), Expr::val(Col(id))])));
        }
        query.order_by_asc(blobs::Column::Doomed).order_by_asc(blobs::Column::Id).limit(most)
    }

    /// What was doomed by a clock that has jumped back since, is doomed now.
    blobs_doomed_later(now: Timestamp = THEN) -> UpdateMany<blobs::Entity>, Plan::Index(&["blobs_doomed"]), {
        blobs::Entity::update_many()
            .col_expr(blobs::Column::Doomed, Expr::val(Col(now)))
            .filter(blobs::Column::Doomed.is_not_null())
            .filter(blobs::Column::Doomed.gt(Col(now)))
    }

    /// Blobs after one whose keys are sealed under this master key.
    blobs_under(master: i32 = 1, after: Option<BlobId> = Some(blob()), most: u64 = 10) -> Select<blobs::Entity>, Plan::Order(&["blobs_master"]), {
        let mut query = blobs::Entity::find().filter(blobs::Column::Master.eq(master));
        if let Some(after) = after {
            query = query.filter(blobs::Column::Id.gt(Col(after)));
        }
        query.order_by_asc(blobs::Column::Id).limit(most)
    }

    /// Those of these blobs that the index has.
    blobs_among(ids: &[BlobId] = &[blob()]) -> Select<blobs::Entity>, Plan::Key, {
        let some = blobs::Entity::find().select_only().column(blobs::Column::Id);
        some.filter(blobs::Column::Id.is_in(ids.iter().map(|id| Col(*id))))
    }

    /// Bytes of an account's blobs: of jobs alone, and of the history of runs and logs.
    blobs_kept(account: AccountId = sample(AccountId::from_uuid)) -> Raw, Plan::Index(&["blobs_account"]), {
        let sql = "SELECT CAST(COALESCE(SUM(CASE \
             WHEN EXISTS (SELECT 1 FROM artifacts WHERE artifacts.blob = blobs.id) THEN 0 \
             WHEN EXISTS (SELECT 1 FROM job_inputs WHERE job_inputs.blob = blobs.id) THEN blobs.size \
             WHEN EXISTS (SELECT 1 FROM job_outputs WHERE job_outputs.blob = blobs.id) THEN blobs.size \
             ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(CASE \
             WHEN EXISTS (SELECT 1 FROM blocks WHERE blocks.blob = blobs.id) THEN blobs.size \
             WHEN EXISTS (SELECT 1 FROM log_blocks WHERE log_blocks.blob = blobs.id) THEN blobs.size \
             ELSE 0 END), 0) AS BIGINT) \
             FROM blobs WHERE blobs.account_id = $1 AND blobs.doomed IS NULL";
        Raw { sql, values: vec![Col(account).into()] }
    }

    /// Bytes of an account's artifacts: of those that functions are made of, of those that none is or was made of, and of all.
    artifacts_kept(account: AccountId = sample(AccountId::from_uuid)) -> Raw, Plan::Key, {
        let sql = "SELECT CAST(COALESCE(SUM(CASE \
             WHEN EXISTS (SELECT 1 FROM versions JOIN functions ON functions.id = versions.function_id \
             WHERE versions.account_id = artifacts.account_id AND versions.artifact = artifacts.digest \
             AND functions.deleted IS NULL) THEN artifacts.size ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(CASE \
             WHEN EXISTS (SELECT 1 FROM versions WHERE versions.account_id = artifacts.account_id \
             AND versions.artifact = artifacts.digest) THEN 0 ELSE artifacts.size END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(artifacts.size), 0) AS BIGINT) \
             FROM artifacts WHERE artifacts.account_id = $1";
        Raw { sql, values: vec![Col(account).into()] }
    }

    /// Artifacts that were uploaded before a time and that no version is made of, after one of them.
    artifacts_unused(before: Timestamp = THEN, after: (Timestamp, String) = (THEN, String::new()), most: u64 = 10) -> Raw, Plan::Order(&["artifacts_created"]), {
        let sql = "SELECT account_id, digest, created FROM artifacts \
             WHERE created < $1 AND (created, digest) > ($2, $3) AND NOT EXISTS (SELECT 1 FROM versions \
             WHERE versions.account_id = artifacts.account_id AND versions.artifact = artifacts.digest) \
             ORDER BY created, digest LIMIT $4";
        let (created, digest) = after;
        Raw { sql, values: vec![Col(before).into(), Col(created).into(), digest.into(), signed(most).into()] }
    }

    /// Epochs that are open, the oldest first.
    epochs_open() -> Select<store_epochs::Entity>, Plan::Index(&["store_epochs_open"]), {
        let open = store_epochs::Entity::find().filter(Expr::cust("closed IS NULL"));
        open.order_by_asc(store_epochs::Column::Epoch)
    }

    /// Nodes that have disks.
    nodes_with_disks() -> Select<nodes::Entity>, Plan::Index(&["nodes_disks"]), {
        let some = nodes::Entity::find().filter(Expr::cust("disks IS NOT NULL"));
        some.order_by_asc(nodes::Column::Id)
    }

    /// The newest models but so many: when they were published.
    models_nth(newer: u64 = 10) -> Select<models::Entity>, Plan::Index(&["models_published"]), {
        let times = models::Entity::find().select_only().column(models::Column::Published);
        times.order_by_desc(models::Column::Published).offset(newer).limit(1)
    }
}
