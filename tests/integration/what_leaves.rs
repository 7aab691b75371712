//! docs/what-leaves-the-device.md is what is sent, byte for byte; and the client's examples do what they say.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use arras::registry::TIME_PRECISION_SECONDS;
use arras_client::app::{Ad, Advertiser, App, AppRules, Event};
use arras_client::attribution::MemoryStore;
use arras_client::files::MemoryFiles;
use arras_client::queue::QueueRules;
use arras_client::upload::{Courier, Http, fetch_manifest};
use arras_protocol::messages::{ReportRef, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use chat_ad_slot::fixture::{Publisher, SHOP};

#[allow(dead_code, reason = "an example has a main")]
#[path = "../../client/examples/chat_ad_slot.rs"]
mod chat_ad_slot;
#[allow(dead_code, reason = "an example has a main")]
#[path = "../../client/examples/native_app.rs"]
mod native_app;

const NOW: u64 = 1_800_000_000;

/// All is well.
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

type Device = App<MemoryStore, MemoryFiles>;

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("docs/what-leaves-the-device.md")).unwrap()
}

/// A line of the table: where a field begins, its length, its name, what it says.
struct Row {
    at: usize,
    bytes: usize,
    field: String,
    says: String,
}

fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells = cells(line);
        let [_, at, bytes, field, says, _] = &cells[..] else { return None };
        Some(Row {
            at: at.parse().ok()?,
            bytes: bytes.parse().ok()?,
            field: field.clone(),
            says: says.clone(),
        })
    };
    page.lines().filter_map(row).collect()
}

/// The blocks that show requests, line by line.
fn requests(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```\n").skip(1).step_by(2);
    blocks.map(|block| block.lines().map(str::to_owned).collect()).collect()
}

fn device(consent: bool) -> Device {
    let shop = Advertiser { site: SHOP.to_owned(), keys: vec![Publisher::new(1).public_key()] };
    let queue = QueueRules { jitter_seconds: 0, ..QueueRules::default() };
    let rules = AppRules { queue, ..AppRules::new("assistant.example", vec![shop]) };
    let mut app = App::open(rules, MemoryStore::default(), MemoryFiles::default(), NOW).unwrap();
    app.set_consent(consent, NOW).unwrap();
    app.update_manifest(&mut rand::rng(), SHOP, &Publisher::new(1).manifest(1, NOW), NOW).unwrap();
    app
}

/// A lead makes one report, of the task that counts.
fn convert(app: &mut Device) {
    let event = Event { advertiser: SHOP, name: "lead", value: None, id: "form 1" };
    app.conversion(&mut rand::rng(), event, NOW).unwrap();
}

fn sent(consent: bool, clicked: bool) -> Vec<u8> {
    let mut app = device(consent);
    if clicked {
        app.click(Ad { advertiser: SHOP, campaign: "tents" }, NOW).unwrap();
    }
    convert(&mut app);
    app.next_request(NOW).unwrap().unwrap().body
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn a_report_is_what_the_page_says() {
    let page = page();
    let rows = rows(&page);
    assert_eq!(rows.len(), 15, "the table is not found");
    let body = sent(true, true);
    let mut at = 0;
    for row in &rows {
        assert_eq!(row.at, at, "{}", row.field);
        at += row.bytes;
    }
    assert_eq!(at, body.len());
    assert!(page.contains(&format!("{} bytes, whatever happened", body.len())));
    let field = |body: &[u8], row: &Row| body[row.at..row.at + row.bytes].to_vec();
    let report = ReportRef::from_bytes(&body).unwrap();
    let named = [
        (0, report.header.report_id.as_bytes().as_slice()),
        (4, report.header.public_share),
        (7, report.leader_share.enc),
        (9, report.leader_share.payload),
        (12, report.helper_share.enc),
        (14, report.helper_share.payload),
    ];
    for (row, bytes) in named {
        assert_eq!(field(&body, &rows[row]), bytes, "{}", rows[row].field);
    }
    // The page told of tasks of an hour, and collectors make others.
    assert_eq!(number(&field(&body, &rows[1])), NOW / TIME_PRECISION_SECONDS);
    assert!(rows[1].says.contains(&format!("with {TIME_PRECISION_SECONDS} seconds")), "{}", rows[1].says);
    assert!(
        page.contains(&format!(
            "{} minutes in the tasks that a collector makes",
            TIME_PRECISION_SECONDS / 60
        ))
    );
    for row in rows.iter().filter(|row| row.field.starts_with("length")) {
        assert_eq!(number(&field(&body, row)).to_string(), row.says, "{}", row.field);
    }
    // Whatever happened, what can be read is the same, and the rest is random.
    for other in [sent(true, false), sent(false, true), sent(false, false)] {
        assert_eq!(other.len(), body.len());
        for row in &rows {
            let same = field(&body, row) == field(&other, row);
            assert_eq!(same, row.bytes < 16, "{}", row.field);
        }
    }
}

/// A device handed back the tag that it was told with a manifest, so that whoever served manifests could give each device one
/// of its own and know it again.
#[tokio::test]
async fn a_tag_that_a_server_chooses_does_not_come_back() {
    const MARKED: &str =
        "HTTP/1.1 200 OK\r\netag: \"you-again\"\r\ncontent-length: 8\r\nconnection: close\r\n\r\nmanifest";
    const SAME: &str = "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n";
    let (url, heard) = listen(MARKED).await;
    let text = fetch_manifest(&http(), &url, SHOP, None).await.unwrap().unwrap();
    heard.await.unwrap();
    let (url, heard) = listen(SAME).await;
    assert_eq!(fetch_manifest(&http(), &url, SHOP, Some(&text)).await.unwrap(), None);
    let asked = heard.await.unwrap();
    let tag = format!("if-none-match: {}", arras_protocol::manifest::entity_tag(text.as_bytes()));
    assert!(asked.contains(&tag) && !asked.iter().any(|line| line.contains("you-again")), "{asked:?}");
    // "Still the same" is no answer to somebody who has none.
    let (url, _heard) = listen(SAME).await;
    assert!(fetch_manifest(&http(), &url, SHOP, None).await.is_err());
}

/// Answers one request on loopback, and gives its head: the lines up to the empty one.
async fn listen(answer: &'static str) -> (Url, tokio::task::JoinHandle<Vec<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let mut bytes = [0; 4_096];
        let end = loop {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the request ends early");
            request.extend_from_slice(&bytes[..read]);
            if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
        };
        let head = String::from_utf8(request[..end].to_vec()).unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Read to the end, or the answer may be lost with what is unread.
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        head.lines().map(|line| line.replace(&address.to_string(), "HOST")).collect()
    });
    (Url::new(format!("http://{address}/")).unwrap(), heard)
}

fn http() -> reqwest::Client {
    let tls = arras::net::tls::client_config(None).unwrap();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

#[tokio::test]
async fn requests_are_what_the_page_says() {
    let [manifest, upload] = &requests(&page())[..] else { panic!("two requests are shown") };
    let (url, heard) = listen(EMPTY).await;
    fetch_manifest(&http(), &url, SHOP, None).await.unwrap();
    assert_eq!(heard.await.unwrap(), *manifest);

    let (relay, heard) = listen(EMPTY).await;
    let mut app = device(true);
    convert(&mut app);
    let app = Mutex::new(app);
    let courier = Courier::new(Http::new(http()).through(relay));
    courier.deliver_due(&app, &mut rand::rng(), &|| NOW).await.unwrap();
    assert_eq!(app.lock().unwrap().waiting(), 0);
    let mut heard = heard.await.unwrap();
    let (_, rest) = heard[0].split_once("/tasks/").unwrap();
    let (task, _) = rest.split_once('/').unwrap();
    heard[0] = heard[0].replace(task, "TASK");
    assert_eq!(heard, *upload);
}

#[test]
fn the_examples_run() {
    let mut said = Vec::new();
    chat_ad_slot::run(NOW, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.matches("ad tents of shop.example").count(), 2, "{said}");
    assert_eq!(said.matches("for tents, and waits to be sent").count(), 2, "{said}");
    assert!(said.ends_with("0 ads are remembered, 0 reports wait\n"), "{said}");
    let lines = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("client/examples/chat_ad_slot.rs"),
    );
    assert!(lines.unwrap().lines().count() <= 60);

    let place = tempfile::tempdir().unwrap();
    let (mut said, mut sizes) = (Vec::new(), Vec::new());
    let mut post = |url: &str, content_type: &str, body: &[u8]| {
        assert!(url.starts_with("https://leader.example/tasks/") && url.ends_with("/reports"), "{url}");
        assert_eq!(content_type, "application/ppm-dap;message=upload-req");
        sizes.push(body.len());
        Ok((200, String::new(), None, Vec::new()))
    };
    native_app::run(&place.path().join("app"), NOW, &mut post, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("2 reports wait\n") && said.ends_with("0 reports wait\n"), "{said}");
    assert_eq!(sizes.len(), 2, "a request for each task");
}
