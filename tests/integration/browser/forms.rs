//! What an advertiser brings: delivery numbers as a file, and expectations to plan with.

use serde_json::Value;

use super::console::{reach_all, sign_in, visit};
use super::{Browser, LOOKS, Screen};
use crate::demo_console::Demo;

/// Impressions that no day of the demo has, as a file and as a page writes them.
const IMPRESSIONS: [&str; 2] = ["7654321", "7,654,321"];
const OTHERS: [&str; 2] = ["8765432", "8,765,432"];

/// The day before today, of which numbers can be there.
async fn yesterday(browser: &Browser) -> String {
    let day = browser.execute("return new Date(Date.now() - 864e5).toISOString().slice(0, 10)").await;
    day.as_str().unwrap().to_owned()
}

/// Chooses a file with these lines below the head, and sends it.
async fn send(browser: &Browser, demo: &Demo, rows: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("delivery.csv");
    std::fs::write(&file, format!("day,campaign,impressions,clicks,spend\n{rows}")).unwrap();
    browser.goto(&format!("{}/delivery", demo.url)).await;
    browser.find("main input[type=file]").await.send_keys(file.to_str().unwrap()).await.unwrap();
    browser.click("main form[enctype] button[type=submit]").await;
    browser.wait_for("main [role=status], main [role=alert]").await;
    assert_eq!(browser.path().await, "/console/delivery");
}

/// A form that came back with what is wrong with it: the browser notes an answer that is no success, and nothing else.
async fn refused(browser: &Browser, name: &str) {
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("status of 422")), "{name}: {complaints:?}");
    browser.fits(name).await;
    browser.screenshot(name).await;
}

/// A file with two wrong lines is refused, names both and changes nothing; without them it is taken, twice the same.
async fn upload(
    browser: &mut Browser,
    demo: &Demo,
    looks: &[(Screen, bool)],
    [impressions, shown]: [&str; 2],
) {
    let day = yesterday(browser).await;
    let good = format!("{day},alpha,{impressions},777,98.76\n");
    for (screen, dark) in looks {
        browser.look(*screen, *dark).await;
        send(browser, demo, &format!("{good}{day},nobody,1,1,1\n{day},beta,many,1,1\n")).await;
        refused(browser, "delivery-refused").await;
        let lines = browser.rows("Lines to correct").await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, (number, reason)) in lines.iter().zip([("3", "nobody"), ("4", "impressions")]) {
            assert!(line[0] == number && line[1].contains(reason), "{line:?}");
        }
        visit(browser, &format!("{}/delivery", demo.url), "delivery").await;
        assert!(!browser.text().await.contains(shown), "one wrong line, and nothing is changed");
    }
    for said in ["0 there already", "1 there already"] {
        send(browser, demo, &good).await;
        browser.check("delivery").await;
        assert!(browser.text().await.contains(said), "{}", browser.text().await);
    }
    let latest = browser.rows("Latest numbers").await;
    let row = latest
        .iter()
        .find(|row| row.iter().any(|cell| cell == shown))
        .unwrap_or_else(|| panic!("{latest:?}"));
    assert_eq!(row[1..], ["alpha", shown, "777", "98.76\u{a0}EUR"], "{row:?}: theirs, and not invented");
    for (screen, dark) in looks {
        browser.look(*screen, *dark).await;
        browser.screenshot("delivery-taken").await;
    }
}

async fn ask(browser: &Browser, demo: &Demo, campaigns: &str) {
    browser.goto(&format!("{}/planner", demo.url)).await;
    browser.fill("campaigns", campaigns).await;
    browser.fill("average", "12").await;
    browser.fill("target", "10%").await;
    browser.click("main form button[type=submit]").await;
}

/// A plan says what to expect of each campaign, as a table and a chart; one that cannot be made says what to correct, and where.
async fn plan(browser: &mut Browser, demo: &Demo, looks: &[(Screen, bool)]) {
    ask(browser, demo, "alpha 900").await;
    let wrong = browser.wait_for("main [aria-invalid=true]").await;
    assert_eq!(wrong.attr("name").await.unwrap().as_deref(), Some("campaigns"));
    assert!(browser.texts("#campaigns-problem").await[0].contains("line 1"));
    assert_eq!(wrong.prop("value").await.unwrap().as_deref(), Some("alpha 900"), "what was typed stays");
    refused(browser, "planner-refused").await;

    ask(browser, demo, "alpha = 9000\nbeta = 3").await;
    browser.wait_for("main #result").await;
    assert_eq!(browser.path().await, "/console/planner");
    let address = browser.client.current_url().await.unwrap();
    for (screen, dark) in looks {
        browser.look(*screen, *dark).await;
        // Whatever was asked is in the address: a plan can be kept, and sent to somebody.
        visit(browser, address.as_str(), "a plan").await;
        let seen = "const all = [...document.querySelectorAll('main figure > svg')]; \
                    return all.map(e => e.checkVisibility() && e.getBoundingClientRect().height > 100)";
        assert_eq!(browser.execute(seen).await, serde_json::json!([true]), "one chart");
        let rows = browser.rows("Each campaign").await;
        let [alpha, beta] = <[_; 2]>::try_from(rows).unwrap();
        assert_eq!((alpha[0].as_str(), alpha[1].as_str()), ("alpha", "9,000"));
        assert!(alpha[2..].iter().any(|cell| cell.contains('\u{b1}')), "{alpha:?}");
        assert_eq!(beta[0], "beta");
        assert!(beta[2..].iter().all(|cell| cell.contains("too few")), "{beta:?}");
        assert_eq!(browser.rows("Each length").await.len(), 3, "an hour, a day, a week");
        browser.screenshot("plan").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertiser_uploads_numbers_and_plans() {
    let Some(mut browser) = Browser::open().await else { return };
    let Some(mut plain) = Browser::open_without_scripts().await else { return };
    let demo = tokio::task::spawn_blocking(Demo::start).await.unwrap();
    sign_in(&browser, &demo).await;
    upload(&mut browser, &demo, &LOOKS, IMPRESSIONS).await;
    plan(&mut browser, &demo, &LOOKS).await;
    let planned = browser.client.current_url().await.unwrap();
    for screen in [Screen::Desktop, Screen::Phone] {
        browser.look(screen, false).await;
        for (page, name) in [(format!("{}/delivery", demo.url), "delivery"), (planned.to_string(), "a plan")]
        {
            browser.goto(&page).await;
            reach_all(&browser, name).await;
        }
    }

    let phone = [(Screen::Phone, false)];
    sign_in(&plain, &demo).await;
    upload(&mut plain, &demo, &phone, OTHERS).await;
    plan(&mut plain, &demo, &phone).await;
    let scripts = "return document.querySelectorAll('script,noscript,[onclick],[onload],[style]').length";
    assert_eq!(plain.execute(scripts).await, Value::from(0));
    for browser in [browser, plain] {
        browser.close().await;
    }
    let stopped = tokio::task::spawn_blocking(|| demo.stop()).await.unwrap();
    assert_eq!(stopped, (Some(0), 0));
}
