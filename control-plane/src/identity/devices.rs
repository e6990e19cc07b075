//! Devices: a cookie that a log-in leaves behind. Whoever brings it back has tries of their own, so that strangers who
//! guess at an address, or at somebody behind the same network, do not keep its owner out (OWASP: device cookies).
//!
//! `<nonce>.<code>`, where the code is a keyed hash of user, nonce and the password's hash: nothing is stored, nobody
//! else can make one, and a changed password ends them all.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use protocol::UserId;
use protocol::headers::DEVICE_COOKIE;
use subtle::ConstantTimeEq as _;

use super::credentials::secret;
use crate::db::entities::users;

/// Browsers keep it for so long after the last log-in.
const AGE: Duration = Duration::from_secs(400 * 86_400);
/// What is longer is none.
const LENGTH_MAX: usize = 200;
const PATH: &str = "/api/v1";

/// Makes and knows the cookies.
pub(crate) struct Devices {
    key: [u8; 32],
}

/// A device that has logged in before: what its tries are counted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device(String);

impl Device {
    /// One that has not.
    pub(crate) fn new() -> Self {
        Self(secret())
    }

    /// Its name.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Devices {
    /// With a secret that all control planes share.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The device that asks, where it has logged this user in before.
    pub(crate) fn known(&self, cookie: Option<&str>, user: &users::Model) -> Option<Device> {
        let (nonce, code) = cookie.filter(|cookie| cookie.len() <= LENGTH_MAX)?.split_once('.')?;
        let right = self.code(nonce, user.id.0, &user.password);
        bool::from(right.as_bytes().ct_eq(code.as_bytes())).then(|| Device(nonce.to_owned()))
    }

    /// The cookie that a log-in of this user, with this hash of their password, leaves behind.
    pub(crate) fn cookie(&self, device: &Device, user: UserId, password: &str, secure: bool) -> String {
        let (nonce, secure) = (&device.0, if secure { "; Secure" } else { "" });
        let code = self.code(nonce, user, password);
        let age = AGE.as_secs();
        format!("{DEVICE_COOKIE}={nonce}.{code}; Path={PATH}; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
    }

    fn code(&self, nonce: &str, user: UserId, password: &str) -> String {
        let said = format!("{nonce}\n{user}\n{password}");
        URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&self.key, said.as_bytes()).as_bytes())
    }
}

/// The device's cookie in a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    super::credentials::cookie_named(headers.get_all(header::COOKIE), DEVICE_COOKIE)
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::*;

    #[test]
    fn a07_only_who_has_logged_in_is_known() {
        let user = |password: &str| users::Model {
            id: UserId::new().into(),
            email: String::new(),
            password: password.to_owned(),
            operator: false,
            created: Timestamp::now().into(),
        };
        let (devices, ada, eve) = (Devices::new([1; 32]), user("hash"), user("hash"));
        let device = Device::new();
        let cookie = devices.cookie(&device, ada.id.0, &ada.password, true);
        let value = cookie.strip_prefix("cc_device=").unwrap().split(';').next().unwrap();
        assert_eq!(devices.known(Some(value), &ada), Some(device));
        assert_eq!(devices.known(Some(value), &eve), None, "another user");
        assert_eq!(devices.known(Some(value), &users::Model { password: "new".to_owned(), ..ada.clone() }), None);
        assert_eq!(Devices::new([2; 32]).known(Some(value), &ada), None, "another platform");
        let (_, code) = value.split_once('.').unwrap();
        for forged in ["", ".", "a", &format!("other.{code}"), &value[..value.len() - 1], &format!("{value}x")] {
            assert_eq!(devices.known(Some(forged), &ada), None, "{forged}");
        }
        assert_eq!(devices.known(None, &ada), None);
    }
}
