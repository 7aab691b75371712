//! Reading request bodies into a limited part of the memory.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aggregator::api::Problem;
use crate::net::problem::OwnError;

/// Bytes of memory for request bodies that a role holds at once, unless two of its largest take more. Some 100,000
/// reports of 2 kB: many times what can be worked on at once.
const BYTES_AT_ONCE: usize = 256 << 20;

/// What a body's memory begins with: most frames of HTTP are no longer, and a shorter body hardly pays for being exact.
const FIRST_BYTES: usize = 8 << 10;

/// After how many seconds to come back when that much is held.
const RETRY_AFTER: u32 = 1;

/// The memory of one role for request bodies. What is announced and has not arrived takes nothing from others.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// One permit for each byte of a body's memory, filled or not.
    free: Arc<Semaphore>,
    max: usize,
    longest: usize,
}

/// A request body; its memory is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
impl HeldBody {
    /// Bytes that came from nowhere and take no memory from others.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, held: None }
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
        Self::with(BYTES_AT_ONCE.max(longest.saturating_mul(2)).min(Semaphore::MAX_PERMITS), longest)
    }

    fn with(max: usize, longest: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, longest }
    }

    /// Bytes that are held, and how many may be.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.max - self.free.available_permits(), self.max)
    }

    /// Reads a body. Called after the request's sender and task were checked, so that nobody can make the server hold
    /// bytes for a request that it would refuse anyway.
    ///
    /// Frames are copied together as they come: a frame keeps more memory than its bytes, and how long frames are is the
    /// sender's choice.
    pub(crate) async fn read(&self, body: Body) -> Result<HeldBody, Problem> {
        let mut body = Limited::new(body, self.longest);
        let mut read = HeldBody { bytes: Vec::new(), held: None };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(error.as_ref()))?;
            let Ok(piece) = frame.into_data() else { continue };
            self.make_room(&mut read, piece.len())?;
            read.bytes.extend_from_slice(&piece);
        }
        Ok(read)
    }

    /// Makes room for more bytes, at least twice what there was, so that a body is moved few times. While it is moved, the
    /// old memory is there beside the new.
    fn make_room(&self, read: &mut HeldBody, more: usize) -> Result<(), Problem> {
        let (capacity, needed) = (read.bytes.capacity(), read.bytes.len() + more);
        if needed <= capacity {
            return Ok(());
        }
        let doubled = capacity.saturating_mul(2).max(FIRST_BYTES).min(self.longest);
        let target = doubled.max(needed);
        let permit = self.hold(target - capacity)?;
        match &mut read.held {
            Some(held) => held.merge(permit),
            None => read.held = Some(permit),
        }
        read.bytes.reserve_exact(target - read.bytes.len());
        Ok(())
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

    use axum::body::{Bytes, HttpBody};
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
        let bodies = Bodies::with(10, 8);
        let first = bodies.read(in_pieces(&[b"1234", b"56"])).await.unwrap();
        let problem = bodies.read(in_pieces(&[b"123", b"45"])).await.unwrap_err();
        assert_eq!(status(&problem), 503);
        drop(first);
        // The pieces of the refused one are free again.
        let second = bodies.read(in_pieces(&[b"1234"])).await.unwrap();
        drop(second);
        assert_eq!(bodies.held(), (0, 10));
    }

    /// Frames were kept as they came and their bytes were counted. A frame takes some 40 bytes beside its own, so a body in
    /// chunks of one byte took 36 times the memory that it was counted with: with a few such uploads, whose senders need no
    /// token, a server that was to stay below 256 MiB took 10 GB.
    #[tokio::test]
    async fn all_memory_of_a_body_counts_however_short_its_frames_are() {
        const LEN: usize = 100_000;
        let bodies = Bodies::new(LEN);
        let free = bodies.free.available_permits();
        let frames = std::iter::repeat_n(Bytes::from_static(b"x"), LEN).collect();
        let read = bodies.read(Body::new(Pieces(frames))).await.unwrap();
        assert_eq!(read.len(), LEN);
        // All that it holds is its bytes.
        let HeldBody { bytes, held } = &read;
        assert_eq!(bytes.capacity(), LEN);
        assert_eq!(held.as_ref().unwrap().num_permits(), bytes.capacity());
        assert_eq!(bodies.free.available_permits(), free - LEN);
    }
}
