//! Ids of resources, derived from what creates them: identical requests name the same resource. They are
//! keyed by a secret of the server, so that nobody who knows a request's content can guess its id.

use arras_protocol::messages::TaskId;
use ring::hmac;

use crate::store::RequestKey;

/// What kind of resource an id names; ids of different kinds never coincide.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Resource {
    AggregationJob = 1,
    AggregateShare = 2,
    CollectionJob = 3,
}

/// The secret of one server.
#[derive(Clone)]
pub struct IdKey(hmac::Key);

impl IdKey {
    /// From 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(crate) fn derive(&self, resource: Resource, task: TaskId, content: &[u8]) -> RequestKey {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[resource as u8]);
        context.update(task.as_bytes());
        context.update(content);
        let tag = context.sign();
        let mut key = RequestKey::default();
        key.copy_from_slice(&tag.as_ref()[..16]);
        key
    }
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_key_kind_task_and_content() {
        let key = IdKey::new(&[1; 32]);
        let task = TaskId::new([2; 32]);
        let id = key.derive(Resource::AggregationJob, task, b"request");
        assert_eq!(id, key.derive(Resource::AggregationJob, task, b"request"));
        assert_ne!(id, key.derive(Resource::AggregateShare, task, b"request"));
        assert_ne!(id, key.derive(Resource::AggregationJob, TaskId::new([3; 32]), b"request"));
        assert_ne!(id, key.derive(Resource::AggregationJob, task, b"requests"));
        assert_ne!(id, IdKey::new(&[4; 32]).derive(Resource::AggregationJob, task, b"request"));
    }
}
