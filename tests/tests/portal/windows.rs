//! In which window each journey is made. Each of them in each window would take six times as long: so every width has
//! journeys in both schemes. (How every page looks in each is `looks`.)

use std::collections::BTreeSet;

use crate::browser::Browser;

/// A phone, a tablet and a desk.
pub(crate) const WIDTHS: [u32; 3] = [360, 768, 1440];
/// What pages may be preferred in.
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// What users do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Journey {
    Company,
    Dashboard,
    Deployment,
    Job,
    JobsOfALine,
    OpenPages,
    Password,
    Personal,
    SecondFactor,
    SeveralJobs,
}

impl Journey {
    const ALL: [Self; 10] = [
        Self::Company,
        Self::Dashboard,
        Self::Deployment,
        Self::Job,
        Self::JobsOfALine,
        Self::OpenPages,
        Self::Password,
        Self::Personal,
        Self::SecondFactor,
        Self::SeveralJobs,
    ];

    /// Width and scheme.
    pub(crate) const fn window(self) -> (u32, &'static str) {
        match self {
            Self::Company | Self::Password => (360, "light"),
            Self::SecondFactor => (360, "dark"),
            Self::Deployment => (768, "light"),
            Self::OpenPages | Self::SeveralJobs => (768, "dark"),
            Self::Personal | Self::JobsOfALine => (1440, "light"),
            Self::Dashboard | Self::Job => (1440, "dark"),
        }
    }

    /// A browser with its window.
    pub(crate) async fn open(self, portal: &str) -> Browser {
        let (width, scheme) = self.window();
        Browser::open_in(portal, width, scheme).await
    }
}

#[test]
fn every_width_has_journeys_in_both_schemes() {
    let windows: BTreeSet<_> = Journey::ALL.into_iter().map(Journey::window).collect();
    let all: BTreeSet<_> = WIDTHS.into_iter().flat_map(|width| SCHEMES.map(|scheme| (width, scheme))).collect();
    assert_eq!(windows, all);
}
