//! Every certificate kubemint knows, as data. Issuing, status and the documentation read this list; a new certificate
//! is one literal in [`CATALOG`]. File names are relative to the credential directory. Nothing here signs or parses.

/// What a certificate may be used for (extended key usage, RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    ClientAuth,
}

impl Usage {
    /// The name RFC 5280 and cfssl use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientAuth => "clientAuth",
        }
    }
}

/// One certificate that the cluster CA signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateSpec {
    /// Its name in the inventory (`[certificates.NAME]`), in commands and in state.json.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub purpose: &'static str,
    /// The subject's common name: the Kubernetes user.
    pub common_name: &'static str,
    /// The complete list; nothing else is allowed to the holder.
    pub usages: &'static [Usage],
    pub certificate_file: &'static str,
    pub key_file: &'static str,
    /// Files that embed certificate and key, and follow when it is reissued.
    pub embedded_in: &'static [&'static str],
}

/// The self-signed root of [`CATALOG`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthoritySpec {
    pub name: &'static str,
    pub purpose: &'static str,
    pub certificate_file: &'static str,
    /// Never leaves the control machine.
    pub key_file: &'static str,
    /// Files that embed the certificate as the cluster's CA.
    pub embedded_in: &'static [&'static str],
}

/// The cluster CA.
pub const CLUSTER_CA: AuthoritySpec = AuthoritySpec {
    name: "ca",
    purpose: "signs client certificates; apiserver and nodes trust it",
    certificate_file: "ca.pem",
    key_file: "ca-key.pem",
    embedded_in: &["kubeconfigs/bootstrap.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig"],
};

/// kube-proxy's identity on every node. The built-in binding `system:node-proxier` is to this user
/// (kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).
pub const KUBE_PROXY: CertificateSpec = CertificateSpec {
    name: "kube-proxy",
    purpose: "kube-proxy on every node talks to the apiserver with it",
    common_name: "system:kube-proxy",
    usages: &[Usage::ClientAuth],
    certificate_file: "certs/kube-proxy.pem",
    key_file: "certs/kube-proxy-key.pem",
    embedded_in: &["kubeconfigs/kube-proxy.kubeconfig"],
};

/// Every certificate the cluster CA signs.
pub const CATALOG: &[CertificateSpec] = &[KUBE_PROXY];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_entries_share_a_name_or_a_file() {
        let files: Vec<_> = CATALOG
            .iter()
            .flat_map(|spec| [spec.name, spec.certificate_file, spec.key_file])
            .chain([CLUSTER_CA.name, CLUSTER_CA.certificate_file, CLUSTER_CA.key_file])
            .collect();
        assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len());
    }

    #[test]
    fn every_common_name_fits_x509_and_every_certificate_has_a_use() {
        for spec in CATALOG {
            assert!((1..=64).contains(&spec.common_name.len()), "{}", spec.name);
            assert!(!spec.usages.is_empty(), "{}", spec.name);
        }
    }
}
