//! Pages of a list that goes back in time, one page after the other.

use axum::response::Response;
use serde::Deserialize;

use super::layout::{self, Page};
use super::session::{Console, SignedIn};
use super::turn::in_turn;
use crate::registry::Advertiser;
use crate::store::StoreError;

/// Which page.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Wanted {
    /// What begins before it, in POSIX seconds; the latest, if it is not given.
    pub(super) before: Option<u64>,
}

/// Gathers, when it is its turn, what a page shows of an advertiser as of now (POSIX seconds), and makes the page. `what` cannot be
/// read if the store fails: for the log.
pub(super) async fn page<T: Send + 'static>(
    console: Console,
    me: SignedIn,
    wanted: Wanted,
    what: &'static str,
    gather: fn(&Console, &Advertiser, Option<u64>, u64) -> Result<T, StoreError>,
    view: fn(&T) -> Page,
) -> Response {
    let (advertiser, now, of) = (me.advertiser.clone(), console.now(), console.clone());
    match in_turn(&console, &me, move || gather(&of, &advertiser, wanted.before, now)).await {
        Ok(Ok(gathered)) => view(&gathered).respond(&me.context()),
        Err(busy) => *busy,
        Ok(Err(error)) => {
            tracing::error!(%error, "{what} cannot be read");
            layout::failed(Some(&me.context()))
        }
    }
}
