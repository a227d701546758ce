//! Looks through a kubeconfig: what is in it (see [`Inspection`]) and what will not work.
//!
//! Says beforehand what kubectl would only say on use, in kubectl's own words where it has any (client-go
//! `tools/clientcmd/validation.go`). Reads no file and no network, so what lies behind a path stays unknown.

use super::{
    certificate::{CertificateFacts, CertificateFault, certificate_facts},
    inspection::{ClusterFacts, ContextFacts, Inspection, Problem, UserFacts, UserKind},
    model::{Cluster, Exec, Kubeconfig, Named, User},
};
use crate::{
    digest::Digest,
    secret::{ExposeSecret, Secret, redact_url},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use std::collections::HashSet;

const ASKS_FOR_USERNAME: &str = "Please enter Username:";
const GOES_TO_LOCALHOST: &str = "The connection to the server localhost:8080 was refused";

/// Facts and problems of `config` as of `now`.
#[must_use]
pub fn inspect_kubeconfig(config: &Kubeconfig, now: Timestamp) -> Inspection {
    let mut problems = Problems { now, found: Vec::new() };
    problems.duplicate_names("cluster", &config.clusters);
    problems.duplicate_names("user", &config.users);
    problems.duplicate_names("context", &config.contexts);
    problems.current_context(config);
    let contexts = config.contexts.iter().map(|context| {
        problems.references(config, &context.name, context.entry.cluster.as_deref(), context.entry.user.as_deref());
        ContextFacts {
            name: context.name.clone(),
            cluster: context.entry.cluster.clone(),
            user: context.entry.user.clone(),
            namespace: context.entry.namespace.clone(),
            current: config.current_context.as_ref() == Some(&context.name),
        }
    });
    let contexts = contexts.collect();
    let clusters = config.clusters.iter().map(|named| problems.cluster(&named.name, &named.entry)).collect();
    let users = config.users.iter().map(|named| problems.user(&named.name, &named.entry)).collect();
    Inspection { current_context: config.current_context.clone(), clusters, users, contexts, problems: problems.found }
}

struct Problems {
    now: Timestamp,
    found: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, code: &'static str, subject: &str, message: impl Into<String>, kubectl_says: Option<String>) {
        self.found.push(Problem { code, subject: subject.to_owned(), message: message.into(), kubectl_says });
    }

    fn duplicate_names<T>(&mut self, what: &str, list: &[Named<T>]) {
        let mut seen = HashSet::new();
        for named in list.iter().filter(|named| !seen.insert(&named.name)) {
            let subject = format!("{what} {:?}", named.name);
            let says = format!("duplicate name {:?} in list", named.name);
            self.add("duplicate-name", &subject, "the name stands twice: kubectl refuses the file", Some(says));
        }
    }

    fn current_context(&mut self, config: &Kubeconfig) {
        match &config.current_context {
            None => {
                let message = "no current-context: every command needs --context";
                self.add("no-current-context", "file", message, Some(GOES_TO_LOCALHOST.to_owned()));
            }
            Some(name) if !config.contexts.iter().any(|context| context.name == *name) => {
                let says = format!("context was not found for specified context: {name}");
                self.add("dangling-current-context", "file", format!("there is no context {name:?}"), Some(says));
            }
            Some(_) => {}
        }
    }

    fn references(&mut self, config: &Kubeconfig, name: &str, cluster: Option<&str>, user: Option<&str>) {
        let subject = format!("context {name:?}");
        let dangles = |what: &str, name: Option<&str>| match name {
            Some(name) => format!("there is no {what} {name:?}"),
            None => format!("it names no {what}"),
        };
        if !config.clusters.iter().any(|known| Some(known.name.as_str()) == cluster) {
            self.add("dangling-cluster", &subject, dangles("cluster", cluster), Some(GOES_TO_LOCALHOST.to_owned()));
        }
        if !config.users.iter().any(|known| Some(known.name.as_str()) == user) {
            self.add("dangling-user", &subject, dangles("user", user), Some(ASKS_FOR_USERNAME.to_owned()));
        }
    }

    fn cluster(&mut self, name: &str, cluster: &Cluster) -> ClusterFacts {
        let subject = format!("cluster {name:?}");
        match &cluster.server {
            None => self.add("no-server", &subject, "no server", Some(GOES_TO_LOCALHOST.to_owned())),
            Some(server) if !server.starts_with("https://") => {
                self.add(
                    "server-not-https",
                    &subject,
                    "the server is not an https URL: credentials travel in clear",
                    None,
                );
            }
            Some(_) => {}
        }
        let has_ca = cluster.certificate_authority.is_some() || cluster.certificate_authority_data.is_some();
        if cluster.insecure_skip_tls_verify {
            let says =
                has_ca.then(|| "specifying a root certificates file with the insecure flag is not allowed".into());
            let message = "insecure-skip-tls-verify: whoever answers gets the credentials";
            self.add("insecure-skip-tls-verify", &subject, message, says);
        } else if !has_ca {
            let message = "no certificate-authority: only the system's own authorities are trusted";
            let says = "x509: certificate signed by unknown authority";
            self.add("no-certificate-authority", &subject, message, Some(says.into()));
        }
        self.path(&subject, "certificate-authority", cluster.certificate_authority.as_deref());
        if cluster.certificate_authority.is_some() && cluster.certificate_authority_data.is_some() {
            let message = "both certificate-authority and certificate-authority-data: the data counts";
            let says = format!("certificate-authority-data and certificate-authority are both specified for {name}");
            self.add("certificate-authority-twice", &subject, message, Some(says));
        }
        let data = cluster.certificate_authority_data.as_deref();
        let says = "unable to load root certificates: unable to parse bytes as PEM block";
        let authorities = self.certificates(&subject, "certificate-authority-data", data, says);
        if authorities.iter().any(|certificate| !certificate.is_ca) {
            let message = "certificate-authority-data holds a certificate that is no CA";
            let says = "x509: certificate signed by unknown authority";
            self.add("not-a-ca", &subject, message, Some(says.into()));
        }
        ClusterFacts {
            name: name.to_owned(),
            server: cluster.server.as_deref().map(redact_url),
            tls_server_name: cluster.tls_server_name.clone(),
            proxy_url: cluster.proxy_url.as_deref().map(redact_url),
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
            certificate_authority_path: cluster.certificate_authority.clone(),
            certificate_authorities: authorities,
        }
    }

    fn user(&mut self, name: &str, user: &User) -> UserFacts {
        let subject = format!("user {name:?}");
        let kind = kind_of(user);
        if kind == UserKind::None {
            self.add("no-credential", &subject, "no credential of any kind", Some(ASKS_FOR_USERNAME.to_owned()));
        }
        if user.token.is_some() && (user.username.is_some() || user.password.is_some()) {
            let says = format!(
                "more than one authentication method found for {name}; found [token basicAuth], only one is allowed"
            );
            self.add("two-methods", &subject, "both a token and a username or password", Some(says));
        }
        if user.token.as_ref().is_some_and(is_unsendable) {
            let message = "the token holds white space or control characters: no request can carry it";
            let says = "net/http: invalid header field value for \"Authorization\"";
            self.add("unusable-token", &subject, message, Some(says.into()));
        }
        self.impersonation(&subject, name, user);
        self.exec(&subject, name, user);
        self.path(&subject, "client-certificate", user.client_certificate.as_deref());
        self.path(&subject, "client-key", user.client_key.as_deref());
        self.path(&subject, "tokenFile", user.token_file.as_deref());
        let certificate = self.client_certificate(&subject, name, user);
        UserFacts {
            name: name.to_owned(),
            kind,
            token_fingerprint: user.token.as_ref().map(|token| Digest::of(token.expose_secret()).fingerprint()),
            token_file: user.token_file.clone(),
            certificate,
            certificate_path: user.client_certificate.clone(),
            key_path: user.client_key.clone(),
            username: user.username.clone(),
            exec_command: user.exec.as_ref().map(|exec| exec.command.clone()),
            auth_provider: user.auth_provider.as_ref().map(|provider| provider.name.clone()),
            impersonates: user.impersonate.clone(),
            impersonation_extra: user.impersonate_extra.keys().cloned().collect(),
        }
    }

    fn client_certificate(&mut self, subject: &str, name: &str, user: &User) -> Option<CertificateFacts> {
        let has_certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
        let has_key = user.client_key.is_some() || user.client_key_data.is_some();
        if has_certificate && !has_key {
            let says = format!(
                "client-key-data or client-key must be specified for {name} to use the clientCert authentication method"
            );
            self.add("certificate-without-key", subject, "a client certificate without its key", Some(says));
        }
        if has_key && !has_certificate {
            self.add("key-without-certificate", subject, "a client key without its certificate: it is not used", None);
        }
        let data = user.client_certificate_data.as_deref();
        let says = "tls: failed to find any PEM data in certificate input";
        self.certificates(subject, "client-certificate-data", data, says).into_iter().next()
    }

    fn impersonation(&mut self, subject: &str, name: &str, user: &User) {
        let extras =
            user.impersonate_uid.is_some() || !user.impersonate_groups.is_empty() || !user.impersonate_extra.is_empty();
        if extras && user.impersonate.is_none() {
            let says = format!("requesting uid, groups or user-extra for {name} without impersonating a user");
            self.add("extra-without-as", subject, "as-uid, as-groups or as-user-extra without as", Some(says));
        }
    }

    fn exec(&mut self, subject: &str, name: &str, user: &User) {
        let Some(exec) = &user.exec else { return };
        let missing =
            |what: &str| Some(format!("{what} must be specified for {name} to use exec authentication plugin"));
        if exec.command.is_empty() {
            self.add("exec-without-command", subject, "exec names no command", missing("command"));
        }
        if exec.api_version.is_none() {
            self.add("exec-without-api-version", subject, "exec names no apiVersion", missing("apiVersion"));
        }
        match exec.interactive_mode.as_deref() {
            Some("Never" | "IfAvailable" | "Always") => {}
            None if is_beta(exec) => {}
            None => {
                let message = "exec without interactiveMode, which client.authentication.k8s.io/v1 demands";
                self.add("exec-without-interactive-mode", subject, message, missing("interactiveMode"));
            }
            Some(_) => {
                let message = "interactiveMode is none of Never, IfAvailable and Always";
                let says = format!("invalid interactiveMode for {name}");
                self.add("exec-interactive-mode", subject, message, Some(says));
            }
        }
        if user.auth_provider.is_some() {
            let says = format!("authProvider cannot be provided in combination with an exec plugin for {name}");
            self.add("two-methods", subject, "both exec and auth-provider", Some(says));
        }
    }

    /// A relative path is taken from the kubeconfig's own directory, so it breaks when the file is copied.
    fn path(&mut self, subject: &str, field: &str, path: Option<&str>) {
        if path.is_some_and(|path| !path.starts_with('/')) {
            let message = format!("{field} is a relative path: it breaks when the file is copied elsewhere");
            self.add("relative-path", subject, message, None);
        }
    }

    fn certificates(
        &mut self,
        subject: &str,
        field: &str,
        data: Option<&str>,
        not_pem: &'static str,
    ) -> Vec<CertificateFacts> {
        let Some(data) = data else { return Vec::new() };
        // Go ignores line ends inside base64, and nothing else.
        let Ok(pem) = BASE64.decode(data.replace(['\r', '\n'], "")) else {
            let says = Some("illegal base64 data at input byte".to_owned());
            self.add("not-base64", subject, format!("{field} is not base64"), says);
            return Vec::new();
        };
        let certificates = match certificate_facts(&pem) {
            Ok(certificates) => certificates,
            Err(CertificateFault::NotPem) => {
                let message = format!("{field} holds no PEM certificate");
                self.add("not-pem", subject, message, Some(not_pem.to_owned()));
                return Vec::new();
            }
            Err(CertificateFault::NotX509) => {
                self.add("not-x509", subject, format!("{field} holds a block that is no X.509 certificate"), None);
                return Vec::new();
            }
        };
        for certificate in &certificates {
            let says = || Some("x509: certificate has expired or is not yet valid".to_owned());
            if certificate.not_after < self.now {
                let message = format!("{field}: {} expired at {}", certificate.subject, certificate.not_after);
                self.add("certificate-expired", subject, message, says());
            } else if certificate.not_before > self.now {
                let message = format!("{field}: {} is valid from {}", certificate.subject, certificate.not_before);
                self.add("certificate-not-yet-valid", subject, message, says());
            }
        }
        certificates
    }
}

fn kind_of(user: &User) -> UserKind {
    if user.token.is_some() {
        UserKind::Token
    } else if user.token_file.is_some() {
        UserKind::TokenFile
    } else if user.username.is_some() || user.password.is_some() {
        UserKind::Basic
    } else if user.exec.is_some() {
        UserKind::Exec
    } else if user.auth_provider.is_some() {
        UserKind::AuthProvider
    } else if user.client_certificate.is_some() || user.client_certificate_data.is_some() {
        UserKind::ClientCertificate
    } else {
        UserKind::None
    }
}

fn is_unsendable(token: &Secret) -> bool {
    token.expose_secret().contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Before v1 the field was optional and meant `IfAvailable`.
fn is_beta(exec: &Exec) -> bool {
    exec.api_version.as_deref().is_some_and(|version| version.ends_with("v1beta1") || version.ends_with("v1alpha1"))
}
