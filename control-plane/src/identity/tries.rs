//! Whose tries are counted against what: guesses at an address, all log-ins of a client, those of a device that has
//! logged in before, wrong passwords and codes of a user, sign-ups of a client; and refusals that are kept for an account. See `limiter`.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::MonotonicClock;
use http::HeaderMap;
use protocol::UserId;

use super::devices::Device;
use super::limiter::{Key, Limiter, Rate};
use crate::config::Config;
use crate::error::{Error, Result};

/// Where a request comes from: an address, or the network that a subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(Option<IpAddr>);

impl Client {
    /// As the gateway says. It takes away what the client itself says of this.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let said = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let address = said.and_then(|all| all.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        Self(address.map(|address| match address.to_canonical() {
            // Whoever has one of these has a whole network of them.
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        }))
    }

    /// Whom its tries are counted for.
    pub(crate) fn key(self) -> Key {
        Key::of(self.0.map_or_else(String::new, |address| address.to_string()).as_bytes())
    }
}

/// All that is counted. Kept in memory: a restart costs who guesses more than it gives.
pub(crate) struct Tries {
    addresses: Limiter,
    clients: Limiter,
    devices: Limiter,
    passwords: Limiter,
    codes: Limiter,
    sign_ups: Limiter,
    mails: Limiter,
    joins: Limiter,
    refusals: Limiter,
}

/// A log-in that was counted.
#[must_use = "a log-in that succeeds is given back"]
pub(crate) struct Counted<'a>(Vec<(&'a Limiter, Key)>);

impl Counted<'_> {
    /// It was no guess.
    pub(crate) fn give_back(self) {
        for (limiter, key) in self.0 {
            limiter.give_back(key);
        }
    }
}

fn refused(what: &'static str) -> impl Fn(Duration) -> Error {
    move |wait| Error::TooOften { what, wait }
}

impl Tries {
    /// With the configuration's bounds.
    pub(crate) fn new(config: &Config) -> Self {
        let limiter = |tries: u32, period: protocol::Millis| {
            Limiter::new(Rate { tries, period: period.duration() }, config.tries_kept_max, MonotonicClock)
        };
        Self {
            addresses: limiter(config.login_failures_max, config.login_window),
            clients: limiter(config.login_client_failures_max, config.login_client_window),
            devices: limiter(config.login_failures_max, config.login_window),
            passwords: limiter(config.login_failures_max, config.login_window),
            codes: limiter(config.login_failures_max, config.login_window),
            sign_ups: limiter(config.signups_max, config.signups_window),
            mails: limiter(config.mail.resets_max, config.mail.resets_window),
            joins: limiter(config.joins_max, config.joins_window),
            refusals: limiter(config.idempotency_refusals_max, config.idempotency_age_max),
        }
    }

    /// A log-in: of a known device by itself, else of the address and the client.
    pub(crate) fn log_in(&self, email: &str, client: Client, device: Option<&Device>) -> Result<Counted<'_>> {
        let too_often = refused("failed log-ins");
        if let Some(device) = device {
            let key = Key::of(device.as_bytes());
            self.devices.take(key).map_err(too_often)?;
            return Ok(Counted(vec![(&self.devices, key)]));
        }
        let (from, at) = (client.key(), Key::of(email.as_bytes()));
        self.clients.take(from).map_err(&too_often)?;
        if let Err(wait) = self.addresses.take(at) {
            // Nothing was guessed.
            self.clients.give_back(from);
            return Err(too_often(wait));
        }
        Ok(Counted(vec![(&self.clients, from), (&self.addresses, at)]))
    }

    /// A code of a user's second factor, whose password is known: of a known device by itself, else of the user.
    pub(crate) fn code(&self, user: UserId, device: Option<&Device>) -> Result<Counted<'_>> {
        let key = device.map_or_else(|| Key::of_user(user), |device| Key::of(device.as_bytes()));
        self.codes.take(key).map_err(refused("wrong codes"))?;
        Ok(Counted(vec![(&self.codes, key)]))
    }

    /// A user's password, from within a log-in.
    pub(crate) fn password(&self, user: UserId) -> Result<Counted<'_>> {
        let key = Key::of_user(user);
        self.passwords.take(key).map_err(refused("wrong passwords"))?;
        Ok(Counted(vec![(&self.passwords, key)]))
    }

    /// A machine that joins, renews or leaves; it counts whatever comes of it.
    pub(crate) fn join(&self, client: Client) -> Result<()> {
        self.joins.take(client.key()).map_err(refused("requests of machines from your network"))
    }

    /// A sign-up; it counts whatever comes of it.
    pub(crate) fn sign_up(&self, client: Client) -> Result<()> {
        self.sign_ups.take(client.key()).map_err(refused("sign-ups from your network"))
    }

    /// A code that shows that an address is the client's own.
    pub(crate) fn email_code(&self, client: Client) -> Result<Counted<'_>> {
        let key = client.key();
        self.clients.take(key).map_err(refused("wrong codes"))?;
        Ok(Counted(vec![(&self.clients, key)]))
    }

    /// A link that a client asks for; it counts for both, whether or not somebody has the address.
    pub(crate) fn reset(&self, email: &str, client: Client) -> Result<()> {
        self.mails.take(client.key()).map_err(refused("links for new passwords"))?;
        self.mail_to(email)
    }

    /// A mail to an address.
    pub(crate) fn mail_to(&self, email: &str) -> Result<()> {
        self.mails.take(Key::of(email.as_bytes())).map_err(refused("mails to this address"))
    }

    /// Whether one more refusal of this account is kept for its `Idempotency-Key`.
    pub(crate) fn keep_refusal(&self, account: Key) -> bool {
        self.refusals.take(account).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a07_a_client_is_what_the_gateway_says_last() {
        let of = |said: &'static str| {
            Client::of(&[("x-forwarded-for".parse().unwrap(), said.parse().unwrap())].into_iter().collect())
        };
        assert_eq!(of("10.0.0.1"), of("192.0.2.9, 10.0.0.1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"), "one subscriber's network");
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("nonsense"), Client::of(&HeaderMap::new()));
    }
}
