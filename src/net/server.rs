//! One HTTP/1.1 server, plain or TLS 1.3, that no client at one address can hold up; clients at several can.
//!
//! It never logs an address of a client, and keeps it for as long as there is a connection from it. Handlers learn the network
//! at most ([`super::network`]).

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::map_request;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};

use super::descriptors;
use super::guard::{Door, TimedBody};
use super::network::Client;
use crate::metrics::Connections;

/// Connections at once. A connection in use holds up to [`HEADER_BYTES_MAX`] of
/// header and some 30 kB of TLS state, so that this many stay below 200 MB. There are
/// fewer where the limit of open files is low, see [`ServerLimits::for_servers`], and
/// one address outside of this machine gets a quarter of them.
pub const CONNECTIONS_MAX: usize = 2_048;

/// From the first byte that may arrive to the end of the header, which also ends
/// connections without a request. A header is one packet; ten seconds are enough
/// for several retransmissions on a bad mobile network.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// For the TLS handshake: two round trips and little computing.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of the header to the end of the body. A report has some kB; an
/// aggregation job of some MB travels between servers. A minute asks for some
/// 2.2 Mbit/s from the largest bodies that are allowed by default.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may refuse to take bytes of its answer.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests in flight may take after a shutdown was asked for. Below the
/// 90 seconds after which systemd kills, above what a large aggregation job takes.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(60);

/// Header bytes of a request: a path with two ids, a token and a few headers fit
/// into 2 kB; some proxies add their own.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Why a server ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listening socket failed.
    #[error("the listening socket failed: {0}; check the address and that no other process listens there")]
    Listener(#[from] io::Error),
}

/// The limits of a server; [`Default`] gives the constants of this module.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServerLimits {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// See [`BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// See [`WRITE_STALL_TIMEOUT`].
    pub write_stall_timeout: Duration,
    /// See [`SHUTDOWN_DEADLINE`].
    pub shutdown_deadline: Duration,
}

impl ServerLimits {
    /// The usual limits, for a process with so many servers that leads so many tasks: together they leave the stores
    /// enough open files.
    pub fn for_servers(servers: usize, tasks: usize) -> Self {
        let connections_max = CONNECTIONS_MAX.min(descriptors::connections(servers, tasks));
        Self { connections_max, ..Self::default() }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_stall_timeout: WRITE_STALL_TIMEOUT,
            shutdown_deadline: SHUTDOWN_DEADLINE,
        }
    }
}

/// Serves until `shutdown` completes, then finishes what is in flight.
///
/// With `tls` from [`super::tls::server_config`] it speaks TLS 1.3 only. How large
/// a body may be is the router's to say, route by route.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_with(router, listener, tls, shutdown, ServerLimits::default()).await
}

/// [`serve`] with other limits.
pub async fn serve_with(
    router: Router,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: impl Future<Output = ()> + Send,
    limits: ServerLimits,
) -> Result<(), ServeError> {
    serve_counted(router, listener, tls, shutdown, limits, Connections::default()).await
}

/// [`serve_with`], counting connections.
pub(crate) async fn serve_counted(
    router: Router,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: impl Future<Output = ()> + Send,
    limits: ServerLimits,
    connections: Connections,
) -> Result<(), ServeError> {
    let body_timeout = limits.body_timeout;
    let router = router.layer(map_request(move |request: Request| async move {
        request.map(|body| Body::new(TimedBody::new(body, body_timeout)))
    }));
    let app = router.into_make_service_with_connect_info::<Client>();

    let handle = Handle::<SocketAddr>::new();
    let door = Door::new(limits.connections_max, limits.write_stall_timeout, connections);
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(limits.header_timeout)
        .accept_error_handler(|_address, error| tracing::debug!(%error, "connection refused"))
        .acceptor(door);
    server.http_builder().http1().header_read_timeout(limits.header_timeout).max_buf_size(HEADER_BYTES_MAX);

    let deadline = limits.shutdown_deadline;
    match tls {
        Some(config) => {
            let tls = |door| {
                RustlsAcceptor::new(RustlsConfig::from_config(config))
                    .handshake_timeout(HANDSHAKE_TIMEOUT)
                    .acceptor(door)
            };
            until(server.map(tls).serve(app), shutdown, &handle, deadline).await
        }
        None => until(server.serve(app), shutdown, &handle, deadline).await,
    }
}

async fn until(
    serving: impl Future<Output = io::Result<()>>,
    shutdown: impl Future<Output = ()>,
    handle: &Handle<SocketAddr>,
    deadline: Duration,
) -> Result<(), ServeError> {
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = shutdown => handle.graceful_shutdown(Some(deadline)),
    }
    Ok(serving.await?)
}
