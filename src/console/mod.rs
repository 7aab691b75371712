//! What advertisers see in a browser: pages that the server writes whole, which need no script and run none.
//!
//! | file | what |
//! |---|---|
//! | [`layout`] | the frame of every page, the headers of every answer |
//! | [`parts`] | tables, cards, fields, empty states |
//! | `paged` | pages of a list that goes back in time |
//! | `format` | how numbers, money and days are written |
//! | [`chart`], [`series`] | series over time |
//! | [`measures`] | noised numbers with their intervals, or why they are not there |
//! | [`range`] | the days that a page is about |
//! | [`session`] | who looks: [`session::SignedIn`], without which no page of an advertiser can be made |
//! | `asked`, `turn` | what a request asks for; when what takes long is made |
//! | `csrf` | what stands before every route: forms come from these pages |
//! | `routes` | what gathers what the main pages show |
//! | [`overview`], [`campaigns`], [`campaign`], [`campaign_form`], [`help`] | these pages, each a function of what it shows |
//! | `sign_in`, `account`, [`delivery`], [`planner`] | pages |
//! | `style.css`, `icon.svg` | how it looks; every colour is a token |
//!
//! Paths begin with `/console`. Whoever is not signed in gets the sign-in page and the two files, nothing else.

mod account;
mod asked;
mod assets;
mod budget;
pub mod campaign;
pub mod campaign_form;
pub mod campaigns;
pub mod chart;
pub(crate) mod covered;
mod csrf;
pub mod delivery;
pub mod export;
pub mod format;
pub mod help;
mod icons;
pub mod layout;
pub mod measures;
mod multipart;
pub mod overview;
mod paged;
pub mod parts;
pub mod planner;
pub mod range;
mod release;
mod releases;
mod routes;
pub mod series;
pub mod session;
mod sign_in;
#[cfg(test)]
pub(crate) mod tests;
mod turn;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Redirect, Response};
use axum::routing::{any, get, post};

use self::session::{Console, SignedIn};
use crate::advertising::Advertising;

pub use self::csrf::{FILE_FORM_BYTES_MAX, FORM_BYTES_MAX};

/// The console. `tls` says whether browsers reach it over TLS, its own or a proxy's; it is for those of this machine otherwise.
///
/// Every route is behind the guard against forged requests, and every answer carries the headers of [`layout::secure`].
pub fn router(advertising: Advertising, tls: bool) -> Router {
    let console = Console::new(advertising, tls);
    let router = Router::new()
        .route("/console/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/account", get(account::show))
        .route("/console/account/password", post(account::change_password))
        .route("/console/account/users", post(account::create_user))
        .route("/console/account/users/{user}/remove", post(account::remove_user))
        .route("/console/account/keys", post(account::create_key))
        .route("/console/account/keys/{key}/revoke", post(account::revoke_key))
        .route("/console/overview", get(routes::show_overview))
        .route("/console/campaigns", get(routes::show_campaigns))
        .route("/console/campaigns.csv", get(routes::export_campaigns))
        .route("/console/campaigns/new", get(routes::show_new).post(routes::create))
        .route("/console/campaigns/{campaign}", get(routes::show_campaign))
        .route("/console/campaigns/{campaign}/edit", get(routes::show_edit).post(routes::change))
        .route("/console/help", get(routes::show_help))
        .route("/console/budget", get(budget::show))
        .route("/console/releases", get(releases::show))
        .route("/console/releases/{sequence}", get(release::show))
        .route("/console/releases/{sequence}/signed", get(release::signed))
        .route("/console/delivery", get(delivery::show).post(delivery::upload))
        .route("/console/delivery/template.csv", get(delivery::template))
        .route("/console/planner", get(planner::show))
        .route("/console/{*elsewhere}", any(nothing))
        // The guard has read the body, within its own limits.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(console.clone(), csrf::guard))
        .with_state(console)
        .layer(map_response(secured))
        .merge(files());
    if tls { router.layer(map_response(by_tls_alone)) } else { router }
}

/// Tells browsers to come over TLS alone from now on.
async fn by_tls_alone(mut response: Response) -> Response {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, layout::BY_TLS_ALONE);
    response
}

/// What is asked for by whoever is signed in and is not there; others are sent to the sign-in page, so that they do not learn
/// which pages there are.
async fn nothing(me: SignedIn) -> Response {
    layout::not_found(&me.context())
}

/// The pages that need nothing: the style sheet, the icon, and the way in. Every answer of the console's routes carries the
/// headers of [`layout::secure`], redirects and failures too.
pub fn files() -> Router {
    Router::new()
        .route("/console", get(async || Redirect::to(layout::Nav::Overview.path())))
        .route("/console/style.css", get(assets::style))
        .route("/console/icon.svg", get(assets::icon))
        .layer(map_response(secured))
}

/// For the routers of pages: sets what every answer carries.
pub async fn secured(mut response: Response) -> Response {
    layout::secure(response.headers_mut());
    response
}
