//! Credentials on a host that are not ours: another cluster's CA, token rows of users we do not know. What the script is
//! told of us to find them is public: our CA and the names of our users.

use crate::{
    bundle::{FileKind, HostFile},
    pki,
    secret::ExposeSecret,
    token::TokenFile,
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// What to do about a file that holds another cluster's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignPolicy {
    /// Refuse the target: the credential directory may be the wrong one, or lost.
    #[default]
    Refuse,
    /// Replace it like any other.
    Replace,
}

impl ForeignPolicy {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Replace => "replace",
        }
    }
}

/// Public marks of our own files; empty where there is no such file.
pub(super) struct Own {
    /// certificate-authority-data, base64.
    pub authority: String,
    /// ca.pem: see [`pem_bodies`].
    pub pem: String,
    /// Users of token.csv, each between newlines; those below [`Self::below`] are left out.
    pub users: String,
    /// What the users of nodes' own rows begin with.
    pub below: String,
}

impl Own {
    pub fn of(files: &[HostFile]) -> Self {
        let below = files.iter().find_map(|file| file.own_users_below.clone()).unwrap_or_default().to_string();
        let is_below = |user: &str| !below.is_empty() && user.starts_with(&below);
        let of_kind = |wanted: &[FileKind]| files.iter().find(|f| wanted.contains(&f.kind)).map(|f| &*f.content);
        let kubeconfig = of_kind(&[FileKind::BootstrapKubeconfig, FileKind::KubeProxyKubeconfig]);
        let ca = of_kind(&[FileKind::CaCertificate]);
        Self {
            authority: kubeconfig.and_then(|text| authority_in(text.expose_secret())).unwrap_or_default(),
            pem: ca.map(|text| pem_bodies(text.expose_secret())).unwrap_or_default(),
            users: of_kind(&[FileKind::TokenCsv]).and_then(|text| TokenFile::from_secret(text).ok()).map_or_else(
                String::new,
                |file| {
                    let users = file.rows().iter().map(|row| row.user.as_str()).filter(|user| !is_below(user));
                    users.fold("\n".to_owned(), |users, user| users + user + "\n")
                },
            ),
            below,
        }
    }
}

/// Of a kubeconfig as we write it: ten thousand of them are not worth parsing for it.
fn authority_in(kubeconfig: &str) -> Option<String> {
    let value = kubeconfig.lines().find_map(|line| line.trim_start().strip_prefix("certificate-authority-data:"))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The base64 of every certificate without line breaks, each ended by a full stop. The script does the same.
fn pem_bodies(text: &str) -> String {
    let (mut bodies, mut inside) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with("-----BEGIN ") {
            inside = true;
        } else if line.starts_with("-----END ") {
            inside = false;
            bodies.push('.');
        } else if inside {
            bodies.push_str(line);
        }
    }
    bodies
}

/// The pin of a CA as the script found it: base64 of PEM in a kubeconfig, of DER in a PEM file.
pub(super) fn pin_of(kind: FileKind, found: &str) -> Option<String> {
    let pem = match kind {
        FileKind::CaCertificate => format!("-----BEGIN CERTIFICATE-----\n{found}\n-----END CERTIFICATE-----\n"),
        _ => String::from_utf8(BASE64_STANDARD.decode(found).ok()?).ok()?,
    };
    let pin = pki::parse_certificate(&pem).ok()?.spki_sha256.to_string();
    Some(format!("pin sha256:{}…", pin.get(..16)?))
}
