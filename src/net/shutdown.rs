//! When an operator asks the process to end.

use tokio::signal;

/// Completes at the first SIGTERM (what service managers send) or Ctrl-C.
///
/// If the handlers cannot be installed it completes at once: a server that can
/// only be killed would lose the requests in flight each time.
pub async fn requested() {
    #[cfg(unix)]
    {
        let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
        let interrupt = signal::unix::signal(signal::unix::SignalKind::interrupt());
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            tracing::error!("signal handlers cannot be installed; shutting down");
            return;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
            _ = interrupt.recv() => tracing::info!("Ctrl-C: shutting down"),
        }
    }
    #[cfg(not(unix))]
    {
        if signal::ctrl_c().await.is_err() {
            tracing::error!("the Ctrl-C handler cannot be installed; shutting down");
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustix::process::{Signal, getpid, kill_process};

    #[tokio::test]
    async fn a_signal_is_noticed() {
        // Registered first, so that the signal cannot end the test process.
        let waiting = tokio::spawn(super::requested());
        while !waiting.is_finished() {
            // Before the task has installed its handler SIGTERM would kill us: this
            // one, in the same process, is installed before the first signal is sent.
            let _guard = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            tokio::task::yield_now().await;
            kill_process(getpid(), Signal::TERM).unwrap();
        }
        waiting.await.unwrap();
    }
}
