//! The guest that the platform's tests misuse. Each path does one thing, good or bad; numbers come from the query.
//!
//! | path | does |
//! | --- | --- |
//! | `/` | says method, path, query, and how often this instance was asked |
//! | `/echo` | streams the body back, with its content type |
//! | `/count` | reads the body, answers its length |
//! | `/bytes?n=` | answers n bytes |
//! | `/headers` | answers the request's headers, one on each line |
//! | `/answer?NAME=VALUE&...` | answers with these headers |
//! | `/status/NNN` | answers with this status |
//! | `/env` | answers the environment, one variable on each line |
//! | `/page` | a page whose script tries to read the platform's API as its viewer |
//! | `/log?lines=&bytes=` | writes lines to stdout and stderr in turn |
//! | `/burn?ms=&mib=&n=` | burns CPU, touches memory, answers n bytes |
//! | `/sleep?ms=` | waits, then answers |
//! | `/drip?n=&ms=&bytes=` | streams n pieces with waits between them |
//! | `/alloc?mib=` | touches that much memory |
//! | `/fetch?authority=&path=&scheme=` | calls another host |
//! | `/loop` `/recurse` `/trap` `/no-response` `/refuse` `/late-trap?bytes=` | misbehave as they say |

mod answers;
mod misdeeds;

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

/// Each request gets a fresh instance, so this must never go beyond 1.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

struct Probe;

wasip2::http::proxy::export!(Probe);

impl Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        std::panic::set_hook(Box::new(|panic| answers::log_line(&panic.to_string())));
        let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = Query(query);
        match path {
            "/echo" => answers::echo(&request, out),
            "/count" => answers::count(&request, out),
            "/bytes" => answers::bytes(out, query.number("n", 1024)),
            "/headers" => answers::headers(&request, out),
            "/answer" => answers::with_headers(out, &query),
            "/env" => answers::environment(out),
            "/page" => answers::page(out),
            "/log" => answers::log(out, query.number("lines", 1), query.number("bytes", 40)),
            "/sleep" => answers::sleep(out, query.number("ms", 100)),
            "/drip" => answers::drip(out, query.number("n", 5), query.number("ms", 100), query.number("bytes", 10)),
            "/fetch" => answers::fetch(out, &query),
            "/burn" => misdeeds::burn(out, query.number("ms", 100), query.number("mib", 0), query.number("n", 0)),
            "/alloc" => misdeeds::allocate(out, query.number("mib", 1)),
            "/loop" => misdeeds::spin(),
            "/recurse" => misdeeds::recurse(out),
            "/trap" => misdeeds::trap(),
            "/late-trap" => misdeeds::late_trap(out, query.number("bytes", 1024)),
            "/no-response" => drop(out),
            "/refuse" => misdeeds::refuse(out),
            path => match path.strip_prefix("/status/").and_then(|status| status.parse().ok()) {
                Some(status) => answers::text(out, status, &format!("status {status}\n")),
                None => {
                    let method = format!("{:?}", request.method());
                    answers::text(out, 200, &format!("{method} {path} {} request {count}\n", query.0));
                }
            },
        }
    }
}

/// What stands after `?`.
pub struct Query<'a>(&'a str);

impl Query<'_> {
    /// All pairs, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split('&').filter_map(|pair| pair.split_once('='))
    }

    /// One value.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn number<T: FromStr>(&self, name: &str, default: T) -> T {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}
