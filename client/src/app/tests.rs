//! The app's promises: consent, one count for each event, budgets under crashes, one size.
#![allow(clippy::unwrap_used)]

mod budgets;
mod crashes;
mod erasing;
#[path = "../../examples/fixture/mod.rs"]
mod fixture;
mod opening;

use arras_protocol::manifest::Campaign;
use arras_protocol::messages::{ReportError, UploadRequestRef};
use arras_protocol::signed::{DocumentType, sign};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::attribution::MemoryStore;
use crate::files::MemoryFiles;
use crate::fixture::exchanged;
use crate::queue::SendFailure;
use fixture::{Publisher, SHOP};
use opening::opened;

const NOW: u64 = 1_800_000_000;
const WEEK: u64 = 7 * 86_400;

type Tested = App<MemoryStore, MemoryFiles>;

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

fn rules() -> AppRules {
    let shop = Advertiser { site: SHOP.to_owned(), keys: vec![Publisher::new(1).public_key()] };
    let queue = QueueRules { jitter_seconds: 0, ..QueueRules::default() };
    // Enough for what these tests do in a week; what a budget does when it is spent has a test of its own.
    AppRules { advertiser_budget: 100_000_000, queue, ..AppRules::new("chat.example", vec![shop]) }
}

fn open(storage: &MemoryStore, files: &MemoryFiles) -> Result<Tested, AppError> {
    App::open(rules(), storage.clone(), files.clone(), NOW)
}

/// An app whose person agreed, and that knows the shop's manifest.
fn ready(storage: &MemoryStore, files: &MemoryFiles) -> Tested {
    let mut app = open(storage, files).unwrap();
    app.set_consent(true, NOW).unwrap();
    app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(1, NOW), NOW).unwrap();
    app
}

fn app() -> Tested {
    ready(&MemoryStore::default(), &MemoryFiles::default())
}

fn ad(campaign: &str) -> Ad<'_> {
    Ad { advertiser: SHOP, campaign }
}

fn purchase(id: &str) -> Event<'_> {
    Event { advertiser: SHOP, name: "purchase", value: Some(12_345), id }
}

fn lead(id: &str) -> Event<'_> {
    Event { advertiser: SHOP, name: "lead", value: None, id }
}

/// The campaigns of all reports, as the journal has them, in order.
fn attributed(app: &Tested) -> Vec<Option<String>> {
    let reports = app.kept.journal.iter().flat_map(|entry| &entry.reports);
    let campaign = |report: &JournalReport| match &report.form {
        Form::Attributed { campaign, .. } => campaign.clone(),
        Form::Null { .. } => None,
    };
    reports.map(campaign).collect()
}

#[test]
fn a_conversion_goes_to_the_last_click_before_the_last_view() {
    let mut app = app();
    app.click(ad("tents"), NOW).unwrap();
    app.impression(ad("boots"), NOW + 1).unwrap();
    assert_eq!(app.conversion(&mut rng(), purchase("1"), NOW + 2).unwrap(), Converted::Reported(2));
    assert_eq!(attributed(&app), [Some("tents".to_owned()), Some("tents".to_owned())]);
    let forms: Vec<_> = app.kept.journal[0].reports.iter().map(|report| report.form.clone()).collect();
    let tents = |bucket, amount| Form::Attributed { campaign: Some("tents".to_owned()), bucket, amount };
    // 123.45 is 123 whole units; the count is 1. A lead has cells of its own, and is no value.
    assert_eq!(forms, [tents(2, 1), tents(2, 123)]);
    assert_eq!(app.conversion(&mut rng(), lead("1"), NOW + 3).unwrap(), Converted::Reported(1));
    assert_eq!(app.kept.journal[1].reports[0].form, tents(10, 1));
}

/// What the aggregators find in the reports is what the journal says.
#[test]
fn the_journal_says_what_is_in_the_reports() {
    let mut app = app();
    app.impression(ad("boots"), NOW).unwrap();
    app.conversion(&mut rng(), purchase("1"), NOW).unwrap();
    let (count, value) = (opened(&mut app, 0), opened(&mut app, 0));
    let cells =
        |at: usize, amount| (0..16).map(|cell| if cell == at { amount } else { 0 }).collect::<Vec<_>>();
    assert_eq!((count, value), (cells(1, 1), cells(1, 123)));
}

#[test]
fn without_consent_nothing_is_kept_and_reports_are_null() {
    for answer in [None, Some(false)] {
        let mut app = open(&MemoryStore::default(), &MemoryFiles::default()).unwrap();
        app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(1, NOW), NOW).unwrap();
        if let Some(given) = answer {
            app.set_consent(given, NOW).unwrap();
        }
        app.click(ad("tents"), NOW).unwrap();
        assert!(app.journal(NOW).remembered.is_empty());
        assert_eq!(app.conversion(&mut rng(), purchase("1"), NOW).unwrap(), Converted::Reported(2));
        assert_eq!(attributed(&app), [None, None]);
        // A histogram says it with bucket 0, a sum with nothing.
        assert_eq!(opened(&mut app, 0)[0], 1);
        assert!(opened(&mut app, 0).iter().all(|cell| *cell == 0));
        // Who agrees later begins at once: there was nothing to erase.
        app.set_consent(true, NOW + 1).unwrap();
        app.click(ad("tents"), NOW + 1).unwrap();
        app.conversion(&mut rng(), purchase("2"), NOW + 1).unwrap();
        assert_eq!(attributed(&app)[2..], [Some("tents".to_owned()), Some("tents".to_owned())]);
    }
}

#[test]
fn withdrawing_consent_erases_and_gives_no_budget_back() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    app.click(ad("tents"), NOW).unwrap();
    for id in ["1", "2"] {
        app.conversion(&mut rng(), purchase(id), NOW).unwrap();
    }
    app.set_consent(false, NOW + 1).unwrap();
    for app in [&mut app, &mut open(&storage, &files).unwrap()] {
        assert_eq!(app.consent(), Consent::Refused { since: NOW + 1 });
        let journal = app.journal(NOW + 1);
        assert!(journal.remembered.is_empty() && journal.conversions.is_empty());
        assert_eq!(app.waiting(), 0, "what has not left does not leave");
        assert_eq!(journal.budgets[0].reports_left.iter().map(|(_, left)| *left).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(app.conversion(&mut rng(), purchase("3"), NOW + 2).unwrap(), Converted::Spent);
    }
    let kept = files.read(kept::FILE).unwrap().unwrap();
    assert!(!String::from_utf8(kept).unwrap().contains("tents"));
}

#[test]
fn an_event_that_is_told_twice_counts_once() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    assert_eq!(app.conversion(&mut rng(), purchase("order 1"), NOW).unwrap(), Converted::Reported(2));
    assert_eq!(app.conversion(&mut rng(), purchase("order 1"), NOW).unwrap(), Converted::Duplicate);
    let mut app = open(&storage, &files).unwrap();
    assert_eq!(app.conversion(&mut rng(), purchase("order 1"), NOW).unwrap(), Converted::Duplicate);
    // The same id of another kind is another event.
    assert_eq!(app.conversion(&mut rng(), lead("order 1"), NOW).unwrap(), Converted::Reported(1));
    for id in ["", &"x".repeat(EVENT_ID_BYTES_MAX + 1)] {
        assert!(matches!(app.conversion(&mut rng(), purchase(id), NOW), Err(AppError::EventId)));
    }
}

#[test]
fn a_task_gets_k_reports_in_seven_days() {
    let mut app = app();
    for id in ["1", "2"] {
        assert_eq!(app.conversion(&mut rng(), lead(id), NOW).unwrap(), Converted::Reported(1));
    }
    assert_eq!(app.conversion(&mut rng(), lead("3"), NOW + 1).unwrap(), Converted::Spent);
    // The task of values has its own.
    assert_eq!(app.conversion(&mut rng(), purchase("3"), NOW + 1).unwrap(), Converted::Reported(1));
    let left: Vec<u32> = app.journal(NOW + 1).budgets[0].reports_left.iter().map(|(_, left)| *left).collect();
    assert_eq!(left, [0, 1]);
    app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(2, NOW + WEEK), NOW + WEEK).unwrap();
    // It knows the hours only.
    assert_eq!(app.conversion(&mut rng(), lead("3"), NOW + WEEK + 3_599).unwrap(), Converted::Spent);
    assert_eq!(app.conversion(&mut rng(), lead("3"), NOW + WEEK + 3_600).unwrap(), Converted::Reported(1));
}

/// A purchase without a value was said to be worth less than the task's unit, and there is none that it is worth.
#[test]
fn the_journal_says_that_there_was_no_value() {
    let mut app = app();
    app.click(ad("tents"), NOW).unwrap();
    for (id, value) in [("1", None), ("2", Some(99))] {
        let event = Event { value, ..purchase(id) };
        assert_eq!(app.conversion(&mut rng(), event, NOW).unwrap(), Converted::Reported(2));
    }
    let why = |at: usize| match &app.kept.journal[at].reports[1].form {
        Form::Null { why } => why.clone(),
        Form::Attributed { .. } => String::new(),
    };
    assert!(
        why(0).contains("no value") && why(1).contains("less than the task's unit"),
        "{} {}",
        why(0),
        why(1)
    );
}

/// When the device's budget is spent a report is made all the same.
#[test]
fn a_spent_budget_makes_null_reports_of_the_same_size() {
    let mut narrow = rules();
    narrow.advertiser_budget = 250_000;
    let mut app = App::open(narrow, MemoryStore::default(), MemoryFiles::default(), NOW).unwrap();
    app.set_consent(true, NOW).unwrap();
    app.update_manifest(&mut rng(), SHOP, &Publisher::new(1).manifest(1, NOW), NOW).unwrap();
    app.click(ad("tents"), NOW).unwrap();
    for id in ["1", "2"] {
        assert_eq!(app.conversion(&mut rng(), lead(id), NOW).unwrap(), Converted::Reported(1));
    }
    assert_eq!(attributed(&app), [Some("tents".to_owned()), None]);
    assert_eq!(app.journal(NOW).budgets[0].weeks.last().unwrap().site, 0);
    let request = app.next_request(NOW).unwrap().unwrap();
    let sizes: Vec<_> = UploadRequestRef::from_bytes(&request.body, 9)
        .unwrap()
        .reports
        .iter()
        .map(|report| report.encoded.len())
        .collect();
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn names_that_nobody_published_are_errors_that_say_what_to_do() {
    let mut app = app();
    let campaign = app.impression(ad("bots"), NOW).unwrap_err();
    assert!(matches!(campaign, AppError::UnknownCampaign));
    let other = Ad { advertiser: "other.example", campaign: "boots" };
    assert!(matches!(app.impression(other, NOW), Err(AppError::UnknownAdvertiser)));
    let event = app.conversion(&mut rng(), Event { name: "buy", ..purchase("1") }, NOW).unwrap_err();
    assert!(matches!(event, AppError::UnknownEvent));
    let late = app.conversion(&mut rng(), purchase("1"), NOW + WEEK).unwrap_err();
    assert!(matches!(late, AppError::NoManifest) && late.to_string().contains("update_manifest"));
    assert!(app.kept.journal.is_empty() && app.kept.sent.is_empty());
}

/// An advertiser whose views and clicks are counted apart has `boots/view` and `boots/click` in its manifest, and every call of an
/// app that said "boots", as all documents have it, was refused. One that said `boots/view` of a click was not.
#[test]
fn an_app_need_not_know_that_views_and_clicks_are_told_apart() {
    let publisher = Publisher::new(1);
    let mut manifest = publisher.document(2, NOW);
    let names = ["boots/view", "boots/click", "tents"];
    let named = |(name, bucket): (&&str, u32)| Campaign { name: (*name).to_owned(), bucket };
    manifest.campaigns = names.iter().zip(1..).map(named).collect();
    let manifest = manifest.sign(&publisher.signing_key).unwrap();
    let mut app = app();
    app.update_manifest(&mut rng(), SHOP, &manifest, NOW).unwrap();
    app.impression(ad("boots"), NOW).unwrap();
    app.conversion(&mut rng(), lead("1"), NOW).unwrap();
    app.click(ad("boots"), NOW + 1).unwrap();
    app.conversion(&mut rng(), lead("2"), NOW + 1).unwrap();
    assert_eq!(attributed(&app), [Some("boots/view".to_owned()), Some("boots/click".to_owned())]);
    assert!(matches!(app.click(ad("boots/view"), NOW), Err(AppError::UnknownCampaign)));
    assert!(matches!(app.impression(ad("boots/click"), NOW), Err(AppError::UnknownCampaign)));
    app.click(ad("tents"), NOW).unwrap();
    assert!(matches!(app.click(ad("lamps"), NOW), Err(AppError::UnknownCampaign)));
}

/// The sequence is kept, or whoever stands between could bring a device back after its next start.
#[test]
fn an_older_manifest_is_refused_after_a_restart_too() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let publisher = Publisher::new(1);
    let mut app = ready(&storage, &files);
    app.update_manifest(&mut rng(), SHOP, &publisher.manifest(7, NOW), NOW).unwrap();
    let mut app = open(&storage, &files).unwrap();
    assert_eq!(app.manifest_expires(SHOP), Some(NOW + WEEK));
    let older = app.update_manifest(&mut rng(), SHOP, &publisher.manifest(6, NOW), NOW);
    assert!(matches!(older, Err(AppError::Manifest(ManifestError::Older { found: 6, seen: 7 }))));
    app.impression(ad("boots"), NOW).unwrap();
}

/// One that was sent in vain keeps its id, or the leader could count it twice.
#[test]
fn a_report_whose_key_was_outdated_is_made_again_under_its_id() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    app.click(ad("tents"), NOW).unwrap();
    app.conversion(&mut rng(), lead("1"), NOW).unwrap();
    let request = app.next_request(NOW).unwrap().unwrap();
    let id = app.queue.report_ids().next().unwrap();
    let refused =
        [arras_protocol::messages::ReportUploadStatus { report_id: id, error: ReportError::OutdatedConfig }];
    app.answered(&mut rng(), &request, Ok(&refused), NOW).unwrap();
    assert!(app.wants_manifest() && app.next_request(NOW).unwrap().is_none());
    app.update_manifest(&mut rng(), SHOP, &Publisher::new(2).manifest(2, NOW), NOW).unwrap();
    assert!(!app.wants_manifest());
    assert_eq!(app.queue.report_ids().collect::<Vec<_>>(), [id]);
    // It opens with the new keys, and says what it said.
    assert_eq!(opened(&mut app, 1)[10], 1);
}

#[test]
fn the_journal_follows_a_report() {
    let (storage, files) = (MemoryStore::default(), MemoryFiles::default());
    let mut app = ready(&storage, &files);
    for id in ["1", "2"] {
        app.conversion(&mut rng(), lead(id), NOW).unwrap();
    }
    let state = |app: &Tested, at: usize| app.journal(NOW).conversions[at].reports[0].state.clone();
    let request = app.next_request(NOW).unwrap().unwrap();
    app.answered(&mut rng(), &request, Err(SendFailure::default()), NOW).unwrap();
    assert_eq!(state(&app, 0), ReportState::Waiting);
    let later = NOW + 60;
    // After a failure there are fewer in a request.
    while let Some(request) = app.next_request(later).unwrap() {
        let first = app.queue.report_ids().next().unwrap();
        let refused = arras_protocol::messages::ReportUploadStatus {
            report_id: first,
            error: ReportError::BatchCollected,
        };
        app.answered(&mut rng(), &request, Ok(&[refused]), later).unwrap();
    }
    for app in [&app, &open(&storage, &files).unwrap()] {
        assert_eq!(state(app, 0), ReportState::Refused { why: "batch_collected".to_owned() });
        assert_eq!(state(app, 1), ReportState::Delivered);
        assert_eq!(app.waiting(), 0);
    }
}

#[test]
fn debug_shows_nothing_of_the_person() {
    let mut app = app();
    app.click(ad("tents"), NOW).unwrap();
    app.conversion(&mut rng(), purchase("order 1"), NOW).unwrap();
    let journal = app.journal(NOW);
    let (seen, counted) = (&journal.remembered, &journal.conversions);
    let reports = &counted[0].reports;
    let mut shown =
        vec![format!("{app:?} {journal:?} {seen:?} {counted:?} {reports:?} {:?}", reports[0].form)];
    shown.push(format!("{:?} {:?}", ad("tents"), purchase("order 1")));
    for error in [
        app.click(ad("bots"), NOW).unwrap_err(),
        app.conversion(&mut rng(), Event { name: "order", ..purchase("1") }, NOW).unwrap_err(),
        app.click(ad("tents"), NOW + WEEK).unwrap_err(),
    ] {
        shown.push(format!("{error} {error:?}"));
    }
    let shown = shown.concat();
    for secret in ["tents", "bots", "order", SHOP, "12345"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // What is for the person says it.
    assert!(reports[0].form.to_string().contains("tents"));
}

proptest! {
    /// Signed by who may sign: an app follows it or says why not, and goes on with what it follows.
    #[test]
    fn a_manifest_with_anything_exchanged_does_no_harm(
        document in exchanged(&serde_json::to_value(Publisher::new(1).document(2, NOW)).unwrap()),
    ) {
        let json = serde_json::to_vec(&document).unwrap();
        let text = sign(&Publisher::new(1).signing_key, DocumentType::Manifest, &json).unwrap();
        let mut app = app();
        if let Err(error) = app.update_manifest(&mut rng(), SHOP, &text, NOW) {
            prop_assert!(matches!(error, AppError::Manifest(_)), "{error}");
        }
        for campaign in ["boots", "tents"] {
            if let Err(error) = app.click(ad(campaign), NOW) {
                prop_assert!(matches!(error, AppError::UnknownCampaign), "{error}");
            }
        }
        for event in [purchase("1"), lead("2")] {
            if let Err(error) = app.conversion(&mut rng(), event, NOW) {
                prop_assert!(matches!(error, AppError::UnknownEvent), "{error}");
            }
        }
        for report in app.kept.journal.iter().flat_map(|entry| &entry.reports) {
            if let Form::Attributed { bucket, .. } = report.form {
                prop_assert!((1..16).contains(&bucket), "a cell that no campaign has: {bucket}");
            }
        }
    }
}
