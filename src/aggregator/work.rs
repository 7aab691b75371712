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
    match tokio::task::spawn_blocking(work).await {
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
    items.par_chunks(REPORTS_PER_PIECE).flat_map_iter(work).collect()
}
