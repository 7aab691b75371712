//! Making what takes long for a page: off the runtime, in turn with everything else that is heavy.

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::layout;
use super::session::{Console, SignedIn, come_back_in};
use crate::aggregator::work::blocking;
use crate::places::Place;
use crate::registry::AdvertiserId;

/// In how many seconds to come back when too many pages of an advertiser are being made.
const BUSY_RETRY_SECONDS: u64 = 2;

/// A place of the advertiser of whoever asks, to be held until the work has ended.
///
/// # Errors
/// The page to answer with if it has no more.
pub(super) fn place(console: &Console, me: &SignedIn) -> Result<Place<AdvertiserId>, Box<Response>> {
    console.advertising.turns.page(me.advertiser.id).ok_or_else(|| Box::new(too_many(me)))
}

/// Works when it is this advertiser's turn, which is kept until the work has ended: it goes on when the browser has left.
///
/// # Errors
/// As [`place`].
pub(super) async fn in_turn<T: Send + 'static>(
    console: &Console,
    me: &SignedIn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Response>> {
    let turn = console.advertising.turns.wait(Some(place(console, me)?)).await;
    Ok(keeping(turn, work).await)
}

/// Works off the runtime, and keeps what is held until the work has ended: it goes on when the browser has left.
pub(super) async fn keeping<T: Send + 'static>(
    held: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    blocking(move || {
        let _held = held;
        work()
    })
    .await
}

fn too_many(me: &SignedIn) -> Response {
    let page = layout::error_page(
        Some(&me.context()),
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many pages at once",
        "Others of this advertiser are being made at the moment. Nothing was changed.",
        html! { p { "Load this one again in a moment." } },
    );
    come_back_in(page, StatusCode::SERVICE_UNAVAILABLE, BUSY_RETRY_SECONDS)
}
