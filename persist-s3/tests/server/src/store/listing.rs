//! One page of a listing, as ListObjectsV2 defines it:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>.

use super::Facts;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    /// Only names behind this one.
    pub(crate) after: String,
    /// What the page before gave as `next`.
    pub(crate) token: Option<String>,
    pub(crate) limit: usize,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Facts)>,
    pub(crate) common: Vec<String>,
    /// The token of the next page, if there is one: the last name or common prefix of this one.
    pub(crate) next: Option<String>,
}

/// The page of `objects`, which come in the order of their names.
pub(crate) fn page<'a>(ask: &Ask, objects: impl Iterator<Item = (&'a String, &'a Facts)>) -> Page {
    let mut page = Page::default();
    let after = ask.token.as_deref().map_or(ask.after.as_str(), |token| token.max(&ask.after));
    let mut last = String::new();
    for (key, facts) in objects.filter(|(key, _)| key.starts_with(&ask.prefix) && key.as_str() > after) {
        let common = common_prefix(ask, key);
        // Behind a common prefix that an earlier page ended with, or that this one has already.
        if common.is_some_and(|common| ask.token.as_deref() == Some(common) || last == common) {
            continue;
        }
        if page.objects.len() + page.common.len() >= ask.limit {
            page.next = Some(last);
            return page;
        }
        last = common.unwrap_or(key).to_owned();
        match common {
            Some(common) => page.common.push(common.to_owned()),
            None => page.objects.push((key.clone(), facts.clone())),
        }
    }
    page
}

fn common_prefix<'a>(ask: &Ask, key: &'a str) -> Option<&'a str> {
    let delimiter = ask.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(ask.prefix.len()..)?;
    let end = rest.find(delimiter)? + ask.prefix.len() + delimiter.len();
    key.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, time::SystemTime};

    fn listed(ask: &Ask, keys: &[&str]) -> (Vec<String>, Vec<String>, usize) {
        let facts = Facts {
            etag: String::new(),
            bytes: 0,
            modified: SystemTime::UNIX_EPOCH,
            content_type: None,
            metadata: BTreeMap::new(),
        };
        let keys: BTreeMap<String, Facts> = keys.iter().map(|key| (key.to_string(), facts.clone())).collect();
        let (mut objects, mut common, mut pages, mut ask) = (Vec::new(), Vec::new(), 0, ask.clone());
        loop {
            let page = page(&ask, keys.iter());
            pages += 1;
            objects.extend(page.objects.into_iter().map(|(key, _)| key));
            common.extend(page.common);
            ask.token = page.next;
            if ask.token.is_none() {
                return (objects, common, pages);
            }
        }
    }

    #[test]
    fn pages_of_any_size_give_each_name_once() {
        let keys = ["a", "b/1", "b/2", "b/3", "c", "d/1", "e", "f"];
        for limit in 1..10 {
            let ask = Ask { limit, ..Ask::default() };
            assert_eq!(listed(&ask, &keys).0, keys);
            let ask = Ask { limit, delimiter: Some("/".into()), ..Ask::default() };
            let (objects, common, pages) = listed(&ask, &keys);
            assert_eq!(
                (objects, common),
                (vec!["a".into(), "c".into(), "e".into(), "f".into()], vec!["b/".into(), "d/".into()])
            );
            assert_eq!(pages, 6_usize.div_ceil(limit));
        }
    }

    #[test]
    fn a_listing_keeps_to_its_prefix_and_begins_behind_its_start() {
        let ask = Ask { limit: 9, prefix: "b/".into(), after: "b/1".into(), ..Ask::default() };
        assert_eq!(listed(&ask, &["a", "b/1", "b/2", "b/3", "c"]).0, ["b/2", "b/3"]);
    }
}
