//! What advertisers see in a browser: pages that the server writes whole, which need no script and run none.
//!
//! | file | what |
//! |---|---|
//! | [`layout`] | the frame of every page, the headers of every answer |
//! | [`parts`] | tables, cards, fields, empty states |
//! | [`format`] | how numbers, money and days are written |
//! | [`chart`] | series over time |
//! | `style.css`, `icon.svg` | how it looks; every colour is a token |
//!
//! Paths begin with `/console`. Whoever is not signed in gets the sign-in page and the two files, nothing else.

mod assets;
pub mod chart;
pub mod format;
mod icons;
pub mod layout;
pub mod parts;
#[cfg(test)]
pub(crate) mod tests;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::get;

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
