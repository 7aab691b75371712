//! What happens when somebody is slow or away: memory and disk stay within their limits, nobody else is held up, and
//! no acknowledged report is lost. Failure: an upload, a job or a collection of others that does not come through while
//! the slow ones are there; a number beyond its limit; a count that is not that of the acknowledged reports.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arras::aggregator::{Clock as _, ManualClock};
use arras::config::Config;
use arras::net::server::ServerLimits;
use arras::privacy::noise::NoNoise;
use arras::service::{Environment, Listeners, Service};
use arras_client::upload::UploadError;
use arras_protocol::messages::{MediaType, TaskId};
use arras_protocol::task::Task;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::harness::{Deployment, NOW, Options, PATIENCE, Role, WINDOW, eventually};
use crate::operations::{OPERATIONS, value};

/// What the leader tells at an address of its operator's interface.
async fn ask(deployment: &Deployment, path: &str) -> (u16, String) {
    let address = deployment.leader.as_ref().unwrap().operations_address().unwrap();
    let response = deployment.http.get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn metric(deployment: &Deployment, series: &str) -> u64 {
    let (_, text) = ask(deployment, "/metrics").await;
    value(&text, series).unwrap_or_else(|| panic!("{series} is not in {text}"))
}

const UNREACHABLE: &str = "arras_jobs_total{role=\"leader\",outcome=\"unreachable\"}";
const JOBS_OPEN: &str = "arras_jobs_open{role=\"leader\"}";

/// The helper is away until the disk limit is reached and long after: what the leader has in memory for it is four
/// jobs, however often it tries; uploads are answered 503 with a time after which to come back; and when the helper is
/// back everything is worked off and counted once, and there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_away_for_long_costs_disk_up_to_its_limit_and_no_report() {
    const LIMITS: &str = "limits = { max_store_bytes = 3145728, max_body_bytes = 262144, job_size = 50 }\n\
                          [operations]\nlisten = \"127.0.0.1:0\"";
    let mut deployment = Deployment::start(Options { extra: LIMITS, ..Options::default() }).await;
    deployment.stop_role(Role::Helper).await;
    let mut accepted = 0_u32;
    let full = loop {
        match deployment.uploader().upload(deployment.task.id(), &deployment.one_hots(64)).await {
            Ok(refused) => assert_eq!(refused, []),
            Err(error) => break error,
        }
        accepted += 1;
        assert!(accepted < 1_000, "the limit is never reached");
    };
    assert!(accepted > 5, "there is room for {accepted} uploads");
    assert!(
        matches!(full, UploadError::Refused { status: 503, retry_after: Some(1..), .. }),
        "{full:?} is no 503 with a time after which to come back"
    );

    let before = metric(&deployment, UNREACHABLE).await;
    let started = Instant::now();
    while metric(&deployment, UNREACHABLE).await < before + 8 {
        assert!(started.elapsed() < PATIENCE, "the helper is not asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, text) = ask(&deployment, "/metrics").await;
    let of = |series: &str| value(&text, series).unwrap();
    assert!((1..=4).contains(&of(JOBS_OPEN)), "{text}");
    assert_eq!(of("arras_reports_waiting{role=\"leader\"}"), u64::from(accepted * 64), "{text}");
    assert_eq!(of("arras_body_bytes{role=\"leader\"}"), 0, "{text}");
    assert!(
        of("arras_store_bytes{role=\"leader\"}") <= of("arras_store_bytes_max{role=\"leader\"}"),
        "{text}"
    );
    let (status, reason) = ask(&deployment, "/readyz").await;
    assert!(status == 503 && reason.starts_with("leader: no room"), "{status} {reason}");

    deployment.start_role(Role::Helper);
    deployment.settled(u64::from(accepted) * 64).await;
    assert_eq!(ask(&deployment, "/readyz").await, (200, "ready\n".to_owned()));
    deployment.upload(&deployment.one_hots(64)).await;
    accepted += 1;
    let collected = deployment.collect().await.unwrap();
    assert_eq!(collected.sums, vec![i128::from(accepted); 64]);
    deployment.stop().await;
}

/// Connections of clients and collectors that take their time, closed when this is dropped.
struct Slow(Vec<TcpStream>);

impl Slow {
    /// Every kind in turn, as many as are asked for.
    fn start(deployment: &Deployment, address: SocketAddr, count: usize) -> Self {
        let task = deployment.task.id();
        let token = deployment.loopback.collector_token.expose();
        let upload = format!(
            "POST /tasks/{task}/reports HTTP/1.1\r\nhost: a\r\ncontent-type: {}\r\ncontent-length: 9999\r\n\r\n1234",
            MediaType::UploadRequest.as_str()
        );
        let collect = format!(
            "POST /tasks/{task}/collection_jobs HTTP/1.1\r\nhost: a\r\ncontent-type: {}\r\n\
             authorization: Bearer {token}\r\ntransfer-encoding: chunked\r\n\r\n1\r\n",
            MediaType::CollectionJobReq.as_str()
        );
        let polls = format!(
            "GET /tasks/{task}/collection_jobs/AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nhost: a\r\n\
             authorization: Bearer {token}\r\n\r\n"
        )
        .repeat(50);
        let beginnings = ["", "GET /hpke_config HTTP/1.1\r\nhost", &upload, &collect, &polls];
        let connect = |beginning: &&str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(beginning.as_bytes()).unwrap();
            stream
        };
        Self(beginnings.iter().cycle().take(count).map(connect).collect())
    }

    /// One byte more from each.
    fn drip(&mut self) {
        for stream in &mut self.0 {
            // Of those that sent whole requests and read nothing, some may be closed.
            let _ = stream.write_all(b"a");
        }
    }
}

/// All places but a few are held by clients that say nothing, stop in the middle of a header or a body, let it come in
/// drops, or never read their answers. Others upload and collect meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_up_nobody_while_there_is_a_place() {
    const PLACES: usize = 60;
    const FREE: usize = 10;
    let mut deployment = Deployment::start(Options { extra: OPERATIONS, ..Options::default() }).await;
    deployment.stop_role(Role::Leader).await;
    let mut limits = ServerLimits::default();
    limits.connections_max = PLACES;
    // So that none of them is cut off before the test is over.
    let long = Duration::from_secs(3_600);
    (limits.header_timeout, limits.body_timeout, limits.write_stall_timeout) = (long, long, long);
    // They are there when the leader stops, too.
    limits.shutdown_deadline = Duration::from_secs(1);
    let environment = Environment {
        clock: Arc::<ManualClock>::clone(&deployment.clock),
        noise: Arc::new(|| Box::new(NoNoise)),
    };
    let config = Config::load(&deployment.config_path("leader")).unwrap();
    let address = config.leader.as_ref().unwrap().listen;
    let leader = Service::start_with(&config, &environment, Listeners::default(), limits).unwrap();
    deployment.leader = Some(leader);

    let open = "arras_http_connections{role=\"leader\"}";
    let mut slow = Slow::start(&deployment, address, PLACES - FREE);
    let started = Instant::now();
    while metric(&deployment, open).await < (PLACES - FREE) as u64 {
        assert!(started.elapsed() < PATIENCE, "they are not let in");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for reports in deployment.one_hots(64).chunks(8) {
        slow.drip();
        deployment.upload(reports).await;
    }
    slow.drip();
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    // Those that wait for nothing of ours, three of five kinds, are all still there.
    assert!(metric(&deployment, open).await >= ((PLACES - FREE) * 3 / 5) as u64);

    // Beyond the limit a connection is closed and counted, and its place is free when others leave.
    let more = Slow::start(&deployment, address, PLACES);
    let refused = "arras_http_connections_refused_total{role=\"leader\"}";
    let started = Instant::now();
    while metric(&deployment, refused).await == 0 {
        assert!(started.elapsed() < PATIENCE, "none is refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop((slow, more));
    let started = Instant::now();
    while deployment.uploader().upload(deployment.task.id(), &[deployment.report(0)]).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "places are not given back");
    }
    deployment.stop().await;
}

/// How the helper, or what stands before it, treats some requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// All are passed on.
    Pass,
    /// Never answered.
    Silence,
    /// The answer comes in drops and never ends.
    Drops,
}

/// Stands at the helper's address and treats requests whose method and path `chosen` picks; others are passed on to
/// the helper.
struct Proxy {
    treatment: watch::Sender<Treatment>,
    /// Requests that are being kept waiting.
    held: Arc<AtomicUsize>,
    held_most: Arc<AtomicUsize>,
}

type Chosen = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

impl Proxy {
    /// Moves the helper of a deployment behind it.
    async fn before_helper(deployment: &mut Deployment, treatment: Treatment, chosen: Chosen) -> Self {
        deployment.stop_role(Role::Helper).await;
        let config = Config::load(&deployment.config_path("helper")).unwrap();
        let listen = config.helper.as_ref().unwrap().listen;
        let behind = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = behind.local_addr().unwrap();
        let environment = Environment {
            clock: Arc::<ManualClock>::clone(&deployment.helper_clock),
            noise: Arc::new(|| Box::new(NoNoise)),
        };
        let listeners = Listeners { helper: Some(behind), ..Listeners::default() };
        deployment.helper = Some(Service::start(&config, &environment, listeners).unwrap());
        let proxy =
            Self { treatment: watch::channel(treatment).0, held: Arc::default(), held_most: Arc::default() };
        let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
        let (treated, http) = (proxy.treatment.subscribe(), deployment.http.clone());
        let (held, most) = (Arc::clone(&proxy.held), Arc::clone(&proxy.held_most));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let exchange = Exchange {
                    stream,
                    target,
                    http: http.clone(),
                    treated: treated.clone(),
                    chosen: Arc::clone(&chosen),
                    held: Arc::clone(&held),
                    most: Arc::clone(&most),
                };
                tokio::spawn(exchange.serve());
            }
        });
        proxy
    }
}

/// A connection of the proxy's.
struct Exchange {
    stream: tokio::net::TcpStream,
    target: SocketAddr,
    http: reqwest::Client,
    treated: watch::Receiver<Treatment>,
    chosen: Chosen,
    held: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Exchange {
    /// Requests one after the other, until the leader closes or one is kept waiting.
    async fn serve(mut self) {
        while let Some((head, body)) = self.request().await {
            let mut line = head.split_whitespace();
            let (method, path) = (line.next().unwrap().to_owned(), line.next().unwrap().to_owned());
            let treatment = *self.treated.borrow();
            if treatment != Treatment::Pass && (self.chosen)(&method, &path) {
                self.hold(treatment).await;
                // Closed, so that the leader learns that its helper has come to its senses.
                return;
            }
            if self.pass_on(&method, &path, &head, body).await.is_none() {
                return;
            }
        }
    }

    async fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((head, body))
    }

    async fn hold(&mut self, treatment: Treatment) {
        let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(held, Ordering::SeqCst);
        if treatment == Treatment::Drops {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\ncontent-type: application/x\r\n\r\n";
            let _ = self.stream.write_all(head).await;
        }
        while *self.treated.borrow() != Treatment::Pass {
            if treatment == Treatment::Drops && self.stream.write_all(b"a").await.is_err() {
                break;
            }
            // Either something changes, or another drop is due, or the leader has gone.
            tokio::select! {
                _ = self.treated.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(20)), if treatment == Treatment::Drops => {}
                gone = self.stream.read_u8() => if gone.is_err() { break },
            }
        }
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    async fn pass_on(&mut self, method: &str, path: &str, head: &str, body: Vec<u8>) -> Option<()> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("http://{}{path}", self.target)).body(body);
        for name in ["content-type", "authorization"] {
            if let Some(value) = header(head, name) {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.ok()?;
        let mut answer = format!("HTTP/1.1 {} x\r\n", response.status().as_u16());
        for name in ["content-type", "location", "retry-after"] {
            if let Some(value) = response.headers().get(name) {
                answer = format!("{answer}{name}: {}\r\n", value.to_str().unwrap());
            }
        }
        let body = response.bytes().await.ok()?;
        answer = format!("{answer}content-length: {}\r\n\r\n", body.len());
        self.stream.write_all(answer.as_bytes()).await.ok()?;
        self.stream.write_all(&body).await.ok()
    }
}

/// The value of a header, whose name is in lower case as hyper writes it.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn of_task(task: TaskId, part: &'static str) -> Chosen {
    let task = task.to_string();
    Arc::new(move |method, path| method == "POST" && path.contains(&task) && path.ends_with(part))
}

/// Adds a task that the leader knows before anything is in anybody's way.
async fn another_task(deployment: &Deployment) -> Task {
    let another = deployment.add_task("another");
    deployment.clock.set(deployment.clock.now() + 60);
    assert_eq!(deployment.uploader().upload(another.id(), &[]).await.unwrap(), []);
    another
}

/// Uploads to another task and collects it.
async fn gets_through(deployment: &mut Deployment, another: Task) {
    let first = std::mem::replace(&mut deployment.task, another);
    deployment.upload(&deployment.one_hots(64)).await;
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64], "the other task");
    deployment.task = first;
}

/// A helper that never answers one task's jobs, or never ends its answers, keeps neither uploads nor another task
/// waiting, nor that task's collection; and when it has come to its senses nothing was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_slow_with_one_tasks_jobs_holds_up_no_other() {
    for treatment in [Treatment::Silence, Treatment::Drops] {
        // More jobs than there are places for one task.
        let extra = "limits = { job_size = 8 }\n[operations]\nlisten = \"127.0.0.1:0\"";
        let mut deployment = Deployment::start(Options { extra, ..Options::default() }).await;
        let another = another_task(&deployment).await;
        let chosen = of_task(deployment.task.id(), "/aggregation_jobs");
        let proxy = Proxy::before_helper(&mut deployment, treatment, chosen).await;
        deployment.upload(&deployment.one_hots(64)).await;
        eventually("its jobs wait for the helper", || proxy.held.load(Ordering::SeqCst) >= 3).await;
        gets_through(&mut deployment, another).await;
        assert!(metric(&deployment, JOBS_OPEN).await <= 4, "{treatment:?}");
        deployment.upload(&[deployment.report(0)]).await;
        proxy.treatment.send(Treatment::Pass).unwrap();
        let mut expected = vec![1; 64];
        expected[0] = 2;
        assert_eq!(deployment.collect().await.unwrap().sums, expected, "{treatment:?}");
        deployment.stop().await;
    }
}

/// The same with its aggregate share: a collection that waits for the helper holds up no other task's.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_slow_with_one_tasks_shares_holds_up_no_other() {
    for treatment in [Treatment::Silence, Treatment::Drops] {
        let mut deployment = Deployment::start(Options { extra: OPERATIONS, ..Options::default() }).await;
        let another = another_task(&deployment).await;
        let chosen = of_task(deployment.task.id(), "/aggregate_shares");
        let proxy = Proxy::before_helper(&mut deployment, treatment, chosen).await;
        deployment.upload(&deployment.one_hots(64)).await;
        let query = Deployment::query(WINDOW, 1);
        assert_eq!(deployment.create_collection(&query).await.status(), 201);
        eventually("the share is asked for", || proxy.held.load(Ordering::SeqCst) >= 1).await;
        gets_through(&mut deployment, another).await;
        let asking = "arras_collections_open{role=\"leader\",state=\"asking_helper\"}";
        assert_eq!(metric(&deployment, asking).await, 1, "{treatment:?}: the first still waits");
        proxy.treatment.send(Treatment::Pass).unwrap();
        assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64], "{treatment:?}");
        deployment.stop().await;
    }
}

/// The leader told the helper of each committed job that it may forget its response, in a task and a request of its
/// own: with a helper that takes jobs but does not answer that, they piled up.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_slow_to_forget_is_told_a_few_at_once() {
    let extra = "limits = { job_size = 2 }\n[operations]\nlisten = \"127.0.0.1:0\"";
    let mut deployment = Deployment::start(Options { extra, ..Options::default() }).await;
    let chosen: Chosen = Arc::new(|method, _| method == "DELETE");
    let proxy = Proxy::before_helper(&mut deployment, Treatment::Silence, chosen).await;
    deployment.upload(&deployment.one_hots(64)).await;
    deployment.settled(64).await;
    let started = Instant::now();
    while metric(&deployment, "arras_responses_not_released_total{role=\"leader\"}").await == 0 {
        assert!(started.elapsed() < PATIENCE, "all 32 are told at once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((1..=16).contains(&proxy.held_most.load(Ordering::SeqCst)));
    assert_eq!(deployment.collect().await.unwrap().sums, vec![1; 64]);
    deployment.stop().await;
}

/// Windows of which each is asked for by itself, more than are driven at once, all come to their end.
#[tokio::test(flavor = "multi_thread")]
async fn many_windows_take_turns() {
    const WINDOWS: u64 = 40;
    let options = Options { cap: "100", extra: OPERATIONS, ..Options::default() };
    let mut deployment = Deployment::start(options).await;
    deployment.clock.set(NOW + WINDOWS * 3_600);
    let mut reports = Vec::new();
    for hour in 0..WINDOWS {
        let made = (0..10).map(|bucket| deployment.report_at(bucket, (WINDOW + hour) * 3_600));
        reports.extend(made);
    }
    deployment.stop_role(Role::Helper).await;
    for reports in reports.chunks(100) {
        deployment.upload(reports).await;
    }
    for hour in 0..WINDOWS {
        let created = deployment.create_collection(&Deployment::query(WINDOW + hour, 1)).await;
        assert_eq!(created.status(), 201, "window {hour}");
    }
    assert_eq!(
        metric(&deployment, "arras_collections_open{role=\"leader\",state=\"draining\"}").await,
        WINDOWS
    );
    deployment.start_role(Role::Helper);
    for hour in 0..WINDOWS {
        let collected = deployment.collect_window(&Deployment::query(WINDOW + hour, 1)).await.unwrap();
        assert_eq!(collected.report_count, 10, "window {hour}");
    }
    deployment.stop().await;
}
