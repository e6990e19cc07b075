//! A user with a browser: the verbs of the portal's tests, of what measures the portal and of what shows it. Chromium is
//! driven over WebDriver.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource as _, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::error::{CmdError, ErrorStatus};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long something may take to appear.
const APPEARS_WITHIN: Duration = Duration::from_secs(30);

/// How long Chromium may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What every headless Chromium of ours is started with.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
];

/// A browser with a profile of its own. Dropping it ends it.
pub struct Browser {
    client: Client,
    driver: Driver,
    session: String,
    portal: String,
    _profile: tempfile::TempDir,
}

/// The chromedriver process.
struct Driver {
    process: Child,
    address: String,
}

impl Driver {
    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver cannot be started ({error}); fix: apt-get install chromium-driver")
            });
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split("started successfully on port ").nth(1)?.trim_end_matches('.').trim().parse::<u16>().ok()
            })
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: format!("127.0.0.1:{port}") }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // By hand, because a failed test has no runtime any more: otherwise Chromium would stay.
        let address = &self.driver.address;
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        let request =
            format!("DELETE /session/{} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n", self.session);
        drop(stream.set_read_timeout(Some(ENDS_WITHIN)));
        drop(stream.write_all(request.as_bytes()));
        // The answer's first byte says that Chromium has ended; the driver keeps the connection open.
        drop(stream.read(&mut [0; 1]));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Browser {
    /// Opens one for this portal.
    pub async fn open(portal: &str) -> Self {
        Self::open_with_logs(portal, &json!({ "browser": "ALL" })).await
    }

    /// Opens one whose window is so wide, for who prefers `light` or `dark` pages.
    pub async fn open_in(portal: &str, width: u32, scheme: &str) -> Self {
        let browser = Self::open(portal).await;
        browser.is_wide(width).await;
        browser.prefers(scheme).await;
        browser
    }

    /// Opens one that also keeps what its network does.
    pub async fn open_measured(portal: &str) -> Self {
        Self::open_with_logs(portal, &json!({ "browser": "ALL", "performance": "ALL" })).await
    }

    async fn open_with_logs(portal: &str, logs: &Value) -> Self {
        let driver = Driver::start();
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": logs,
        });
        let Value::Object(wanted) = wanted else { unreachable!("an object stands above") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://{}", driver.address))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        Self { client, driver, session, portal: portal.to_owned(), _profile: profile }
    }

    /// Goes to a place of the portal, or to a whole URL.
    pub async fn visit(&self, place: &str) {
        let url = if place.starts_with('/') { format!("{}{place}", self.portal) } else { place.to_owned() };
        self.client.goto(&url).await.unwrap();
    }

    /// Where it is: path and query.
    pub async fn place(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// Waits until it is at this place.
    pub async fn arrives(&self, place: &str) {
        let deadline = Instant::now() + APPEARS_WITHIN;
        while self.place().await != place {
            assert!(Instant::now() < deadline, "at {}, not at {place}:\n{}", self.place().await, self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that is written on the page.
    pub async fn text(&self) -> String {
        let text = self.script("return document.body ? document.body.innerText : ''").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until this is written on the page.
    pub async fn sees(&self, words: &str) {
        let deadline = Instant::now() + APPEARS_WITHIN;
        while !self.text().await.contains(words) {
            assert!(Instant::now() < deadline, "{words:?} is not on {}:\n{}", self.place().await, self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The element, when it is there.
    pub async fn element(&self, css: &str) -> Element {
        match self.client.wait().at_most(APPEARS_WITHIN).for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!("{css}: {error} on {}:\n{}", self.place().await, self.text().await),
        }
    }

    /// Writes into a field, over what was there.
    pub async fn fills(&self, field: &str, text: &str) {
        let field = self.element(&format!("[name={field}]")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Puts a file into a file field, as choosing or dropping it does.
    pub async fn gives_file(&self, field: &str, path: &std::path::Path) {
        self.element(&format!("input[type=file][name={field}]")).await.send_keys(path.to_str().unwrap()).await.unwrap();
    }

    /// Chooses one of several.
    pub async fn chooses(&self, name: &str, value: &str) {
        self.clicks(&format!("input[name={name}][value={value}]")).await;
    }

    /// Chooses in a menu.
    pub async fn selects(&self, name: &str, value: &str) {
        self.element(&format!("select[name={name}]")).await.select_by_value(value).await.unwrap();
    }

    /// Presses the button or link with these words.
    pub async fn presses(&self, words: &str) {
        let path = format!("//*[self::button or self::a][normalize-space()='{words}']");
        self.clicks_what(Locator::XPath(&path)).await;
    }

    /// Moves the pointer over the element.
    pub async fn points_at(&self, css: &str) {
        let element = self.element(css).await;
        let over = PointerAction::MoveToElement { element, duration: None, x: 0.0, y: 0.0 };
        self.client.perform_actions(MouseActions::new("mouse".to_owned()).then(over)).await.unwrap();
    }

    /// Waits until so many elements are there.
    pub async fn counts(&self, css: &str, count: usize) {
        let script = format!("return document.querySelectorAll({}).length", json!(css));
        let deadline = Instant::now() + APPEARS_WITHIN;
        while self.script(&script).await != count {
            let found = self.script(&script).await;
            assert!(Instant::now() < deadline, "{found} of {css:?}, not {count}:\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks the element of this XPath, when it is there.
    pub async fn clicks_path(&self, path: &str) {
        self.clicks_what(Locator::XPath(path)).await;
    }

    /// Clicks the element, when it is there.
    pub async fn clicks(&self, css: &str) {
        self.clicks_what(Locator::Css(css)).await;
    }

    /// What is live may be drawn anew between the look and the click: then it is looked for again, as people do.
    async fn clicks_what(&self, what: Locator<'_>) {
        let begun = Instant::now();
        loop {
            let clicked = match self.client.wait().at_most(APPEARS_WITHIN).for_element(what).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return,
                Err(CmdError::Standard(error))
                    if error.error == ErrorStatus::StaleElementReference && begun.elapsed() < APPEARS_WITHIN => {}
                Err(error) => {
                    panic!("{what:?}: {error} on {}:\n{}", self.place().await, self.text().await)
                }
            }
        }
    }

    /// Goes to a page of the account by the navigation. Where a window has no room for the link, it is behind "More".
    pub async fn goes_to(&self, title: &str) {
        let link = |nav: &str| format!("//nav[{nav}]//a[normalize-space()='{title}']");
        let shown = link("contains(@class, 'places')");
        let found = self.client.wait().at_most(APPEARS_WITHIN).for_element(Locator::XPath(&shown)).await;
        let is_shown = match found {
            Ok(element) => element.is_displayed().await.unwrap(),
            Err(error) => panic!("{title}: {error} on {}:\n{}", self.place().await, self.text().await),
        };
        if is_shown {
            self.clicks_path(&shown).await;
        } else {
            self.presses("More").await;
            self.clicks_path(&link("@id='more-places'")).await;
        }
    }

    /// Runs a script in the page.
    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script in the page gives this.
    pub async fn tells(&self, script: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let deadline = Instant::now() + APPEARS_WITHIN;
        loop {
            let told = self.script(script).await;
            if told == expected {
                return;
            }
            let place = self.place().await;
            assert!(Instant::now() < deadline, "{told}, not {expected}, on {place}:\n{}", self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has no network from now on, or has it again.
    pub async fn is_offline(&self, offline: bool) {
        self.devtools(json!({ "cmd": "Network.enable", "params": {} })).await;
        let network = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.devtools(json!({ "cmd": "Network.emulateNetworkConditions", "params": network })).await;
    }

    /// Goes back, as with the button.
    pub async fn goes_back(&self) {
        self.client.back().await.unwrap();
    }

    /// Makes the window so wide.
    pub async fn is_wide(&self, pixels: u32) {
        // The window has a least width of its own; the page has not.
        let metrics = json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": false },
        });
        self.devtools(metrics).await;
    }

    /// Asks for light or dark pages.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.devtools(media).await;
    }

    /// What the console was told since it was asked last: errors, refused content, everything.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        entries.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// Events of the DevTools protocol, mostly its network's, since it was asked last; where it was opened to be measured.
    pub async fn network(&self) -> Vec<Value> {
        let event = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let events = self.log("performance").await;
        events.iter().filter_map(event).map(|event| event["message"].clone()).collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let told = self.driver_says("se/log", json!({ "type": kind })).await;
        told["value"].as_array().cloned().unwrap_or_default()
    }

    /// The window as it looks now, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.unwrap()
    }

    /// Clicks at a place of the window, in CSS pixels.
    pub async fn clicks_at(&self, x: f64, y: f64) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
            self.devtools(json!({ "cmd": "Input.dispatchMouseEvent", "params": event })).await;
        }
    }

    /// Has a command of the DevTools protocol done: `cmd` and its `params`.
    pub async fn devtools(&self, command: Value) {
        self.driver_says("goog/cdp/execute", command).await;
    }

    /// Asks the driver what WebDriver itself has no word for.
    async fn driver_says(&self, what: &str, command: Value) -> Value {
        let url = format!("http://{}/session/{}/{what}", self.driver.address, self.session);
        let answer = reqwest::Client::new().post(url).body(command.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// The password of all users in tests.
pub const PASSWORD: &str = "correct horse battery";

impl Browser {
    /// Signs up with an account of one's own.
    pub async fn signs_up(&self, account: &str, kind: &str) {
        self.asks_to_sign_up(account, kind).await;
        self.arrives(&format!("/a/{account}")).await;
    }

    /// Sends the form of a sign-up. Where mails go out, it asks for a code then.
    pub async fn asks_to_sign_up(&self, account: &str, kind: &str) {
        self.visit("/signup").await;
        self.chooses("kind", kind).await;
        self.fills("account", account).await;
        self.fills("email", &format!("{account}@example.org")).await;
        self.fills("password", PASSWORD).await;
        self.presses("Sign up").await;
    }

    /// Logs in; the account is the one that the portal shows then.
    pub async fn logs_in(&self, email: &str, account: &str) {
        self.visit("/login").await;
        self.fills("email", email).await;
        self.fills("password", PASSWORD).await;
        self.presses("Log in").await;
        self.arrives(&format!("/a/{account}")).await;
    }

    /// Logs out, by the menu.
    pub async fn logs_out(&self) {
        self.clicks("button[popovertarget=user-menu]").await;
        self.presses("Log out").await;
        self.arrives("/login").await;
    }

    /// Deploys a file by dropping it, under a name.
    pub async fn deploys(&self, account: &str, name: &str, file: &std::path::Path, visibility: &str) {
        self.visit(&format!("/a/{account}/functions/new")).await;
        self.gives_file("artifact", file).await;
        self.fills("name", name).await;
        self.chooses("public", visibility).await;
        self.presses("Deploy").await;
        self.arrives(&format!("/a/{account}/functions/{name}/test")).await;
    }
}
