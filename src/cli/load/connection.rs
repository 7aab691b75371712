//! A connection to the leader that is kept alive.

use std::sync::Arc;

use arras_protocol::messages::{MediaType, TaskId, Url};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::Failure;

/// Longest answer that is read: upload errors of the most reports that an upload may have.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where requests go.
#[derive(Clone)]
pub(super) struct Target {
    address: (String, u16),
    tls: Option<Arc<rustls::ClientConfig>>,
    path: Uri,
    host: HeaderValue,
}

impl Target {
    /// The uploads of a task. `tls` is used if the URL is https.
    pub(super) fn new(leader: &Url, task: TaskId, tls: rustls::ClientConfig) -> Result<Self, Failure> {
        let url = reqwest::Url::parse(leader.as_str())?;
        let host = url.host_str().ok_or("the leader's URL has no host")?;
        let port = url.port_or_known_default().ok_or("the leader's URL has no port")?;
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self {
            tls: (url.scheme() == "https").then(|| Arc::new(tls)),
            path: format!("{}/tasks/{task}/reports", url.path().trim_end_matches('/')).parse()?,
            host: HeaderValue::from_str(&format!("{host}:{port}"))?,
            address: (name, port),
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return handshake(stream).await };
        let name = ServerName::try_from(host.clone())?;
        handshake(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?).await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error is that of the request that it carried.
    tokio::spawn(connection);
    Ok(sender)
}

/// One connection; a new one takes its place when it breaks.
pub(super) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(target: Target) -> Result<Self, Failure> {
        let sender = target.connect().await?;
        Ok(Self { target, sender })
    }

    /// Sends an upload request and reads the answer. Nothing is sent twice: a request without an answer may have
    /// arrived.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        if self.sender.ready().await.is_err() {
            self.sender = self.target.connect().await?;
        }
        let request = hyper::Request::builder()
            .method(Method::POST)
            .uri(self.target.path.clone())
            .header(header::HOST, self.target.host.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static(MediaType::UploadRequest.as_str()))
            .body(Full::new(body))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok((status, body.to_bytes()))
    }
}
