//! HTTP between the roles: a server that slow or greedy clients cannot hold up,
//! a client that speaks to one origin only, tokens, TLS, problem documents.

pub mod auth;
pub mod client;
pub mod descriptors;
pub mod endpoint;
pub mod guard;
pub mod network;
pub mod problem;
pub mod server;
pub mod shutdown;
pub mod tls;

pub use auth::{BearerToken, TokenHash, bearer};
pub use client::{ClientError, PeerClient, Reply};
pub use endpoint::Endpoint;
pub use problem::{DapError, ErrorType, OwnError, ProblemDocument};
pub use server::{ServeError, serve};

#[cfg(test)]
mod tests;
