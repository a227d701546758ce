//! What a server says of itself before the key exchange (RFC 4253, 4.2), as far as the log repeats it.

/// The server's name and version, where it is one that is known: in the log nobody redacts what else it says.
pub(super) fn software(greeting: &str) -> &str {
    // Too short for a piece of a secret.
    const LONGEST: usize = 7;
    let word = greeting.split(' ').next().unwrap_or_default();
    let name = word.strip_prefix("SSH-2.0-").unwrap_or_default();
    let version = name.strip_prefix("OpenSSH_").or_else(|| name.strip_prefix("dropbear_"));
    let is_version = |text: &str| text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'p'));
    if version.is_some_and(|text| is_version(text) && text.len() <= LONGEST) { word } else { "another server" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_where_its_name_can_hold_nothing_else() {
        for named in ["SSH-2.0-OpenSSH_9.2p1", "SSH-2.0-OpenSSH_10.0p2", "SSH-2.0-dropbear_2022.83"] {
            assert_eq!(software(&format!("{named} Debian-2+deb12u7")), named);
        }
        for other in
            ["", "SSH-2.0-x", "SSH-2.0-OpenSSH_12345678", "SSH-2.0-OpenSSH_89abcdef", "SSH-2.0-OpenSSH_9\u{9b}"]
        {
            assert_eq!(software(other), "another server");
        }
    }
}
