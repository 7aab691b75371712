//! The query of a URL, of which every parameter must be known: one that is misspelt would otherwise give an answer to
//! another question.

use std::str::FromStr;

use serde::Serialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use super::refusal::Refusal;

/// The parameters of a request that nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the question mark.
    pub(super) fn read(text: Option<&str>) -> Result<Self, Refusal> {
        let text = text.unwrap_or_default();
        // Of a whole URL, since that is what the parser takes; the host is not looked at.
        let url = reqwest::Url::parse(&format!("http://localhost/?{text}"))
            .map_err(|_| Refusal::invalid("the query of the URL cannot be read"))?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in url.query_pairs() {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::invalid(format!("{name}: given twice")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// Takes a parameter. An empty one counts as left out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1).filter(|value| !value.is_empty())
    }

    /// Takes a parameter and reads it.
    pub(super) fn parse<T>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Refusal>
    where
        T: FromStr,
    {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::invalid(format!("{name}: {expected}")))
    }

    /// Takes a parameter that is one of a few words, as in JSON.
    pub(super) fn word<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let read: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
        T::deserialize(read).map(Some).map_err(|_| Refusal::invalid(format!("{name}: {expected}")))
    }

    /// Refuses whatever nobody took.
    pub(super) fn finish(&self, known: &[&str]) -> Result<(), Refusal> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        Err(Refusal::invalid(format!("there is no parameter {name}; {known}")))
    }
}

/// The word that something is in JSON; empty for what is none.
pub(super) fn word_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_parameter_is_known_and_given_once() {
        let mut query = Query::read(Some("a=1&b=x%26y&c=")).unwrap();
        assert_eq!(query.parse::<u32>("a", "a number").unwrap(), Some(1));
        assert_eq!(query.take("b").as_deref(), Some("x&y"));
        assert!(query.finish(&["a", "b"]).is_err());
        assert_eq!(query.take("c"), None);
        assert!(query.finish(&[]).is_ok());
        assert!(query.parse::<u32>("d", "a number").unwrap().is_none());
        assert!(Query::read(Some("a=1&a=2")).is_err());
        assert!(Query::read(None).unwrap().finish(&[]).is_ok());
    }
}
