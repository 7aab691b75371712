//! What a driver has under way, each known by a key.

use std::collections::HashMap;

use arras_protocol::messages::TaskId;
use tokio::task::{Id, JoinError, JoinSet};

/// The steps that are being taken, each known by a `K` and ending in a `T`. Dropped, all of them stop.
pub(crate) struct UnderWay<K, T> {
    running: JoinSet<T>,
    keys: HashMap<Id, K>,
}

/// Whose steps ended, and in what, unless they panicked.
pub(crate) type Ended<K, T> = (K, Result<T, JoinError>);

impl<K, T: Send + 'static> UnderWay<K, T> {
    pub(crate) fn new() -> Self {
        Self { running: JoinSet::new(), keys: HashMap::new() }
    }

    pub(crate) fn start(&mut self, key: K, steps: impl Future<Output = T> + Send + 'static) {
        let handle = self.running.spawn(steps);
        self.keys.insert(handle.id(), key);
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// The next that ends. `None` at once if nothing is under way. May be dropped: then nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Ended<K, T>> {
        let ended = self.running.join_next_with_id().await?;
        self.known(ended)
    }

    /// One that has ended, if there is one.
    pub(crate) fn ended(&mut self) -> Option<Ended<K, T>> {
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

impl<J: Copy, T> UnderWay<(TaskId, J), T> {
    /// The jobs of a task, in no order.
    pub(crate) fn of(&self, task: TaskId) -> impl Iterator<Item = J> {
        self.keys.values().filter(move |(of, _)| *of == task).map(|(_, job)| *job)
    }
}
