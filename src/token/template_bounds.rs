//! Bounds on a template from outside, checked before the template engine parses it.
//!
//! The engine limits the nesting of blocks and brackets but not of chains (`a.b.b`, `not not a`, `1 + 1 + 1`, `elif`),
//! each link of which costs a stack frame: a long chain would end the process. Within these bounds no chain is long.
//! Knows nothing of what a template means.

/// Bytes between the ends of one `{{ … }}` or `{% … %}`; those of the templates compiled in have below 60.
const LONGEST_TAG: usize = 512;
/// `{{ … }}` and `{% … %}` of one template; those compiled in have below 20.
const MOST_TAGS: usize = 500;

/// What a template has too much of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    #[error("a tag of more than {LONGEST_TAG} bytes")]
    LongTag,
    #[error("more than {MOST_TAGS} tags")]
    ManyTags,
}

/// The first place beyond the bounds: the line (from 1), and what is too much there.
pub(super) fn find_excess(template: &str) -> Option<(usize, Excess)> {
    let (mut at, mut tags) = (0, 0);
    while let Some(found) = template[at..].find('{').map(|offset| at + offset) {
        let line = || template[..found].matches('\n').count() + 1;
        let inner = &template[found + 1..];
        at = found + 1;
        if let Some(comment) = inner.strip_prefix('#') {
            at += 1 + comment.find("#}").unwrap_or(comment.len());
        } else if inner.starts_with(['{', '%']) {
            tags += 1;
            let length = tag_length(inner);
            if length > LONGEST_TAG {
                return Some((line(), Excess::LongTag));
            }
            if tags > MOST_TAGS {
                return Some((line(), Excess::ManyTags));
            }
            at += length;
        }
    }
    None
}

/// Bytes up to the end of a tag that begins with the second character of its opening; an end within quotes is none.
fn tag_length(tag: &str) -> usize {
    let close: &[u8] = if tag.starts_with('{') { b"}}" } else { b"%}" };
    let (mut quote, mut is_escaped) = (None, false);
    let bytes = tag.as_bytes();
    for (n, byte) in bytes.iter().enumerate().skip(1) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if *byte == b'\\' => is_escaped = true,
            Some(open) if *byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(*byte),
            None if bytes[n..].starts_with(close) => return n + close.len(),
            None => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{BOOTSTRAP_SECRET_TEMPLATE, RBAC_TEMPLATE};

    #[test]
    fn what_people_write_is_within_the_bounds() {
        for template in [RBAC_TEMPLATE, BOOTSTRAP_SECRET_TEMPLATE, "", "{", "{{", "{#", "{% raw %}{{ {% endraw %}"] {
            assert_eq!(find_excess(template), None, "{template}");
        }
        let long_text = format!("{{# {{{{ {} #}}{}{{{{ a }}}}", "x".repeat(5000), "plain: text\n".repeat(5000));
        assert_eq!(find_excess(&long_text), None);
    }

    #[test]
    fn a_long_tag_is_found_with_its_line_and_quotes_hide_nothing() {
        let long = "-".repeat(LONGEST_TAG);
        for tag in [
            format!("{{{{ {long}1 }}}}"),
            format!("{{% if {long}1 %}}{{% endif %}}"),
            format!("{{{{ \"}}}}\" {long} }}}}"),
            format!("{{{{ '\\'}}}}' {long} }}}}"),
            format!("{{{{ {long}"),
        ] {
            assert_eq!(find_excess(&format!("a: b\n{tag}")), Some((2, Excess::LongTag)), "{tag}");
        }
    }

    #[test]
    fn too_many_tags_are_found() {
        let chain = format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}\n".repeat(MOST_TAGS));
        assert_eq!(find_excess(&chain), Some((MOST_TAGS, Excess::ManyTags)));
    }
}
