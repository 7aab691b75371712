//! A running digest of all entries, so that an entry that is lost or stale is noticed.
//!
//! sled takes a damaged place in the middle of its log for the end of that log segment and
//! goes on with the next one: entries vanish, or come back in an older version, while the
//! newest commit is there (seen with 64 damaged bytes, in one place of twenty). For
//! report ids and budgets that would be a replay or an overspent budget.

/// Count, size and a sum of checksums of a set of entries. Against accidents: it misses one
/// in 2^32. Nobody who can write to the store is kept from forging it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    entries: u64,
    bytes: u64,
    sum: u64,
}

pub(super) const DIGEST_BYTES: usize = 24;

impl Digest {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(size(key, value));
        self.sum = self.sum.wrapping_add(checksum(key, value));
    }

    /// Takes out an entry that was added.
    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.bytes = self.bytes.wrapping_sub(size(key, value));
        self.sum = self.sum.wrapping_sub(checksum(key, value));
    }

    pub(super) fn to_bytes(self) -> [u8; DIGEST_BYTES] {
        let mut bytes = [0; DIGEST_BYTES];
        bytes[..8].copy_from_slice(&self.entries.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        bytes[16..].copy_from_slice(&self.sum.to_be_bytes());
        bytes
    }
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    // Its length first, so that key and value cannot trade bytes.
    crc.update(&(key.len() as u64).to_be_bytes());
    crc.update(key);
    crc.update(value);
    u64::from(crc.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_the_entries_only() {
        let mut digest = Digest::default();
        digest.add(b"a", b"12");
        digest.add(b"b", b"3");
        let two = digest;
        digest.add(b"c", b"4");
        assert_ne!(digest, two);
        digest.remove(b"a", b"12");
        digest.remove(b"c", b"4");
        digest.add(b"a", b"12");
        assert_eq!(digest.to_bytes(), two.to_bytes());
        let mut other = Digest::default();
        other.add(b"a1", b"2");
        other.add(b"b", b"3");
        assert_ne!(other, two);
    }
}
