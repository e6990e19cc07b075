//! What `up` says of HTTPS: the address for other machines, and what its certificate is known by.

use std::time::Duration;

use fabric::{Seen, Trust};

use super::parts::Settings;
use crate::client::Client;

const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// None where the public port speaks plain HTTP alone.
pub(super) async fn text(settings: &Settings) -> Option<String> {
    if !settings.has_certificate() {
        return None;
    }
    let seen = tokio::time::timeout(SEEN_WITHIN, seen(settings)).await.ok().flatten();
    // Each of several gateways makes its own.
    let one = settings.args.gateways == 1 || settings.args.tls_certificate.is_some();
    Some(told(settings, seen.filter(|_| one)))
}

/// The certificate that the gateway shows.
async fn seen(settings: &Settings) -> Option<Seen> {
    let trust = Trust::new().ok()?;
    let url = settings.url().replacen("http://", "https://", 1);
    let client = Client::trusting(&url, trust.client_config().ok()?, None).ok()?;
    // Only the certificate is of interest.
    drop(client.get::<serde_json::Value>("/platform").await);
    trust.seen()
}

fn told(settings: &Settings, seen: Option<Seen>) -> String {
    let url = settings.https_url();
    let mut text = format!("for other machines: {url}/");
    match (seen, settings.args.tls_self_signed) {
        (Some(seen), true) => text.push_str(&format!(
            "\n  its certificate is self-signed and made at each start, so browsers warn of it; the fingerprint: {}",
            seen.key
        )),
        (None, true) => text.push_str("\n  its certificate is self-signed and made at each start: browsers warn of it"),
        (Some(seen), false) => text.push_str(&format!("\n  its certificate's fingerprint: {}", seen.key)),
        (None, false) => {}
    }
    if settings.listen.ip().is_loopback() {
        text.push_str("\n  only this machine reaches it now: add --listen 0.0.0.0:PORT and --host NAME");
    }
    text.push_str("\n  a machine joins with a token that was made there: its portal, Nodes, shows the line to type");
    text
}
