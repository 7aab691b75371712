//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections leave alone, beside those of tasks: the stores' other files, which they open for each read
/// of a segment, connections to the peer, the operator's interface, standard streams and the runtime's own; and those of
/// some tasks that are added before the next start. Many times what was seen in use.
const RESERVED: u64 = 256;

/// Files that a leader keeps open for each task: the segment that is written, and a lock.
const FILES_PER_TASK: u64 = 2;

/// Descriptors that connections leave to the stores of a process that leads so many tasks.
pub fn reserved(tasks: usize) -> u64 {
    RESERVED.saturating_add(FILES_PER_TASK.saturating_mul(u64::try_from(tasks).unwrap_or(u64::MAX)))
}

/// With fewer connections than this a server is of no use to anybody.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the limit of open files to the highest that the process may have. Shells and service managers begin
/// with 1,024 for programs that use `select`, which this one does not; half-open connections alone could take
/// those, and then the stores could not open their files.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The highest limit of open files that the process may have; none if there is none.
pub fn attainable() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// How many connections each of so many servers may take under the limit that is in force, in a process that leads so
/// many tasks.
pub fn connections(servers: usize, tasks: usize) -> usize {
    connections_under(getrlimit(Resource::Nofile).current, servers, tasks)
}

/// As [`connections`], under any limit.
pub fn connections_under(limit: Option<u64>, servers: usize, tasks: usize) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    let servers = u64::try_from(servers).unwrap_or(u64::MAX).max(1);
    let each = limit.saturating_sub(reserved(tasks)) / servers;
    usize::try_from(each.max(CONNECTIONS_MIN)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// With the usual soft limit of 1,024, as many connections as a server took left no descriptor for the
    /// stores: reports were acknowledged and not aggregated for as long as somebody kept the connections up.
    #[test]
    fn connections_leave_files_to_the_stores() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.current.unwrap_or(1 << 20) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..before }).unwrap();
        assert_eq!(connections(1, 0), usize::try_from(lower - RESERVED).unwrap());
        raise();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);

        for (limit, servers, tasks, each) in [
            (1_024, 1, 0, 768),
            (1_024, 3, 0, 256),
            (4_096, 1, 0, 3_840),
            (4_096, 3, 0, 1_280),
            // Each task of a leader has files open as long as the leader runs; 150 tasks took what was for all.
            (1_024, 1, 150, 468),
            (100, 3, 0, 16),
            (0, 0, 0, 16),
        ] {
            assert_eq!(
                connections_under(Some(limit), servers, tasks),
                each,
                "{limit} for {servers}, {tasks}"
            );
        }
        assert_eq!(connections_under(None, 3, 1), usize::MAX);
    }
}
