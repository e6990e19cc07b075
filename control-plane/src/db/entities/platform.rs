//! The platform's own: nodes, audit, outbox, counters, the leader, remembered answers.

use protocol::node::{Caps, CheckOutcome, NodeState, RevisedWish, StoreDisk, TrustLevel};
use protocol::signed::Signed;
use protocol::{
    AccountId, ByteSize, Digest, EpochId, InstanceId, Lane, NodeId, PlacementClass, RunId, Timestamp, TokenId,
};

use crate::db::columns::Col;

table! {
    /// Lenders' machines, how far each one's checkpoints are committed, and how far it is trusted. `class` is what is
    /// configured, `level` what it has earned; `speed` was measured, in turns of a fixed loop in a millisecond. `barred`
    /// says why nobody joins with this machine any more; `state_by` who has shut it out or ended it; `seen` when it was
    /// heard last, where that was after its last hello; `disks` what it has for blobs.
    nodes = "nodes" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<NodeId>,
        account_id: Option<Col<AccountId>>,
        name: String,
        class: Col<PlacementClass>,
        public_key: Option<String>,
        nats_key: Option<String>,
        ticket_key: Option<String>,
        arch: String,
        os: String,
        software: String,
        protocol: i32,
        cores: i32,
        memory: Col<ByteSize>,
        lanes: Col<Vec<Lane>>,
        slots: i32,
        checkpoint: i64,
        checkpoint_digest: Col<Digest>,
        created: Col<Timestamp>,
        hello: Option<Col<Timestamp>>,
        state: Col<NodeState>,
        state_reason: Option<String>,
        state_since: Col<Timestamp>,
        machine: Option<Col<Digest>>,
        caps: Option<Col<Caps>>,
        wish: Option<Col<RevisedWish>>,
        machine_boot: Option<Col<Digest>>,
        starts: i64,
        start: Option<Col<Digest>>,
        level: Col<TrustLevel>,
        agreed: i32,
        agreed_operator: i32,
        asked: i32,
        answered: i32,
        speed: Option<i32>,
        check_due: Col<Timestamp>,
        lied: Option<Col<Timestamp>>,
        proven: Option<Col<Timestamp>>,
        vouched: Option<Col<Timestamp>>,
        confirmed: Option<Col<Timestamp>>,
        barred: Option<String>,
        state_by: Option<String>,
        seen: Option<Col<Timestamp>>,
        disks: Option<Col<Vec<StoreDisk>>>,
    }
}

table! {
    /// Checks of nodes: runs whose results are known.
    node_checks = "node_checks" {
        #[sea_orm(primary_key, auto_increment = false)]
        run_id: Col<RunId>,
        node_id: Col<NodeId>,
        at: Col<Timestamp>,
        outcome: Col<CheckOutcome>,
        with_operator: bool,
        wall_us: Option<i64>,
        detail: Option<String>,
    }
}

table! {
    /// Tokens with which machines join, each once. `used_by` is a digest of the keys, `response` what they were told.
    node_tokens = "node_tokens" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Col<TokenId>,
        account_id: Option<Col<AccountId>>,
        node_id: Col<NodeId>,
        public_key: String,
        class: Col<PlacementClass>,
        name: Option<String>,
        created: Col<Timestamp>,
        expires: Col<Timestamp>,
        used: Option<Col<Timestamp>>,
        used_by: Option<Col<Digest>>,
        response: Option<Col<Signed>>,
    }
}

table! {
    /// Committed checkpoints, so that a chain can be walked later.
    checkpoints = "checkpoints" {
        #[sea_orm(primary_key, auto_increment = false)]
        node_id: Col<NodeId>,
        #[sea_orm(primary_key, auto_increment = false)]
        sequence: i64,
        digest: Col<Digest>,
        receipts: i32,
        created: Col<Timestamp>,
    }
}

table! {
    /// Starts of processes that send numbered batches, and how far each one's are committed.
    sources = "sources" {
        #[sea_orm(primary_key, auto_increment = false)]
        epoch: Col<EpochId>,
        committed: i64,
        digest: Col<Digest>,
        seen: Col<Timestamp>,
    }
}

table! {
    /// Who changed what. One row for each mutation, in the mutation's transaction.
    audit = "audit" {
        #[sea_orm(primary_key, auto_increment = false)]
        revision: i64,
        account_id: Option<Col<AccountId>>,
        actor: String,
        action: String,
        target: String,
        at: Col<Timestamp>,
    }
}

table! {
    /// What must be told to others, in the order of the database's revisions.
    outbox = "outbox" {
        #[sea_orm(primary_key, auto_increment = false)]
        revision: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        part: i32,
        account_id: Option<Col<AccountId>>,
        kind: String,
        key: String,
        payload: String,
        at: Col<Timestamp>,
    }
}

table! {
    /// Counters whose row lock puts mutations in one order.
    counters = "counters" {
        #[sea_orm(primary_key, auto_increment = false)]
        name: String,
        value: i64,
    }
}

table! {
    /// The leader: an epoch that grows with each change, and a lease in the database's time.
    leader = "leader" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: i32,
        epoch: i64,
        instance: Col<InstanceId>,
        until: Col<Timestamp>,
    }
}

table! {
    /// Answers to requests with an `Idempotency-Key`, sealed with that key.
    idempotency = "idempotency" {
        #[sea_orm(primary_key, auto_increment = false)]
        id: String,
        request: String,
        effect: bool,
        instance: Col<InstanceId>,
        status: Option<i32>,
        answer: Option<Vec<u8>>,
        created: Col<Timestamp>,
    }
}
