//! SPDX licence expressions, as far as Cargo.toml files use them: names, `OR` (older crates write `/`), `AND`, `WITH`
//! and parentheses. `AND` binds tighter than `OR`.

/// The licences kubemint may be built from: permissive ones, whose only duty is to pass on a notice.
pub const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the expression can be met with [`ALLOWED`] licences alone.
pub fn is_allowed(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = either(&mut words).ok_or_else(|| format!("`{expression}` is no licence expression"))?;
    words.next().map_or(Ok(verdict), |word| Err(format!("`{expression}`: `{word}` is out of place")))
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words) -> Option<bool> {
    let mut verdict = both(words)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= both(words)?;
    }
    Some(verdict)
}

fn both(words: &mut Words) -> Option<bool> {
    let mut verdict = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words)?;
    }
    Some(verdict)
}

fn one(words: &mut Words) -> Option<bool> {
    let name = words.next()?;
    if name == "(" {
        let verdict = either(words)?;
        return (words.next()? == ")").then_some(verdict);
    }
    let full = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{name} WITH {}", words.next()?),
        None => name.to_owned(),
    };
    Some(ALLOWED.contains(&full.as_str()))
}

#[test]
fn expressions_are_weighed() {
    for (expression, expected) in [
        ("MIT", Ok(true)),
        ("GPL-3.0-only", Ok(false)),
        ("MIT OR GPL-3.0-only", Ok(true)),
        ("MIT AND GPL-3.0-only", Ok(false)),
        ("GPL-3.0-only/MIT", Ok(true)),
        ("Apache-2.0 / MIT", Ok(true)),
        ("MIT OR GPL-3.0-only AND ISC", Ok(true)),
        ("(MIT OR ISC) AND GPL-3.0-only", Ok(false)),
        ("ISC AND (Apache-2.0 OR GPL-3.0-only)", Ok(true)),
        ("Apache-2.0 WITH LLVM-exception", Ok(true)),
        ("GPL-2.0-only WITH Classpath-exception-2.0", Ok(false)),
        ("MPL-2.0", Ok(false)),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
    for nonsense in ["", "MIT OR", "(MIT", "MIT ISC", "AND"] {
        assert!(!matches!(is_allowed(nonsense), Ok(true)), "{nonsense}");
    }
}
