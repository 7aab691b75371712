//! The processes: a chromedriver of each test's own, and what it starts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// `required`: a missing browser fails the tests instead of skipping them.
const VARIABLE: &str = "ARRAS_BROWSER";

/// What Debian, Ubuntu and Chrome's own packages call them.
const DRIVERS: [&str; 1] = ["chromedriver"];
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Where Debian puts them, if the test's PATH is a short one.
const BESIDES_PATH: &str = "/usr/bin";

/// A chromedriver that does not say its port by then does not start.
const START_PATIENCE: Duration = Duration::from_secs(60);

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).chain([PathBuf::from(BESIDES_PATH)]).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|file| file.is_file())
}

/// A running chromedriver. It and every browser that it started go with it.
pub(super) struct Driver {
    child: Child,
    pub(super) port: u16,
    pub(super) browser: PathBuf,
}

impl Driver {
    /// `None` where no browser is installed, which is said on the terminal, past what the test runner holds back; panics
    /// if there has to be one.
    pub(super) fn start() -> Option<Self> {
        let (Some(driver), Some(browser)) = (find(&DRIVERS), find(&BROWSERS)) else {
            let missing = "no chromedriver/chromium: neither in PATH nor in /usr/bin (Debian: apt-get install chromium \
                           chromium-driver)";
            assert!(
                std::env::var(VARIABLE).as_deref() != Ok("required"),
                "{VARIABLE}=required, and {missing}"
            );
            let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}; nothing was tested in a browser");
            return None;
        };
        // A group of its own, which the browsers inherit: no test's browser is left behind, and no other one is met.
        let mut child = Command::new(driver)
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut driver = Self { child, port: 0, browser };
        driver.port = port(lines);
        Some(driver)
    }
}

/// The port that it says. Whatever it says after that is read and dropped, so that it never waits for a reader.
fn port(mut lines: impl Iterator<Item = std::io::Result<String>> + Send + 'static) -> u16 {
    let started = Instant::now();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let said = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("started successfully on port ")?.1;
            rest.trim_end_matches('.').parse().ok()
        });
        let _ = send.send(said);
        lines.for_each(drop);
    });
    let said = receive.recv_timeout(START_PATIENCE);
    said.ok().flatten().unwrap_or_else(|| panic!("chromedriver says no port in {:?}", started.elapsed()))
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may be gone already; nobody is to be told.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
