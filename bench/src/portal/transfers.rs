//! What a page brought over the wire, by part, from the events of the browser's network.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the portal is made of, by the files' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Document,
    Style,
    Script,
    Module,
    Icon,
    /// The script of the large charts, which only pages with such charts bring.
    Charts,
    Api,
}

impl Part {
    /// Of all pages; the large charts are told apart.
    pub(super) const ALWAYS: [Self; 6] =
        [Self::Document, Self::Style, Self::Script, Self::Module, Self::Icon, Self::Api];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Style => "style sheet",
            Self::Script => "scripts",
            Self::Module => "module",
            Self::Icon => "icon",
            Self::Charts => "large charts",
            Self::Api => "responses of the API",
        }
    }

    /// None where nothing goes over the wire, as for `data:`.
    fn of(url: &str) -> Option<Self> {
        let path = url.strip_prefix("http://")?.split(['?', '#']).next()?;
        let file = path.rsplit('/').next()?;
        Some(match file.rsplit_once('.').map(|(_, extension)| extension) {
            _ if path.contains("/api/") => Self::Api,
            Some("js") if file.starts_with("charts-") => Self::Charts,
            Some("js") => Self::Script,
            Some("css") => Self::Style,
            Some("wasm") => Self::Module,
            Some("svg" | "ico") => Self::Icon,
            _ => Self::Document,
        })
    }
}

/// All requests of a page, by their ids.
#[derive(Debug, Default)]
pub(super) struct Transfers(BTreeMap<String, Transfer>);

/// One request's response.
#[derive(Debug)]
struct Transfer {
    part: Part,
    /// Head and body so far.
    received: u64,
    /// All of it, once it has ended.
    whole: Option<u64>,
}

impl Transfers {
    /// Takes an event.
    pub(super) fn add(&mut self, event: &Value) {
        let (method, params) = (&event["method"], &event["params"]);
        let Some(id) = params["requestId"].as_str() else { return };
        if method == "Network.requestWillBeSent" {
            if let Some(part) = Part::of(params["request"]["url"].as_str().unwrap_or_default()) {
                self.0.insert(id.to_owned(), Transfer { part, received: 0, whole: None });
            }
            return;
        }
        let Some(transfer) = self.0.get_mut(id) else { return };
        let bytes = |of: &Value| of["encodedDataLength"].as_u64().unwrap_or_default();
        match method.as_str() {
            Some("Network.responseReceived") => transfer.received += bytes(&params["response"]),
            Some("Network.dataReceived") => transfer.received += bytes(params),
            Some("Network.loadingFinished") => transfer.whole = Some(bytes(params)),
            _ => {}
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Head and bodies of all responses, as they came over the wire.
    pub(super) fn bytes(&self) -> u64 {
        self.0.values().map(Transfer::bytes).sum()
    }

    /// Those of one part.
    pub(super) fn bytes_of(&self, part: Part) -> u64 {
        self.0.values().filter(|transfer| transfer.part == part).map(Transfer::bytes).sum()
    }
}

impl Transfer {
    fn bytes(&self) -> u64 {
        self.whole.unwrap_or(self.received)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(method: &str, id: &str, more: &Value) -> Value {
        let mut params = more.clone();
        params["requestId"] = json!(id);
        json!({ "method": format!("Network.{method}"), "params": params })
    }

    #[test]
    fn bytes_are_of_heads_and_bodies_and_count_once() {
        let sent = |id, url: &str| event("requestWillBeSent", id, &json!({ "request": { "url": url } }));
        let head =
            |id, bytes: u64| event("responseReceived", id, &json!({ "response": { "encodedDataLength": bytes } }));
        let data = |id, bytes: u64| event("dataReceived", id, &json!({ "encodedDataLength": bytes }));
        let mut transfers = Transfers::default();
        for event in [
            sent("1", "http://127.0.0.1:1/portal-0.wasm"),
            head("1", 100),
            data("1", 1000),
            event("loadingFinished", "1", &json!({ "encodedDataLength": 1101 })),
            // Nobody reads it to its end.
            sent("2", "http://127.0.0.1:1/api/v1/usage?by=hour"),
            head("2", 20),
            data("2", 3),
            sent("3", "data:,"),
            data("4", 5),
        ] {
            transfers.add(&event);
        }
        assert_eq!((transfers.count(), transfers.bytes()), (2, 1124));
        assert_eq!([Part::Module, Part::Api, Part::Charts].map(|part| transfers.bytes_of(part)), [1101, 23, 0]);
    }

    #[test]
    fn parts_are_known_by_their_files() {
        let of = |place: &str| Part::of(&format!("http://127.0.0.1:1/{place}"));
        assert_eq!(of("a/ada?period=1h"), Some(Part::Document));
        assert_eq!(of("charts-1.js"), Some(Part::Charts));
        assert_eq!(of("boot-1.js"), Some(Part::Script));
        assert_eq!(of("icon-1.svg"), Some(Part::Icon));
        assert_eq!(Part::of("data:,"), None);
    }
}
