//! Pages as people meet them: in Chromium, over WebDriver.
//!
//! Each test has a chromedriver and a browser of its own, with a fresh profile. A machine without them skips these tests and
//! says so; `ARRAS_BROWSER=required` makes that a failure.

mod console;
mod driver;
mod forms;
mod harness;

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use self::driver::Driver;
use crate::harness::PATIENCE;

/// Flags of every browser here: no window, no sandbox (containers have none to give), and nothing that asks a network.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A preference of Chromium: scripts of pages do not run. Those of WebDriver do.
const BLOCKED: u8 = 2;

/// On what a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Desktop,
    Phone,
}

impl Screen {
    /// In pixels of style sheets.
    pub fn width(self) -> u64 {
        match self {
            Self::Desktop => 1_280,
            Self::Phone => 390,
        }
    }

    fn height(self) -> u64 {
        match self {
            Self::Desktop => 900,
            Self::Phone => 844,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
        }
    }
}

/// Every look that a page has.
pub const LOOKS: [(Screen, bool); 4] =
    [(Screen::Desktop, false), (Screen::Desktop, true), (Screen::Phone, false), (Screen::Phone, true)];

/// A browser with one tab.
pub struct Browser {
    pub client: Client,
    screen: Screen,
    dark: bool,
    // Ended before its profile is removed: fields are dropped in this order.
    driver: Driver,
    profile: tempfile::TempDir,
}

/// A command beyond the standard, with its parameters.
#[derive(Debug)]
struct Extension(&'static str, Value);

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.unwrap(), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

impl Browser {
    /// `None` where there is no browser; the test has nothing to do then.
    pub async fn open() -> Option<Self> {
        Self::open_with(json!({})).await
    }

    /// One in which no page's script runs.
    pub async fn open_without_scripts() -> Option<Self> {
        Self::open_with(json!({ "profile.managed_default_content_settings.javascript": BLOCKED })).await
    }

    async fn open_with(preferences: Value) -> Option<Self> {
        let driver = Driver::start()?;
        let profile = tempfile::tempdir().unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<_> = FLAGS.into_iter().chain([folder.as_str()]).collect();
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "binary": driver.browser, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap();
        let mut browser = Self { client, screen: Screen::Desktop, dark: false, driver, profile };
        browser.look(Screen::Desktop, false).await;
        Some(browser)
    }

    /// Ends the session and the processes; a test that fails before that has them ended all the same.
    pub async fn close(self) {
        let Self { client, driver, profile, .. } = self;
        client.close().await.unwrap();
        drop(driver);
        profile.close().unwrap();
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": command, "params": parameters });
        self.client.issue_cmd(Extension("goog/cdp/execute", command)).await.unwrap()
    }

    /// Makes the browser another one: a screen, and what its owner likes.
    pub async fn look(&mut self, screen: Screen, dark: bool) {
        let phone = screen == Screen::Phone;
        let metrics = json!({
            "width": screen.width(), "height": screen.height(), "deviceScaleFactor": if phone { 2 } else { 1 },
            "mobile": phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [scheme] })).await;
        (self.screen, self.dark) = (screen, dark);
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The path of the page, without its query.
    pub async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// The first element of a selector; panics with the page's text if there is none.
    pub async fn find(&self, css: &str) -> Element {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!("{css}: {error}; the page says:\n{}", self.text().await),
        }
    }

    /// The same, once it is there: a click may return before the page that follows is.
    pub async fn wait_for(&self, css: &str) -> Element {
        match self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!("{css}: {error}; the page says:\n{}", self.text().await),
        }
    }

    /// The texts of a table's cells, row by row, of the first whose caption begins so.
    pub async fn rows(&self, caption: &str) -> Vec<Vec<String>> {
        let script = "const table = [...document.querySelectorAll('main table')].find(t => \
                      t.caption.textContent.startsWith(arguments[0])); \
                      return table && [...table.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent.trim()))";
        let rows = self.client.execute(script, vec![json!(caption)]).await.unwrap();
        serde_json::from_value(rows).unwrap_or_else(|_| panic!("there is no table {caption}"))
    }

    /// The texts of all elements of a selector.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.client.find_all(Locator::Css(css)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    pub async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// Clicks. The page that follows may not be there yet: wait for what only it has.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Clicks a link by its text.
    pub async fn follow(&self, text: &str) {
        let link: Result<Element, CmdError> = self.client.find(Locator::LinkText(text)).await;
        match link {
            Ok(link) => link.click().await.unwrap(),
            Err(error) => panic!("{text}: {error}; the page says:\n{}", self.text().await),
        }
    }

    /// Types into a field by its name, in place of what is there.
    pub async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("[name=\"{name}\"]")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn execute(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Writes the whole page as it looks to `target/screenshots/NAME-SCREEN[-dark].png`.
    pub async fn screenshot(&self, name: &str) -> std::path::PathBuf {
        let size = self.execute("return document.documentElement.scrollHeight").await.as_u64().unwrap();
        let (screen, height) = (self.screen, size.clamp(self.screen.height(), HEIGHT_MAX));
        let clip = json!({ "x": 0, "y": 0, "width": screen.width(), "height": height, "scale": 1 });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = self.devtools("Page.captureScreenshot", parameters).await;
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file =
            folder.join(format!("{name}-{}{}.png", screen.name(), if self.dark { "-dark" } else { "" }));
        let image = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            shot["data"].as_str().unwrap(),
        );
        std::fs::write(&file, image.unwrap()).unwrap();
        file
    }

    /// What the browser complained of since it was asked last: failed loads, violations of the content security policy.
    ///
    /// They arrive some time after the page. A mark that the page itself writes arrives behind them.
    pub async fn complaints(&self) -> Vec<String> {
        self.execute(&format!("console.debug('{MARK}')")).await;
        let started = std::time::Instant::now();
        let (mut complaints, mut all) = (Vec::new(), false);
        while !all {
            assert!(started.elapsed() < PATIENCE, "the browser's log does not arrive");
            let log = self.client.issue_cmd(Extension("se/log", json!({ "type": "browser" }))).await.unwrap();
            for entry in log.as_array().unwrap() {
                let message = entry["message"].as_str().unwrap_or_default();
                all |= message.contains(MARK);
                // Advice, such as to add a hidden user name to a form, is at lower levels.
                if entry["level"] == "SEVERE" || entry["level"] == "WARNING" {
                    complaints.push(message.to_owned());
                }
            }
        }
        complaints
    }

    /// How wide the page is, in pixels of style sheets. Not `innerWidth`: a phone zooms out to what overflows.
    pub async fn page_width(&self) -> u64 {
        self.execute("return document.documentElement.scrollWidth").await.as_u64().unwrap()
    }

    /// What sticks out at the right of the screen, for a message.
    pub async fn sticking_out(&self) -> Value {
        let script = "return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > \
                      arguments[0] + 1).map(e => e.outerHTML.slice(0, 120)).slice(0, 12)";
        self.client.execute(script, vec![json!(self.screen.width())]).await.unwrap()
    }

    /// Panics unless the page fits the screen and the browser has nothing to complain of.
    pub async fn check(&self, page: &str) {
        self.fits(page).await;
        assert_eq!(self.complaints().await, [""; 0], "{page} on a {:?}", self.screen);
    }

    /// Panics unless the page fits the screen.
    pub async fn fits(&self, page: &str) {
        let (width, screen) = (self.page_width().await, self.screen);
        let fits = width <= screen.width();
        assert!(fits, "{page} is {width} wide on a {screen:?}: {:#}", self.sticking_out().await);
    }
}

/// Stands at the end of what is in the browser's log.
const MARK: &str = "everything before this has arrived";

/// Longer pages are cut: Chromium's largest texture.
const HEIGHT_MAX: u64 = 8_000;
