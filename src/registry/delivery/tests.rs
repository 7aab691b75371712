#![allow(clippy::unwrap_used)]

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::registry::ErrorKind;
use crate::registry::fixture::{MemoryPlace, NOW, campaign, shop, with_campaigns};

const NOVEMBER: RangeInclusive<Date> = date(2026, 11, 1)..=date(2026, 11, 30);

struct Shop {
    place: MemoryPlace,
    registry: Registry,
    id: AdvertiserId,
    boots: CampaignId,
    tents: CampaignId,
}

/// Sums over days.
#[derive(Debug, PartialEq, Eq)]
struct Total {
    days: usize,
    impressions: u64,
    clicks: u64,
    spend: u64,
    invented: bool,
}

impl Shop {
    fn new() -> Self {
        let place = MemoryPlace::new();
        let registry = place.open();
        let id = with_campaigns(&registry, shop("Shop"), &["Boots", "Tents, \"large\""]);
        let campaigns = registry.campaigns(id);
        Self { id, boots: campaigns[0].id, tents: campaigns[1].id, registry, place }
    }

    fn upsert(&self, rows: &[DeliveryRow]) -> Result<Upserted, DeliveryError> {
        self.registry.upsert_delivery(self.id, rows, false, NOW)
    }

    fn upload(&self, file: &str) -> Result<Upserted, DeliveryError> {
        self.registry.upload_delivery_csv(self.id, file.as_bytes(), false, NOW)
    }

    fn november(&self, campaign: CampaignId) -> Total {
        let rows = self.registry.delivery(self.id, campaign, &NOVEMBER);
        Total {
            days: rows.len(),
            impressions: rows.iter().map(|row| row.impressions).sum(),
            clicks: rows.iter().map(|row| row.clicks).sum(),
            spend: rows.iter().map(|row| row.spend).sum(),
            invented: rows.iter().any(|row| row.invented),
        }
    }
}

fn row(campaign: CampaignId, day: Date, impressions: u64, clicks: u64, spend: u64) -> DeliveryRow {
    DeliveryRow { campaign, day, impressions, clicks, spend }
}

fn lines(error: &DeliveryError) -> Vec<usize> {
    error.rows().iter().map(|error| error.row).collect()
}

#[test]
fn the_same_rows_again_change_nothing() {
    let shop = Shop::new();
    let rows =
        [row(shop.boots, date(2026, 11, 1), 1_000, 30, 1_250), row(shop.boots, date(2026, 10, 31), 5, 0, 0)];
    assert_eq!(shop.upsert(&rows).unwrap(), Upserted { inserted: 2, before_start: 1, ..Upserted::default() });
    assert_eq!(shop.upsert(&rows).unwrap(), Upserted { same: 2, before_start: 1, ..Upserted::default() });
    let other =
        [rows[0], row(shop.boots, date(2026, 10, 31), 6, 0, 0), row(shop.tents, date(2026, 11, 1), 1, 1, 1)];
    assert_eq!(shop.upsert(&other).unwrap(), Upserted { inserted: 1, changed: 1, same: 1, before_start: 1 });
    let total = Total { days: 1, impressions: 1_000, clicks: 30, spend: 1_250, invented: false };
    assert_eq!(shop.november(shop.boots), total);
    let all = shop.registry.delivery(shop.id, shop.boots, &(date(2000, 1, 1)..=date(2199, 12, 31)));
    assert_eq!(
        all.iter().map(|one| (one.day, one.impressions)).collect::<Vec<_>>(),
        [(date(2026, 10, 31), 6), (date(2026, 11, 1), 1_000)]
    );
    // Whoever asks in another's name gets nothing.
    let other = with_campaigns(&shop.registry, crate::registry::fixture::shop("Other"), &["Boots"]);
    assert_eq!(shop.registry.delivery(other, shop.boots, &NOVEMBER), []);
    assert_eq!(lines(&shop.registry.upsert_delivery(other, &rows, false, NOW).unwrap_err()), [1, 2]);
}

#[test]
fn real_numbers_take_the_place_of_invented_ones() {
    let shop = Shop::new();
    let rows = [row(shop.boots, date(2026, 11, 1), 1_000, 30, 1_250)];
    shop.registry.upsert_delivery(shop.id, &rows, true, NOW).unwrap();
    assert!(shop.november(shop.boots).invented);
    assert_eq!(shop.upsert(&rows).unwrap().changed, 1);
    assert!(!shop.november(shop.boots).invented);
}

#[test]
fn a_row_that_is_wrong_keeps_all_others_out_and_each_is_told() {
    let shop = Shop::new();
    let day = date(2026, 11, 1);
    let wrong = [
        row(shop.boots, day, 10, 1, 5),
        row(CampaignId::from_bytes([9; 12]), day, 10, 1, 5),
        // It is Monday, the 2nd; one day ahead is taken.
        row(shop.boots, date(2026, 11, 3), 10, 1, 5),
        row(shop.boots, date(2026, 11, 4), 10, 1, 5),
        row(shop.boots, date(1999, 12, 31), 10, 1, 5),
        row(shop.tents, day, 10, 11, 5),
        row(shop.tents, day, IMPRESSIONS_MAX + 1, 11, 5),
        row(shop.tents, day, 10, 1, SPEND_MAX + 1),
        row(shop.boots, day, 11, 1, 5),
    ];
    let error = shop.upsert(&wrong).unwrap_err();
    assert_eq!((error.kind(), lines(&error)), (ErrorKind::Invalid, vec![2, 4, 5, 6, 7, 8, 9]));
    let text = error.to_string();
    assert!(text.contains("row 9: is about the same campaign and day as row 1"), "{text}");
    assert!(text.contains("row 6: there are more clicks (11) than impressions (10)"), "{text}");
    assert_eq!(shop.november(shop.boots).days, 0);
    // At the limits all is well.
    let most = [row(shop.boots, day, IMPRESSIONS_MAX, IMPRESSIONS_MAX, SPEND_MAX)];
    assert_eq!(shop.upsert(&most).unwrap().inserted, 1);
}

#[test]
fn a_file_is_read_as_spreadsheets_write_it() {
    let shop = Shop::new();
    let file = format!(
        "\u{feff}Spend,clicks,IMPRESSIONS, campaign ,day\r\n12.5,30,1000,Boots,2026-11-01\r\n\
         0,0,7,\"Tents, \"\"large\"\"\",2026-11-01\r\n3,1,2,{},2026-11-02\r\n",
        shop.boots
    );
    assert_eq!(shop.upload(&file).unwrap().inserted, 3);
    let total = Total { days: 2, impressions: 1_002, clicks: 31, spend: 1_550, invented: false };
    assert_eq!(shop.november(shop.boots), total);
    assert_eq!(shop.november(shop.tents).impressions, 7);
    let parsed = parse_delivery_csv(&shop.registry, shop.id, file.as_bytes()).unwrap();
    assert_eq!(shop.upsert(&parsed).unwrap().same, 3);
    // As it comes back from a table in which formulas are defused.
    shop.registry.create_campaign(shop.id, &campaign("=1+1"), NOW).unwrap();
    assert_eq!(
        shop.upload("day,campaign,impressions,clicks,spend\n2026-11-01,'=1+1,1,0,0").unwrap().inserted,
        1
    );
}

#[test]
fn each_wrong_line_of_a_file_is_named() {
    let shop = Shop::new();
    let file = b"day,campaign,impressions,clicks,spend\n\
                 2026-11-01,Boots,10,1,1.00\n\
                 01.11.2026,Boots,10,1,1.00\n\
                 2026-11-02,Shoes,10,1,1.00\n\
                 2026-11-02,Boots,1 000,1,1.00\n\
                 2026-11-02,Boots,10,-1,1.00\n\
                 2026-11-02,Boots,10,1,1.001\n\
                 2026-11-02,Boots,10,1,1,50\n\
                 2026-11-02,B\xffots,10,1,1\n\
                 2026-11-01,Boots,11,1,1.00\n";
    let error = shop.registry.upload_delivery_csv(shop.id, file, false, NOW).unwrap_err();
    assert_eq!(lines(&error), [3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(error.to_string().contains("line 8: has 6 fields and must have 5"), "{error}");
    let twice = "day,campaign,impressions,clicks,spend\n2026-11-01,Boots,1,1,1\n\n2026-11-01,Boots,1,1,1";
    let error = shop.upload(twice).unwrap_err();
    assert_eq!(lines(&error), [4]);
    assert!(error.to_string().contains("same campaign and day as line 2"), "{error}");
    assert_eq!(shop.november(shop.boots).days, 0);
}

#[test]
fn a_file_of_another_kind_is_refused_with_what_it_should_be() {
    let shop = Shop::new();
    for (file, about) in [
        ("", "empty"),
        ("day,campaign,impressions,clicks", "\"spend\" is missing"),
        ("day,campaign,impressions,clicks,spend,ctr", "no column \"ctr\""),
        ("day,campaign,impressions,clicks,spend,day", "\"day\" is there twice"),
        ("day;campaign;impressions;clicks;spend", "semicolons"),
        // A demo's export that was sent back made real numbers of invented ones.
        ("day,campaign,impressions,clicks,spend,invented", "invented, as a demo"),
    ] {
        let error = shop.upload(file).unwrap_err();
        assert!(matches!(error, DeliveryError::File(_)) && error.to_string().contains(about), "{error}");
    }
    let unreadable = shop.registry.upload_delivery_csv(shop.id, b"\xff\xfe\x00", false, NOW).unwrap_err();
    assert_eq!(lines(&unreadable), [1]);
    assert_eq!(shop.upload("day,campaign,impressions,clicks,spend\n").unwrap(), Upserted::default());
}

#[test]
fn what_is_too_much_is_refused_whole() {
    let shop = Shop::new();
    let line = "2026-11-01,Boots,10,1,1.00\n";
    let head = "day,campaign,impressions,clicks,spend\n";
    let many = format!("{head}{}", line.repeat(DELIVERY_ROWS_MAX + 1));
    assert!(matches!(shop.upload(&many).unwrap_err(), DeliveryError::TooManyRows));
    // What is no text is a line as well, and a file of nothing else was read to its end.
    let unreadable = [head.as_bytes(), &b"\xff,\n".repeat(DELIVERY_ROWS_MAX + 1)].concat();
    let refused = shop.registry.upload_delivery_csv(shop.id, &unreadable, false, NOW).unwrap_err();
    assert!(matches!(refused, DeliveryError::TooManyRows), "{refused}");
    let error = shop.upload(&format!("{head}{}", line.repeat(DELIVERY_ROWS_MAX))).unwrap_err();
    let DeliveryError::Rows { errors, more, .. } = &error else { panic!("{error}") };
    assert_eq!((errors.len(), *more), (ROW_ERRORS_MAX, DELIVERY_ROWS_MAX - 1 - ROW_ERRORS_MAX));
    let large = " ".repeat(CSV_BYTES_MAX + 1);
    assert!(matches!(shop.upload(&large).unwrap_err(), DeliveryError::TooLarge(_)));
    let rows = vec![row(shop.boots, date(2026, 11, 1), 0, 0, 0); DELIVERY_ROWS_MAX + 1];
    assert!(matches!(shop.upsert(&rows).unwrap_err(), DeliveryError::TooManyRows));
}

/// The most rows that are taken fit one commit, also if each is in a month of its own.
#[test]
fn the_largest_upload_is_one_commit() {
    let shop = Shop::new();
    let day = |n: i16| date(2000 + n / 12, i8::try_from(n % 12 + 1).unwrap(), 1);
    let both = |n| [shop.boots, shop.tents].map(|one| row(one, day(n), 1, 0, 0));
    let rows: Vec<_> = (0..300).flat_map(both).collect();
    let commit = shop.registry.state().last_commit();
    assert_eq!(shop.upsert(&rows).unwrap().inserted, 600);
    assert_eq!(shop.registry.state().last_commit(), commit + 1);
    drop(shop.registry);
    let registry = shop.place.open();
    let all = date(2000, 1, 1)..=date(2199, 12, 31);
    assert_eq!(registry.delivery(shop.id, shop.tents, &all).len(), 300);
    // Rows of as many months as there are rows, each with all its days.
    let month = date(2026, 10, 1)..=date(2026, 10, 31);
    let mut full = Columns::default();
    let numbers = DayNumbers { impressions: 1, clicks: 0, spend: 0, invented: false };
    for n in 0..31_i32 {
        full.put(month.start().saturating_add(n.days()), numbers);
    }
    let mut batch = StateBatch::default();
    rows::put_month(&mut batch, (shop.id, shop.boots), rows::month_of(*month.start()), &full).unwrap();
    assert!(batch.bytes() > 800 && batch.bytes() * DELIVERY_ROWS_MAX < crate::store::MAX_BATCH_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is uploaded in whatever order, the last number of each day is what is there, before and after reopening.
    #[test]
    fn numbers_are_a_map_of_days(uploads in prop::collection::vec(prop::collection::vec((0..2_usize, 0..400_i32, 0..50_u64), 0..20), 0..6)) {
        let shop = Shop::new();
        let campaigns = [shop.boots, shop.tents];
        let mut model: std::collections::BTreeMap<(usize, Date), u64> = std::collections::BTreeMap::new();
        for upload in uploads {
            let mut rows = Vec::new();
            let mut wanted = model.clone();
            for (which, ago, n) in &upload {
                let day = date(2026, 11, 2).saturating_sub(ago.days());
                rows.push(row(campaigns[*which], day, *n, 0, *n));
                wanted.insert((*which, day), *n);
            }
            let distinct: BTreeSet<_> = upload.iter().map(|(which, ago, _)| (which, ago)).collect();
            match shop.upsert(&rows) {
                Ok(done) => {
                    prop_assert_eq!(distinct.len(), rows.len());
                    prop_assert_eq!(done.inserted, wanted.len() - model.len());
                    model = wanted;
                }
                Err(error) => prop_assert!(distinct.len() < rows.len(), "{}", error),
            }
        }
        let check = |registry: &Registry| {
            let all = date(2000, 1, 1)..=date(2199, 12, 31);
            let found: Vec<_> = (0..2).flat_map(|which| {
                let rows = registry.delivery(shop.id, campaigns[which], &all);
                rows.into_iter().map(move |one| ((which, one.day), one.spend))
            }).collect();
            prop_assert_eq!(found, model.iter().map(|(key, n)| (*key, *n)).collect::<Vec<_>>());
            Ok(())
        };
        check(&shop.registry)?;
        drop(shop.registry);
        check(&shop.place.open())?;
    }
}

/// Whoever may upload could fill what the collector keeps of all advertisers, for good: no day can be removed.
#[test]
fn one_advertiser_cannot_take_the_days_of_all() {
    let shop = Shop::new();
    let other = with_campaigns(&shop.registry, crate::registry::fixture::shop("Other"), &["Boots"]);
    let foreign = shop.registry.campaigns(other)[0].id;
    shop.upsert(&[row(shop.boots, date(2026, 11, 1), 1, 0, 0)]).unwrap();
    let mut columns = Columns::default();
    let numbers = DayNumbers { impressions: 1, clicks: 0, spend: 0, invented: false };
    let mut day = date(2000, 1, 1);
    for _ in 0..10_000 {
        columns.put(day, numbers);
        day = day.tomorrow().unwrap();
    }
    let columns = Arc::new(columns);
    let many = DELIVERY_DAYS_PER_ADVERTISER_MAX / 10_000;
    let filled = (0..many).map(|n| CampaignId::from_bytes([u8::try_from(n).unwrap(); 12]));
    let filled = filled.map(|campaign| ((shop.id, campaign), Arc::clone(&columns)));
    shop.registry.columns().write().unwrap().extend(filled);
    let full = shop.upsert(&[row(shop.boots, date(2026, 11, 2), 1, 0, 0)]).unwrap_err();
    assert!(full.kind() == ErrorKind::Full && full.to_string().contains("500000 days"), "{full}");
    // What is there can be corrected, and others have their days.
    let corrected = shop.upsert(&[row(shop.boots, date(2026, 11, 1), 2, 0, 0)]).unwrap();
    assert_eq!(corrected.changed, 1);
    let rows = [row(foreign, date(2026, 11, 2), 1, 0, 0)];
    assert_eq!(shop.registry.upsert_delivery(other, &rows, false, NOW).unwrap().inserted, 1);
}
