//! Permissions as `ls -l` writes them, read as bits. The text is a host's: what is none is no error here, but `None`.

/// `-rw-r--r--.` -> 0o644, as `ls -l` writes it (POSIX, ls, "STDOUT").
pub(super) fn parse_mode(permissions: &str) -> Option<u32> {
    let bits = permissions.as_bytes().get(1..10)?;
    let mut mode = 0;
    for (n, (bit, letter)) in bits.iter().zip(b"rwxrwxrwx").enumerate() {
        let special = [0o4000, 0o2000, 0o1000][n / 3];
        match bit {
            b'-' => {}
            b's' | b't' => mode |= (1 << (8 - n)) | special,
            b'S' | b'T' => mode |= special,
            _ if bit == letter => mode |= 1 << (8 - n),
            _ => return None,
        }
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_strings_become_bits() {
        for (text, mode) in [("-rw-------", 0o600), ("-rwxr-xr-x.", 0o755), ("-rwsr-Sr-t+", 0o7745), ("----------", 0)]
        {
            assert_eq!(parse_mode(text), Some(mode), "{text}");
        }
        for bad in ["", "-rw", "-rwxrwxrwz", "-wr-------"] {
            assert_eq!(parse_mode(bad), None, "{bad}");
        }
    }
}
