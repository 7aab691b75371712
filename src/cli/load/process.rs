//! What the system says of processes: CPU time, memory, which CPUs a thread may use. Linux only; elsewhere there is
//! nothing to say.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// CPU time of a process so far, all threads, those that ended too; to 10 ms.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = cpu_ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks.saturating_mul(1_000) / per_second.max(1)))
}

/// User and system time in a line of `/proc/PID/stat`. The name in parentheses may hold anything, also spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    // proc(5) numbers the fields from 1, and the first after the name is 3.
    let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    field(14)?.checked_add(field(15)?)
}

/// Memory of a process that is resident, in bytes: now, and the most that it ever was.
pub(super) fn resident_bytes(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some((kilobytes("VmRSS:")? * 1_024, kilobytes("VmHWM:")? * 1_024))
}

/// Bytes of the files below a folder. Files that vanish meanwhile are left out.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Starts a process that may use one CPU only, or all.
pub(super) fn spawn(command: &mut Command, cpu: Option<usize>) -> io::Result<Child> {
    let Some(cpu) = cpu else { return command.spawn() };
    // A process has the CPUs of the thread that starts it, from its first instruction on: what it makes as many of as
    // it has CPUs is right.
    thread::scope(|scope| {
        let starter = scope.spawn(|| {
            pin(cpu)?;
            command.spawn()
        });
        starter.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended")))
    })
}

#[cfg(target_os = "linux")]
mod cpus {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The CPUs that this thread may use.
    pub(in super::super) fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    }

    /// Lets this thread, and what it starts, use one CPU only.
    pub(in super::super) fn pin(cpu: usize) -> io::Result<()> {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut set = CpuSet::new();
        set.set(cpu);
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod cpus {
    use std::io;

    pub(in super::super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(in super::super) fn pin(_: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(super) use cpus::{allowed, pin};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces() {
        let line = "77 (a b) c) S 1 77 77 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 4 0 1000 1 1";
        assert_eq!(cpu_ticks(line), Some(175));
        assert_eq!(cpu_ticks("77 (short) S 1"), None);
        assert_eq!(cpu_ticks("nothing"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_cpus() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_some());
        assert!(resident_bytes(pid).is_some_and(|(now, most)| now > 0 && most >= now));
        assert!(!allowed().is_empty());
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
