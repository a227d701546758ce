//! known_hosts files as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): names, lists, `[host]:port`,
//! wildcards, negation, hashed names, `@revoked` and `@cert-authority`. libssh2's own reader knows no markers. Lines that
//! make no sense match nothing, as in OpenSSH. Plain names are indexed: 10,000 hosts against 10,000 lines stay linear.

use super::{host_key::HostKey, pattern::list_matches};
use crate::remote::KnownEntry;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    CertAuthority,
}

#[derive(Debug)]
struct Entry {
    marker: Marker,
    key: HostKey,
    line: usize,
}

/// One file, parsed once.
#[derive(Debug, Default)]
pub struct KnownHosts {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Lower-case name -> entries, for lines without wildcards.
    plain: HashMap<String, Vec<usize>>,
    /// Lists with a wildcard or a negation.
    patterns: Vec<(Vec<String>, usize)>,
    hashed: Vec<(hmac::Key, Vec<u8>, usize)>,
}

/// What known_hosts says about a host's key.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Known(KnownEntry),
    Revoked(KnownEntry),
    /// The host has another key of this type.
    Changed(KnownEntry),
    /// Nothing matches but a certificate authority.
    CertAuthority(KnownEntry),
    /// With the keys of other types that are known.
    Unknown(Vec<KnownEntry>),
}

impl KnownHosts {
    /// Reads `text`, the content of `path`.
    #[must_use]
    pub fn parse(path: &Path, text: &str) -> Self {
        let mut this = Self { path: path.to_owned(), ..Self::default() };
        for (n, line) in text.lines().enumerate() {
            this.take_line(line.trim(), n + 1);
        }
        this
    }

    fn take_line(&mut self, line: &str, number: usize) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        let mut names = words.next().filter(|word| !word.starts_with('#'))?;
        let marker = match names {
            "@revoked" => Marker::Revoked,
            "@cert-authority" => Marker::CertAuthority,
            _ if names.starts_with('@') => return None,
            _ => Marker::None,
        };
        if marker != Marker::None {
            names = words.next()?;
        }
        let key_type = words.next()?;
        let key = HostKey::new(&STANDARD.decode(words.next()?).ok()?)?;
        if key.key_type() != key_type {
            return None;
        }
        let index = self.entries.len();
        if let Some(hashed) = names.strip_prefix("|1|") {
            let (salt, hash) = hashed.split_once('|')?;
            let salt = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &STANDARD.decode(salt).ok()?);
            self.hashed.push((salt, STANDARD.decode(hash).ok()?, index));
        } else if names.contains(['*', '?', '!']) {
            self.patterns.push((names.split(',').map(str::to_lowercase).collect(), index));
        } else {
            for name in names.split(',') {
                self.plain.entry(name.to_lowercase()).or_default().push(index);
            }
        }
        self.entries.push(Entry { marker, key, line: number });
        Some(())
    }

    /// The entries for a name in lookup form, in the order of the file.
    fn matching(&self, name: &str) -> Vec<&Entry> {
        let plain = self.plain.get(name).into_iter().flatten().copied();
        let patterns = self.patterns.iter().filter(|(list, _)| list_matches(list, name)).map(|(_, i)| *i);
        let hashed = self.hashed.iter().filter(|(key, hash, _)| hmac::verify(key, name.as_bytes(), hash).is_ok());
        let mut found: Vec<usize> = plain.chain(patterns).chain(hashed.map(|(_, _, i)| *i)).collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|i| self.entries.get(i)).collect()
    }

    fn known_entry(&self, entry: &Entry) -> KnownEntry {
        KnownEntry { file: self.path.clone(), line: entry.line, key_type: entry.key.key_type() }
    }
}

/// What several files say about one host: looked up once, before the connection is made.
#[derive(Debug)]
pub struct HostEntries {
    /// For `[host]:port`, or for `host` on port 22.
    exact: Vec<Found>,
    /// For `host` alone where the port is another: good enough to accept a key, too little to call one changed
    /// (OpenSSH, sshconnect.c, "checking without port identifier").
    without_port: Vec<Found>,
    /// Asked for before all others.
    preferred: Vec<String>,
}

#[derive(Debug)]
struct Found {
    marker: Marker,
    key: HostKey,
    entry: KnownEntry,
}

/// How a host is written in known_hosts.
#[must_use]
pub fn lookup_name(address: &str, port: u16) -> String {
    let address = address.to_lowercase();
    if port == 22 { address } else { format!("[{address}]:{port}") }
}

impl HostEntries {
    #[must_use]
    pub fn find(files: &[Arc<KnownHosts>], address: &str, port: u16) -> Self {
        let find = |name: &str| {
            let mut all = Vec::new();
            for file in files {
                for entry in file.matching(name) {
                    all.push(Found { marker: entry.marker, key: entry.key.clone(), entry: file.known_entry(entry) });
                }
            }
            all
        };
        let exact = find(&lookup_name(address, port));
        let without_port = if port == 22 { Vec::new() } else { find(&address.to_lowercase()) };
        Self { exact, without_port, preferred: Vec::new() }
    }

    /// Nothing known, but these key types to be asked for first.
    #[must_use]
    pub fn preferring(key_types: &[&str]) -> Self {
        let preferred = key_types.iter().map(|&name| name.to_owned()).collect();
        Self { exact: Vec::new(), without_port: Vec::new(), preferred }
    }

    /// The key types known for the host, in the order of the files, without repetition.
    #[must_use]
    pub fn key_types(&self) -> Vec<String> {
        let mut types = self.preferred.clone();
        for found in self.exact.iter().chain(&self.without_port).filter(|f| f.marker == Marker::None) {
            let key_type = found.key.key_type();
            if !types.contains(&key_type) {
                types.push(key_type);
            }
        }
        types
    }

    /// Whether `offered` is the host's key.
    #[must_use]
    pub fn judge(&self, offered: &HostKey) -> Verdict {
        let all = || self.exact.iter().chain(&self.without_port);
        if let Some(revoked) = all().find(|f| f.marker == Marker::Revoked && f.key == *offered) {
            return Verdict::Revoked(revoked.entry.clone());
        }
        let plain = |list: &'_ [Found]| list.iter().any(|f| f.marker == Marker::None);
        let is_offered = |f: &Found| f.marker == Marker::None && f.key == *offered;
        if let Some(found) = self.exact.iter().find(|f| is_offered(f)) {
            return Verdict::Known(found.entry.clone());
        }
        if !plain(&self.exact)
            && let Some(found) = self.without_port.iter().find(|f| is_offered(f))
        {
            return Verdict::Known(found.entry.clone());
        }
        let own: Vec<&Found> = self.exact.iter().filter(|f| f.marker == Marker::None).collect();
        if let Some(other) = own.iter().find(|f| f.key.key_type() == offered.key_type()) {
            return Verdict::Changed(other.entry.clone());
        }
        if own.is_empty()
            && let Some(authority) = self.exact.iter().find(|f| f.marker == Marker::CertAuthority)
        {
            return Verdict::CertAuthority(authority.entry.clone());
        }
        Verdict::Unknown(own.into_iter().map(|f| f.entry.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::KnownEntry;

    fn key(key_type: &str, body: u8) -> HostKey {
        let mut blob = u32::try_from(key_type.len()).unwrap().to_be_bytes().to_vec();
        blob.extend(key_type.as_bytes());
        blob.extend([0, 0, 0, 4, body, body, body, body]);
        HostKey::new(&blob).unwrap()
    }

    fn ed(body: u8) -> HostKey {
        key("ssh-ed25519", body)
    }

    fn line(names: &str, key: &HostKey) -> String {
        format!("{names} {} {}\n", key.key_type(), STANDARD.encode(&key.0))
    }

    fn judge(text: &str, address: &str, port: u16, offered: &HostKey) -> Verdict {
        let files = [Arc::new(KnownHosts::parse(Path::new("kh"), text))];
        HostEntries::find(&files, address, port).judge(offered)
    }

    fn at(line: usize, key_type: &str) -> KnownEntry {
        KnownEntry { file: "kh".into(), line, key_type: key_type.into() }
    }

    fn known(line: usize) -> Verdict {
        Verdict::Known(at(line, "ssh-ed25519"))
    }

    #[test]
    fn names_match_as_openssh_matches_them() {
        let cases = [
            ("host", "host", 22, true),
            ("HOST", "hOsT", 22, true),
            ("a,host,b", "host", 22, true),
            ("hos", "host", 22, false),
            ("host", "host", 2222, true),
            ("[host]:2222", "host", 2222, true),
            ("[host]:2222", "host", 22, false),
            ("[host]:2222", "host", 2223, false),
            ("[HOST]:2222", "host", 2222, true),
            ("*.example.com", "a.example.com", 22, true),
            ("*.example.com", "example.com", 22, false),
            ("[*.example.com]:2222", "a.example.com", 2222, true),
            ("10.0.0.?", "10.0.0.7", 22, true),
            ("10.0.0.?", "10.0.0.77", 22, false),
            ("*", "anything", 22, true),
            ("*", "anything", 2222, true),
            ("*.example.com,!bad.example.com", "good.example.com", 22, true),
            ("*.example.com,!bad.example.com", "bad.example.com", 22, false),
            ("!bad.example.com", "good.example.com", 22, false),
            ("fe80::1", "fe80::1", 22, true),
            ("[fe80::1]:2222", "fe80::1", 2222, true),
        ];
        for (names, address, port, matches) in cases {
            let verdict = judge(&line(names, &ed(1)), address, port, &ed(1));
            assert_eq!(matches!(verdict, Verdict::Known(_)), matches, "{names} {address} {port}");
        }
    }

    #[test]
    fn a_hashed_name_written_by_ssh_keygen_matches_only_its_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::fs::write(&path, line("[host]:2222", &ed(1)) + &line("other", &ed(2))).unwrap();
        let hashed = std::process::Command::new("ssh-keygen").arg("-H").arg("-f").arg(&path).output().unwrap();
        assert!(hashed.status.success(), "{hashed:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("|1|") && !text.contains("host"), "{text}");
        assert_eq!(judge(&text, "Host", 2222, &ed(1)), known(1));
        assert_eq!(judge(&text, "other", 22, &ed(2)), known(2));
        assert_eq!(judge(&text, "other", 22, &ed(1)), Verdict::Changed(at(2, "ssh-ed25519")));
        assert_eq!(judge(&text, "third", 22, &ed(1)), Verdict::Unknown(vec![]));
    }

    #[test]
    fn another_key_of_the_same_type_is_a_change_and_names_the_line() {
        let text = format!("# comment\n\n{}{}", line("x", &ed(9)), line("host", &ed(1)));
        assert_eq!(judge(&text, "host", 22, &ed(2)), Verdict::Changed(at(4, "ssh-ed25519")));
    }

    #[test]
    fn two_keys_of_one_type_are_both_good() {
        let text = line("host", &ed(1)) + &line("host", &ed(2));
        assert_eq!(judge(&text, "host", 22, &ed(2)), known(2));
    }

    #[test]
    fn a_key_of_another_type_is_unknown_and_the_known_types_are_listed() {
        let text = line("host", &key("ecdsa-sha2-nistp256", 1));
        assert_eq!(judge(&text, "host", 22, &ed(1)), Verdict::Unknown(vec![at(1, "ecdsa-sha2-nistp256")]));
    }

    #[test]
    fn the_entry_without_a_port_can_accept_but_never_accuse() {
        let text = line("host", &ed(1));
        assert_eq!(judge(&text, "host", 2222, &ed(1)), known(1));
        assert_eq!(judge(&text, "host", 2222, &ed(2)), Verdict::Unknown(vec![]));
        let both = line("host", &ed(1)) + &line("[host]:2222", &ed(2));
        assert_eq!(judge(&both, "host", 2222, &ed(1)), Verdict::Changed(at(2, "ssh-ed25519")));
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_it_is_also_listed_as_good() {
        let text = line("host", &ed(1)) + "@revoked " + &line("*", &ed(1));
        assert_eq!(judge(&text, "host", 22, &ed(1)), Verdict::Revoked(at(2, "ssh-ed25519")));
        assert_eq!(judge(&text, "host", 22, &ed(2)), Verdict::Changed(at(1, "ssh-ed25519")));
    }

    #[test]
    fn a_certificate_authority_line_vouches_for_nothing() {
        let text = "@cert-authority ".to_owned() + &line("*.example.com", &ed(1));
        assert_eq!(judge(&text, "a.example.com", 22, &ed(1)), Verdict::CertAuthority(at(1, "ssh-ed25519")));
        assert_eq!(judge(&text, "a.example.org", 22, &ed(1)), Verdict::Unknown(vec![]));
        let known_too = text + &line("a.example.com", &ed(2));
        assert_eq!(judge(&known_too, "a.example.com", 22, &ed(2)), known(2));
        assert_eq!(judge(&known_too, "a.example.com", 22, &ed(1)), Verdict::Changed(at(2, "ssh-ed25519")));
    }

    #[test]
    fn lines_that_make_no_sense_are_skipped() {
        // Six bad lines, one whose key is of another type than it says, one of binary, then the good one.
        let good = line("host", &ed(1));
        let wrong_type = line("host", &ed(2)).replacen("ssh-ed25519", "ssh-rsa", 1);
        let bad = [
            "host",
            "host ssh-ed25519",
            "host ssh-ed25519 !!!",
            "@unknown host x y",
            "|1|x|y ssh-ed25519 AAAA",
            "@revoked",
        ];
        let text = format!("{}\n{wrong_type}\u{feff}\0\n{good}", bad.join("\n"));
        assert_eq!(judge(&text, "host", 22, &ed(1)), known(9));
        assert_eq!(judge(&text, "host", 22, &ed(2)), Verdict::Changed(at(9, "ssh-ed25519")));
    }

    #[test]
    fn comments_after_the_key_do_not_matter() {
        let text = line("host", &ed(1)).trim_end().to_owned() + " root@somewhere else\r\n";
        assert_eq!(judge(&text, "host", 22, &ed(1)), known(1));
    }

    #[test]
    fn many_hosts_against_many_plain_lines_is_not_quadratic() {
        let text: String = (0..10_000).map(|n| line(&format!("host{n}"), &ed(1))).collect();
        let files = [Arc::new(KnownHosts::parse(Path::new("kh"), &text))];
        let start = std::time::Instant::now();
        for n in 0..10_000 {
            assert_eq!(HostEntries::find(&files, &format!("host{n}"), 22).judge(&ed(1)), known(n + 1));
        }
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
