//! Lists in pages. A cursor names the last entry that was seen and not a number of entries, so that what is added meanwhile
//! makes no entry appear twice or never.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::refusal::Refusal;

/// Entries of a page unless the client says how many.
pub(super) const LIMIT_DEFAULT: usize = 100;

/// Most entries of a page: some hundred bytes each, so that an answer stays below a megabyte.
pub(super) const LIMIT_MAX: usize = 1_000;

/// Longest cursor that is read; ours name two ids and a date.
const CURSOR_CHARACTERS_MAX: usize = 256;

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// At most so many entries.
    pub(super) limit: usize,
    /// Those after this one.
    pub(super) after: Option<String>,
}

impl Wanted {
    /// Takes `limit` and `cursor` from a query.
    pub(super) fn take(query: &mut Query) -> Result<Self, Refusal> {
        let limit = match query.take("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| Refusal::invalid(format!("limit: a number from 1 to {LIMIT_MAX}")))?,
        };
        let after = query.take("cursor").map(|cursor| read(&cursor).ok_or_else(wrong)).transpose()?;
        Ok(Self { limit, after })
    }

    /// The entry that a cursor names, as a list reads it.
    pub(super) fn after<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        self.after.as_deref().map(|after| read(after).ok_or_else(wrong)).transpose()
    }

    /// The page behind the entry that the cursor names, of a list that keeps its order. An entry that is gone makes a wrong cursor.
    pub(super) fn page_of<'a, T>(
        &self,
        all: &'a [T],
        name: impl Fn(&T) -> String,
    ) -> Result<Page<&'a T>, Refusal> {
        let after = self.after(|text| all.iter().position(|entry| name(entry) == text))?;
        Ok(self.page(all.iter().skip(after.map_or(0, |at| at + 1)), |entry| name(entry)))
    }

    /// The page of entries that come after the cursor; at least one more than fits must be given if there is one.
    pub(super) fn page<T>(
        &self,
        entries: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> String,
    ) -> Page<T> {
        let mut data: Vec<T> = entries.into_iter().take(self.limit + 1).collect();
        let more = data.len() > self.limit;
        data.truncate(self.limit);
        let next = data.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(name(last)));
        Page { data, next }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The entries.
    pub(super) data: Vec<T>,
    /// The `cursor` of the next page; `null` if this is the last one.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The same page of other entries.
    pub(super) fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(change).collect(), next: self.next }
    }
}

/// The URL of the next page, for the `Link` header of a table. `rest` are the other parameters.
pub(super) fn next_link(
    path: &str,
    wanted: &Wanted,
    next: Option<&String>,
    rest: &[(&str, String)],
) -> Option<String> {
    let next = next?;
    // Cannot fail for a path of ours; without a link a reader is only told less.
    let mut url = reqwest::Url::parse(&format!("http://localhost{path}")).ok()?;
    {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in rest {
            pairs.append_pair(name, value);
        }
        pairs.append_pair("limit", &wanted.limit.to_string()).append_pair("cursor", next);
    }
    Some(format!("{path}?{}", url.query().unwrap_or_default()))
}

fn read(cursor: &str) -> Option<String> {
    if cursor.len() > CURSOR_CHARACTERS_MAX {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

fn wrong() -> Refusal {
    Refusal::invalid("cursor: take it from `next` of the page before, or leave it out for the first page")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(query: &str) -> Result<Wanted, Refusal> {
        Wanted::take(&mut Query::read(Some(query)).unwrap())
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let all: Vec<u32> = (0..250).collect();
        let (mut seen, mut query) = (Vec::new(), "limit=100".to_owned());
        for expected in [100, 100, 50] {
            let wanted = wanted(&query).unwrap();
            let after = wanted.after(|text| text.parse::<u32>().ok()).unwrap();
            let rest = all.iter().copied().filter(|entry| after.is_none_or(|after| *entry > after));
            let page = wanted.page(rest, u32::to_string);
            assert_eq!(page.data.len(), expected);
            seen.extend(page.data);
            match page.next {
                Some(next) => query = format!("limit=100&cursor={next}"),
                None => assert_eq!(seen.len(), 250),
            }
        }
        assert_eq!(seen, all);
        let whole = wanted("limit=250").unwrap().page(all.iter().copied(), u32::to_string);
        assert_eq!(whole.next, None, "a last page that is full has no next one");
    }

    #[test]
    fn limits_and_cursors_that_are_none_are_refused() {
        assert_eq!(wanted("").unwrap(), Wanted { limit: LIMIT_DEFAULT, after: None });
        let long = format!("cursor={}", "a".repeat(CURSOR_CHARACTERS_MAX + 4));
        for wrong in
            ["limit=0", "limit=1001", "limit=-1", "limit=a", "cursor=%20", "cursor=_w", long.as_str()]
        {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
        assert!(wanted("cursor=YQ").unwrap().after(|text| text.parse::<u32>().ok()).is_err());
    }
}
