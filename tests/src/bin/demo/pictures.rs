//! Pictures of the portal, as the company's owner sees it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::browser::Browser;

use crate::people::Company;
use crate::say;

/// File, place below the account, and what must be there.
const PAGES: [(&str, &str, &str); 3] = [
    ("portal.png", "?period=1h", "a.tile"),
    ("portal-analytics.png", "/analytics?period=1h", "#breakdown .chart-place[data-drawn=true]"),
    ("portal-jobs.png", "/jobs", "main h1"),
];
const WIDTH: u32 = 1280;
/// Whoever reads the README loads them.
const BYTES_MAX: usize = 200_000;
/// Charts move into their places.
const COMES_TO_REST: Duration = Duration::from_secs(2);

/// Takes all of them.
pub(crate) async fn take(company: &Company, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let browser = Browser::open(&company.url).await;
    browser.is_wide(WIDTH).await;
    browser.prefers("light").await;
    browser.logs_in(&company.owner_email, &company.name).await;
    for (file, place, part) in PAGES {
        browser.visit(&format!("/a/{}{place}", company.name)).await;
        drop(browser.element(part).await);
        browser.counts("main [aria-busy=true]", 0).await;
        tokio::time::sleep(COMES_TO_REST).await;
        let picture = browser.screenshot().await;
        ensure!(picture.len() <= BYTES_MAX, "{file} has {} bytes, more than {BYTES_MAX}", picture.len());
        let path = folder.join(file);
        std::fs::write(&path, picture).with_context(|| path.display().to_string())?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}
