//! Who may call: permissions policy, and activation by a person ("Permissions Policy Integration", "Attribution API
//! Activation"). For browsers; an app knows what a person did and calls the engine itself.

use super::error::AttributionError;
use super::moment::Moment;
use super::site::Site;

/// The two features that a permissions policy can take from a frame. Both are allowed by default (`*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `save-impression`
    SaveImpression,
    /// `measure-conversion`
    MeasureConversion,
}

/// What a top-level traversable, a tab, remembers: that a person acted, and whether its page may use the API for that.
/// Its times are of a clock that only goes forward.
#[derive(Clone, Debug, Default)]
pub struct Activation {
    enabled: bool,
    last: Option<Moment>,
}

impl Activation {
    /// A person acted on any frame of the tab, or began to navigate by the browser's own interface.
    pub fn activated(&mut self, now: Moment) {
        self.last = Some(now);
    }

    /// The tab was navigated. `initiator` is the site that asked for it, or none if no site did; `to` is the site of
    /// the response.
    pub fn navigated(&mut self, initiator: Option<&Site>, to: Option<&Site>) {
        if initiator.is_none() || initiator != to {
            self.enabled = false;
        }
    }

    /// "Check attribution API activation", after the check of the permissions policy, whose answer for the calling frame
    /// is `permitted`. To be called before each call of the engine, whose own checks come after.
    ///
    /// # Errors
    /// [`AttributionError::NotAllowed`].
    pub fn admit(
        &mut self,
        feature: Feature,
        permitted: bool,
        now: Moment,
        activation_ms: i64,
    ) -> Result<(), AttributionError> {
        if !permitted {
            return Err(AttributionError::NotAllowed(match feature {
                Feature::SaveImpression => "the permissions policy does not allow save-impression here",
                Feature::MeasureConversion => "the permissions policy does not allow measure-conversion here",
            }));
        }
        if self.enabled {
            return Ok(());
        }
        // The standard begins with the Unix epoch for "never", which a clock that starts with the machine is near to.
        if self.last.is_none_or(|last| last.plus(activation_ms) < now) {
            return Err(AttributionError::NotAllowed("no person has acted on this page lately"));
        }
        self.enabled = true;
        // An activation serves one site: the page keeps the permission, the next one needs another.
        self.last = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LASTING: i64 = 5_000;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn admits(activation: &mut Activation, now: i64) -> bool {
        activation.admit(Feature::SaveImpression, true, at(now), LASTING).is_ok()
    }

    #[test]
    fn an_activation_lets_a_page_begin_within_its_duration() {
        let mut tab = Activation::default();
        assert!(!admits(&mut tab, 1), "nobody has acted, and the clock has just begun");
        tab.activated(at(10));
        assert!(!admits(&mut tab.clone(), 10 + LASTING + 1));
        assert!(admits(&mut tab, 10 + LASTING));
        assert!(admits(&mut tab, 1_000_000), "the page keeps the permission");
    }

    #[test]
    fn another_site_needs_another_activation() {
        let site = |host| Site::parse(host).unwrap();
        let (news, shop) = (site("news.example"), site("shop.example"));
        let mut tab = Activation::default();
        tab.activated(at(10));
        assert!(admits(&mut tab, 11));
        tab.navigated(Some(&news), Some(&news));
        assert!(admits(&mut tab, 12), "the same site");
        tab.navigated(Some(&news), Some(&shop));
        assert!(!admits(&mut tab, 13));
        tab.activated(at(14));
        assert!(admits(&mut tab, 15));
        tab.navigated(None, Some(&shop));
        assert!(!admits(&mut tab, 16), "no site asked for this navigation");
    }

    #[test]
    fn an_activation_outlasts_a_navigation_until_it_is_used() {
        let mut tab = Activation::default();
        tab.activated(at(10));
        tab.navigated(None, None);
        assert!(admits(&mut tab, 11));
    }

    #[test]
    fn a_policy_comes_first() {
        let mut tab = Activation::default();
        tab.activated(at(10));
        let refused = tab.admit(Feature::MeasureConversion, false, at(10), LASTING).unwrap_err();
        assert!(refused.to_string().contains("measure-conversion"));
        assert!(admits(&mut tab, 10), "and uses no activation up");
    }
}
