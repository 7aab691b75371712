//! Sites: registrable domains by the public suffix list, private domains included ("parse a site").

use std::fmt;
use std::sync::Arc;

use super::error::AttributionError;

/// A site: the `https` scheme and a registrable domain, of which only the domain is kept, since the scheme is always
/// the same. In ASCII, with A-labels, in lower case.
///
/// `extra.shop.example` and `shop.example` are one site; `a.github.io` and `b.github.io` are two, since the private part
/// of the public suffix list counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(Arc<str>);

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Site({})", self.0)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Site {
    /// The site of a host, as the standard's "parse a site" says: what is not a domain, is a public suffix itself, or
    /// is a localhost name, is none.
    ///
    /// # Errors
    /// [`AttributionError::Syntax`].
    pub fn parse(host: &str) -> Result<Self, AttributionError> {
        Self::of(host).ok_or_else(|| AttributionError::Syntax(shortened(host)))
    }

    fn of(host: &str) -> Option<Self> {
        let url::Host::Domain(domain) = url::Host::parse(host).ok()? else { return None };
        // A trailing dot is no label (URL standard, "public suffix"): it is set aside and put back.
        let (name, dot) = domain.strip_suffix('.').map_or((domain.as_str(), ""), |name| (name, "."));
        // The list's crate takes an empty label for one: all of `a..com` and `b..com` would be the site `.com`.
        if name.split('.').any(str::is_empty) {
            return None;
        }
        let site = psl::domain_str(name)?;
        // The standard names `localhost` without a dot behind it; the name with one is the same (RFC 6761).
        if site == "localhost" || site.ends_with(".localhost") {
            return None;
        }
        let site = format!("{site}{dot}");
        // The host parser lets longer ones pass; no name server knows one (RFC 1035 section 2.3.4), and no task.
        (site.len() <= DOMAIN_BYTES_MAX).then(|| Self(site.into()))
    }

    /// A domain that was a site when it was kept, whatever today's list of public suffixes says.
    pub(crate) fn kept(domain: &str) -> Option<Self> {
        let is_domain = matches!(url::Host::parse(domain), Ok(url::Host::Domain(parsed)) if parsed == domain);
        (is_domain && domain.len() <= DOMAIN_BYTES_MAX).then(|| Self(domain.into()))
    }

    /// The domain, in ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Longest domain, in bytes: that of a name of the domain name system, and of a task's extensions. A dot behind it counts.
const DOMAIN_BYTES_MAX: usize = arras_protocol::task::NAME_BYTES_MAX;

/// An error repeats at most this many characters of what was given.
const QUOTED_CHARS: usize = 80;

fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_site_is_the_registrable_domain() {
        for (host, site) in [
            ("shop.example", "shop.example"),
            ("extra.shop.example", "shop.example"),
            ("EXAMPLE.co.uk", "example.co.uk"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("someone.github.io", "someone.github.io"),
            ("deep.someone.github.io", "someone.github.io"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("shop.example.", "shop.example."),
            ("city.kawasaki.jp", "city.kawasaki.jp"),
            ("notlocalhost.example", "notlocalhost.example"),
        ] {
            assert_eq!(Site::parse(host).unwrap().as_str(), site, "{host}");
        }
    }

    #[test]
    fn what_has_no_registrable_domain_is_no_site() {
        let hosts = [
            "",
            "a",
            "com",
            "co.uk",
            "github.io",
            ":",
            "a b.example",
            "127.0.0.1",
            "1.2",
            "[::1]",
            "localhost",
            "foo.localhost",
            "foo.localhost.",
            "localhost.",
            "..",
            ".example",
            "a..example",
            "a..com",
            "a.b..github.io",
            "shop.example..",
            "shop..example.",
            "shop.example:443",
            "https://shop.example",
            "user@shop.example",
            "%",
        ];
        for host in hosts {
            assert!(matches!(Site::parse(host), Err(AttributionError::Syntax(_))), "{host:?}");
        }
    }

    /// One of 254 bytes was a site whose budget was spent, and of which no task could be made.
    #[test]
    fn a_site_fits_the_names_of_a_task() {
        let domain = |bytes: usize, end: &str| format!("{}{end}", "a".repeat(bytes - end.len()));
        for end in [".com", ".com."] {
            let longest = domain(253, end);
            assert_eq!(Site::parse(&longest).unwrap().as_str(), longest);
            assert!(arras_protocol::task::is_name(longest.as_bytes()));
            assert!(matches!(Site::parse(&domain(254, end)), Err(AttributionError::Syntax(_))));
            assert!(Site::kept(&domain(254, end)).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_site_of_itself_or_none(
            text in "\\PC{0,40}|[a-c&]{0,2}(\\.{1,2}[a-c&]{0,2}){1,3}(\\.com|\\.github\\.io)?\\.{0,2}",
        ) {
            if let Ok(site) = Site::parse(&text) {
                prop_assert_eq!(Site::parse(site.as_str()).unwrap(), site);
            }
        }

        #[test]
        fn a_subdomain_is_of_the_same_site(label in "[a-z][a-z0-9]{0,9}") {
            let shop = Site::parse("shop.example").unwrap();
            prop_assert_eq!(Site::parse(&format!("{label}.shop.example")).unwrap(), shop);
        }
    }
}
