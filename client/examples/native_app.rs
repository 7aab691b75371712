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
use arras_client::queue::{SendFailure, UploadRequest};
use fixture::{Publisher, SHOP};

type Failure = Box<dyn std::error::Error>;

/// Each start of the app: the same folder, in the app's private storage.
fn open(folder: &Path, now: u64) -> Result<App<FileStore, Folder>, Failure> {
    let shop = Advertiser { site: SHOP.to_owned(), keys: vec![Publisher::new(1).public_key()] };
    let files = Folder::open(folder)?;
    let engine = FileStore::open(folder.join("attribution"))?;
    Ok(App::open(AppRules::new("assistant.example", vec![shop]), engine, files, now)?)
}

/// Three starts of an app: an ad on Monday, a purchase on Wednesday, and later the network is there. `send` is the app's
/// HTTP stack: it posts a request's body to its leader, or to a relay, and says whether it was taken.
pub fn run(
    folder: &Path,
    now: u64,
    send: &mut dyn FnMut(&UploadRequest) -> Result<(), SendFailure>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
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
    while let Some(request) = app.next_request(later)? {
        let sent = send(&request);
        writeln!(out, "POST {}tasks/{}/reports, {} bytes", request.leader, request.task, request.body.len())?;
        // An answer may name reports that were refused; here there are none.
        let answer: Result<&[_], _> = sent.map(|()| &[][..]);
        app.answered(&mut rng, &request, answer, later)?;
    }
    writeln!(out, "{} reports wait", app.waiting())?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let folder = std::env::temp_dir().join(format!("arras-native-app-{now}"));
    run(&folder, now, &mut |_| Ok(()), &mut std::io::stdout())?;
    Ok(std::fs::remove_dir_all(folder)?)
}
