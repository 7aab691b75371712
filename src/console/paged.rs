//! Pages of a list that goes back in time, one page after the other.

use axum::response::Response;
use serde::Deserialize;

use super::layout::{self, Page};
use super::session::{Console, SignedIn};
use crate::aggregator::work::blocking;
use crate::registry::Advertiser;
use crate::store::StoreError;

/// Which page.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Asked {
    /// What begins before it, in POSIX seconds; the latest, if it is not given.
    pub(super) before: Option<u64>,
}

/// Gathers, off the runtime, what a page shows of an advertiser as of now (POSIX seconds), and makes the page. `what` cannot be
/// read if the store fails: for the log.
pub(super) async fn page<T: Send + 'static>(
    console: Console,
    me: SignedIn,
    asked: Asked,
    what: &'static str,
    gather: fn(&Console, &Advertiser, Option<u64>, u64) -> Result<T, StoreError>,
    view: fn(&T) -> Page,
) -> Response {
    let (advertiser, now) = (me.advertiser.clone(), console.now());
    match blocking(move || gather(&console, &advertiser, asked.before, now)).await {
        Ok(gathered) => view(&gathered).respond(&me.context()),
        Err(error) => {
            tracing::error!(%error, "{what} cannot be read");
            layout::failed(Some(&me.context()))
        }
    }
}
