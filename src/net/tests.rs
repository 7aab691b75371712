//! Server and client together on loopback.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use ring::rand::SystemRandom;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::client::RESPONSE_BYTES_MAX;
use super::server::{ServerLimits, serve_with};
use super::*;
use crate::cli::init;

/// The certificate, key and authority that `init` makes for 127.0.0.1.
struct Authority {
    ca: Vec<u8>,
    tls: Arc<rustls::ServerConfig>,
}

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    let args = init::Args {
        dir: dir.path().join("a"),
        host: "127.0.0.1".to_owned(),
        ports: vec![1, 2, 3],
        operations_ports: Vec::new(),
        budget_source: "example.com".to_owned(),
    };
    init::make(&args, SystemTime::now(), &SystemRandom::new(), &mut Vec::new()).unwrap();
    let config = crate::config::Config::load(&dir.path().join("a/leader/leader.toml")).unwrap();
    let tls = config.leader.unwrap().tls.unwrap();
    let (certificate, key) = (tls.certificate.read().unwrap(), tls.private_key.read().unwrap());
    Authority {
        ca: fs::read(dir.path().join("a/ca.pem")).unwrap(),
        tls: tls::server_config(&certificate, &key).unwrap(),
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    fn start(router: Router, tls: Option<Arc<rustls::ServerConfig>>, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve_with(router, listener, tls, shutdown, limits));
        Self { address, stop, task }
    }

    fn endpoint(&self, scheme: &str) -> Endpoint {
        format!("{scheme}://{}/", self.address).parse().unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Answers with what it was sent.
fn echo() -> Router {
    let handler = |headers: HeaderMap, body: Bytes| async move {
        let token = bearer(&headers).unwrap_or("none").to_owned();
        let kind = headers.get(header::CONTENT_TYPE).cloned();
        let mut answer = HeaderMap::new();
        answer.insert("x-token", HeaderValue::from_str(&token).unwrap());
        kind.map(|kind| answer.insert(header::CONTENT_TYPE, kind));
        answer.insert(header::LOCATION, HeaderValue::from_static("/echo/7?step=1"));
        answer.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        (StatusCode::CREATED, answer, body)
    };
    Router::new().route("/echo", post(handler).get(handler).delete(handler)).route("/echo/7", get(handler))
}

fn token() -> BearerToken {
    BearerToken::generate(&SystemRandom::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_the_right_authority_only() {
    let right = authority();
    let server = Running::start(echo(), Some(Arc::clone(&right.tls)), ServerLimits::default());
    let endpoint = server.endpoint("https");
    let token = token();
    let client = PeerClient::new(endpoint.clone(), Some(token.clone()), Some(&right.ca)).unwrap();
    let reply = client.post("echo", "application/x", Bytes::from_static(b"body")).await.unwrap();
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.headers["x-token"], token.expose());
    assert_eq!((reply.content_type(), &reply.body[..]), (Some("application/x"), &b"body"[..]));
    assert_eq!(reply.retry_after(SystemTime::now()), Some(Duration::from_secs(2)));
    let location = reply.location.unwrap();
    assert_eq!(location, format!("https://{}/echo/7?step=1", server.address));
    assert_eq!(client.get(&location).await.unwrap().status, StatusCode::CREATED);
    assert_eq!(client.delete("echo").await.unwrap().status, StatusCode::CREATED);

    let stranger = PeerClient::new(endpoint.clone(), Some(token), Some(&authority().ca)).unwrap();
    let error = stranger.get("echo").await.unwrap_err();
    assert!(matches!(error, ClientError::NotConnected { .. }), "{error}");

    // The certificate is for 127.0.0.1, not for every name that leads there.
    let other_name = format!("https://localhost:{}/", server.address.port()).parse().unwrap();
    let misnamed = PeerClient::new(other_name, None, Some(&right.ca)).unwrap();
    let error = misnamed.get("echo").await.unwrap_err();
    assert!(matches!(error, ClientError::NotConnected { .. }), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_plain_http_are_refused_by_a_tls_server() {
    let right = authority();
    let server = Running::start(echo(), Some(Arc::clone(&right.tls)), ServerLimits::default());
    let old = reqwest_with(&right.ca, &[&rustls::version::TLS12]);
    let new = reqwest_with(&right.ca, &[&rustls::version::TLS13]);
    let url = format!("https://{}/echo", server.address);
    assert!(old.get(&url).send().await.is_err());
    assert_eq!(new.get(&url).send().await.unwrap().status(), 201);
    let plain = PeerClient::new(server.endpoint("http"), None, None).unwrap();
    assert!(plain.get("echo").await.is_err());
    server.stop().await;
}

fn reqwest_with(ca: &[u8], versions: &[&'static rustls::SupportedProtocolVersion]) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(tls::certificates(ca).unwrap().remove(0)).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap()
}

/// A server that counts requests and whether they carried a token.
fn counting(requests: &Arc<AtomicUsize>) -> Router {
    let requests = Arc::clone(requests);
    Router::new().fallback(move || {
        requests.fetch_add(1, Ordering::SeqCst);
        async { "reached" }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_not_followed_and_tokens_stay() {
    let elsewhere_requests = Arc::new(AtomicUsize::new(0));
    let elsewhere = Running::start(counting(&elsewhere_requests), None, ServerLimits::default());
    let target = format!("http://{}/x", elsewhere.address);
    let location = HeaderValue::from_str(&target).unwrap();
    let redirecting = Router::new().fallback(move || {
        let location = location.clone();
        async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]) }
    });
    let peer = Running::start(redirecting, None, ServerLimits::default());
    let client = PeerClient::new(peer.endpoint("http"), Some(token()), None).unwrap();

    let reply = client.post("x", "application/x", Bytes::new()).await.unwrap();
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(reply.location.as_deref(), Some(target.as_str()));
    for outside in [target.as_str(), &target.replace("http:", "https:"), "//127.0.0.2/x"] {
        let error = client.get(outside).await.unwrap_err();
        assert!(matches!(error, ClientError::OtherOrigin(_)), "{error}");
    }
    assert_eq!(elsewhere_requests.load(Ordering::SeqCst), 0);

    // The counter does count.
    let other = PeerClient::new(elsewhere.endpoint("http"), None, None).unwrap();
    assert_eq!(&other.get("x").await.unwrap().body[..], b"reached");
    assert_eq!(elsewhere_requests.load(Ordering::SeqCst), 1);
    peer.stop().await;
    elsewhere.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_limited_and_failures_told_apart() {
    let router = Router::new()
        .route("/fits", get(|| async { vec![0_u8; RESPONSE_BYTES_MAX] }))
        .route("/large", get(|| async { vec![0_u8; RESPONSE_BYTES_MAX + 1] }))
        .route("/problem", get(|| async { ProblemDocument::dap(DapError::BatchOverlap) }));
    let server = Running::start(router, None, ServerLimits::default());
    let endpoint = server.endpoint("http");
    let client = PeerClient::new(endpoint, None, None).unwrap();
    assert_eq!(client.get("fits").await.unwrap().body.len(), RESPONSE_BYTES_MAX);
    let error = client.get("large").await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge(_)), "{error}");
    let reply = client.get("problem").await.unwrap();
    assert_eq!(reply.problem().unwrap().kind(), &ErrorType::Dap(DapError::BatchOverlap));
    server.stop().await;

    // Another client, since the first may still hold a connection that was just closed.
    let client = PeerClient::new(client.endpoint().clone(), None, None).unwrap();
    let error = client.get("fits").await.unwrap_err();
    assert!(matches!(error, ClientError::NotConnected { .. }), "{error}");

    // A peer that closes after the request was sent may have acted on it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let closing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        assert_ne!(stream.read(&mut buffer).unwrap(), 0);
    });
    let client = PeerClient::new(endpoint, None, None).unwrap();
    let error = client.post("x", "application/x", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    closing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_finishes_a_request_in_flight() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handler_arrived, handler_go) = (Arc::clone(&arrived), Arc::clone(&go));
    let router = Router::new().fallback(move || {
        let (arrived, go) = (Arc::clone(&handler_arrived), Arc::clone(&handler_go));
        async move {
            arrived.notify_one();
            go.notified().await;
            "finished"
        }
    });
    let server = Running::start(router, None, ServerLimits::default());
    let client = PeerClient::new(server.endpoint("http"), None, None).unwrap();
    let asking = client.clone();
    let request = tokio::spawn(async move { asking.get("x").await });
    arrived.notified().await;
    server.stop.send(()).unwrap();
    // New connections are refused from some moment on, while the old one lives.
    while TcpStream::connect(server.address).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished() && !request.is_finished());
    go.notify_one();
    assert_eq!(&request.await.unwrap().unwrap().body[..], b"finished");
    server.task.await.unwrap().unwrap();
}

/// Reads until the server closes the connection; whatever it says first does not matter.
async fn closed(mut stream: TcpStream) {
    tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 4096];
        while let Ok(1..) = stream.read(&mut buffer) {}
    })
    .await
    .unwrap();
}

/// Asks on new connections until one is answered.
async fn eventually_served(address: SocketAddr) {
    let answered = move || -> std::io::Result<[u8; 8]> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let mut start = [0; 8];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    tokio::task::spawn_blocking(move || {
        while !answered().is_ok_and(|start| &start == b"HTTP/1.1") {
            std::thread::yield_now();
        }
    })
    .await
    .unwrap();
}

fn short() -> ServerLimits {
    ServerLimits {
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        write_stall_timeout: Duration::from_secs(1),
        ..ServerLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_cut_off_and_harm_nobody() {
    let server = Running::start(echo(), None, short());
    let client = PeerClient::new(server.endpoint("http"), None, None).unwrap();
    let beginnings: [&[u8]; 4] = [
        b"",
        b"GET /echo HTTP/1.1\r\nhost",
        b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345",
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n123",
    ];
    let mut slow = Vec::new();
    for beginning in beginnings {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(beginning).unwrap();
        slow.push(stream);
        assert_eq!(client.get("echo").await.unwrap().status, StatusCode::CREATED);
    }
    for stream in slow {
        closed(stream).await;
    }
    assert_eq!(client.get("echo").await.unwrap().status, StatusCode::CREATED);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answer_loses_its_place() {
    let large = Router::new().fallback(|| async { vec![0_u8; RESPONSE_BYTES_MAX] });
    let server = Running::start(large, None, ServerLimits { connections_max: 1, ..short() });
    let mut deaf = TcpStream::connect(server.address).unwrap();
    deaf.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut first = [0; 1];
    deaf.read_exact(&mut first).unwrap();
    // It holds the only place until it is found to have stalled.
    eventually_served(server.address).await;
    drop(deaf);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited() {
    // Nothing else can close a connection during the test.
    let header_timeout = Duration::from_secs(3600);
    let limits = ServerLimits { connections_max: 1, header_timeout, ..ServerLimits::default() };
    let server = Running::start(echo(), None, limits);
    let mut first = TcpStream::connect(server.address).unwrap();
    first.write_all(b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut buffer = [0; 12];
    let first = tokio::task::spawn_blocking(move || {
        first.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"HTTP/1.1 201");
        first
    })
    .await
    .unwrap();
    // While the first is open, a second is closed at once.
    closed(TcpStream::connect(server.address).unwrap()).await;
    drop(first);
    // Its place becomes free.
    eventually_served(server.address).await;
    server.stop().await;
}
