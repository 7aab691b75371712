//! Forms with a file (`multipart/form-data`, RFC 7578), of a body that is whole in memory and limited in size.

use axum::http::{HeaderMap, header};

/// Parts of a form: the console's have four.
const PARTS_MAX: usize = 16;

/// Bytes of the lines before a part's content.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// A body that no browser sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A field of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The field's name.
    pub(super) name: &'a str,
    /// What is in it. The file's name is not looked at.
    pub(super) content: &'a [u8],
}

/// The boundary, if the headers announce such a form.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    // RFC 2046 section 5.1.1 has at most 70 of few characters.
    let fits = (1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| boundary.to_owned())
}

/// The fields of a body, in their order.
pub(super) fn parts<'a>(boundary: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, Malformed> {
    let delimiter = format!("\r\n--{boundary}");
    // The first has no line before it.
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..]).ok_or(Malformed)?;
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or(Malformed)?;
        let head_end = find(&rest[..rest.len().min(HEAD_BYTES_MAX)], b"\r\n\r\n").ok_or(Malformed)?;
        let head = std::str::from_utf8(&rest[..head_end]).map_err(|_| Malformed)?;
        let content = &rest[head_end + 4..];
        let end = find(content, delimiter.as_bytes()).ok_or(Malformed)?;
        if parts.len() == PARTS_MAX {
            return Err(Malformed);
        }
        parts.push(Part { name: name(head).ok_or(Malformed)?, content: &content[..end] });
        rest = &content[end + delimiter.len()..];
    }
}

/// The one text field of a name.
pub(super) fn text<'a>(parts: &[Part<'a>], name: &str) -> Option<&'a str> {
    std::str::from_utf8(content(parts, name)?).ok()
}

/// The content of the one field of a name.
pub(super) fn content<'a>(parts: &[Part<'a>], name: &str) -> Option<&'a [u8]> {
    let mut of_name = parts.iter().filter(|part| part.name == name);
    let first = of_name.next()?;
    of_name.next().is_none().then_some(first.content)
}

/// The name that a part's header gives.
fn name(head: &str) -> Option<&str> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value.trim())
    })?;
    let rest = disposition.strip_prefix("form-data;")?;
    // The names of our fields need no escapes, and a file's name comes after.
    let (name, _) = rest.trim_start().strip_prefix("name=\"")?.split_once('"')?;
    Some(name)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn body(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, content) in fields {
            body.extend_from_slice(
                format!(
                    "--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a \\\"b\\\".csv\"\r\n\
                     Content-Type: text/csv\r\n\r\n"
                )
                .as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XyZ--\r\n");
        body
    }

    #[test]
    fn a_browsers_form_is_read() {
        let body = body(&[("csrf", b"token"), ("file", b"a,b\r\n--Xy\r\n\xff"), ("text", b"")]);
        let parts = parts("XyZ", &body).unwrap();
        assert_eq!(text(&parts, "csrf"), Some("token"));
        assert_eq!(content(&parts, "file"), Some(&b"a,b\r\n--Xy\r\n\xff"[..]));
        assert_eq!(
            (text(&parts, "file"), text(&parts, "text"), text(&parts, "none")),
            (None, Some(""), None)
        );
    }

    #[test]
    fn two_fields_of_one_name_are_none() {
        let body = body(&[("csrf", b"a"), ("csrf", b"b")]);
        assert_eq!(text(&parts("XyZ", &body).unwrap(), "csrf"), None);
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        let whole = body(&[("csrf", b"token")]);
        for length in 0..whole.len() - 4 {
            assert_eq!(parts("XyZ", &whole[..length]), Err(Malformed), "{length} bytes");
        }
        assert!(parts("XyZ", &body(&[("a", &b""[..]); PARTS_MAX])).is_ok());
        assert_eq!(parts("XyZ", &body(&[("a", &b""[..]); PARTS_MAX + 1])), Err(Malformed));
        assert_eq!(parts("Xy", &whole), Err(Malformed));
        let no_name = b"--XyZ\r\nContent-Type: text/plain\r\n\r\na\r\n--XyZ--";
        assert_eq!(parts("XyZ", no_name), Err(Malformed));
        let long = format!("--XyZ\r\nX: {}\r\n\r\na\r\n--XyZ--", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(parts("XyZ", long.as_bytes()), Err(Malformed));
    }

    #[test]
    fn boundaries_are_taken_from_the_headers() {
        let of = |value: &str| {
            boundary(&[(header::CONTENT_TYPE, value.parse().unwrap())].into_iter().collect::<HeaderMap>())
        };
        assert_eq!(of("multipart/form-data; boundary=----a"), Some("----a".to_owned()));
        assert_eq!(of("Multipart/Form-Data; charset=x; Boundary=\"a\""), Some("a".to_owned()));
        for none in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=a",
            "text/plain; boundary=a",
            &format!("multipart/form-data; boundary={}", "a".repeat(71)),
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parts("X", &bytes);
            let mut begun = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec();
            begun.extend_from_slice(&bytes);
            let _ = parts("X", &begun);
        }

        #[test]
        fn what_is_in_a_field_arrives(content in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assume!(find(&content, b"\r\n--XyZ").is_none());
            let body = body(&[("a", &content)]);
            let parts = parts("XyZ", &body).unwrap();
            prop_assert_eq!(super::content(&parts, "a"), Some(&content[..]));
        }
    }
}
