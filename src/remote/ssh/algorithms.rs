//! The algorithms that are offered to a server, in the order of preference. Ciphers and MACs are libssh2's own choice: they
//! hardly matter to the time of a login. Nothing is known here of the server.

/// The cheapest good exchange first; group exchange costs a server ten times as much.
pub(super) const KEY_EXCHANGES: &str = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
                             ecdh-sha2-nistp521,diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,\
                             diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256";
const HOST_KEYS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// Types we know for this host first, so that a server with several keys shows one we can compare.
pub(super) fn host_key_order(known: &[String]) -> String {
    let algorithms = |key_type: &str| match key_type {
        "ssh-rsa" => vec!["rsa-sha2-512", "rsa-sha2-256"],
        other => HOST_KEYS.into_iter().filter(|name| *name == other).collect(),
    };
    let mut order: Vec<&str> = known.iter().flat_map(|key_type| algorithms(key_type)).collect();
    for name in HOST_KEYS {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types_are_offered_first_and_sha1_never() {
        assert_eq!(host_key_order(&[]), HOST_KEYS.join(","));
        let order = host_key_order(&["ssh-rsa".into(), "ssh-dss".into(), "ecdsa-sha2-nistp256".into()]);
        assert!(order.starts_with("rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519"), "{order}");
        assert!(order.split(',').all(|name| HOST_KEYS.contains(&name)), "{order}");
    }
}
