//! Which content codings a caller accepts (RFC 9110, 12.5.3). Pure.

use http::header::{self, HeaderMap};

/// A coding that the portal's files have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// The shortest first.
    const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is_called(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.token()) || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }
}

/// The accepted codings, the most wanted first; among equals the shortest.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let items: Vec<(&str, u32)> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            (name.trim(), weight(parameters))
        })
        .collect();
    let of = |called: &dyn Fn(&str) -> bool| items.iter().find(|(name, _)| called(name)).map(|(_, weight)| *weight);
    let any = of(&|name| name == "*").unwrap_or(0);
    let plain = of(&|name| name.eq_ignore_ascii_case("identity")).unwrap_or(0);
    let mut wanted: Vec<(Coding, u32)> = Coding::ALL
        .into_iter()
        .map(|coding| (coding, of(&|name| coding.is_called(name)).unwrap_or(any)))
        // Who wants it plain rather than compressed gets it plain.
        .filter(|(_, weight)| *weight > 0 && *weight >= plain)
        .collect();
    wanted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    wanted.into_iter().map(|(coding, _)| coding).collect()
}

/// `q=0.5` in thousandths; nothing said is all, and nonsense is nothing.
fn weight(parameters: &str) -> u32 {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(value) = value else { return 1000 };
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = format!("{part:0<3}");
    match (whole, part.len() <= 3, digits.parse::<u32>()) {
        ("0", true, Ok(thousandths)) => thousandths,
        ("1", true, Ok(0)) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        accepted(&headers).into_iter().map(Coding::token).collect()
    }

    #[test]
    fn f03_the_caller_chooses() {
        assert_eq!(of(&[]), [""; 0]);
        assert_eq!(of(&[""]), [""; 0]);
        assert_eq!(of(&["gzip, deflate, br, zstd"]), ["br", "gzip"]);
        assert_eq!(of(&["gzip", "BR"]), ["br", "gzip"]);
        assert_eq!(of(&["br;q=0.5, gzip;q=0.8"]), ["gzip", "br"]);
        assert_eq!(of(&["br;q=0, *"]), ["gzip"]);
        assert_eq!(of(&["*;q=0"]), [""; 0]);
        assert_eq!(of(&["identity, gzip;q=0.5"]), [""; 0]);
        assert_eq!(of(&["identity;q=0.5, gzip"]), ["gzip"]);
        assert_eq!(of(&["x-gzip ; q=1.000"]), ["gzip"]);
        assert_eq!(of(&["br;q=nonsense, gzip;q=2"]), [""; 0]);
        assert_eq!(of(&["deflate"]), [""; 0]);
    }
}
