#![allow(clippy::unwrap_used)]
pub(crate) mod check;
mod coverage;
pub(crate) mod pages;
mod served;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use maud::html;
use tower_service::Service as _;

use self::check::{elements, usable};
use super::layout::{self, Nav, Notice, Page, PageContext};
use super::parts::{self, Column, Field, Sort, Table, Tone};
use super::session::SignedIn;
use crate::access::{Principal, Scope, SessionView, UserInfo, Who};
use crate::registry::UserId;
use crate::registry::fixture::{NOW, Place, shop};

pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;";

pub(crate) fn context() -> PageContext {
    PageContext {
        advertiser: "Shop Example".to_owned(),
        user: "ada@shop.example".to_owned(),
        csrf: "token".to_owned(),
        manages: true,
        administers: true,
        notice: None,
    }
}

/// Somebody who is signed in, at an advertiser of this name.
pub(crate) fn signed_in(name: &str, scope: Scope) -> SignedIn {
    let place = Place::new();
    let registry = place.open();
    let mut new = shop("Shop");
    new.name = name.parse().unwrap();
    let advertiser = registry.create_advertiser(new, NOW).unwrap();
    let user = UserInfo {
        id: UserId::from_bytes([1; 12]),
        advertiser: advertiser.id,
        email: "o'neil&co@shop.example".parse().unwrap(),
        scope,
        created: NOW,
        password_set: NOW,
    };
    let principal = Principal { who: Who::User(user.id), advertiser: Some(advertiser.id), scope };
    let session = SessionView { user, csrf: "token".to_owned(), expires: NOW + 7 };
    SignedIn { principal, advertiser, session }
}

/// Writes a page to `target/console`, for eyes, if `ARRAS_LOOK` is set.
pub(crate) fn look(name: &str, html: &str) {
    if std::env::var_os("ARRAS_LOOK").is_some() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/console");
        std::fs::create_dir_all(&folder).unwrap();
        let html = html
            .replace(&super::assets::style_address(), "style.css")
            .replace("/console/icon.svg", "icon.svg");
        std::fs::write(folder.join("style.css"), super::assets::STYLE).unwrap();
        std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

fn everything(text: &str) -> maud::Markup {
    let sort = |descending| Sort { href: format!("/console/campaigns?sort={}", "spend"), descending };
    let mut table = Table::new(
        text,
        vec![Column::text("Campaign").sorted(sort(None)), Column::number("Spend").sorted(sort(Some(true)))],
    );
    table.row(vec![html! { (text) }, html! { "12" (parts::interval_bar(1.0, 2.0, 3.0, 10.0)) }]);
    table.foot(vec![html! { "All" }, html! { "12" }]);
    html! {
        (parts::empty(text, text, html! { a class="button" href="/console/campaigns/new" { (text) } }))
        dl class="cards" { (parts::card(text, html! { (text) }, html! { (text) })) }
        (table)
        (parts::badge(Tone::Wait, text))
        (parts::pager("campaigns", Some("/console/campaigns?page=1"), Some("/console/campaigns?page=3")))
        form class="form" method="post" action="/console/campaigns" {
            (layout::csrf_field(text))
            (Field::new("name", "Name", "text", text).hint(text).problem(Some(text)))
            (parts::select("goal", "Goal", &[(text.to_owned(), text.to_owned())], text, Some(text)))
            button class="button" type="submit" { "Create" }
        }
    }
}

#[test]
fn whatever_stands_in_a_page_is_text() {
    let mut ctx = context();
    (ctx.advertiser, ctx.user, ctx.csrf) = (HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned());
    ctx.notice = Some(Notice::error(HOSTILE));
    let page = Page::new(HOSTILE, Nav::Campaigns).lead(HOSTILE).below(HOSTILE, "/console/campaigns");
    let html = page.body(everything(HOSTILE)).render(&ctx).into_string();
    usable(&html);
    assert!(html.contains("&lt;script&gt;alert(1)"));
    assert!(elements(&html).iter().all(|element| element.name != "img" && element.name != "script"));
}

#[test]
fn every_part_of_the_console_is_reached_and_marked() {
    for nav in Nav::ALL {
        let html = Page::new("Title", nav).body(everything("text")).render(&context()).into_string();
        usable(&html);
        look("parts", &html);
        let all = elements(&html);
        let current: Vec<_> = all.iter().filter(|e| e.get("aria-current") == Some("page")).collect();
        assert_eq!(current.iter().map(|e| e.get("href")).collect::<Vec<_>>(), [Some(nav.path())]);
        let links: Vec<_> = all.iter().filter_map(|e| e.get("href")).collect();
        assert!(Nav::ALL.iter().all(|nav| links.contains(&nav.path())));
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let ctx = context();
    let answers = [
        layout::page(&ctx, "Title", Nav::Overview, html! {}),
        layout::lone_page(StatusCode::OK, "Sign in", &html! {}),
        layout::not_found(&ctx),
        layout::not_allowed(&ctx, "change campaigns"),
        layout::failed(None),
        layout::failed(Some(&ctx)),
    ];
    for answer in answers {
        let headers = answer.headers().clone();
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], layout::CONTENT_SECURITY_POLICY);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin");
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        usable(&text(answer).await);
    }
    for path in ["/console", "/console/style.css", "/console/icon.svg"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = super::files().call(request).await.unwrap();
        assert_eq!(
            answer.headers()[header::CONTENT_SECURITY_POLICY],
            layout::CONTENT_SECURITY_POLICY,
            "{path}"
        );
    }
    for part in ["script-src", "unsafe", "http:", "https:", "data:", "*"] {
        assert!(!layout::CONTENT_SECURITY_POLICY.contains(part), "{part}");
    }
}
