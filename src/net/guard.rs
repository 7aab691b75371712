//! What one connection may take: a place among a limited number, and time only
//! while it makes progress.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum_server::accept::Accept;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::network::{Network, PARTS};
use crate::metrics::Connections;
use crate::places::{Place, Places};

/// Admits connections while there are places, before TLS costs anything. A
/// connection beyond them is closed at once: its client may try again, and those
/// that are served keep being served.
#[derive(Clone)]
pub(super) struct Door {
    places: Places<Network>,
    write_stall: Duration,
    connections: Connections,
}

impl Door {
    pub(super) fn new(connections_max: usize, write_stall: Duration, connections: Connections) -> Self {
        connections.set_max(connections_max);
        let places = Places::new(connections_max.div_ceil(PARTS), connections_max);
        Self { places, write_stall, connections }
    }
}

impl<S> Accept<TcpStream, S> for Door {
    type Stream = Guarded;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Guarded, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let admitted = stream.peer_addr().and_then(|address| {
            let place = self.places.take(Network::of(address.ip()));
            place.map(|place| Counted::new(place, &self.connections)).ok_or_else(|| {
                self.connections.refused.inc();
                io::Error::other("all places for its connections are taken")
            })
        });
        std::future::ready(admitted.and_then(|place| {
            // Answers are written whole; waiting to fill a packet only delays them.
            stream.set_nodelay(true)?;
            Ok((Guarded { stream, write_stall: self.write_stall, stalled: None, _place: place }, service))
        }))
    }
}

/// A place that is taken, and counted as long.
struct Counted {
    open: Gauge,
    _place: Place<Network>,
}

impl Counted {
    fn new(place: Place<Network>, connections: &Connections) -> Self {
        connections.open.inc();
        Self { open: connections.open.clone(), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A connection that keeps its place until it is dropped, and that fails when the
/// other side takes no bytes for too long: without this a client that never reads
/// its answer would stay for ever.
pub(super) struct Guarded {
    stream: TcpStream,
    write_stall: Duration,
    /// Set while a write waits; cleared by every write that gets on.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Counted,
}

impl Guarded {
    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_stall)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request body that has to be complete in time; read later than that, it fails.
pub(super) struct TimedBody {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl TimedBody {
    pub(super) fn new(body: Body, time: Duration) -> Self {
        Self { body, deadline: Box::pin(sleep(time)) }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // What has arrived counts, even if it is read after the deadline.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the request body did not arrive in time");
                Poll::Ready(Some(Err(axum::Error::new(late))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
