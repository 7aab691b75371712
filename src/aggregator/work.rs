//! Where blocking and heavy work runs: store calls on blocking threads, cryptography on rayon's, neither on
//! the async runtime.

use rayon::prelude::*;

/// Reports that one thread takes at a time. Large enough that handing out costs nothing beside 50
/// microseconds a report, small enough that the threads finish together.
const REPORTS_PER_PIECE: usize = 32;

/// Runs something that blocks or computes.
///
/// # Panics
/// Goes on with the panic of `work`, if it panics.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[cfg(any(test, feature = "test-seams"))]
    if let Some(pause) = inline::pause() {
        tokio::time::sleep(pause).await;
        let result = work();
        tokio::time::sleep(inline::pause().unwrap_or_default()).await;
        return result;
    }
    // What is logged meanwhile belongs to the caller's request or job.
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // A blocking task is only cancelled before it starts, when the runtime shuts down: then nobody
            // waits for this future either.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Applies a function to pieces of a slice on all cores, keeping the order of its results.
pub(crate) fn in_pieces<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&[T]) -> Vec<R> + Send + Sync,
) -> Vec<R> {
    #[cfg(any(test, feature = "test-seams"))]
    if inline::is_on() {
        return items.chunks(REPORTS_PER_PIECE).flat_map(work).collect();
    }
    items.par_chunks(REPORTS_PER_PIECE).flat_map_iter(work).collect()
}

/// One thread for everything, for simulations: a call that blocks is made where it is awaited, and takes as long as the
/// simulation says.
#[cfg(any(test, feature = "test-seams"))]
mod inline {
    use std::cell::RefCell;
    use std::time::Duration;

    type Pace = Box<dyn FnMut() -> Duration>;

    thread_local! {
        static PACE: RefCell<Option<Pace>> = const { RefCell::new(None) };
    }

    /// From now on blocking calls of this thread are made on it, between two pauses that `pace` says; `None` ends
    /// that.
    pub fn block_inline(pace: Option<Pace>) {
        PACE.set(pace);
    }

    pub(super) fn is_on() -> bool {
        PACE.with_borrow(Option::is_some)
    }

    pub(super) fn pause() -> Option<Duration> {
        PACE.with_borrow_mut(|pace| pace.as_mut().map(|pace| pace()))
    }
}

#[cfg(any(test, feature = "test-seams"))]
pub use inline::block_inline;
