//! The network between the parties: messages are lost, take their time, overtake each other and come twice, now or
//! much later.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arras::net::client::{Exchange, Network, NetworkFailure, REQUEST_TIMEOUT};
use axum::body::Body;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::chance::Chance;
use crate::operation::Party;
use crate::simulation::Simulation;

/// How messages fare.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub lost: u8,
    pub twice: u8,
    pub millis: u16,
    pub cut: BTreeSet<(Party, Party)>,
}

/// What becomes of one exchange.
struct Fate {
    there: Duration,
    back: Duration,
    /// It does not arrive.
    lost: bool,
    /// Its answer does not.
    answer_lost: bool,
    /// What is lost is lost without a word; else the sender hears at once.
    silent: bool,
    /// It arrives once more after so long.
    again: Option<Duration>,
}

/// The longest time after which a message comes a second time.
const LATEST_AGAIN: u64 = 600_000;

impl Weather {
    fn fate(&self, chance: &mut Chance, from: Party, to: Party) -> Fate {
        let longest = u64::from(self.millis);
        let mut delay = || Duration::from_millis(chance.between(0, longest));
        let (there, back) = (delay(), delay());
        let cut = self.cut.contains(&(from, to)) || self.cut.contains(&(to, from));
        let (lost, answer_lost) = (chance.percent(self.lost), chance.percent(self.lost));
        let again = chance.percent(self.twice).then(|| {
            let latest = if chance.percent(20) { LATEST_AGAIN } else { 4 * longest + 10 };
            Duration::from_millis(chance.between(0, latest))
        });
        let silent = chance.percent(30);
        Fate { there, back, lost: lost || cut, answer_lost, silent, again: again.filter(|_| !cut) }
    }
}

/// How one party's process sends. It sends nothing any more when the process has ended.
pub struct Link {
    pub simulation: Weak<Simulation>,
    pub from: Party,
    pub life: u64,
}

impl Network for Link {
    fn exchange(&self, request: Request<Bytes>) -> Exchange {
        let Some(simulation) = self.simulation.upgrade() else { return Box::pin(std::future::pending()) };
        if simulation.life(self.from) != self.life {
            return Box::pin(std::future::pending());
        }
        let to = match request.uri().host() {
            Some("leader.example") => Party::Leader,
            _ => Party::Helper,
        };
        let fate = simulation.with_weather(|weather, chance| weather.fate(chance, self.from, to));
        let job = job_of_leader(self.from, &request).map(|job| (self.life, job));
        if let Some(job) = &job {
            simulation.model().leader_sends(job);
        }
        let (answer, answered) = oneshot::channel();
        // On its own: what was sent arrives although the sender may not wait for it any more.
        tokio::spawn(transfer(Arc::clone(&simulation), to, request, fate, answer));
        Box::pin(async move {
            let answer = answered.await.unwrap_or(Err(NetworkFailure::Broken));
            if let (Some(job), Ok(response)) = (job, &answer) {
                simulation.model().leader_hears(job, response);
            }
            answer
        })
    }
}

/// The aggregation job that the leader sends by this request.
fn job_of_leader(from: Party, request: &Request<Bytes>) -> Option<Bytes> {
    let is_job = request.method() == Method::POST && request.uri().path().ends_with("/aggregation_jobs");
    (from == Party::Leader && is_job).then(|| request.body().clone())
}

type Answer = oneshot::Sender<Result<Response<Bytes>, NetworkFailure>>;

async fn transfer(
    simulation: Arc<Simulation>,
    to: Party,
    request: Request<Bytes>,
    fate: Fate,
    answer: Answer,
) {
    if let Some(later) = fate.again {
        let (simulation, request) = (Arc::clone(&simulation), request.clone());
        tokio::spawn(async move {
            sleep(later).await;
            // Whoever sent it does not wait for this answer.
            drop(simulation.deliver(to, request));
        });
    }
    sleep(fate.there).await;
    let silence = if fate.silent { REQUEST_TIMEOUT * 2 } else { Duration::ZERO };
    if fate.lost {
        sleep(silence).await;
        let _ = answer.send(Err(NetworkFailure::Broken));
        return;
    }
    let Some(response) = simulation.deliver(to, request) else {
        let _ = answer.send(Err(NetworkFailure::NotConnected));
        return;
    };
    let response = response.await;
    sleep(fate.back).await;
    if fate.answer_lost {
        sleep(silence).await;
        let _ = answer.send(Err(NetworkFailure::Broken));
        return;
    }
    let _ = answer.send(response.map_err(|_| NetworkFailure::Broken));
}

/// Has a role answer a request.
pub async fn answer(router: axum::Router, request: Request<Bytes>) -> Response<Bytes> {
    let response = match router.oneshot(request.map(Body::from)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(head, body)
}
