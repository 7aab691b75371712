//! The console over a running demo, as an advertiser meets it.

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::Value;

use super::{Browser, LOOKS, Screen};
use crate::demo_console::Demo;
use crate::harness::PATIENCE;

/// Every page that the navigation leads to, by its path below the console's.
const PAGES: [&str; 8] =
    ["overview", "campaigns", "budget", "releases", "planner", "delivery", "account", "help"];

/// Presses of the tab key after which a page is held to go round in a circle without its rest.
const TABS_MAX: usize = 400;

/// What the keyboard has to reach: everything that somebody could click or type into, and can see. Of radio buttons one is
/// reached; arrows choose among them.
const REACHABLE: &str = "return [...document.querySelectorAll('a[href],button,input,select,textarea,summary')].filter(e => \
                         e.type !== 'hidden' && !e.disabled && e.checkVisibility() && (e.type !== 'radio' || e.checked))\
                         .filter(e => !arguments[0] || !e.hasAttribute('data-reached')).map(e => e.outerHTML.slice(0, 100))";

/// Marks what has the focus; says whether one can see that it does, and whether it was come back to. (A date has several stops of
/// the tab key, and the browser itself shows at which of its parts one is.)
const MARK: &str = "const e = document.activeElement, s = getComputedStyle(e), part = window.focused === e; window.focused = e; \
                    const before = e.hasAttribute('data-reached') && !part; \
                    e.setAttribute('data-reached', ''); \
                    const seen = (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none'; \
                    return [seen || part || e === document.body, before, e.outerHTML.slice(0, 100)]";

pub(super) async fn sign_in(browser: &Browser, demo: &Demo) {
    browser.goto(&demo.url).await;
    assert_eq!(browser.path().await, "/console/sign-in");
    browser.fill("email", &demo.email).await;
    browser.fill("password", &demo.password).await;
    browser.click("main button[type=submit]").await;
    browser.wait_for("form[action='/console/sign-out']").await;
    assert_eq!(browser.path().await, "/console/overview", "{}", browser.text().await);
}

/// Opens a page, and holds it to what every page is held to.
pub(super) async fn visit(browser: &Browser, url: &str, name: &str) {
    browser.goto(url).await;
    browser.check(name).await;
    assert_eq!(browser.texts("h1").await.len(), 1, "{name} has one title");
    let language = browser.execute("return document.documentElement.lang").await;
    assert_eq!(language, "en", "{name}");
    let nameless = browser
        .execute(
            "return [...document.querySelectorAll('input,select,textarea')].filter(e => e.type !== 'hidden' && \
             !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)",
        )
        .await;
    assert_eq!(nameless, Value::Array(Vec::new()), "{name} has fields without a label");
}

async fn press(browser: &Browser, key: Key) {
    let value = char::from(key);
    let actions =
        KeyActions::new("keyboard".to_owned()).then(KeyAction::Down { value }).then(KeyAction::Up { value });
    browser.client.perform_actions(actions).await.unwrap();
}

/// Goes through a page with the tab key alone.
pub(super) async fn reach_all(browser: &Browser, name: &str) {
    for _ in 0..TABS_MAX {
        press(browser, Key::Tab).await;
        let marked = browser.execute(MARK).await;
        assert_eq!(marked[0], true, "{name}: nothing shows that this has the focus: {}", marked[2]);
        if marked[1] == true {
            break;
        }
    }
    let missed = browser.client.execute(REACHABLE, vec![Value::Bool(true)]).await.unwrap();
    assert_eq!(missed, Value::Array(Vec::new()), "{name}: the tab key does not reach");
    let all = browser.client.execute(REACHABLE, vec![Value::Bool(false)]).await.unwrap();
    assert!(all.as_array().unwrap().len() > PAGES.len(), "{name}: the navigation is not found");
}

/// The first cells of a table's rows.
async fn rows(browser: &Browser) -> Vec<String> {
    browser.texts("main tbody tr > :first-child").await
}

/// Sorts a table of campaigns by a column, one way and the other.
async fn sort(browser: &Browser, column: &str) {
    let head = format!("//main//th//a[contains(., '{column}')]");
    let mut found = Vec::new();
    for _ in 0..2 {
        let link = browser.client.find(fantoccini::Locator::XPath(&head)).await.unwrap();
        let to = link.prop("href").await.unwrap().unwrap();
        link.click().await.unwrap();
        browser.client.wait().at_most(PATIENCE).for_url(&to.parse().unwrap()).await.unwrap();
        let sorted = browser.wait_for("main th[aria-sort]").await;
        assert!(sorted.text().await.unwrap().contains(column));
        found.push((sorted.attr("aria-sort").await.unwrap().unwrap(), rows(browser).await));
    }
    let [(one, mut first), (other, second)] = <[_; 2]>::try_from(found).unwrap();
    assert_ne!(one, other);
    assert_eq!(first.len(), 3);
    first.reverse();
    assert_eq!(first, second, "the other way round");
}

/// The address of the latest release, as the page of releases links it.
async fn release(browser: &Browser, demo: &Demo) -> String {
    browser.goto(&format!("{}/releases", demo.url)).await;
    browser.click("main td a[href^='/console/releases/']").await;
    browser.wait_for("main #made").await;
    browser.client.current_url().await.unwrap().into()
}

/// What somebody does who has the console for the first time.
async fn get_around(browser: &mut Browser, demo: &Demo) {
    browser.goto(&format!("{}/sign-in", demo.url)).await;
    for (screen, dark) in LOOKS {
        browser.look(screen, dark).await;
        visit(browser, &format!("{}/sign-in", demo.url), "sign-in").await;
        browser.screenshot("sign-in").await;
    }
    browser.fill("email", &demo.email).await;
    browser.fill("password", "not the password at all").await;
    browser.click("main button[type=submit]").await;
    browser.wait_for("main [role=status], main [role=alert]").await;
    assert_eq!(browser.path().await, "/console/sign-in");
    // The form comes with what is wrong with it, as an answer that is no success.
    let refused = browser.complaints().await;
    assert!(refused.iter().all(|line| line.contains("/console/sign-in")), "{refused:?}");
    sign_in(browser, demo).await;
    for (screen, dark) in LOOKS {
        browser.look(screen, dark).await;
        for page in PAGES {
            visit(browser, &format!("{}/{page}", demo.url), page).await;
            browser.screenshot(page).await;
        }
        browser.goto(&format!("{}/campaigns", demo.url)).await;
        browser.follow("alpha").await;
        browser.wait_for("main figure.figure").await;
        assert!(browser.path().await.starts_with("/console/campaigns/cmp_"));
        let campaign = browser.client.current_url().await.unwrap();
        visit(browser, campaign.as_str(), "a campaign").await;
        // A picture for wide screens and one for narrow ones, of which one is seen.
        let seen = "return [...document.querySelectorAll('main figure.figure')].map(f => \
                    [...f.querySelectorAll(':scope > svg')].filter(e => e.checkVisibility()).length)";
        let seen = browser.execute(seen).await;
        let figures = seen.as_array().unwrap();
        assert!(!figures.is_empty() && figures.iter().all(|pictures| *pictures == 1), "{seen}");
        browser.screenshot("campaign").await;
        let release = release(browser, demo).await;
        visit(browser, &release, "a release").await;
        assert!(!browser.rows("Numbers of this release").await.is_empty());
        browser.screenshot("release").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertiser_gets_around_the_console() {
    let Some(mut browser) = Browser::open().await else { return };
    let Some(mut plain) = Browser::open_without_scripts().await else { return };
    let demo = tokio::task::spawn_blocking(Demo::start).await.unwrap();
    get_around(&mut browser, &demo).await;

    browser.look(Screen::Desktop, false).await;
    browser.goto(&format!("{}/campaigns", demo.url)).await;
    sort(&browser, "Spend").await;
    for screen in [Screen::Desktop, Screen::Phone] {
        browser.look(screen, false).await;
        for page in PAGES {
            browser.goto(&format!("{}/{page}", demo.url)).await;
            reach_all(&browser, page).await;
        }
        browser.goto(&release(&browser, &demo).await).await;
        reach_all(&browser, "a release").await;
    }
    // What a page needs, it has without scripts: there are none, so nothing is missing where they are off.
    sign_in(&plain, &demo).await;
    plain.look(Screen::Phone, true).await;
    for page in PAGES {
        visit(&plain, &format!("{}/{page}", demo.url), page).await;
        let scripts = "return document.querySelectorAll('script,noscript,[onclick],[onload],[style]').length";
        assert_eq!(plain.execute(scripts).await, 0, "{page}");
    }
    plain.look(Screen::Desktop, false).await;
    plain.goto(&format!("{}/campaigns", demo.url)).await;
    sort(&plain, "Spend").await;

    for browser in [browser, plain] {
        browser.goto(&format!("{}/overview", demo.url)).await;
        browser.click("form[action='/console/sign-out'] button").await;
        browser.wait_for("input[name=password]").await;
        assert_eq!(browser.path().await, "/console/sign-in");
        browser.goto(&format!("{}/overview", demo.url)).await;
        assert_eq!(browser.path().await, "/console/sign-in", "signed out is signed out");
        browser.close().await;
    }
    let stopped = tokio::task::spawn_blocking(|| demo.stop()).await.unwrap();
    assert_eq!(stopped, (Some(0), 0));
}
