//! Which manifests the app follows.

use arras_protocol::manifest::Manifest;
use rand::CryptoRng;

use super::{Advertiser, App, AppError};
use crate::attribution::Storage;
use crate::files::Files;

/// The file of an advertiser's manifest. A site has letters, digits, dots and hyphens only.
fn file(advertiser: &str) -> String {
    format!("manifest-{advertiser}")
}

impl<S: Storage, F: Files> App<S, F> {
    /// Takes a signed manifest of an advertiser, however it was fetched: from the collector, a cache, or with the app
    /// itself. From then on an older one is refused. Reports whose keys were outdated are made again with the new ones.
    ///
    /// # Errors
    /// [`AppError::Manifest`] says why it is not followed; the one before it is followed on. After another error it may be
    /// followed, and some reports are still to be made again: they are with the next one.
    pub fn update_manifest(
        &mut self,
        rng: &mut impl CryptoRng,
        advertiser: &str,
        text: &str,
        now: u64,
    ) -> Result<(), AppError> {
        let manifest = self.open_manifest(advertiser, text)?;
        manifest.holds_at(now)?;
        // After a crash the file counts: `load_manifests` remembers what is in it.
        self.queue.files_mut().replace(&file(advertiser), text.as_bytes())?;
        self.kept.manifests.insert(advertiser.to_owned(), manifest.seen());
        self.manifests.insert(advertiser.to_owned(), manifest);
        self.keep()?;
        self.make_outdated_again(rng)
    }

    /// When the manifest of an advertiser ends, in POSIX seconds: fetch the next one before; `None` if there is none.
    pub fn manifest_expires(&self, advertiser: &str) -> Option<u64> {
        self.manifests.get(advertiser).map(Manifest::expires)
    }

    /// The signed text of the manifest of an advertiser, to ask for a newer one with; `None` if there is none.
    pub fn manifest_text(&self, advertiser: &str) -> Result<Option<String>, AppError> {
        self.advertiser(advertiser)?;
        let bytes = self.queue.files().read(&file(advertiser))?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    fn open_manifest(&self, advertiser: &str, text: &str) -> Result<Manifest, AppError> {
        let keys = &self.advertiser(advertiser)?.keys;
        let seen = self.kept.manifests.get(advertiser).copied();
        Ok(Manifest::read(text, keys, advertiser, seen)?)
    }

    fn advertiser(&self, site: &str) -> Result<&Advertiser, AppError> {
        let found = self.rules.advertisers.iter().find(|advertiser| advertiser.site == site);
        found.ok_or(AppError::UnknownAdvertiser)
    }

    /// The manifest of an advertiser, if one holds now.
    pub(super) fn manifest(&self, advertiser: &str, now: u64) -> Result<&Manifest, AppError> {
        self.advertiser(advertiser)?;
        let manifest = self.manifests.get(advertiser).filter(|manifest| manifest.holds_at(now).is_ok());
        manifest.ok_or(AppError::NoManifest)
    }

    /// Those that an earlier run followed, whether or not they hold now: the clock may be set later. What is no manifest is as
    /// if there were none: it has to be fetched again, and what was seen is not forgotten.
    pub(super) fn load_manifests(&mut self) -> Result<(), AppError> {
        for advertiser in self.rules.advertisers.clone() {
            let Some(bytes) = self.queue.files().read(&file(&advertiser.site))? else { continue };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Ok(manifest) = self.open_manifest(&advertiser.site, &text) {
                self.kept.manifests.insert(advertiser.site.clone(), manifest.seen());
                self.manifests.insert(advertiser.site, manifest);
            }
        }
        Ok(())
    }
}
