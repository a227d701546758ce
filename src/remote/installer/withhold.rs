//! Takes out of a reply whatever repeats the secrets that were sent: a host may run something else than our script, or
//! with `sh -v`, and what it says is quoted in errors. [`crate::secret::scrub`] knows secrets by their looks; this knows
//! them by value, a piece of a line and a token without digits included. Who repeats our script is not quoted at all.
//! Our own framed lines stay as they are.

use crate::{
    bundle::{FileKind, HostFile},
    kubeconfig::Kubeconfig,
    remote::{Reply, SHELL_WORKS},
    secret::{ExposeSecret, Secret},
    token::TokenFile,
};
use std::{collections::HashSet, hash::BuildHasher, hash::RandomState};

/// This many bytes of a secret in a row are taken for the secret; a shorter one counts as a whole.
const PIECE: usize = 8;
/// What is shorter stands in any text, and protects nothing.
const SHORTEST: usize = 4;
/// A field of a row that is no token counts as a whole, from this length on: shorter ones are users and groups that
/// error messages name.
const SHORTEST_FIELD: usize = 8;
const INSTEAD: &str = "[not shown: it repeats a credential]";
const INSTEAD_OF_ALL: &str = "[not shown: it repeats what was sent]";
/// What every name in our script begins with.
const SCRIPT_MARK: &str = "km_";

pub(in crate::remote) fn withhold_secrets(reply: Reply, nonce: &str, files: &[HostFile]) -> Reply {
    let text = String::from_utf8_lossy(&reply.output);
    let mark = format!("{nonce} ");
    let lines = || text.split_inclusive('\n').map(|line| line.split_at(line.find(&mark).unwrap_or(line.len())));
    if lines().all(|(noise, _)| noise.trim().is_empty()) {
        return reply;
    }
    // Whoever repeats one line of ours repeats others that nothing here would know: pieces cut or changed on the way.
    let repeats_script = lines().any(|(noise, _)| noise.to_ascii_lowercase().contains(SCRIPT_MARK));
    let pieces = Pieces::of(files, &reply.passwords);
    let mut all_withheld = false;
    let mut output = String::with_capacity(text.len());
    for (noise, frame) in lines() {
        if repeats_script && noise.trim() != SHELL_WORKS {
            if !all_withheld {
                output.push_str(INSTEAD_OF_ALL);
                output.push('\n');
            }
            all_withheld = true;
        } else if pieces.stand_in(noise) {
            output.push_str(INSTEAD);
            output.push_str(if noise.ends_with('\n') { "\n" } else { "" });
        } else {
            output.push_str(noise);
        }
        output.push_str(frame);
    }
    Reply { output: output.into_bytes(), ..reply }
}

/// Hashes of the pieces, by their length: no copy of a secret.
struct Pieces {
    hasher: RandomState,
    hashes: HashSet<u64>,
    lengths: Vec<usize>,
    /// Not secrets as far as we know: looked for as they are.
    fields: Vec<Secret>,
}

impl Pieces {
    fn of(files: &[HostFile], passwords: &[Secret]) -> Self {
        let mut pieces =
            Self { hasher: RandomState::new(), hashes: HashSet::new(), lengths: Vec::new(), fields: Vec::new() };
        pieces.fields = files.iter().flat_map(other_fields).collect();
        for secret in files.iter().flat_map(secrets_in).chain(passwords.iter().cloned()) {
            // sudo gets its password as a line.
            let secret = secret.expose_secret().trim_end_matches('\n').as_bytes();
            let length = secret.len().min(PIECE);
            if length < SHORTEST {
                continue;
            }
            if !pieces.lengths.contains(&length) {
                pieces.lengths.push(length);
            }
            let hasher = &pieces.hasher;
            pieces.hashes.extend(secret.windows(length).map(|piece| hasher.hash_one(piece)));
        }
        pieces
    }

    fn stand_in(&self, text: &str) -> bool {
        let hit = |piece: &[u8]| self.hashes.contains(&self.hasher.hash_one(piece));
        self.fields.iter().any(|field| text.contains(field.expose_secret()))
            || self.lengths.iter().any(|length| text.as_bytes().windows(*length).any(hit))
    }
}

/// Tokens, and private keys in base64 and, line by line, as PEM.
fn secrets_in(file: &HostFile) -> Vec<Secret> {
    match file.kind {
        FileKind::TokenCsv => match TokenFile::from_secret(&file.content) {
            Ok(file) => file.rows().iter().map(|row| row.token.clone()).collect(),
            // Not even we can read it: any part of it may be a token.
            Err(_) => file.content.expose_secret().split([',', '"', '\n', '\r']).map(Secret::from).collect(),
        },
        FileKind::BootstrapKubeconfig | FileKind::KubeProxyKubeconfig => {
            let Ok(config) = Kubeconfig::from_secret(&file.content) else { return Vec::new() };
            let mut secrets: Vec<Secret> = Vec::new();
            for user in &config.users {
                secrets.extend(user.entry.token.iter().chain(&user.entry.client_key_data).cloned());
            }
            if let Some((_, key)) = config.client_pair_of_current_user() {
                secrets.extend(key.expose_secret().lines().filter(|line| !line.starts_with("--")).map(Secret::from));
            }
            secrets
        }
        FileKind::CaCertificate => Vec::new(),
    }
}

/// Users, uids and groups of token.csv: in a row that somebody else wrote, one of them may be what should be a secret.
fn other_fields(file: &HostFile) -> Vec<Secret> {
    let FileKind::TokenCsv = file.kind else { return Vec::new() };
    let Ok(file) = TokenFile::from_secret(&file.content) else { return Vec::new() };
    let fields = file.rows().iter().flat_map(|row| [&row.user, &row.uid].into_iter().chain(&row.groups));
    fields.filter(|field| field.len() >= SHORTEST_FIELD).map(|field| Secret::from(field.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Digest, remote::Exit};
    use std::sync::Arc;

    const NONCE: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    const TOKENS: &str = "long-winded-pass-phrase,a,1\nshort,b,2\nabc,c,3\n";

    fn withheld(said: &str) -> String {
        withheld_of(TOKENS, said)
    }

    fn withheld_of(rows: &str, said: &str) -> String {
        let content = Arc::new(Secret::from(rows));
        let file = HostFile {
            kind: FileKind::TokenCsv,
            path: "/t".into(),
            content,
            sha256: Digest::of(rows),
            validity: None,
            own_users_below: None,
        };
        let reply = Reply::new(said.replace('@', NONCE).into_bytes(), Exit::Status(0));
        let output = withhold_secrets(reply, NONCE, &[file]).output;
        String::from_utf8(output).unwrap().replace(NONCE, "@").replace(INSTEAD, "#")
    }

    #[test]
    fn a_line_with_a_piece_of_a_secret_goes_and_the_others_stay() {
        for (said, shown) in [
            ("a\nsh: long-winded-pass-phrase: not found\nb\n", "a\n#\nb\n"),
            ("x ded-pass y", "#"),
            ("x ded-pas y", "x ded-pas y"),
            ("too short\n", "#\n"),
            ("abc\n", "abc\n"),
            ("", ""),
        ] {
            assert_eq!(withheld(said), shown);
        }
    }

    #[test]
    fn who_repeats_our_script_is_not_quoted() {
        let said = "token abcdef\nkm_stage 2 'abc\n@ begin\nx";
        assert_eq!(withheld(said).replace(INSTEAD_OF_ALL, "##"), "##\n@ begin\n");
    }

    #[test]
    fn a_token_in_the_wrong_column_and_one_in_a_file_that_nobody_can_read_are_known() {
        let rows = "abc,s3cret-in-user,1\n";
        assert_eq!(withheld_of(rows, "x s3cret-in-user\nuser\n"), "#\nuser\n");
        assert_eq!(withheld_of("one-column-only\n", "x column-only\ny\n"), "#\ny\n");
    }

    #[test]
    fn our_own_lines_stay_whatever_stands_before_them() {
        assert_eq!(withheld("@ begin\nshort@ found 0 short\n@ end\n"), "@ begin\n#@ found 0 short\n@ end\n");
    }
}
