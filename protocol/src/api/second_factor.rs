//! The second factor of a log-in: codes that an app shows (TOTP, RFC 6238), and recovery codes for when the app is lost.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

api_types! {
    /// `POST /sessions/code`: the second step of a log-in that was answered with `code_needed`.
    #[serde(deny_unknown_fields)]
    pub struct LoginCode {
        /// The code that the app shows, or a recovery code.
        pub code: String,
    }

    /// `GET /me/second-factor`
    #[derive(Copy, Eq)]
    pub struct SecondFactor {
        /// Since when log-ins need a code; none where they do not.
        pub since: Option<Timestamp>,
        /// Recovery codes that are left.
        pub recovery_codes: u32,
    }

    /// `PUT /me/second-factor`
    #[serde(deny_unknown_fields)]
    pub struct SetUpSecondFactor {
        /// The user's password.
        pub password: String,
    }

    /// What the app is told. Log-ins need a code once one of its codes has confirmed it.
    #[derive(Eq)]
    pub struct SecondFactorSecret {
        /// To be typed into the app: base32.
        pub secret: String,
        /// The same for a QR code: `otpauth://totp/...`.
        pub url: String,
    }

    /// `PUT /me/second-factor/confirmed`
    #[serde(deny_unknown_fields)]
    pub struct ConfirmSecondFactor {
        /// The code that the app shows.
        pub code: String,
    }

    /// Each logs in once instead of a code of the app. Shown once.
    #[derive(Eq)]
    pub struct RecoveryCodes {
        /// The codes.
        pub codes: Vec<String>,
    }

    /// `PUT /me/second-factor/recovery-codes` and `PUT /me/second-factor/off`
    #[serde(deny_unknown_fields)]
    pub struct ProveSecondFactor {
        /// The user's password.
        pub password: String,
        /// The code that the app shows, or a recovery code.
        pub code: String,
    }
}
