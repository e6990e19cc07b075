//! The portal's URLs. Those of an account's pages stand in `places`. The URL holds every state.

use sycamore_router::Route;

use crate::places::{self, Found};

/// One URL, parsed.
#[derive(Route, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    #[to("/")]
    Home,
    #[to("/signup")]
    Signup,
    #[to("/login")]
    Login,
    #[to("/forgot")]
    Forgot,
    #[to("/reset/<token>")]
    Reset { token: String },
    #[to("/invite/<token>")]
    Invite { token: String },
    #[to("/me/security")]
    Security,
    #[to("/accounts/new")]
    NewAccount,
    #[to("/a/<account>/<path..>")]
    Account { account: String, path: Vec<String> },
    #[not_found]
    NotFound,
}

impl Place {
    /// The account that the place belongs to.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Account { account, .. } => Some(account),
            _ => None,
        }
    }

    /// The account's page.
    pub(crate) fn found(&self) -> Found {
        match self {
            Self::Account { path, .. } => places::find(path),
            _ => Found { place: None, values: Vec::new(), tab: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use sycamore_router::Route as _;

    fn place(path: &str) -> Place {
        Place::NotFound.match_path(path)
    }

    #[test]
    fn paths_lead_to_their_places() {
        assert_eq!(place("/a/ada").account(), Some("ada"));
        assert_eq!(place("/a/ada?period=24h").found(), place("/a/ada").found());
        assert_eq!(place("/a/ada/functions/thumbs/logs?run=run_1").found().tab, "logs");
        assert_eq!(place("/a/ada/no/such/place/at/all").found().place, None);
        assert_eq!(place("/invite/abc"), Place::Invite { token: "abc".into() });
        assert_eq!(place("/reset/abc"), Place::Reset { token: "abc".into() });
        assert_eq!(place("/no/such/place"), Place::NotFound);
    }
}
