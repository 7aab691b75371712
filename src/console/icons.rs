//! Pictures within pages. They are decoration: whoever does not see them misses no word.

use maud::{Markup, html};

use super::layout::{Nav, fixed};

/// Arras's mark: a plain weave.
pub(super) fn weave() -> Markup {
    let (_, inside) = include_str!("icon.svg").trim_end().split_once('>').unwrap_or_default();
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" focusable="false" {
            (maud::PreEscaped(inside.strip_suffix("</svg>").unwrap_or_default()))
        }
    }
}

/// The sign of a part of the console: strokes on a grid of 24.
pub(super) fn nav(nav: Nav) -> Markup {
    let path = match nav {
        Nav::Overview => r#"<path d="M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z"/>"#,
        Nav::Campaigns => r#"<path d="M4 10v4h3l8 5V5l-8 5zM18.5 9a4 4 0 0 1 0 6"/>"#,
        Nav::Releases => r#"<path d="M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h5"/>"#,
        Nav::Budget => r#"<path d="M12 3a9 9 0 1 0 9 9h-9z"/><path d="M16 3.9A9 9 0 0 1 20.1 8H16z"/>"#,
        Nav::Planner => r#"<path d="M4 20 20 4M4 14v6h6M14 4h6v6M8 8l2 2M14 14l2 2"/>"#,
        Nav::Delivery => r#"<path d="M12 16V4M7 9l5-5 5 5M4 15v5h16v-5"/>"#,
        Nav::Account => r#"<circle cx="12" cy="8" r="4"/><path d="M4 21c1-5 4-7 8-7s7 2 8 7"/>"#,
        Nav::Help => {
            r#"<circle cx="12" cy="12" r="9"/><path d="M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.5-1.1 1-1.1 2M12 17v.5"/>"#
        }
    };
    html! {
        svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round"
            stroke-linejoin="round" aria-hidden="true" focusable="false" { (fixed(path)) }
    }
}

/// The direction of a sorted column; both, where it is not sorted.
pub(super) fn sorting(descending: Option<bool>) -> Markup {
    let path = match descending {
        Some(true) => r#"<path d="M5 9 1 3h8z"/>"#,
        Some(false) => r#"<path d="m5 1 4 6H1z"/>"#,
        None => r#"<path opacity=".45" d="M5 0 2 4h6zM5 10 2 6h6z"/>"#,
    };
    html! { svg viewBox="0 0 10 10" fill="currentColor" aria-hidden="true" focusable="false" { (fixed(path)) } }
}

/// The sign of an empty place: a loom with a few threads on it.
pub(super) fn loom() -> Markup {
    html! {
        svg viewBox="0 0 72 72" fill="none" aria-hidden="true" focusable="false" {
            (fixed(
                r#"<g class="c-axis" stroke-width="2"><path d="M12 10h48M12 62h48M14 6v60M58 6v60"/></g><g class="c-line" stroke-width="2.5"><path d="M22 10v52M29 10v52M36 10v52M43 10v52M50 10v52"/></g><g class="c-reach" stroke-width="4" stroke-linecap="round"><path d="M20 56h5M33 56h6M47 56h5M26 50h6M40 50h6"/></g><g class="c-mark" stroke-width="4" stroke-linecap="round"><path d="M20 44h5M33 44h6"/></g>"#
            ))
        }
    }
}
