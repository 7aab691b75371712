//! The servers that are loaded: started here, each in a process of its own, or found running.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arras_protocol::epsilon::{MICRO_PER_EPSILON, MicroEpsilon};
use arras_protocol::task::Task;
use rustix::process::{Pid, Signal, kill_process};

use super::options::Pins;
use super::process;
use crate::cli::Failure;
use crate::cli::{collect, console};
use crate::collector::{Moment, Release};
use crate::config::loopback::{BUDGET_SOURCE, COLLECTOR, Loopback, write_config};
use crate::tasks::author::{ProfileChoice, VdafChoice};
use crate::tasks::{TaskFile, TaskFolder};

/// How long a server may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// When the budget's epochs start: a Monday.
const EPOCH_START: &str = "2026-01-05";

/// What the budget allows in an epoch, in epsilon; one release spends 1.
const CAP: &str = "100";

/// Fewest reports of a release.
pub(super) const MIN_BATCH_SIZE: u64 = 100;

/// A role in a process of its own.
pub(super) struct Server {
    role: &'static str,
    config: PathBuf,
    program: PathBuf,
    cpu: Option<usize>,
    child: Option<Child>,
    /// CPU time of processes that were stopped.
    cpu_before: Duration,
    /// Most memory of processes that were stopped.
    most_before: u64,
}

impl Server {
    /// Starts it and waits until it listens; how long that took.
    pub(super) fn start(&mut self) -> Result<Duration, Failure> {
        let started = Instant::now();
        let mut log = self.config.clone();
        log.set_extension("log");
        let log = fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = process::spawn(&mut command, self.cpu)
            .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))?;
        let out = child.stdout.take();
        self.child = Some(child);
        let mut lines = BufReader::new(out.ok_or("a server without output")?).lines();
        if !lines.by_ref().map_while(Result::ok).any(|line| line.contains("listens on")) {
            return Err(
                format!("the {} does not start; its log ends: {}", self.role, self.last_words()).into()
            );
        }
        // The rest goes on being read, or the process would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(started.elapsed())
    }

    fn last_words(&self) -> String {
        let mut log = self.config.clone();
        log.set_extension("log");
        let text = fs::read_to_string(log).unwrap_or_default();
        text.lines().next_back().unwrap_or("(empty)").to_owned()
    }

    /// Ends it as an operator does, or as a loss of power does, and waits until it is gone.
    pub(super) fn end(&mut self, signal: Signal) -> Result<(), Failure> {
        self.cpu_before = self.cpu_time();
        self.most_before = self.resident_bytes().1;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill_process(Pid::from_child(&child), signal)?;
        let asked = Instant::now();
        while child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_DEADLINE {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// CPU time so far.
    pub(super) fn cpu_time(&self) -> Duration {
        let now = self.child.as_ref().and_then(|child| process::cpu_time(child.id()));
        self.cpu_before + now.unwrap_or_default()
    }

    /// Memory now and at most, in bytes.
    pub(super) fn resident_bytes(&self) -> (u64, u64) {
        let (now, most) =
            self.child.as_ref().and_then(|child| process::resident_bytes(child.id())).unwrap_or((0, 0));
        (now, most.max(self.most_before))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever happened, no process is left behind.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Leader, helper and collector on loopback, with a task; each is started when it is wanted.
pub(super) struct Own {
    pub(super) leader: Server,
    pub(super) helper: Server,
    pub(super) collector: Server,
    pub(super) task: Task,
    /// Of a task that sums values: the one that counts its conversions, and its length.
    pub(super) counting: Option<(Task, u32)>,
    dir: PathBuf,
}

impl Own {
    /// Writes configurations, keys and a task into a folder.
    pub(super) fn new(dir: &Path, program: &Path, vdaf: VdafChoice, pins: Pins) -> Result<Self, Failure> {
        let loopback = Loopback::new(EPOCH_START, CAP, "")?;
        let (leader, helper) = (&loopback.leader.endpoint, &loopback.helper.endpoint);
        let mut file = task_file(vdaf, leader, helper)?;
        let mut tasks = Vec::new();
        let counting = match vdaf {
            VdafChoice::L1BoundSum { length, max_value } if max_value > 1 => {
                let (counting, provisioned) =
                    task_file(VdafChoice::Histogram { length }, leader, helper)?.build()?;
                file.conversions = Some(counting.id());
                tasks.push((counting.id(), provisioned));
                Some((counting, length))
            }
            _ => None,
        };
        let (task, provisioned) = file.build()?;
        tasks.push((task.id(), provisioned));
        let server = |role: &'static str, toml: &str, cpu| {
            let config = dir.join(format!("{role}.toml"));
            let folder = TaskFolder::new(&dir.join(role).join("tasks"));
            tasks.iter().try_for_each(|(id, provisioned)| folder.add(*id, provisioned).map(drop))?;
            write_config(&config, toml)?;
            let program = program.to_owned();
            let (cpu_before, most_before) = (Duration::ZERO, 0);
            Ok::<_, Failure>(Server { role, config, program, cpu, child: None, cpu_before, most_before })
        };
        let leader = server("leader", &loopback.leader.toml, pins.leader)?;
        let helper = server("helper", &loopback.helper.toml, pins.helper)?;
        let collector = server("collector", &loopback.collector.toml, pins.helper)?;
        fs::write(dir.join("token"), loopback.admin_token.expose())?;
        // The ports are free again when `loopback` goes.
        Ok(Self { leader, helper, collector, task, counting, dir: dir.to_owned() })
    }

    /// Has the collector collect a window; waits for it.
    pub(super) fn collect(&self, task: &Task, from: u64, to: u64) -> Result<Release, Failure> {
        let args = collect::Args {
            console: console::Args {
                config: self.collector.config.clone(),
                url: None,
                ca: None,
                token_file: Some(self.dir.join("token")),
            },
            task: task.id(),
            from: Moment::from_seconds(from)?,
            to: Moment::from_seconds(to)?,
            json: true,
            signed: false,
        };
        let mut json = Vec::new();
        let _ = collect::run(&args, &mut json)?;
        Ok(Release::from_json(&json)?)
    }

    /// Bytes that the stores of both aggregators take on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        ["leader", "helper"].iter().map(|role| process::bytes_below(&self.dir.join(role))).sum()
    }

    /// Ends all, as an operator does.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        for server in [&mut self.collector, &mut self.leader, &mut self.helper] {
            server.end(Signal::TERM)?;
        }
        Ok(())
    }
}

fn task_file(vdaf: VdafChoice, leader: &str, helper: &str) -> Result<TaskFile, Failure> {
    let epsilon = MicroEpsilon::from_micro(MICRO_PER_EPSILON)?;
    Ok(TaskFile {
        name: "load".to_owned(),
        profile: ProfileChoice::Arras,
        leader: leader.to_owned(),
        helper: helper.to_owned(),
        vdaf,
        time_precision: 3_600,
        min_batch_size: MIN_BATCH_SIZE,
        epsilon,
        contributions: std::num::NonZeroU32::MIN,
        threshold: Some(40),
        budget_source: BUDGET_SOURCE.to_owned(),
        collector: COLLECTOR.to_owned(),
        campaigns: Vec::new(),
        conversions: None,
    })
}

/// The task of a VDAF as it would be, for what is to be known before anything is started.
pub(super) fn would_be(vdaf: VdafChoice) -> Result<Task, Failure> {
    Ok(task_file(vdaf, "http://127.0.0.1:1/", "http://127.0.0.1:2/")?.build()?.0)
}
