//! The frame of every page: navigation, title, notices, what a browser may do with it.
//!
//! A page is a [`Page`] or, in short, [`page`]. Nothing in a page runs: no script, no style attribute, no file of another
//! origin; the policy that goes with each answer ([`secure`]) would stop any. Every text is escaped where it is written, by
//! maud.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::style_address;
use super::icons;

/// What a page may load and where its forms may go: its own style sheet and icon, and back to where it came from.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                                           frame-ancestors 'none'; base-uri 'none'";

/// For how long a browser that came over TLS asks for this host by TLS alone (RFC 6797): a year, so that whoever is in between cannot
/// have it sign in over plain HTTP. Other names below the host's are not ours to speak for.
pub const BY_TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A part of the console, as in its navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nav {
    /// How things stand.
    Overview,
    /// Campaigns and their numbers.
    Campaigns,
    /// Windows, and how their numbers were made.
    Releases,
    /// What was spent of the privacy budget.
    Budget,
    /// What a setting will be able to say.
    Planner,
    /// Impressions, clicks and spend.
    Delivery,
    /// Password, users, keys.
    Account,
    /// What the numbers mean.
    Help,
}

impl Nav {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Campaigns,
        Self::Releases,
        Self::Budget,
        Self::Planner,
        Self::Delivery,
        Self::Account,
        Self::Help,
    ];

    /// Where it begins.
    pub fn path(self) -> &'static str {
        match self {
            Self::Overview => "/console/overview",
            Self::Campaigns => "/console/campaigns",
            Self::Releases => "/console/releases",
            Self::Budget => "/console/budget",
            Self::Planner => "/console/planner",
            Self::Delivery => "/console/delivery",
            Self::Account => "/console/account",
            Self::Help => "/console/help",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Campaigns => "Campaigns",
            Self::Releases => "Releases",
            Self::Budget => "Budget",
            Self::Planner => "Planner",
            Self::Delivery => "Delivery",
            Self::Account => "Account",
            Self::Help => "Help",
        }
    }

    /// Whether a gap stands before it: what is read, how it is measured, what is set up.
    fn begins_group(self) -> bool {
        matches!(self, Self::Releases | Self::Delivery)
    }
}

/// What happened, said once above a page.
#[derive(Clone, Debug)]
pub struct Notice {
    kind: &'static str,
    lead: &'static str,
    text: Markup,
}

impl Notice {
    /// Something was done.
    pub fn done(text: impl maud::Render) -> Self {
        Self { kind: "notice notice-done", lead: "Done.", text: html! { (text) } }
    }

    /// Something is so.
    pub fn info(text: impl maud::Render) -> Self {
        Self { kind: "notice", lead: "Note.", text: html! { (text) } }
    }

    /// Something needs attention.
    pub fn warn(text: impl maud::Render) -> Self {
        Self { kind: "notice notice-warn", lead: "Please note.", text: html! { (text) } }
    }

    /// Something was not done.
    pub fn error(text: impl maud::Render) -> Self {
        Self { kind: "notice notice-error", lead: "That did not work.", text: html! { (text) } }
    }
}

impl maud::Render for Notice {
    fn render(&self) -> Markup {
        html! { div class=(self.kind) role="status" { strong { (self.lead) } " " (self.text) } }
    }
}

/// Who looks at a page, and what goes with it.
#[derive(Clone, Debug)]
pub struct PageContext {
    /// The advertiser's name.
    pub advertiser: String,
    /// Who is signed in, as an email address.
    pub user: String,
    /// The session's token against forged forms: the value of [`PageContext::csrf`]'s field.
    pub csrf: String,
    /// Whether campaigns and delivery numbers may be changed.
    pub manages: bool,
    /// Whether keys, users and settings may be changed.
    pub administers: bool,
    /// What happened, if something did.
    pub notice: Option<Notice>,
}

impl PageContext {
    /// The hidden field that every form with `method="post"` holds.
    pub fn csrf(&self) -> Markup {
        csrf_field(&self.csrf)
    }
}

/// The hidden field with a token against forged forms.
pub fn csrf_field(token: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(token); }
}

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    active: Option<Nav>,
    lead: Option<Markup>,
    actions: Option<Markup>,
    trail: Option<(String, String)>,
    body: Markup,
    status: StatusCode,
}

impl Page {
    /// A page with a title, in a part of the console or in none.
    pub fn new(title: impl Into<String>, active: impl Into<Option<Nav>>) -> Self {
        Self {
            title: title.into(),
            active: active.into(),
            lead: None,
            actions: None,
            trail: None,
            body: html! {},
            status: StatusCode::OK,
        }
    }

    /// A sentence or two below the title.
    #[must_use]
    pub fn lead(mut self, lead: impl maud::Render) -> Self {
        self.lead = Some(html! { (lead) });
        self
    }

    /// Buttons beside the title.
    #[must_use]
    pub fn actions(mut self, actions: Markup) -> Self {
        self.actions = Some(actions);
        self
    }

    /// The page above this one, by its label and path.
    #[must_use]
    pub fn below(mut self, label: impl Into<String>, path: impl Into<String>) -> Self {
        self.trail = Some((label.into(), path.into()));
        self
    }

    /// What it shows.
    #[must_use]
    pub fn body(mut self, body: Markup) -> Self {
        self.body = body;
        self
    }

    /// Its status, if it is not 200.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The answer, with everything that protects it.
    pub fn respond(self, ctx: &PageContext) -> Response {
        let status = self.status;
        respond(status, self.render(ctx))
    }

    /// The whole document.
    pub fn render(&self, ctx: &PageContext) -> Markup {
        document(
            &self.title,
            &html! {
                a class="skip" href="#main" { "Skip to the content" }
                div class="shell" {
                    (band(ctx, self.active))
                    div class="page" {
                        main id="main" tabindex="-1" {
                            @if let Some(notice) = &ctx.notice { (notice) }
                            (self.head())
                            (self.body)
                        }
                        (foot())
                    }
                }
            },
        )
    }

    fn head(&self) -> Markup {
        html! {
            div class="page-head" {
                div {
                    @if let Some((label, path)) = &self.trail {
                        nav class="trail" aria-label="Above this page" { a href=(path) { "\u{2190} " (label) } }
                    }
                    h1 { (self.title) }
                    @if let Some(lead) = &self.lead { p class="lead" { (lead) } }
                }
                @if let Some(actions) = &self.actions { div class="actions" { (actions) } }
            }
        }
    }
}

/// A page in one call.
pub fn page(ctx: &PageContext, title: &str, active: Nav, body: Markup) -> Response {
    Page::new(title, active).body(body).respond(ctx)
}

/// A page of somebody who is not signed in: a card with a title and no navigation.
pub fn lone_page(status: StatusCode, title: &str, body: &Markup) -> Response {
    let inside = html! {
        div class="lone" {
            main id="main" {
                div class="band" { (brand("/console")) }
                div class="inside" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    respond(status, document(title, &inside))
}

/// What went wrong, and what to do next. With a context it is a page like the others; without one it stands alone.
pub fn error_page(
    ctx: Option<&PageContext>,
    status: StatusCode,
    title: &str,
    what: &str,
    next: impl maud::Render,
) -> Response {
    let body = html! {
        p { (what) }
        div class="actions" { (next) }
    };
    match ctx {
        Some(ctx) => {
            let body = html! { div class="panel" { (body) } };
            Page::new(title, None).body(body).status(status).respond(ctx)
        }
        None => lone_page(status, title, &body),
    }
}

/// The page for an address at which there is nothing, or nothing of this advertiser's: both look the same.
pub fn not_found(ctx: &PageContext) -> Response {
    error_page(
        Some(ctx),
        StatusCode::NOT_FOUND,
        "There is nothing here",
        "The address may be mistyped, or what it names belongs to another account.",
        html! { a class="button" href=(Nav::Campaigns.path()) { "All campaigns" } },
    )
}

/// The page for what this person may look at and not change.
pub fn not_allowed(ctx: &PageContext, what: &str) -> Response {
    error_page(
        Some(ctx),
        StatusCode::FORBIDDEN,
        "You may look, not change this",
        &format!(
            "Your account may not {what}. Somebody who administers this advertiser can change that on the account page."
        ),
        html! { a class="button" href=(Nav::Overview.path()) { "Back to the overview" } },
    )
}

/// The page for a failure of ours.
pub fn failed(ctx: Option<&PageContext>) -> Response {
    error_page(
        ctx,
        StatusCode::INTERNAL_SERVER_ERROR,
        "This page could not be made",
        "The fault is ours, and the log of the collector has the details. Nothing was changed. Try again in a moment; if it stays, tell whoever runs this server.",
        html! { a class="button" href="/console" { "Start again" } },
    )
}

fn respond(status: StatusCode, document: Markup) -> Response {
    let mut response = (status, document.into_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    secure(headers);
    response
}

/// Sets what every answer of the console carries. An answer that says how long it may be kept keeps that; any other is not
/// kept at all.
pub fn secure(headers: &mut HeaderMap) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would then send forms with `Origin: null`, which is what forgeries look like.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " \u{b7} Arras" }
                link rel="stylesheet" href=(style_address());
                link rel="icon" type="image/svg+xml" href="/console/icon.svg";
            }
            body { (body) }
        }
    }
}

fn brand(path: &str) -> Markup {
    html! { a class="brand" href=(path) { (icons::weave()) span { "Arras" } } }
}

fn band(ctx: &PageContext, active: Option<Nav>) -> Markup {
    html! {
        header class="band" {
            div class="band-inner" {
                (brand(Nav::Overview.path()))
                nav class="nav" aria-label="Console" {
                    ul {
                        @for nav in Nav::ALL {
                            li class=[nav.begins_group().then_some("apart")] {
                                a href=(nav.path()) aria-current=[(Some(nav) == active).then_some("page")] {
                                    (icons::nav(nav)) span { (nav.label()) }
                                }
                            }
                        }
                    }
                }
                form class="who" method="post" action="/console/sign-out" {
                    (ctx.csrf())
                    span class="account-name" { (ctx.advertiser) }
                    span class="email" { (ctx.user) }
                    button type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn foot() -> Markup {
    html! {
        footer class="foot" {
            span { "Numbers of people are estimates with noise; spend is exact." }
            a href=(Nav::Help.path()) { "What these numbers mean" }
        }
    }
}

/// Markup that is known when this is compiled.
pub(super) const fn fixed(markup: &'static str) -> PreEscaped<&'static str> {
    PreEscaped(markup)
}
