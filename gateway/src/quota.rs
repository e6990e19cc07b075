//! What an account may upload. The control plane counts; before a body is read it sets the bytes aside, and afterwards
//! hears how many came, also of an upload that broke off: of the hour it has cost as much.
//!
//! ```text
//! begin --granted--> body is read --end, fault, or the caller went away--> settle
//! ```
//!
//! Where a settlement is lost, what was set aside counts as uploaded.

use std::sync::Arc;
use std::time::Duration;

use protocol::{AccountId, ByteSize, Code, Problem};
use serde::{Deserialize, Serialize};

use crate::core_client::to_json;
use crate::keys::unavailable;
use crate::state::Gateway;
use crate::upload::Upload;

/// Each question is answered within so long.
const WITHIN: Duration = Duration::from_secs(5);

/// `POST /internal/uploads`
#[derive(Serialize)]
struct Begin {
    account: AccountId,
    /// Fewer would be of no use.
    least: ByteSize,
    /// More will not come.
    most: ByteSize,
}

#[derive(Deserialize)]
struct Granted {
    granted: ByteSize,
}

/// `POST /internal/uploads/settle`
#[derive(Serialize)]
struct Settle {
    account: AccountId,
    granted: ByteSize,
    used: ByteSize,
}

/// Bytes that were set aside for one upload; settled when dropped.
pub(crate) struct Charge {
    gateway: Arc<Gateway>,
    account: AccountId,
    granted: ByteSize,
    upload: Option<Upload>,
}

impl Charge {
    /// Sets bytes aside: the announced ones, or as many as there may be.
    pub(crate) async fn begin(
        gateway: &Arc<Gateway>,
        account: AccountId,
        announced: Option<u64>,
        most: ByteSize,
    ) -> Result<Self, Problem> {
        let most = announced.map_or(most, ByteSize);
        let begin = Begin { account, least: ByteSize(announced.unwrap_or(1)), most };
        let Granted { granted } =
            gateway.core.post("/internal/uploads", &begin, WITHIN).await.map_err(|error| unavailable(&error))?;
        Ok(Self { gateway: Arc::clone(gateway), account, granted: granted.min(most), upload: None })
    }

    /// So many may come.
    pub(crate) fn granted(&self) -> ByteSize {
        self.granted
    }

    /// The body that they are for.
    pub(crate) fn follow(&mut self, upload: &Upload) {
        self.upload = Some(upload.clone());
    }

    /// The refusal of a body that turned out longer than what is left.
    pub(crate) fn exceeded(&self) -> Problem {
        let left = self.granted;
        Problem::new(Code::LimitReached, format!("the account may upload {left} more now")).with_help(
            "Wait until the hour of the upload limit is over, delete what is not needed (`crowdcloud usage` says what \
                 is kept), or ask the operator for more.",
        )
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let used = self.upload.as_ref().map_or(ByteSize(0), Upload::received).min(self.granted);
        let settle = Settle { account: self.account, granted: self.granted, used };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let gateway = Arc::clone(&self.gateway);
        let told = async move {
            let tell = gateway.core.tell("/internal/uploads/settle", to_json(&settle), WITHIN);
            if !matches!(gateway.leaving.run_until_cancelled(tell).await, Some(Ok(()))) {
                tracing::warn!(account = %settle.account, "an upload was not settled; all that was set aside counts");
            }
        };
        self.gateway.concluding.spawn_on(told, &runtime);
    }
}
