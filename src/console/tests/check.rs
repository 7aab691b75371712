//! What holds for every page, as a test asks it of a document: that it can be used without eyes, without a pointer and without
//! script, and that nothing in it runs.

use std::collections::{BTreeMap, BTreeSet};

/// An element, with the text inside of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) text: String,
    /// Elements around it, outermost first, as indices.
    pub(crate) around: Vec<usize>,
}

impl Element {
    pub(crate) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// Elements that have no end.
const VOID: [&str; 8] = ["area", "br", "hr", "img", "input", "link", "meta", "wbr"];

/// Reads a document of ours, in order of its elements. Panics where tags are not closed in the order in which they were opened.
pub(crate) fn elements(html: &str) -> Vec<Element> {
    let (mut found, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
    for piece in html.split('<').skip(1) {
        // An attribute may hold a bare `>`; none of ours does, since it is escaped.
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop().map(|index| found[index].name.clone());
            assert_eq!(last.as_deref(), Some(name.trim()), "closed in another order");
        } else {
            let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let mut element = parse(tag);
            element.around.clone_from(&open);
            let void = closed || VOID.contains(&element.name.as_str());
            found.push(element);
            if !void {
                open.push(found.len() - 1);
            }
        }
        for index in &open {
            found[*index].text += text;
        }
    }
    assert!(
        open.is_empty(),
        "not closed: {:?}",
        open.iter().map(|index| &found[*index].name).collect::<Vec<_>>()
    );
    found
}

fn parse(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut element = Element { name: name.to_owned(), ..Element::default() };
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return element;
        }
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        let value = if let Some(quoted) = rest[end..].strip_prefix("=\"") {
            let (value, after) = quoted.split_once('"').expect("a quoted value");
            rest = after;
            value.to_owned()
        } else {
            assert!(!rest[end..].starts_with('='), "a value without quotes: {tag}");
            rest = &rest[end..];
            String::new()
        };
        assert!(element.attributes.insert(name, value).is_none(), "an attribute twice: {tag}");
    }
}

/// Panics with all that is wrong with a page.
pub(crate) fn usable(html: &str) {
    let all = elements(html);
    let mut wrong = Vec::new();
    document(&all, &mut wrong);
    names(&all, &mut wrong);
    controls(&all, &mut wrong);
    inert(&all, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}\n{html}");
}

/// Language, landmarks, headings.
fn document(all: &[Element], wrong: &mut Vec<String>) {
    let count = |name: &str| all.iter().filter(|element| element.name == name).count();
    for (name, many) in [("html", 1), ("main", 1), ("h1", 1), ("title", 1)] {
        let found = if name == "title" {
            all.iter().filter(|e| e.name == name && e.around.iter().any(|at| all[*at].name == "head")).count()
        } else {
            count(name)
        };
        if found != many {
            wrong.push(format!("{found} of {name}"));
        }
    }
    if all.first().and_then(|html| html.get("lang")) != Some("en") {
        wrong.push("no language".to_owned());
    }
    let mut level = 0;
    for heading in all.iter().filter(|e| matches!(e.name.as_str(), "h1" | "h2" | "h3" | "h4")) {
        let next: u32 = heading.name[1..].parse().unwrap_or(0);
        if next > level + 1 {
            wrong.push(format!("{} after h{level}: {}", heading.name, heading.text));
        }
        level = next;
    }
    for nav in all.iter().filter(|element| element.name == "nav") {
        if nav.get("aria-label").is_none() {
            wrong.push("a nav without a name".to_owned());
        }
    }
    for table in all.iter().enumerate().filter(|(_, element)| element.name == "table") {
        let inside = |name: &str| all.iter().any(|e| e.name == name && e.around.last() == Some(&table.0));
        if !inside("caption") || !inside("thead") {
            wrong.push(format!("a table without caption or head: {}", table.1.text));
        }
    }
    for th in all.iter().filter(|element| element.name == "th" && element.get("scope").is_none()) {
        wrong.push(format!("th without scope: {}", th.text));
    }
}

/// Ids are there once, and what refers to one finds it.
fn names(all: &[Element], wrong: &mut Vec<String>) {
    let mut ids = BTreeSet::new();
    for id in all.iter().filter_map(|element| element.get("id")) {
        if !ids.insert(id) {
            wrong.push(format!("id {id} twice"));
        }
    }
    for element in all {
        for attribute in ["for", "aria-labelledby", "aria-describedby"] {
            for id in element.get(attribute).unwrap_or_default().split_whitespace() {
                if !ids.contains(id) {
                    wrong.push(format!("{attribute} names {id}, which is not there"));
                }
            }
        }
        let within = element.get("href").and_then(|href| href.strip_prefix('#'));
        if let Some(id) = within.filter(|id| !ids.contains(*id)) {
            wrong.push(format!("a link to #{id}, which is not there"));
        }
    }
}

/// Everything that is used has a name.
fn controls(all: &[Element], wrong: &mut Vec<String>) {
    let labelled: BTreeSet<&str> =
        all.iter().filter(|e| e.name == "label").filter_map(|label| label.get("for")).collect();
    for (index, element) in all.iter().enumerate() {
        let named = element.get("aria-label").is_some() || element.get("aria-labelledby").is_some();
        match element.name.as_str() {
            "input" if matches!(element.get("type"), Some("hidden" | "submit")) => {}
            "input" | "select" | "textarea" => {
                let labelled = element.get("id").is_some_and(|id| labelled.contains(id))
                    || element.around.iter().any(|at| all[*at].name == "label");
                if !labelled && !named {
                    wrong.push(format!("{} {:?} without a label", element.name, element.get("name")));
                }
            }
            "a" | "button" | "summary" | "label" | "legend" | "h1" | "h2" | "h3" | "th"
                if element.text.trim().is_empty() && !named =>
            {
                wrong.push(format!("{} without text", element.name));
            }
            "svg" => {
                let hidden = element.get("aria-hidden") == Some("true");
                let told = element.get("role") == Some("img") && element.get("aria-labelledby").is_some();
                if !hidden && !told {
                    wrong.push("a picture that is neither told nor hidden".to_owned());
                }
            }
            "form" if element.get("method") == Some("post") => {
                let token = |e: &Element| e.get("name") == Some("csrf") && e.around.contains(&index);
                if !all.iter().any(token) {
                    wrong.push(format!("form {:?} without a token", element.get("action")));
                }
            }
            _ => {}
        }
        if element.get("tabindex").is_some_and(|order| order.parse::<i32>().map_or(true, |order| order > 0)) {
            wrong.push(format!("{} takes its own place in the order of tabs", element.name));
        }
    }
}

/// Nothing runs, and nothing is loaded from elsewhere.
fn inert(all: &[Element], wrong: &mut Vec<String>) {
    for element in all {
        if matches!(element.name.as_str(), "script" | "style" | "iframe" | "object" | "embed" | "base") {
            wrong.push(format!("<{}>", element.name));
        }
        for (name, value) in &element.attributes {
            let runs = name.starts_with("on") || name == "style";
            let leads = matches!(name.as_str(), "href" | "src" | "action" | "formaction");
            let away = leads && !(value.starts_with('/') || value.starts_with('#') || value.starts_with('?'))
                || value.starts_with("//");
            if runs || away {
                wrong.push(format!("<{} {name}={value:?}>", element.name));
            }
        }
    }
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let page = |inside: &str| {
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><title>t</title></head><body><main><h1>t</h1>{inside}</main></body></html>"
        )
    };
    usable(&page("<p>right</p><label for=\"a\">a</label><input id=\"a\" name=\"a\" type=\"text\">"));
    for inside in [
        "<h1>twice</h1>",
        "<h3>skips one</h3>",
        "<input name=\"a\" type=\"text\">",
        "<table><thead><tr><th>no scope</th></tr></thead><caption>c</caption></table>",
        "<table><thead><tr><th scope=\"col\">no caption</th></tr></thead></table>",
        "<a href=\"/x\"></a>",
        "<a href=\"javascript:x\">x</a>",
        "<a href=\"//x\">x</a>",
        "<a href=\"#x\">x</a>",
        "<p style=\"x\">x</p>",
        "<p onclick=\"x\">x</p>",
        "<p tabindex=\"1\">x</p>",
        "<p id=\"a\">x</p><p id=\"a\">x</p>",
        "<script>x</script>",
        "<svg></svg>",
        "<nav>x</nav>",
        "<form method=\"post\" action=\"/x\"><button type=\"submit\">x</button></form>",
        "<p>not closed",
    ] {
        let page = page(inside);
        let found = std::panic::catch_unwind(|| usable(&page));
        assert!(found.is_err(), "{inside}");
    }
}
