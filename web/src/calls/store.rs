//! The store, as its operator looks after it.

use protocol::api::StoreStatus;

use crate::api::{Call, Result};

pub(crate) async fn status(account: &str) -> Result<StoreStatus> {
    Call::get("/operator/store").of(account).send().await
}
