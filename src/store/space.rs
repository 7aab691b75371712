//! Free space, before a store is opened.

use std::io;
use std::path::Path;

/// Bytes that are free where a folder is, or will be once it is made.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&folder);
    let stat = rustix::fs::statvfs(there)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_a_folder_that_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let all =
            |folder: &Path| rustix::fs::statvfs(folder).map(|stat| stat.f_blocks * stat.f_frsize).unwrap();
        let free = free_bytes(&dir.path().join("a/b/c")).unwrap();
        assert!((1..=all(dir.path())).contains(&free), "{free}");
        assert!(free_bytes(Path::new("relative/folder")).is_ok());
    }
}
