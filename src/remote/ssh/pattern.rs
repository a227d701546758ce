//! Name patterns as known_hosts has them: `*`, `?` and `!`. Brackets are plain characters here (`[host]:port`), so the
//! inventory's globs would not do.

/// A comma list of patterns: at least one matches, and no negated one does.
pub(super) fn list_matches(patterns: &[String], name: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if glob_matches(negated, name) => return false,
            Some(_) => {}
            None => matched |= glob_matches(pattern, name),
        }
    }
    matched
}

/// `*` and `?`, as in ssh_config(5) PATTERNS. Linear but for the last star, so that no pattern takes exponential time.
fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_pattern_does_not_stall_the_matcher() {
        let start = std::time::Instant::now();
        assert!(!glob_matches(&("a*".repeat(200) + "b"), &"a".repeat(2000)));
        assert!(start.elapsed().as_secs() < 2);
    }
}
