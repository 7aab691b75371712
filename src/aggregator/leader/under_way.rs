//! What a driver has under way, each known by its task and a key of its own.

use std::collections::HashMap;

use arras_protocol::messages::TaskId;
use tokio::task::{Id, JoinError, JoinSet};

/// The steps that are being taken for jobs of the kind `K`, each of which ends in a `T`. Dropped, all of them stop.
pub(super) struct UnderWay<K, T> {
    running: JoinSet<T>,
    keys: HashMap<Id, (TaskId, K)>,
}

/// Whose steps ended, and in what, unless they panicked.
pub(super) type Ended<K, T> = ((TaskId, K), Result<T, JoinError>);

impl<K: Copy, T: Send + 'static> UnderWay<K, T> {
    pub(super) fn new() -> Self {
        Self { running: JoinSet::new(), keys: HashMap::new() }
    }

    pub(super) fn start(&mut self, key: (TaskId, K), steps: impl Future<Output = T> + Send + 'static) {
        let handle = self.running.spawn(steps);
        self.keys.insert(handle.id(), key);
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// The keys of a task, in no order.
    pub(super) fn of(&self, task: TaskId) -> impl Iterator<Item = K> {
        self.keys.values().filter(move |(of, _)| *of == task).map(|(_, key)| *key)
    }

    /// The next that ends. `None` at once if nothing is under way. May be dropped: then nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Ended<K, T>> {
        let ended = self.running.join_next_with_id().await?;
        self.known(ended)
    }

    /// One that has ended, if there is one.
    pub(super) fn ended(&mut self) -> Option<Ended<K, T>> {
        let ended = self.running.try_join_next_with_id()?;
        self.known(ended)
    }

    fn known(&mut self, ended: Result<(Id, T), JoinError>) -> Option<Ended<K, T>> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        // Whatever was started is in the map.
        self.keys.remove(&id).map(|key| (key, result))
    }
}
