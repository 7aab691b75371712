//! A native app: state on disk, restarts, and reports that it sends by its own HTTP stack:
//! `cargo run -p arras-client --example native_app`.
//!
//! With the feature `upload` an `upload::Courier` does the sending; without it the crate has no network and no async
//! runtime, and an app on a phone can use the system's background transfers.
mod fixture;

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use arras_client::app::{Ad, Advertiser, App, AppRules, Event};
use arras_client::attribution::FileStore;
use arras_client::files::Folder;
use arras_client::queue::{HttpAnswer, SendFailure, UploadRequest};
use fixture::{Publisher, SHOP};

type Failure = Box<dyn std::error::Error>;

/// Each start of the app: the same folder, in the app's private storage.
fn open(folder: &Path, now: u64) -> Result<App<FileStore, Folder>, Failure> {
    let shop = Advertiser { site: SHOP.to_owned(), keys: vec![Publisher::new(1).public_key()] };
    let files = Folder::open(folder)?;
    let engine = FileStore::open(folder.join("attribution"))?;
    Ok(App::open(AppRules::new("assistant.example", vec![shop]), engine, files, now)?)
}

/// What the app's HTTP stack gives: status, `Content-Type`, `Retry-After`, body. It follows no redirects.
pub type Answer = (u16, String, Option<String>, Vec<u8>);

/// Posts to a URL, as a content type, a body.
pub type Post<'a> = dyn FnMut(&str, &str, &[u8]) -> std::io::Result<Answer> + 'a;

/// Three starts of an app: an ad on Monday, a purchase on Wednesday, and later the network is there. `post` is the app's
/// HTTP stack: it posts a body of a content type to a URL.
pub fn run(folder: &Path, now: u64, post: &mut Post<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut rng = rand::rng();
    let day = 86_400;
    {
        let mut app = open(folder, now)?;
        app.set_consent(true, now)?;
        app.update_manifest(&mut rng, SHOP, &Publisher::new(1).manifest(1, now), now)?;
        app.impression(Ad { advertiser: SHOP, campaign: "boots" }, now)?;
    }
    {
        let mut app = open(folder, now + 2 * day)?;
        let order = Event { advertiser: SHOP, name: "purchase", value: Some(4_950), id: "order 17" };
        app.conversion(&mut rng, order, now + 2 * day)?;
        writeln!(out, "{} reports wait", app.waiting())?;
    }
    // The first attempt is put off by up to an hour, so that its moment says little.
    let later = now + 2 * day + 3_600;
    let mut app = open(folder, later)?;
    // Once a day, by somebody who trusts the clock: what has expired is deleted, and manifests are fetched before they end.
    app.maintain(later)?;
    if app.wants_manifest() || app.manifest_expires(SHOP).is_none_or(|end| end < later + 2 * day) {
        app.update_manifest(&mut rng, SHOP, &Publisher::new(1).manifest(2, later), later)?;
    }
    while let Some(request) = app.next_request(later)? {
        // A relay's base URL may stand in the place of the leader's.
        let url = request.url(&request.leader);
        writeln!(out, "POST {url}, {} bytes", request.body.len())?;
        // Who does not answer is tried again after a pause; an answer may name reports that were refused.
        let refused = post(&url, UploadRequest::content_type(), &request.body)
            .map_err(|_| SendFailure::default())
            .and_then(|(status, content_type, retry_after, body)| {
                let (retry_after, content_type) = (retry_after.as_deref(), content_type.as_str());
                HttpAnswer { status, content_type, retry_after, body: &body }.read()
            });
        app.answered(&mut rng, &request, refused.as_deref().map_err(|failure| *failure), later)?;
    }
    writeln!(out, "{} reports wait", app.waiting())?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    // An app has private storage of its own; nobody else can have made this folder.
    let place = tempfile::tempdir()?;
    // There is no network here: a leader that takes everything.
    let mut post = |_: &str, _: &str, _: &[u8]| Ok((200, String::new(), None, Vec::new()));
    run(&place.path().join("app"), now, &mut post, &mut std::io::stdout())
}
