//! Which headers a function sees, which it may set, and which are the gateway's: one table for calls, calls that are
//! answered later and jobs alike. `docs/headers.md` is written from it. A header that is not in it passes both ways.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What becomes of a header of a caller's request on its way to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToFunction {
    /// As it was sent.
    Passes,
    /// Without what is the platform's in its value.
    InPart,
    /// The platform's own value, or none: never what the caller wrote.
    Ours,
    /// Never.
    LeftOut,
}

/// What becomes of a header of a function's response on its way to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToCaller {
    /// As the function set it.
    Passes,
    /// Without what is the platform's in its value, or with what the platform adds.
    InPart,
    /// Only from a host of the function's own: at `/f/...` it would bind the whole origin.
    OwnHost,
    /// The platform's own value, or none.
    Ours,
    /// Never.
    LeftOut,
}

/// What a group of headers is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One connection, and not the message.
    Connection,
    /// Where the message begins and ends.
    Framing,
    /// Who calls, and in which session.
    Credentials,
    /// The platform itself.
    Platform,
    /// Where a request came from, how it was addressed, and whom a proxy has let in.
    Way,
    /// Everything on the origin.
    Origin,
    /// Nothing of the above.
    Content,
}

/// Headers that are treated alike.
#[derive(Debug)]
pub struct Row {
    /// In lower case; one that ends in `*` stands for all that begin so.
    pub names: &'static [&'static str],
    /// What they are about.
    pub about: About,
    /// Requests.
    pub to_function: ToFunction,
    /// Responses.
    pub to_caller: ToCaller,
    /// Whether a job's output, which is read at the portal's own origin, has them.
    pub in_output: bool,
    /// Why, for people.
    pub why: &'static str,
}

/// Headers of one connection, not of the message, beside those that `Connection` names (RFC 9110, 7.6.1).
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Where proxies and content networks say who called them, and how.
const TOLD_BY_PROXIES: [&str; 91] = [
    "akamai-client-ip",
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "cf-access-*",
    "cf-connecting-*",
    "cf-ipcountry",
    "cf-pseudo-ipv4",
    "cf-visitor",
    "client-ip",
    "cloudfront-forwarded-proto",
    "cloudfront-viewer-*",
    "do-connecting-ip",
    "fastly-client-*",
    "fastly-ssl",
    "fly-client-ip",
    "fly-forwarded-*",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "front-end-https",
    "incap-client-ip",
    "proxy",
    "proxy-client-ip",
    "remote-addr",
    "remote-host",
    "remote-user",
    "source-ip",
    "ssl-client-*",
    "tailscale-*",
    "true-client-ip",
    "wl-proxy-*",
    "x-accel-mapping",
    "x-amzn-mtls-*",
    "x-amzn-oidc-*",
    "x-appengine-*",
    "x-arr-clientcert",
    "x-arr-ssl",
    "x-auth-request-*",
    "x-azure-clientip",
    "x-azure-fdid",
    "x-azure-socketip",
    "x-bb-ip",
    "x-client-cert*",
    "x-client-ip",
    "x-client-verify",
    "x-clientip",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-envoy-external-address",
    "x-envoy-original-*",
    "x-forward-for",
    "x-forward-host",
    "x-forward-proto",
    "x-gateway-host",
    "x-goog-authenticated-user-*",
    "x-goog-iap-*",
    "x-host",
    "x-http-host-override",
    "x-ms-client-principal*",
    "x-nf-client-connection-ip",
    "x-original-forwarded-*",
    "x-original-host",
    "x-original-method",
    "x-original-proto",
    "x-original-remote-addr",
    "x-original-scheme",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-peer-ip",
    "x-protocol",
    "x-proxy-user*",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-real-port",
    "x-remote-addr",
    "x-remote-host",
    "x-remote-ip",
    "x-remote-user",
    "x-rewrite-uri",
    "x-rewrite-url",
    "x-scheme",
    "x-sendfile-type",
    "x-source-ip",
    "x-ssl-client*",
    "x-sucuri-clientip",
    "x-true-client-ip",
    "x-url-scheme",
    "x-vercel-forwarded-for",
    "x-webauth-user",
];

/// What a function that shares an origin with the portal may not say: it binds all of the origin.
const ORIGIN_WIDE: [&str; 22] = [
    "accept-ch",
    "accept-ch-lifetime",
    "activate-storage-access",
    "alt-svc",
    "attribution-reporting-*",
    "clear-site-data",
    "critical-ch",
    "expect-ct",
    "idp-signin-status",
    "nel",
    "observe-browsing-topics",
    "origin-agent-cluster",
    "public-key-pins*",
    "report-to",
    "reporting-endpoints",
    "sec-session-*",
    "secure-session-*",
    "service-worker-allowed",
    "set-login",
    "shared-storage-write",
    "strict-transport-security",
    "use-as-dictionary",
];

/// All that are treated otherwise than [`PLAIN`].
pub static TABLE: [Row; 19] = [
    Row {
        names: &HOP_BY_HOP,
        about: About::Connection,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::LeftOut,
        in_output: false,
        why: "Of one connection, as are all that `Connection` names. Of `TE` a call keeps `trailers`.",
    },
    Row {
        names: &["trailer"],
        about: About::Framing,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::InPart,
        in_output: false,
        why: "Trailers of a response pass where the caller said `TE: trailers`; else they, and the header that names \
              them, are left out. Those of a request never pass, nor does any header as a trailer that the function \
              may not set.",
    },
    Row {
        names: &["content-length"],
        about: About::Framing,
        to_function: ToFunction::Ours,
        to_caller: ToCaller::InPart,
        in_output: false,
        why: "The length of the body as it is sent. In a response to HEAD, and of 304, it is what the function says.",
    },
    Row {
        names: &["expect"],
        about: About::Framing,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "The gateway asks for the body.",
    },
    Row {
        names: &["host"],
        about: About::Content,
        to_function: ToFunction::Ours,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "The host that was called, which the gateway has checked; a job that was submitted has the function's own.",
    },
    Row {
        names: &["authorization"],
        about: About::Credentials,
        to_function: ToFunction::InPart,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "Keys of the platform stay with it; any other credential is the function's own affair.",
    },
    Row {
        names: &["cookie"],
        about: About::Credentials,
        to_function: ToFunction::InPart,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "Without the portal's own cookies.",
    },
    Row {
        names: &["set-cookie"],
        about: About::Credentials,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::InPart,
        in_output: false,
        why: "Without `Domain`, and none of the portal's names; at `/f/...` confined to the function's path.",
    },
    Row {
        names: &["www-authenticate"],
        about: About::Credentials,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::InPart,
        in_output: false,
        why: "Of the function, not of the portal; at `/f/...` without what a browser asks its user a password for.",
    },
    Row {
        names: &["x-crowdcloud-*"],
        about: About::Platform,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::Ours,
        in_output: false,
        why: "The platform's own: `x-crowdcloud-run` and `x-crowdcloud-node` say which run it was, and where.",
    },
    Row {
        names: &["prefer"],
        about: About::Platform,
        to_function: ToFunction::InPart,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "`respond-async`, and `wait` beside it, are for the gateway; all other preferences pass.",
    },
    Row {
        names: &["proxy-status"],
        about: About::Platform,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::InPart,
        in_output: true,
        why: "By `crowdcloud` it marks what the platform gave instead of the function; others' entries pass.",
    },
    Row {
        names: &["server-timing"],
        about: About::Platform,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::InPart,
        in_output: true,
        why: "The gateway adds its own times.",
    },
    Row {
        names: &["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-forwarded-uri"],
        about: About::Way,
        to_function: ToFunction::Ours,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "The caller's address; the host, scheme and path by which the function was called. What a caller wrote \
              there is believed only from a `--trusted-proxy`. `x-forwarded-uri` is there where the function was called \
              without a `/` behind its name: path and query as they were sent. A job that was submitted has none.",
    },
    Row {
        names: &["x-forwarded*"],
        about: About::Way,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "Only a proxy may say it, and the gateway says nothing there.",
    },
    Row {
        names: &TOLD_BY_PROXIES,
        about: About::Way,
        to_function: ToFunction::LeftOut,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "Only a proxy may say it: addresses, paths, schemes and users that programs behind a proxy believe.",
    },
    Row {
        names: &["content-security-policy"],
        about: About::Origin,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::InPart,
        in_output: false,
        why: "At `/f/...` the gateway adds `sandbox`.",
    },
    Row {
        names: &ORIGIN_WIDE,
        about: About::Origin,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::OwnHost,
        in_output: false,
        why: "It binds all of an origin.",
    },
    Row {
        names: &["idempotency-key"],
        about: About::Content,
        to_function: ToFunction::Passes,
        to_caller: ToCaller::Passes,
        in_output: true,
        why: "The function's own affair; with `Prefer: respond-async` the gateway takes it.",
    },
];

/// Requests' headers whose names have other characters than letters, digits and `-`, whatever else stands in the table:
/// see [`is_common_name`].
pub static UNCOMMON: Row = Row {
    names: &["*_*"],
    about: About::Content,
    to_function: ToFunction::LeftOut,
    to_caller: ToCaller::Passes,
    in_output: true,
    why: "What serves by CGI's rules has one variable for `x_name` and `x-name`, so that a caller could say with the one \
          what is the platform's, or a proxy's, to say with the other.",
};

/// All other headers.
pub static PLAIN: Row = Row {
    names: &["*"],
    about: About::Content,
    to_function: ToFunction::Passes,
    to_caller: ToCaller::Passes,
    in_output: true,
    why: "Whatever is not above.",
};

/// The table, to be searched for each header of each call, several times: names by their first byte, which tells most
/// headers that are not in it.
struct Index([Names; 256]);

/// Names with the same first byte.
#[derive(Default)]
struct Names {
    whole: HashMap<&'static str, &'static Row>,
    beginnings: Vec<(&'static str, &'static Row)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index(std::array::from_fn(|_| Names::default()));
    for (name, row) in TABLE.iter().flat_map(|row| row.names.iter().map(move |name| (*name, row))) {
        let Some(&first) = name.as_bytes().first() else { continue };
        let names = &mut index.0[usize::from(first)];
        match name.strip_suffix('*') {
            Some(beginning) => names.beginnings.push((beginning, row)),
            None => {
                names.whole.insert(name, row);
            }
        }
    }
    index
});

/// Whether a header's name is one that a function may be sent: of letters, digits and `-` alone. CGI's rules make a
/// variable of a name by writing `_` for `-`, and frameworks make others of other characters: two names, one variable.
#[must_use]
pub fn is_common_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The row of a header; a whole name counts before a beginning. Case does not matter, nor does `_` for `-`: what a
/// response says with the one may be taken for the other.
#[must_use]
pub fn row(name: &str) -> &'static Row {
    let plain = |byte: u8| byte != b'_' && !byte.is_ascii_uppercase();
    let name = match name.bytes().all(plain) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.to_ascii_lowercase().replace('_', "-")),
    };
    let Some(&first) = name.as_bytes().first() else { return &PLAIN };
    let Names { whole, beginnings } = &INDEX.0[usize::from(first)];
    if let Some(row) = whole.get(&*name) {
        return row;
    }
    beginnings.iter().find(|(beginning, _)| name.starts_with(beginning)).map_or(&PLAIN, |&(_, row)| row)
}

/// What a recipient must know before the body: it is no trailer (RFC 9110, 6.5.1).
const BEFORE_THE_BODY: [&str; 8] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "host",
    "max-forwards",
    "www-authenticate",
];

/// Whether a function may set it as a trailer.
#[must_use]
pub fn may_trail(name: &str) -> bool {
    row(name).to_caller == ToCaller::Passes && !BEFORE_THE_BODY.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_each_name_stands_once_and_is_found() {
        let mut all: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        for name in &all {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(!name.contains('_'), "{name}");
        }
        for row in &TABLE {
            for name in row.names {
                let example = name.replace('*', "anything").to_ascii_uppercase();
                assert!(std::ptr::eq(super::row(&example), row), "{name} is in an earlier row too");
                assert!(std::ptr::eq(super::row(&example.replace('-', "_")), row), "{name}");
            }
        }
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "a name stands twice");
        for plain in ["", "x-forward", "x-real-ip-of-mine", "via", "user-agent", "x-request-id", "traceparent", "x-"] {
            assert!(std::ptr::eq(row(plain), &PLAIN), "{plain}");
        }
    }
}
