//! The portal's places. The URL holds every state.

use sycamore_router::Route;

/// One URL, parsed.
#[derive(Route, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    #[to("/")]
    Home,
    #[to("/signup")]
    Signup,
    #[to("/login")]
    Login,
    #[to("/invite/<token>")]
    Invite { token: String },
    #[to("/me/security")]
    Security,
    #[to("/accounts/new")]
    NewAccount,
    #[to("/a/<account>")]
    Overview { account: String },
    #[to("/a/<account>/functions")]
    Functions { account: String },
    #[to("/a/<account>/functions/new")]
    NewFunction { account: String },
    #[to("/a/<account>/functions/<function>")]
    Function { account: String, function: String },
    #[to("/a/<account>/functions/<function>/<tab>")]
    FunctionTab { account: String, function: String, tab: String },
    #[to("/a/<account>/jobs")]
    Jobs { account: String },
    #[to("/a/<account>/jobs/new")]
    NewJob { account: String },
    #[to("/a/<account>/jobs/<job>")]
    Job { account: String, job: String },
    #[to("/a/<account>/nodes")]
    Nodes { account: String },
    #[to("/a/<account>/settings")]
    Settings { account: String },
    #[to("/a/<account>/settings/<tab>")]
    SettingsTab { account: String, tab: String },
    #[not_found]
    NotFound,
}

/// A page of an account: what stays mounted while only a tab changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Overview,
    Functions,
    NewFunction,
    Function(String),
    Jobs,
    NewJob,
    Job(String),
    Nodes,
    Settings,
    NotFound,
}

impl Place {
    /// The account that the place belongs to.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Overview { account }
            | Self::Functions { account }
            | Self::NewFunction { account }
            | Self::Function { account, .. }
            | Self::FunctionTab { account, .. }
            | Self::Jobs { account }
            | Self::NewJob { account }
            | Self::Job { account, .. }
            | Self::Nodes { account }
            | Self::Settings { account }
            | Self::SettingsTab { account, .. } => Some(account),
            _ => None,
        }
    }

    /// The account's page.
    pub(crate) fn page(&self) -> Page {
        match self {
            Self::Overview { .. } => Page::Overview,
            Self::Functions { .. } => Page::Functions,
            Self::NewFunction { .. } => Page::NewFunction,
            Self::Function { function, .. } | Self::FunctionTab { function, .. } => Page::Function(function.clone()),
            Self::Jobs { .. } => Page::Jobs,
            Self::NewJob { .. } => Page::NewJob,
            Self::Job { job, .. } => Page::Job(job.clone()),
            Self::Nodes { .. } => Page::Nodes,
            Self::Settings { .. } | Self::SettingsTab { .. } => Page::Settings,
            _ => Page::NotFound,
        }
    }

    /// The tab of a page that has tabs; empty for its first.
    pub(crate) fn tab(&self) -> &str {
        match self {
            Self::FunctionTab { tab, .. } | Self::SettingsTab { tab, .. } => tab,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, Place};
    use sycamore_router::Route as _;

    fn place(path: &str) -> Place {
        Place::NotFound.match_path(path)
    }

    #[test]
    fn paths_lead_to_their_places() {
        assert_eq!(place("/a/ada/functions/new").page(), Page::NewFunction);
        assert_eq!(place("/a/ada/functions/thumbs").page(), Page::Function("thumbs".into()));
        assert_eq!(place("/a/ada/functions/thumbs/logs").tab(), "logs");
        assert_eq!(place("/a/ada/jobs/new").page(), Page::NewJob);
        assert_eq!(place("/a/ada/jobs/job_1").page(), Page::Job("job_1".into()));
        assert_eq!(place("/a/ada/settings/keys").account(), Some("ada"));
        assert_eq!(place("/invite/abc"), Place::Invite { token: "abc".into() });
        assert_eq!(place("/a/ada/no/such/place/at/all"), Place::NotFound);
    }
}
