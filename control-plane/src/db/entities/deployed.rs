//! What is deployed: functions, versions, aliases, artifacts.

use std::collections::BTreeMap;

use protocol::api::{KeptBy, VersionState};
use protocol::route::Share;
use protocol::{
    AccountId, ArtifactForm, Base, BlobId, ByteSize, Digest, FunctionId, Kind, LaneChoice, Limits, Name,
    PlacementClass, Problem, Timestamp, VersionId,
};

use crate::db::columns::Col;

table! {
    /// Named things that can be invoked. A deleted one stays as a row, for its runs and its route; its name is free. A
    /// `purged` one has no versions any more: it is a name for its usage. `former` is what it was called before it was
    /// renamed last; of those that had a name only the last has it there.
    functions = "functions" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<FunctionId>,
        account_id: Col<AccountId>,
        name: Col<Name>,
        public: bool,
        latest: i32,
        revision: i64,
        created: Col<Timestamp>,
        updated: Col<Timestamp>,
        deleted: Option<Col<Timestamp>>,
        purged: Option<Col<Timestamp>>,
        former: Option<Col<Name>>,
    }
}

table! {
    /// Immutable deployments.
    versions = "versions" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<VersionId>,
        account_id: Col<AccountId>,
        function_id: Col<FunctionId>,
        number: i32,
        state: Col<VersionState>,
        problem: Option<Col<Problem>>,
        artifact: Col<Digest>,
        artifact_size: Col<ByteSize>,
        kind: Option<Col<Kind>>,
        format: Option<String>,
        lane: Col<LaneChoice>,
        placement: Col<PlacementClass>,
        egress: Col<Vec<String>>,
        limits: Col<Limits>,
        env: Col<BTreeMap<String, String>>,
        alias: Col<Name>,
        created_by: String,
        created: Col<Timestamp>,
        form: Option<Col<ArtifactForm>>,
        base: Option<Col<Base>>,
        command: Option<Col<Vec<String>>>,
        notes: Option<Col<Vec<String>>>,
    }
}

table! {
    /// Movable names for versions; `previous` is where `rollback` goes.
    aliases = "aliases" {
        #[sea_orm(primary_key, auto_increment = false)]
        function_id: Col<FunctionId>,
        #[sea_orm(primary_key, auto_increment = false)]
        name: Col<Name>,
        account_id: Col<AccountId>,
        shares: Col<Vec<Share>>,
        previous: Option<Col<Vec<Share>>>,
        revision: i64,
        updated: Col<Timestamp>,
    }
}

table! {
    /// Which artifacts an account has uploaded, and where the store keeps them.
    artifacts = "artifacts" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        #[sea_orm(primary_key, auto_increment = false)]
        digest: Col<Digest>,
        size: Col<ByteSize>,
        blob: Option<Col<BlobId>>,
        root: Option<Col<Digest>>,
        created: Col<Timestamp>,
    }
}

table! {
    /// What an account has uploaded in the window that is open, what is on its way, and what is kept: as it was `counted`, of
    /// what, and with what has come since.
    upload_quotas = "upload_quotas" {
        #[sea_orm(primary_key, auto_increment = false)]
        account_id: Col<AccountId>,
        window_began: Col<Timestamp>,
        window_bytes: Col<ByteSize>,
        stored_bytes: Col<ByteSize>,
        pending_bytes: Col<ByteSize>,
        counted: Col<Timestamp>,
        parts: Option<Col<KeptBy>>,
    }
}
