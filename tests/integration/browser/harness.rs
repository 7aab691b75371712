//! What the other tests look at pages with sees what is wrong with one.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Browser, LOOKS, Screen};
use crate::harness::PATIENCE;

/// Serves one page at every path, under a policy that forbids scripts.
async fn serve(body: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/page", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 << 10];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-security-policy: default-src 'none'; \
                 style-src 'unsafe-inline'; img-src data:\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
                    <link rel=icon href='data:,'><title>t</title>";

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_sees_what_is_wrong_with_a_page() {
    let Some(mut browser) = Browser::open().await else { return };
    let good = format!(
        "{HEAD}<style>body{{color:rgb(1,2,3)}}@media(prefers-color-scheme:dark){{body{{color:rgb(9,9,9)}}}}</style>\
         <h1>Good</h1><form><label>Name <input name=name value=x></label><button>Go</button></form><a href=/next>Next</a>"
    );
    let url = serve(good.leak()).await;
    for (screen, dark) in LOOKS {
        browser.look(screen, dark).await;
        browser.goto(&url).await;
        browser.check("a good page").await;
        let color = browser.find("body").await.css_value("color").await.unwrap();
        assert_eq!(color.contains("9, 9, 9"), dark, "{color}");
        let image = std::fs::read(browser.screenshot("harness").await).unwrap();
        // Width and height stand at a fixed place of a PNG.
        assert_eq!(image[..4], *b"\x89PNG");
        let width = u32::from_be_bytes(image[16..20].try_into().unwrap());
        assert_eq!(width, if screen == Screen::Phone { 2 * 390 } else { 1_280 });
    }
    browser.fill("name", "y").await;
    browser.click("button").await;
    let answered = reqwest::Url::parse(&format!("{url}?name=y")).unwrap();
    browser.client.wait().at_most(PATIENCE).for_url(&answered).await.unwrap();
    browser.follow("Next").await;
    let next = answered.join("/next").unwrap();
    browser.client.wait().at_most(PATIENCE).for_url(&next).await.unwrap();
    assert_eq!(
        (browser.path().await.as_str(), browser.texts("h1").await),
        ("/next", vec!["Good".to_owned()])
    );

    let wide = format!("{HEAD}<h1>Wide</h1><p style='width:600px'>wide</p>");
    browser.goto(&serve(wide.leak()).await).await;
    assert!(browser.page_width().await >= 600, "a phone zooms out, and the page is too wide all the same");
    assert!(browser.sticking_out().await.to_string().contains("width:600px"));
    assert_eq!(browser.complaints().await, [""; 0]);

    let script = format!("{HEAD}<h1>Script</h1><script>document.title = 'ran'</script>");
    browser.goto(&serve(script.leak()).await).await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:?}");
    assert_eq!(browser.client.title().await.unwrap(), "t");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_scripts_runs_none() {
    let page =
        "data:text/html,<title>t</title><noscript>none</noscript><script>document.title='ran'</script>";
    let (Some(with), Some(without)) = (Browser::open().await, Browser::open_without_scripts().await) else {
        return;
    };
    for (browser, title) in [(&with, "ran"), (&without, "t")] {
        browser.goto(page).await;
        assert_eq!(browser.client.title().await.unwrap(), title);
    }
    assert_eq!(without.text().await, "none");
    with.close().await;
    without.close().await;
}
