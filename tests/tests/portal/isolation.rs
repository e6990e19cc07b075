//! A function's page must not act as its viewer, on whatever host it is shown.

use tests::Platform;

use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_functions_page_cannot_read_the_api_as_its_viewer() {
    let platform = Platform::start();
    let port = platform.address().rsplit(':').next().unwrap().to_owned();
    // The portal under both of its local names: one is of the same site as the functions' hosts.
    for (name, portal) in [("ada", platform.url.clone()), ("grace", format!("http://localhost:{port}"))] {
        let viewer = Browser::open(&portal).await;
        viewer.signs_up(name, "personal").await;
        viewer.deploys(name, "evil", &tests::guest("probe"), "public").await;

        // It is logged in, and may read the API itself.
        viewer.visit("/me/security").await;
        let own = "return fetch('/api/v1/me').then(answer => answer.status)";
        assert_eq!(viewer.script(own).await, 200);

        let pages = [
            format!("http://evil--{name}.localhost:{port}/page?portal={portal}"),
            format!("http://evil--{name}.localhost:{port}/page"),
            format!("{portal}/f/{name}/evil/page?portal={portal}"),
            format!("{portal}/f/{name}/evil/page"),
        ];
        for page in pages {
            viewer.visit(&page).await;
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            loop {
                let text = viewer.text().await;
                assert!(!text.contains(&format!("{name}@example.org")), "{page} read who its viewer is: {text}");
                // Refused, answered by the function itself on its own host, or (sandboxed) the script never ran.
                let sandboxed = page.contains("/f/") && text.contains("waiting");
                let own = !page.contains("portal=") && text.contains("read 200 Method::Get /api/v1/me");
                if text.contains("refused") || own || sandboxed {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "{page} came to no end: {text}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }

        // At `/f/` the page is sandboxed: it has no origin, no cookies and no scripts.
        viewer.visit(&format!("{portal}/f/{name}/evil/page")).await;
        assert_eq!(viewer.script("return window.origin").await, "null");
        // A change is refused too, from the function's own host, cookies or not.
        viewer.visit(&format!("http://evil--{name}.localhost:{port}/")).await;
        let change = format!(
            "return fetch('{portal}/api/v1/keys', {{ method: 'POST', credentials: 'include', mode: 'no-cors', \
             headers: {{ 'content-type': 'text/plain' }}, \
             body: '{{\"name\":\"stolen\",\"scopes\":[\"admin\"]}}' }}).then(() => 'sent', () => 'refused')"
        );
        viewer.script(&change).await;
        viewer.visit(&format!("/a/{name}/settings/keys")).await;
        viewer.sees("Programs call functions").await;
        viewer.sees("No keys yet").await;
        assert!(!viewer.text().await.contains("stolen"));
    }
}
