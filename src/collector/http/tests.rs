#![allow(clippy::unwrap_used)]

use std::time::Duration;

use arras_protocol::signed::{self, DocumentType};

use super::*;
use crate::collector::fixture::{ADMIN_TOKEN, Act, CELLS, HOUR, MONDAY, World, week};
use crate::collector::release::Release;
use crate::collector::sums::Sum;
use crate::config::SecretString;
use crate::net::auth::BearerToken;
use crate::net::client::{PeerClient, Reply};

/// A collector's interface on a loopback port, asked with a token.
struct Console {
    client: PeerClient,
    world: World,
    task: String,
}

impl Console {
    async fn new(token: Option<&str>) -> Self {
        Self::of(token, World::collector).await
    }

    async fn of(token: Option<&str>, collector: impl FnOnce(&World) -> Collector) -> Self {
        let world = World::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let app = router(collector(&world));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let token = token.map(|token| BearerToken::new(SecretString::new(token)).unwrap());
        let client = PeerClient::new(endpoint.parse().unwrap(), token, None).unwrap();
        Self { client, task: world.task.task.id().to_string(), world }
    }

    async fn admin() -> Self {
        Self::new(Some(ADMIN_TOKEN)).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.client.get(path).await.unwrap()
    }

    async fn post(&self, task: &str, body: impl Into<Bytes>) -> Reply {
        let path = format!("v1/tasks/{task}/releases");
        self.client.post(&path, "application/json", body).await.unwrap()
    }
}

fn problem_of(reply: &Reply) -> (u16, String, String) {
    let problem = reply.problem().unwrap();
    let detail = problem.detail().unwrap_or_default().to_owned();
    (reply.status.as_u16(), problem.kind().to_string(), detail)
}

#[tokio::test]
async fn collects_and_shows() {
    let console = Console::admin().await;
    console.world.leader.plan(&[Act::Created, Act::Ready(CELLS.to_vec())]);
    let reply = console.post(&console.task, r#"{"from":"2026-11-02T00:00:00Z","to":1794182400}"#).await;
    assert_eq!((reply.status, reply.content_type()), (StatusCode::OK, Some("application/json")));
    let release = Release::from_json(&reply.body).unwrap();
    assert_eq!((release.sequence, release.window), (1, week()));

    assert_eq!(console.get("v1/releases/1").await.body, reply.body);
    // The signed text, and the keys that verify it.
    let signed_reply = console.get("v1/releases/1/signed").await;
    assert_eq!(signed_reply.content_type(), Some("application/jose"));
    let keys = console.get("keys").await;
    assert_eq!(keys.content_type(), Some("application/jwk-set+json"));
    let keys: KeySet = serde_json::from_slice(&keys.body).unwrap();
    let keys = keys.public_keys().unwrap();
    let text = std::str::from_utf8(&signed_reply.body).unwrap();
    assert_eq!(signed::verify(&keys, DocumentType::Release, text).unwrap().document(), reply.body);
    assert_eq!(problem_of(&console.get("v1/releases/2/signed").await).0, 404);

    let list = console.get(&format!("v1/tasks/{}/releases", console.task)).await;
    let list: ReleaseList = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list.releases, [ReleaseEntry { sequence: 1, window: week() }]);
    assert_eq!((list.under_way.len(), list.failed.len(), list.next), (0, 0, None));
    let after = format!("v1/tasks/{}/releases?after={}", console.task, week().to().seconds());
    let list: ReleaseList = serde_json::from_slice(&console.get(&after).await.body).unwrap();
    assert_eq!(list.releases, []);

    let tasks: TaskList = serde_json::from_slice(&console.get("v1/tasks").await.body).unwrap();
    assert_eq!(tasks.unusable, []);
    let [task] = &tasks.tasks[..] else { panic!("one task") };
    assert_eq!((task.task.as_str(), task.name.as_deref()), (console.task.as_str(), Some("conversions")));
    assert_eq!(task.campaigns, ["alpha", "beta", "gamma"]);
    assert_eq!((task.time_precision, task.min_batch_size), (HOUR, 100));
}

#[tokio::test]
async fn sums_are_computed_signed_and_refused_with_what_to_do() {
    let console = Console::admin().await;
    console.world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    let asked = format!(r#"{{"from":{MONDAY},"to":{}}}"#, MONDAY + 7 * 24 * HOUR);
    assert_eq!(console.post(&console.task, asked).await.status, StatusCode::OK);
    let base = format!("v1/tasks/{}/sums", console.task);
    let range = "from=2026-11-02T00:00:00Z&to=2026-11-10T00:00:00Z";
    let reply = console.get(&format!("{base}?{range}&campaign=%61lpha&campaign=gamma")).await;
    assert_eq!((reply.status, reply.content_type()), (StatusCode::OK, Some("application/json")));
    let sum = Sum::from_json(&reply.body).unwrap();
    assert_eq!((sum.windows.len(), sum.gaps.len(), sum.rows.len()), (1, 1, 3));
    // The same question has the same answer, byte for byte, signed or not.
    let text = console.get(&format!("{base}/signed?{range}&campaign=alpha&campaign=gamma")).await;
    assert_eq!(text.content_type(), Some("application/jose"));
    let keys: KeySet = serde_json::from_slice(&console.get("keys").await.body).unwrap();
    let verified = std::str::from_utf8(&text.body).unwrap();
    let verified = signed::verify(&keys.public_keys().unwrap(), DocumentType::Sum, verified).unwrap();
    assert_eq!(verified.document(), reply.body);
    let again = console.get(&format!("{base}/signed?{range}&campaign=alpha&campaign=gamma")).await;
    assert_eq!(again.body, text.body);

    for (query, status, about) in [
        ("", 400, "the parameters are"),
        ("?from=0", 400, "the parameters are"),
        ("?from=x&to=3600", 400, "from: expected a moment"),
        ("?from=0&to=3600&from=0", 400, "the parameters are"),
        ("?from=0&to=3600&bucket=1", 400, "the parameters are"),
        ("?from=3600&to=3600", 400, "is empty"),
        ("?from=0&to=3600", 404, "was not collected"),
        ("?from=2026-11-03T00:00:00Z&to=2026-11-10T00:00:00Z", 400, "cuts the window"),
        ("?from=2026-11-02T00:00:00Z&to=2026-11-10T00:00:00Z&campaign=delta", 400, "alpha, beta, gamma"),
    ] {
        let (found, _, detail) = problem_of(&console.get(&format!("{base}{query}")).await);
        assert!(found == status && detail.contains(about), "{query}: {found} {detail}");
    }
    let unknown = format!("v1/tasks/{}/sums?{range}", TaskId::new([9; 32]));
    assert_eq!(problem_of(&console.get(&unknown).await).1, "urn:ietf:params:ppm:dap:error:unrecognizedTask");
    let nobody = Console::new(None).await;
    assert_eq!(problem_of(&nobody.get(&format!("{base}?{range}")).await).0, 401);
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let console = Console::admin().await;
    let week = format!(r#"{{"from":{MONDAY},"to":{}}}"#, MONDAY + 7 * 24 * HOUR);
    console.world.leader.plan(&[Act::Problem("urn:ietf:params:ppm:dap:error:invalidBatchSize", 400)]);
    let (status, kind, detail) = problem_of(&console.post(&console.task, week.clone()).await);
    assert_eq!((status, kind.as_str()), (400, "urn:ietf:params:ppm:dap:error:invalidBatchSize"));
    assert!(detail.contains("too few reports") && detail.contains("said the leader"), "{detail}");
    let list = console.get(&format!("v1/tasks/{}/releases", console.task)).await;
    let list: ReleaseList = serde_json::from_slice(&list.body).unwrap();
    assert!(list.failed[0].reason.contains("too few reports"));

    // The leader's 401 is not the administrator's.
    console.world.leader.plan(&[Act::Problem("tag:arras.example,2026:error:unauthorized", 401)]);
    // It was titled "The other aggregator failed.", as if the collector were one.
    let (status, kind, detail) = problem_of(&console.post(&console.task, week).await);
    assert_eq!((status, kind), (502, ErrorType::Own(OwnError::AggregatorFailed).to_string()));
    assert!(detail.contains("does not accept this collector's token"), "{detail}");
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        (r#"{"from":"yesterday","to":"2026-11-09T00:00:00Z"}"#, 400),
        (r#"{"from":7200,"to":3600}"#, 400),
        (r#"{"from":1,"to":3600}"#, 400),
        (r#"{"from":3600,"to":7200,"again":true}"#, 400),
    ] {
        assert_eq!(console.post(&console.task, body).await.status.as_u16(), status, "{body}");
    }
    let large = console.post(&console.task, vec![b' '; BODY_BYTES_MAX + 1]).await;
    assert_eq!(problem_of(&large).0, 413);
    let unknown = console.post(&TaskId::new([9; 32]).to_string(), r#"{"from":3600,"to":7200}"#).await;
    assert_eq!(problem_of(&unknown).1, "urn:ietf:params:ppm:dap:error:unrecognizedTask");
    assert_eq!(problem_of(&console.post("nonsense", "{}").await).0, 400);
    for path in ["v1/releases/1", "v1/releases/x", "v1/releases/-1", "v2", ""] {
        assert_eq!(problem_of(&console.get(path).await).0, 404, "{path}");
    }
    let query = format!("v1/tasks/{}/releases?before=1", console.task);
    assert_eq!(problem_of(&console.get(&query).await).0, 400);
    let deleted = console.client.delete("v1/tasks").await.unwrap();
    assert_eq!(problem_of(&deleted).0, 405);
}

#[tokio::test]
async fn only_health_and_keys_need_no_token() {
    for token in [None, Some("another-token-for-tests-0123456789abcdef")] {
        let console = Console::new(token).await;
        console.world.leader.plan(&[Act::Status(500)]);
        assert_eq!(console.get("healthz").await.body, "ok");
        assert_eq!(console.get("keys").await.status, StatusCode::OK);
        let reply = console.post(&console.task, r#"{"from":3600,"to":7200}"#).await;
        assert_eq!(problem_of(&reply).0, 401);
        for path in [
            "v1/tasks",
            "v1/releases/1",
            "v1/releases/1/signed",
            &format!("v1/tasks/{}/releases", console.task),
        ] {
            assert_eq!(problem_of(&console.get(path).await).0, 401, "{path}");
        }
        assert_eq!(console.world.leader.asked(), []);
    }
}

#[tokio::test]
async fn what_takes_longer_goes_on_without_its_caller() {
    let console = Console::of(Some(ADMIN_TOKEN), World::brisk).await;
    console.world.leader.plan(&[Act::Created, Act::Pending, Act::Ready(CELLS.to_vec())]);
    let week = format!(r#"{{"from":{MONDAY},"to":{}}}"#, MONDAY + 7 * 24 * HOUR);
    let reply = console.post(&console.task, week).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    while console.get("v1/releases/1").await.status == StatusCode::NOT_FOUND {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let release = Release::from_json(&console.get("v1/releases/1").await.body).unwrap();
    assert_eq!(release.report_count, 19_785);
    assert_eq!(console.world.leader.asked().len(), 3);
}

/// While the leader was out of reach, nobody heard of it: each request was answered with 202 before the attempt failed,
/// the failure was told to nobody, and each request began an attempt of its own behind those of the others.
#[tokio::test]
async fn a_leader_out_of_reach_is_told_to_whoever_asks_again() {
    let world = World::new().await;
    let collector = world.hurried();
    let window = week();
    let id = world.task.task.id();
    world.leader.plan(&[Act::Status(503)]);
    let limit = collector.timing().answer_max;
    let (mut troubles, mut asked) = (0, 0);
    let error = loop {
        asked += 1;
        match collector.collect_within(limit, id, window).await {
            Heard::UnderWay { trouble } => {
                troubles += usize::from(trouble.is_some_and(|cause| cause.contains("503")));
            }
            Heard::Ended(outcome) => break outcome.as_ref().as_ref().unwrap_err().to_string(),
            Heard::Broke | Heard::Busy => panic!("it broke off"),
        }
        assert_eq!(collector.attempts().len(), 1, "each joins the one that runs");
        assert!(asked < 10_000, "it never ends");
    };
    assert!(error.contains("could not be reached"), "{error}");
    assert!(troubles > 0, "what is in the way was not told");
    assert_eq!(collector.attempts().len(), 0);

    // What failed while nobody was waiting is heard by the next who asks, once.
    assert!(matches!(collector.collect_within(Duration::ZERO, id, window).await, Heard::UnderWay { .. }));
    while collector.collect_within(Duration::ZERO, id, window).await.is_under_way() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.leader.plan(&[Act::Ready(CELLS.to_vec())]);
    loop {
        match collector.collect_within(limit, id, window).await {
            Heard::Ended(outcome) => {
                break assert_eq!(outcome.as_ref().as_ref().unwrap().release().sequence, 1);
            }
            heard => assert!(heard.is_under_way(), "{heard:?}"),
        }
    }
}

#[tokio::test]
async fn manifests_are_for_everybody_and_cacheable() {
    use tower_service::Service as _;
    const SHOP: &str = "/manifests/shop.example";
    let world = World::new().await;
    let collector = world.collector();
    let folder = world.dir.path().join("manifests");
    let ask = async |path: &str, tag: Option<&str>| {
        let mut request = axum::http::Request::get(path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        router(collector.clone()).call(request).await.unwrap()
    };
    assert_eq!(ask(SHOP, None).await.status(), 404);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("shop.example.jws"), "signed").unwrap();
    std::fs::write(world.dir.path().join("secret.jws"), "secret").unwrap();
    for path in ["/manifests/..%2Fsecret", "/manifests/.", "/manifests/SHOP.example", "/manifests/a%00b"] {
        assert_eq!(ask(path, None).await.status(), 404, "{path}");
    }

    let first = ask(SHOP, None).await;
    assert_eq!(
        (first.status(), &first.headers()["content-type"]),
        (StatusCode::OK, &"application/jose".parse().unwrap())
    );
    assert_eq!(first.headers()["cache-control"], "public, max-age=3600");
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(axum::body::to_bytes(first.into_body(), 100).await.unwrap().as_ref(), b"signed");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = ask(SHOP, Some(&known)).await;
        assert_eq!(
            (again.status(), again.headers()["etag"].to_str().unwrap()),
            (StatusCode::NOT_MODIFIED, &*tag)
        );
    }
    assert_eq!(ask(SHOP, Some("\"x\"")).await.status(), StatusCode::OK);
    std::fs::write(folder.join("shop.example.jws"), "signed again").unwrap();
    assert_eq!(ask(SHOP, Some(&tag)).await.status(), StatusCode::OK);
}
