//! Calls about the user's second factor.

use protocol::api::{
    ConfirmSecondFactor, ProveSecondFactor, RecoveryCodes, SecondFactor, SecondFactorSecret, SetUpSecondFactor,
};

use crate::api::{Call, Result};

pub(crate) async fn show() -> Result<SecondFactor> {
    Call::get("/me/second-factor").send().await
}

/// What the app is told.
pub(crate) async fn set_up(password: String) -> Result<SecondFactorSecret> {
    Call::put("/me/second-factor").json(&SetUpSecondFactor { password }).await
}

pub(crate) async fn confirm(code: String) -> Result<RecoveryCodes> {
    Call::put("/me/second-factor/confirmed").json(&ConfirmSecondFactor { code }).await
}

pub(crate) async fn renew_recovery_codes(proof: &ProveSecondFactor) -> Result<RecoveryCodes> {
    Call::put("/me/second-factor/recovery-codes").json(proof).await
}

pub(crate) async fn turn_off(proof: &ProveSecondFactor) -> Result<()> {
    Call::put("/me/second-factor/off").json(proof).await
}
