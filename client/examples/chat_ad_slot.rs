//! A chat assistant's ad slot, measured: `cargo run -p arras-client --example chat_ad_slot`.
pub mod fixture;

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use arras_client::app::{Ad, Advertiser, App, AppRules, Event};
use arras_client::attribution::MemoryStore;
use arras_client::files::MemoryFiles;
use fixture::{Publisher, SHOP};

type Failure = Box<dyn std::error::Error>;

/// One conversation: an ad below an answer, a click, a purchase; then the person looks, and has all of it forgotten.
pub fn run(now: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let mut rng = rand::rng();
    // Pinned in the app: whose manifests it follows. `MemoryStore` and `MemoryFiles` forget with the process.
    let shop = Advertiser { site: SHOP.to_owned(), keys: vec![Publisher::new(1).public_key()] };
    let rules = AppRules::new("assistant.example", vec![shop]);
    let mut app = App::open(rules, MemoryStore::default(), MemoryFiles::default(), now)?;

    // Once: what the person answered. Without a yes the calls below are the same, and keep and say nothing.
    app.set_consent(true, now)?;
    // Once a week: the advertiser's manifest, by `upload::fetch_manifest` or with the app's own means.
    app.update_manifest(&mut rng, SHOP, &Publisher::new(1).manifest(1, now), now)?;

    // The ad slot: shown, clicked on.
    let tents = Ad { advertiser: SHOP, campaign: "tents" };
    app.impression(tents, now)?;
    app.click(tents, now + 60)?;

    // The purchase, for 129.00. The order's number keeps it from being counted twice, and stays here.
    let order = Event { advertiser: SHOP, name: "purchase", value: Some(12_900), id: "order 8811" };
    app.conversion(&mut rng, order, now + 600)?;
    app.conversion(&mut rng, order, now + 601)?;

    // "What do you know about me?"
    let journal = app.journal(now + 700);
    for ad in &journal.remembered {
        let campaign = ad.campaign.as_deref().unwrap_or("an old campaign");
        writeln!(out, "ad {campaign} of {}, clicked on: {}", ad.advertiser, ad.clicked)?;
    }
    for report in journal.conversions.iter().flat_map(|conversion| &conversion.reports) {
        writeln!(out, "a report {}, and {}", report.form, report.state)?;
    }
    // "Forget it."
    app.erase(now + 800)?;
    writeln!(
        out,
        "{} ads are remembered, {} reports wait",
        app.journal(now).remembered.len(),
        app.waiting()
    )?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    run(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(), &mut std::io::stdout())
}
