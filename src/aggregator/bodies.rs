//! Reading request bodies into a limited part of the memory.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aggregator::api::Problem;
use crate::net::problem::OwnError;

/// Bytes of request bodies that a role holds at once, unless two of its largest take more. Some 100,000 reports of
/// 2 kB: many times what can be worked on at once; with it, a server stays below 1 GB whatever is sent.
const BYTES_AT_ONCE: usize = 256 << 20;

/// After how many seconds to come back when that much is held.
const RETRY_AFTER: u32 = 1;

/// The memory of one role for request bodies. Only bytes that have arrived count: announcing many takes nothing from
/// others.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// One permit a byte.
    free: Arc<Semaphore>,
    longest: usize,
}

/// A request body; its memory is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl HeldBody {
    /// Bytes that came from nowhere and take no memory from others.
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self { bytes, _held: None }
    }
}

impl Deref for HeldBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// For bodies of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        let free = BYTES_AT_ONCE.max(longest.saturating_mul(2)).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(free)), longest }
    }

    /// Reads a body. Called after the request's sender and task were checked, so that nobody can make the server hold
    /// bytes for a request that it would refuse anyway.
    pub(crate) async fn read(&self, body: Body) -> Result<HeldBody, Problem> {
        let mut body = Limited::new(body, self.longest);
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut pieces: Vec<Bytes> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(error.as_ref()))?;
            let Ok(piece) = frame.into_data() else { continue };
            let permit = self.hold(piece.len())?;
            match &mut held {
                Some(held) => held.merge(permit),
                None => held = Some(permit),
            }
            pieces.push(piece);
        }
        let bytes = match pieces.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => several.concat().into(),
        };
        Ok(HeldBody { bytes, _held: held })
    }

    fn hold(&self, len: usize) -> Result<OwnedSemaphorePermit, Problem> {
        u32::try_from(len)
            .ok()
            .and_then(|len| Arc::clone(&self.free).try_acquire_many_owned(len).ok())
            .ok_or_else(|| {
                Problem::own(OwnError::Overloaded, "too many request bodies are being read")
                    .retry_after(RETRY_AFTER)
            })
    }

    fn broken(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
        if error.is::<LengthLimitError>() {
            let detail = format!("a request body may have {} bytes", self.longest);
            return Problem::own(OwnError::TooLarge, detail);
        }
        // Not DAP's invalidMessage: nothing is wrong with the message that was meant.
        Problem::own(OwnError::Incomplete, "the body broke off or came too slowly; send it again")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use http_body::Frame;

    use super::*;

    fn status(problem: &Problem) -> u16 {
        problem.document().status().as_u16()
    }

    /// A body in pieces, as it comes from a slow client.
    struct Pieces(VecDeque<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn in_pieces(pieces: &[&'static [u8]]) -> Body {
        Body::new(Pieces(pieces.iter().map(|piece| Bytes::from_static(piece)).collect()))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_its_limit() {
        let bodies = Bodies::new(8);
        let whole: [&[&[u8]]; 3] = [&[], &[b"whole"], &[b"in ", b"two", b" p"]];
        for pieces in whole {
            let read = bodies.read(in_pieces(pieces)).await.unwrap();
            assert_eq!(*read, pieces.concat());
        }
        let problem = bodies.read(in_pieces(&[b"too ", b"long "])).await.unwrap_err();
        assert_eq!(status(&problem), 413);
    }

    #[tokio::test]
    async fn what_is_held_counts_until_it_is_dropped() {
        let bodies = Bodies { free: Arc::new(Semaphore::new(10)), longest: 8 };
        let first = bodies.read(in_pieces(&[b"1234", b"56"])).await.unwrap();
        let problem = bodies.read(in_pieces(&[b"123", b"45"])).await.unwrap_err();
        assert_eq!(status(&problem), 503);
        // The pieces of the refused one are free again.
        let second = bodies.read(in_pieces(&[b"1234"])).await.unwrap();
        drop((first, second));
        assert_eq!(bodies.free.available_permits(), 10);
    }
}
