//! The advertiser's interface in a browser, as somebody attacks it: over real HTTP, against a collector as it is served.

pub mod site;

use arras::access::Scope;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};

use self::site::{Answer, HOSTILE, NOW, PASSWORD, Site, encoded};
use crate::api::stalled::Stalled;

/// Every address of the console that is asked for with GET, with an id of one's own where there is one; of a release see
/// `src/console/release.rs`.
fn pages(site: &Site) -> Vec<String> {
    let fixed = [
        "/console/overview",
        "/console/campaigns",
        "/console/campaigns?sort=spend&order=desc",
        "/console/campaigns.csv",
        "/console/campaigns/new",
        "/console/help",
        "/console/budget",
        "/console/releases",
        "/console/account",
        "/console/delivery",
        "/console/delivery/template.csv",
        "/console/planner",
        "/console/nowhere",
    ];
    let own = format!("/console/campaigns/{}", site.campaign.id);
    let edit = format!("{own}/edit");
    fixed.iter().map(|path| (*path).to_owned()).chain([own, edit]).collect()
}

#[tokio::test]
async fn nobody_gets_a_page_without_signing_in() {
    let site = Site::start();
    let mut stranger = site.browser();
    for path in pages(&site) {
        let answer = stranger.get(&path).await;
        assert!(answer.goes_to_sign_in(), "{path}: {}", answer.status);
        assert!(!answer.text.contains("Other") && answer.has_no_hostile_markup(), "{path}");
    }
    stranger.cookies.insert("arras_session".to_owned(), "A".repeat(43));
    for path in pages(&site) {
        assert!(stranger.get(&path).await.goes_to_sign_in(), "{path}");
    }
    // The same for what there is and what there is not.
    for path in ["/console/there/is/no/such/page", "/console/releases/1", "/console/releases/1/signed"] {
        assert!(stranger.get(path).await.goes_to_sign_in(), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn every_page_says_what_a_browser_may_do_with_it_and_is_not_kept() {
    let site = Site::start();
    let mut admin = site.signed_in("admin@shop.example").await;
    let mut answers = vec![("sign-in".to_owned(), site.browser().get("/console/sign-in").await)];
    for path in pages(&site) {
        answers.push((path.clone(), admin.get(&path).await));
    }
    answers.push(("forged".to_owned(), admin.post("/console/account/keys", &[]).await));
    answers.push(("redirect".to_owned(), site.browser().get("/console/account").await));
    for (path, answer) in answers {
        let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn cookies_are_for_no_script_and_no_other_site() {
    let site = Site::start();
    let mut browser = site.browser();
    let form = browser.get("/console/sign-in").await;
    let signed_in = browser.sign_in("read@shop.example", PASSWORD).await;
    let cookies: Vec<&HeaderValue> =
        [&form, &signed_in].into_iter().flat_map(|answer| answer.headers.get_all("set-cookie")).collect();
    assert_eq!(cookies.len(), 3);
    for cookie in cookies {
        let text = cookie.to_str().unwrap();
        for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
            assert!(text.contains(attribute), "{text}");
        }
        assert!(!text.to_ascii_lowercase().contains("domain"), "{text}");
    }
    site.stop().await;
}

/// A proxy that spoke TLS with browsers made their cookies such as go without it, too: whoever was in between could read them, or set
/// them from another host of the domain.
#[tokio::test]
async fn behind_a_proxy_that_speaks_tls_cookies_are_for_tls_alone() {
    const FOR_A_YEAR: Option<&str> = Some("max-age=31536000");
    for tls in [true, false] {
        let site = Site::start_behind(tls);
        let mut browser = site.signed_in("read@shop.example").await;
        let names: Vec<_> = browser.cookies.keys().map(String::as_str).collect();
        assert_eq!(names, [if tls { "__Host-arras_session" } else { "arras_session" }]);
        let secured = |answer: &Answer| {
            let header = answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
            assert_eq!(header, FOR_A_YEAR.filter(|_| tls));
            for cookie in answer.headers.get_all("set-cookie") {
                assert_eq!(cookie.to_str().unwrap().contains("; Secure"), tls);
            }
        };
        for path in ["/console", "/console/style.css", "/console/overview", "/console/nowhere"] {
            secured(&browser.get(path).await);
        }
        let csrf = browser.csrf().await;
        let plain = site.base.clone();
        let by_tls = plain.replace("http://", "https://");
        let sign_out = [("csrf", csrf.as_str())];
        let forged = browser.post_from("/console/sign-out", &sign_out, &[("origin", &plain)]).await;
        assert_eq!(forged.status == StatusCode::FORBIDDEN, tls, "a page of this host without TLS");
        secured(&forged);
        if tls {
            let answer = browser.post_from("/console/sign-out", &sign_out, &[("origin", &by_tls)]).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER);
            secured(&answer);
        }
        site.stop().await;
    }
}

/// An attacker who could choose the token of a session would have the session of whoever signs in with it.
#[tokio::test]
async fn signing_in_begins_a_session_that_nobody_chose() {
    let site = Site::start();
    let mut victim = site.browser();
    let chosen = "A".repeat(43);
    victim.cookies.insert("arras_session".to_owned(), chosen.clone());
    assert_eq!(victim.sign_in("read@shop.example", PASSWORD).await.status, StatusCode::SEE_OTHER);
    let first = victim.session().unwrap().to_owned();
    assert_ne!(first, chosen);
    let mut attacker = site.browser();
    attacker.cookies.insert("arras_session".to_owned(), chosen);
    assert!(attacker.get("/console/account").await.goes_to_sign_in());
    // The attacker's own session, put into the victim's browser, ends when the victim signs in.
    let planted = site.signed_in("admin@other.example").await.session().unwrap().to_owned();
    let mut victim = site.browser();
    let form = victim.get("/console/sign-in").await.csrf();
    victim.cookies.insert("arras_session".to_owned(), planted.clone());
    let fields = [("csrf", form.as_str()), ("email", "read@shop.example"), ("password", PASSWORD)];
    assert_eq!(victim.post("/console/sign-in", &fields).await.status, StatusCode::SEE_OTHER);
    attacker.cookies.insert("arras_session".to_owned(), planted);
    assert!(attacker.get("/console/account").await.goes_to_sign_in());
    assert_ne!(victim.session().unwrap(), first);
    // A token is not taken from an address.
    let in_address = format!("/console/account?arras_session={}", victim.session().unwrap());
    assert!(site.browser().get(&in_address).await.goes_to_sign_in());
    site.stop().await;
}

#[tokio::test]
async fn a_form_of_another_page_changes_nothing() {
    let site = Site::start();
    let mut admin = site.signed_in("admin@shop.example").await;
    let mut colleague = site.signed_in("manage@shop.example").await;
    let (own, others) = (admin.csrf().await, colleague.csrf().await);
    assert_ne!(own, others);
    let key = [("name", "forged"), ("key-scope", "admin"), ("expires", "never")];
    let with = |csrf: &'static str| [("csrf", csrf), key[0], key[1], key[2]];
    let here = [("sec-fetch-site", "same-origin")];
    // Without a token, with nonsense, with that of somebody else's session, with the session's own token.
    let session = admin.session().unwrap().to_owned();
    let mut forged = vec![
        admin.post_from("/console/account/keys", &key, &here).await,
        admin.post_from("/console/account/keys", &with("A"), &here).await,
        admin.post_from("/console/account/keys", &with(""), &here).await,
    ];
    for token in [&others, &session] {
        let fields = [("csrf", token.as_str()), key[0], key[1], key[2]];
        forged.push(admin.post_from("/console/account/keys", &fields, &here).await);
    }
    // With the right token, as a page of another site would send it.
    let right = [("csrf", own.as_str()), key[0], key[1], key[2]];
    for from in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        forged.push(admin.post_from("/console/account/keys", &right, from).await);
    }
    // Twice in one form: which of them would count?
    let twice = [("csrf", own.as_str()), ("csrf", "A"), key[0], key[1], key[2]];
    forged.push(admin.post_from("/console/account/keys", &twice, &here).await);
    // In the address, or as another type.
    let in_address = format!("/console/account/keys?csrf={own}");
    forged.push(admin.post_from(&in_address, &key, &here).await);
    let json = [("content-type", "text/plain"), here[0]];
    let body = encoded(&right).into_bytes();
    forged.push(admin.send(Method::POST, "/console/account/keys", &json, body).await);
    // Signing out, uploads and signing in are forms like others.
    forged.push(admin.post_from("/console/sign-out", &[], &here).await);
    forged.push(admin.upload("A", b"day,campaign,impressions,clicks,spend\n").await);
    let mut stranger = site.browser();
    let credentials = [("email", "read@shop.example"), ("password", PASSWORD)];
    forged.push(stranger.post_from("/console/sign-in", &credentials, &here).await);
    for (place, answer) in forged.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "the {place}. forgery: {}", answer.text);
    }
    assert_eq!(site.advertising.access.keys(site.shop.id), []);
    assert!(stranger.session().is_none());
    assert_eq!(admin.get("/console/account").await.status, StatusCode::OK, "still signed in");
    // What the page itself sends works.
    assert_eq!(admin.post("/console/account/keys", &right).await.status, StatusCode::OK);
    assert_eq!(site.advertising.access.keys(site.shop.id).len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_signing_out_time_and_a_new_password() {
    let site = Site::start();
    let mut browser = site.signed_in("read@shop.example").await;
    let token = browser.session().unwrap().to_owned();
    let csrf = browser.csrf().await;
    assert_eq!(browser.post("/console/sign-out", &[("csrf", &csrf)]).await.status, StatusCode::SEE_OTHER);
    assert!(browser.session().is_none());
    browser.cookies.insert("arras_session".to_owned(), token);
    assert!(browser.get("/console/account").await.goes_to_sign_in(), "the cookie was kept by somebody");

    let (mut one, mut two) =
        (site.signed_in("read@shop.example").await, site.signed_in("read@shop.example").await);
    let kept = two.session().unwrap().to_owned();
    let csrf = one.csrf().await;
    let new = "another horse battery";
    let change = |current: &'static str| {
        [
            ("csrf", csrf.clone()),
            ("current", current.to_owned()),
            ("new", new.to_owned()),
            ("again", new.to_owned()),
        ]
    };
    let refs = |fields: &[(&'static str, String); 4]| fields.clone().map(|(name, value)| (name, value));
    let wrong = refs(&change("not the password"));
    let wrong: Vec<_> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(one.post("/console/account/password", &wrong).await.status, StatusCode::FORBIDDEN);
    let right = refs(&change(PASSWORD));
    let right: Vec<_> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(one.post("/console/account/password", &right).await.status, StatusCode::SEE_OTHER);
    two.cookies.insert("arras_session".to_owned(), kept);
    assert!(two.get("/console/account").await.goes_to_sign_in());
    assert_eq!(two.sign_in("read@shop.example", PASSWORD).await.status, StatusCode::FORBIDDEN);
    assert_eq!(two.sign_in("read@shop.example", new).await.status, StatusCode::SEE_OTHER);

    site.clock.set(NOW + arras::access::IDLE_MAX);
    assert!(two.get("/console/account").await.goes_to_sign_in(), "idle");
    site.stop().await;
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down_and_tells_nothing() {
    let site = Site::start();
    let mut stays = site.signed_in("read@shop.example").await;
    let mut attacker = site.browser();
    let mut told = Vec::new();
    for email in ["read@shop.example", "nobody@shop.example"] {
        let mut answers = Vec::new();
        for _ in 0..=arras::access::FREE_FAILURES {
            let answer = attacker.sign_in(email, "wrong wrong wrong").await;
            answers.push((answer.status, answer.headers.get("retry-after").cloned()));
            // But for the token and what was typed, the pages are the same.
            let page = answer.text.replace(&answer.csrf(), "").replace(email, "");
            answers.push((answer.status, HeaderValue::from_str(&page.len().to_string()).ok()));
        }
        told.push(answers);
    }
    assert_eq!(told[0], told[1], "an email with an account and one without");
    let last = told[0][told[0].len() - 2].clone();
    assert_eq!(last, (StatusCode::TOO_MANY_REQUESTS, HeaderValue::from_str("30").ok()));
    // Whoever knows the password waits, too, and not for ever; who is signed in notices nothing.
    assert_eq!(attacker.sign_in("read@shop.example", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(stays.get("/console/account").await.status, StatusCode::OK);
    site.clock.set(NOW + arras::access::PAUSE_FIRST);
    assert_eq!(attacker.sign_in("read@shop.example", PASSWORD).await.status, StatusCode::SEE_OTHER);
    site.stop().await;
}

/// Names of advertisers, campaigns, keys and users, lines of files, fields of forms and parameters of addresses.
#[tokio::test]
async fn what_others_wrote_is_text_on_every_page() {
    let site = Site::start();
    let mut admin = site.signed_in("admin@shop.example").await;
    let csrf = admin.csrf().await;
    let csrf = csrf.as_str();
    let mut answers = Vec::new();
    let key = [("csrf", csrf), ("name", HOSTILE), ("key-scope", "read"), ("expires", "30")];
    answers.push(admin.post("/console/account/keys", &key).await);
    assert_eq!(answers[0].status, StatusCode::OK);
    let user = "<script>alert(1)</script>@shop.example";
    for (email, scope) in [(user, "read"), ("'\"--<img src=x>@x", "read"), ("a@b.example", HOSTILE)] {
        let fields = [("csrf", csrf), ("email", email), ("password", PASSWORD), ("user-scope", scope)];
        answers.push(admin.post("/console/account/users", &fields).await);
    }
    // Of what mail takes, these are the signs that HTML knows.
    let fields =
        [("csrf", csrf), ("email", "o'neil&co@x.example"), ("password", PASSWORD), ("user-scope", "read")];
    assert_eq!(admin.post("/console/account/users", &fields).await.status, StatusCode::SEE_OTHER);
    let file = format!("day,campaign,impressions,clicks,spend\n{HOSTILE},{HOSTILE},{HOSTILE},1,1\n");
    answers.push(admin.upload(csrf, file.as_bytes()).await);
    answers.push(admin.upload(csrf, format!("{HOSTILE}\n1\n").as_bytes()).await);
    answers.push(admin.upload(csrf, b"day,campaign,impressions,clicks,spend\n\xff\n").await);
    let quoted = HOSTILE.replace('"', "\"\"");
    let good = format!("day,campaign,impressions,clicks,spend\n2026-11-01,\"{quoted}\",10,1,2.50\n");
    let uploaded = admin.upload(csrf, good.as_bytes()).await;
    assert_eq!(uploaded.status, StatusCode::OK, "{}", uploaded.text);
    answers.push(uploaded);
    for fields in [
        vec![("campaigns", HOSTILE)],
        vec![("campaigns", "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> = 700\nplain = 90")],
        vec![("campaigns", "</textarea><script>alert(1)</script> = 7")],
        vec![("campaigns", "a = 700"), ("epsilon", HOSTILE), ("cap", HOSTILE), ("target", HOSTILE)],
        vec![("campaigns", "a = 700"), ("cap", HOSTILE)],
        vec![("campaigns", "a = 700"), ("target", HOSTILE), ("rest", HOSTILE), ("average", HOSTILE)],
        vec![("campaigns", "a = 700"), ("find", HOSTILE)],
    ] {
        answers.push(admin.get(&format!("/console/planner?{}", encoded(&fields))).await);
    }
    for parameter in ["done", "because", "sort", "from", HOSTILE] {
        let query = encoded(&[(parameter, HOSTILE)]);
        answers.push(admin.get(&format!("/console/account?{query}")).await);
        answers.push(site.browser().get(&format!("/console/sign-in?{query}")).await);
    }
    answers.push(admin.get(&format!("/console/{}", encoded(&[(HOSTILE, "")]))).await);
    answers.push(site.browser().sign_in(HOSTILE, HOSTILE).await);
    for path in pages(&site).iter().filter(|path| !path.contains("csv")) {
        answers.push(admin.get(path).await);
    }
    for (place, answer) in answers.iter().enumerate() {
        assert!(answer.has_no_hostile_markup(), "the {place}. page: {}", answer.text);
    }
    let shown = |answer: &Answer| answer.text.contains("&lt;script&gt;alert(1)&lt;/script&gt;");
    assert!(answers.iter().filter(|answer| shown(answer)).count() > 10, "the names are shown, as text");
    site.stop().await;
}

#[tokio::test]
async fn ids_of_another_advertiser_are_as_good_as_none() {
    let site = Site::start();
    let access = &site.advertising.access;
    let (key, _) =
        access.create_key(site.other.id, "report".parse().unwrap(), Scope::Read, None, NOW).unwrap();
    let user = access.users(site.other.id)[0].clone();
    let mut admin = site.signed_in("admin@shop.example").await;
    let csrf = admin.csrf().await;
    let fields = [("csrf", csrf.as_str())];
    let unknown_key = arras::registry::KeyId::from_bytes([9; 12]);
    let unknown_user = arras::registry::UserId::from_bytes([9; 12]);
    let unknown_campaign = arras::registry::CampaignId::from_bytes([9; 12]);
    for (foreign, unknown) in [
        (format!("keys/{}/revoke", key.id), format!("keys/{unknown_key}/revoke")),
        (format!("users/{}/remove", user.id), format!("users/{unknown_user}/remove")),
    ] {
        let foreign = admin.post(&format!("/console/account/{foreign}"), &fields).await;
        let unknown = admin.post(&format!("/console/account/{unknown}"), &fields).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
        assert_eq!((foreign.status, foreign.text), (unknown.status, unknown.text), "byte for byte");
    }
    for page in ["", "/edit"] {
        let foreign = admin.get(&format!("/console/campaigns/{}{page}", site.foreign.id)).await;
        let unknown = admin.get(&format!("/console/campaigns/{unknown_campaign}{page}")).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
        assert_eq!((foreign.status, foreign.text), (unknown.status, unknown.text));
    }
    let change = [
        ("csrf", csrf.as_str()),
        ("status", "ended"),
        ("start", "2026-10-01"),
        ("end", ""),
        ("goal", "order_created"),
    ];
    let edit = format!("/console/campaigns/{}/edit", site.foreign.id);
    assert_eq!(admin.post(&edit, &change).await.status, StatusCode::NOT_FOUND);
    let registry = &site.advertising.registry;
    assert_eq!(registry.campaign(site.other.id, site.foreign.id).as_deref(), Some(&*site.foreign));
    // Numbers for a campaign of another, by its id and by its name.
    for name in [site.foreign.id.to_string(), "foreign".to_owned()] {
        let file = format!("day,campaign,impressions,clicks,spend\n2026-11-01,{name},10,1,2.50\n");
        let answer = admin.upload(&csrf, file.as_bytes()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains("there is no campaign"), "{}", answer.text);
    }
    assert!(site.advertising.registry.delivery_columns(site.other.id, site.foreign.id).is_none());
    assert_eq!((access.keys(site.other.id).len(), access.users(site.other.id).len()), (1, 1));
    for path in pages(&site) {
        let answer = admin.get(&path).await;
        assert!(!answer.text.contains("other.example") && !answer.text.contains("foreign"), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_small_scope_does_little() {
    let site = Site::start();
    for (email, may_upload) in [("read@shop.example", false), ("manage@shop.example", true)] {
        let mut browser = site.signed_in(email).await;
        let page = browser.get("/console/account").await;
        assert!(!page.text.contains("admin@shop.example"), "who else has access is not told");
        let csrf = page.csrf();
        let own = site.advertising.access.users(site.shop.id);
        let admin = own.iter().find(|user| user.email.as_str() == "admin@shop.example").unwrap().id;
        let token = ("csrf", csrf.as_str());
        for (path, fields) in [
            (
                "/console/account/keys".to_owned(),
                vec![token, ("name", "a"), ("key-scope", "admin"), ("expires", "30")],
            ),
            (
                "/console/account/users".to_owned(),
                vec![token, ("email", "x@y.example"), ("password", PASSWORD), ("user-scope", "admin")],
            ),
            (format!("/console/account/users/{admin}/remove"), vec![token]),
            (
                format!("/console/account/keys/{}/revoke", arras::registry::KeyId::from_bytes([9; 12])),
                vec![token],
            ),
        ] {
            assert_eq!(browser.post(&path, &fields).await.status, StatusCode::FORBIDDEN, "{email} {path}");
        }
        let good = "day,campaign,impressions,clicks,spend\n2026-11-01,=1+1,10,1,2.50\n";
        let uploaded = browser.upload(&csrf, good.as_bytes()).await.status;
        assert_eq!(uploaded == StatusCode::OK, may_upload, "{email}: {uploaded}");
        assert_eq!(site.advertising.access.users(site.shop.id).len(), 3);
        assert_eq!(site.advertising.access.keys(site.shop.id), []);
    }
    let mut admin = site.signed_in("admin@shop.example").await;
    let csrf = admin.csrf().await;
    let own = site.advertising.access.users(site.shop.id);
    let id = own.iter().find(|user| user.email.as_str() == "admin@shop.example").unwrap().id;
    let removed = admin.post(&format!("/console/account/users/{id}/remove"), &[("csrf", &csrf)]).await;
    assert_eq!(removed.status, StatusCode::UNPROCESSABLE_ENTITY, "nobody removes themselves");
    site.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let site = Site::start();
    let mut admin = site.signed_in("admin@shop.example").await;
    let csrf = admin.csrf().await;
    let line = format!("2026-11-01,{},10,1,2.50\n", site.campaign.id);
    let head = "day,campaign,impressions,clicks,spend\n";
    let many = format!("{head}{}", line.repeat(arras::registry::DELIVERY_ROWS_MAX + 1));
    let answer = admin.upload(&csrf, many.as_bytes()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let long = format!("{head}{}", " ".repeat(arras::registry::CSV_BYTES_MAX));
    let answer = admin.upload(&csrf, long.as_bytes()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let huge = vec![b'a'; arras::console::FILE_FORM_BYTES_MAX];
    assert_eq!(admin.upload(&csrf, &huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let text = "a".repeat(arras::console::FORM_BYTES_MAX);
    let fields = [("csrf", csrf.as_str()), ("name", text.as_str()), ("key-scope", "read"), ("expires", "30")];
    assert_eq!(admin.post("/console/account/keys", &fields).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Who is not signed in is not listened to.
    let mut stranger = site.browser();
    assert!(stranger.upload("A", b"day").await.goes_to_sign_in());
    let fields = [("csrf", "A"), ("email", text.as_str()), ("password", "a")];
    stranger.get("/console/sign-in").await;
    assert_eq!(stranger.post("/console/sign-in", &fields).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let lines: String = (0..300).fold(String::new(), |lines, n| lines + &format!("c{n} = 1\n"));
    let plan = admin.get(&format!("/console/planner?{}", encoded(&[("campaigns", &lines)]))).await;
    assert_eq!(plan.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(site.advertising.registry.delivery_columns(site.shop.id, site.campaign.id).is_none());
    site.stop().await;
}

/// Eight forms with a file that never came took the places of all: nobody else could upload.
#[tokio::test]
async fn files_that_stall_keep_nobody_else_waiting() {
    let site = Site::start();
    let manager = site.signed_in("manage@shop.example").await;
    let reader = site.signed_in("read@shop.example").await;
    let mut stalled = Vec::new();
    for browser in [&manager, &reader] {
        let cookie = format!("arras_session={}", browser.session().unwrap());
        let headers = [
            ("cookie", cookie.as_str()),
            ("content-type", "multipart/form-data; boundary=XyZ"),
            ("sec-fetch-site", "same-origin"),
        ];
        for n in 0..8 {
            let (one, status) = Stalled::begin(&site.base, "POST /console/delivery", &headers, 1_000).await;
            // Whoever may not upload sends a small form at most, which takes no place.
            let is_read = n < 2 || browser.session() == reader.session();
            assert_eq!(status, if is_read { 100 } else { 503 }, "{n}");
            stalled.push(one);
        }
    }
    let mut other = site.signed_in("admin@other.example").await;
    let csrf = other.csrf().await;
    let line = format!("day,campaign,impressions,clicks,spend\n2026-11-01,{},10,1,2.50\n", site.foreign.id);
    assert_eq!(other.upload(&csrf, line.as_bytes()).await.status, StatusCode::OK);
    drop(stalled);
    site.stop().await;
}

/// A campaign called `=1+1` would be computed by the spreadsheet that opens an export.
#[tokio::test]
async fn exports_hold_no_formulas() {
    let site = Site::start();
    let mut reader = site.signed_in("read@shop.example").await;
    let template = reader.get("/console/delivery/template.csv").await;
    assert_eq!(template.headers["content-type"], "text/csv; charset=utf-8");
    assert!(template.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(template.text.contains(",'=1+1,"), "{}", template.text);
    let campaigns = reader.get("/console/campaigns.csv").await;
    assert!(campaigns.text.contains("'=1+1"), "{}", campaigns.text);
    for line in template.text.lines().chain(campaigns.text.lines()) {
        for cell in line.split(',') {
            assert!(!cell.trim_start_matches('"').starts_with(['=', '+', '@', '\t']), "{line}");
        }
    }
    site.stop().await;
}
