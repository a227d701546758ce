//! A kubeconfig as text, the way kubectl writes it: two-space indent, keys in alphabetical order, empty lists `null`,
//! absent optional fields left out. The one place of this module where secrets become text.
//!
//! Every string that YAML 1.1 could read as something else is quoted (serde-saphyr's rules), because kubectl reads
//! YAML 1.1. kubectl before 1.37 also writes `preferences: {}`; we write it only where it was read.

use super::model::{AuthProvider, Cluster, Context, EnvVar, Exec, Kubeconfig, Named, Unknown, User};
use crate::secret::{ExposeSecret, Secret};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The model holds something YAML cannot express.
#[derive(Debug, thiserror::Error)]
#[error("the kubeconfig cannot be written as YAML")]
pub struct EmitError;

/// The file's text.
///
/// # Errors
/// [`EmitError`] for unknown fields no YAML can hold; never for what the builders make.
pub fn render_kubeconfig(config: &Kubeconfig) -> Result<Secret, EmitError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&Node::of(config), options).map(Secret::from).map_err(|_| EmitError)
}

enum Node<'a> {
    Null,
    Flag(bool),
    Text(&'a str),
    List(Vec<Node<'a>>),
    Map(BTreeMap<&'a str, Node<'a>>),
    Unknown(&'a serde_yaml::Value),
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => serializer.collect_map(map),
            Self::Unknown(value) => value.serialize(serializer),
        }
    }
}

/// The fields of one mapping. Methods ending in `_if_any` leave an empty value out, as Go's `omitempty` does.
struct Fields<'a>(BTreeMap<&'a str, Node<'a>>);

impl<'a> Fields<'a> {
    fn over(unknown: &'a Unknown) -> Self {
        Self(unknown.0.iter().map(|(key, value)| (key.as_str(), Node::Unknown(value))).collect())
    }

    fn put(mut self, key: &'a str, value: Node<'a>) -> Self {
        self.0.insert(key, value);
        self
    }

    fn text(self, key: &'a str, text: Option<&'a str>) -> Self {
        self.put(key, Node::Text(text.unwrap_or_default()))
    }

    fn text_if_any(self, key: &'a str, text: Option<&'a str>) -> Self {
        match text {
            Some(text) if !text.is_empty() => self.put(key, Node::Text(text)),
            _ => self,
        }
    }

    fn secret_if_any(self, key: &'a str, secret: Option<&'a Secret>) -> Self {
        self.text_if_any(key, secret.map(ExposeSecret::expose_secret))
    }

    fn flag_if_set(self, key: &'a str, flag: bool) -> Self {
        if flag { self.put(key, Node::Flag(true)) } else { self }
    }

    fn list(self, key: &'a str, list: Vec<Node<'a>>) -> Self {
        self.put(key, if list.is_empty() { Node::Null } else { Node::List(list) })
    }

    fn list_if_any(self, key: &'a str, list: Vec<Node<'a>>) -> Self {
        if list.is_empty() { self } else { self.put(key, Node::List(list)) }
    }

    fn node(self) -> Node<'a> {
        Node::Map(self.0)
    }
}

impl<'a> Node<'a> {
    fn of(config: &'a Kubeconfig) -> Self {
        Fields::over(&config.other)
            .text("apiVersion", Some("v1"))
            .text("kind", Some("Config"))
            .list(
                "clusters",
                config.clusters.iter().map(|named| Self::named(named, "cluster", Self::cluster)).collect(),
            )
            .list(
                "contexts",
                config.contexts.iter().map(|named| Self::named(named, "context", Self::context)).collect(),
            )
            .list("users", config.users.iter().map(|named| Self::named(named, "user", Self::user)).collect())
            .text("current-context", config.current_context.as_deref())
            .node()
    }

    fn named<T>(named: &'a Named<T>, key: &'a str, inner: fn(&'a T) -> Self) -> Self {
        Fields::over(&named.other).text("name", Some(&named.name)).put(key, inner(&named.entry)).node()
    }

    fn cluster(cluster: &'a Cluster) -> Self {
        Fields::over(&cluster.other)
            .text("server", cluster.server.as_deref())
            .text_if_any("tls-server-name", cluster.tls_server_name.as_deref())
            .flag_if_set("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify)
            .text_if_any("certificate-authority", cluster.certificate_authority.as_deref())
            .text_if_any("certificate-authority-data", cluster.certificate_authority_data.as_deref())
            .text_if_any("proxy-url", cluster.proxy_url.as_deref())
            .flag_if_set("disable-compression", cluster.disable_compression)
            .node()
    }

    fn context(context: &'a Context) -> Self {
        Fields::over(&context.other)
            .text("cluster", context.cluster.as_deref())
            .text("user", context.user.as_deref())
            .text_if_any("namespace", context.namespace.as_deref())
            .node()
    }

    fn user(user: &'a User) -> Self {
        let fields = Fields::over(&user.other)
            .text_if_any("client-certificate", user.client_certificate.as_deref())
            .text_if_any("client-certificate-data", user.client_certificate_data.as_deref())
            .text_if_any("client-key", user.client_key.as_deref())
            .secret_if_any("client-key-data", user.client_key_data.as_ref())
            .secret_if_any("token", user.token.as_ref())
            .text_if_any("tokenFile", user.token_file.as_deref())
            .text_if_any("as", user.impersonate.as_deref())
            .text_if_any("as-uid", user.impersonate_uid.as_deref())
            .list_if_any("as-groups", user.impersonate_groups.iter().map(|group| Self::Text(group)).collect())
            .text_if_any("username", user.username.as_deref())
            .secret_if_any("password", user.password.as_ref());
        let fields = if user.impersonate_extra.is_empty() {
            fields
        } else {
            let extra = user.impersonate_extra.iter().map(|(key, values)| (key.as_str(), Self::secrets(values)));
            fields.put("as-user-extra", Self::Map(extra.collect()))
        };
        let fields = match &user.auth_provider {
            Some(provider) => fields.put("auth-provider", Self::auth_provider(provider)),
            None => fields,
        };
        match &user.exec {
            Some(exec) => fields.put("exec", Self::exec(exec)).node(),
            None => fields.node(),
        }
    }

    fn secrets(secrets: &'a [Secret]) -> Self {
        Self::List(secrets.iter().map(|secret| Self::Text(secret.expose_secret())).collect())
    }

    fn auth_provider(provider: &'a AuthProvider) -> Self {
        let config = provider.config.iter().map(|(key, value)| (key.as_str(), Self::Text(value.expose_secret())));
        let config: BTreeMap<_, _> = config.collect();
        Fields::over(&provider.other)
            .text("name", Some(&provider.name))
            .put("config", if config.is_empty() { Self::Null } else { Self::Map(config) })
            .node()
    }

    fn exec(exec: &'a Exec) -> Self {
        Fields::over(&exec.other)
            .text_if_any("apiVersion", exec.api_version.as_deref())
            .text("command", Some(&exec.command))
            .list("args", exec.args.iter().map(|arg| Self::Text(arg.expose_secret())).collect())
            .list("env", exec.env.iter().map(Self::env_var).collect())
            .text_if_any("installHint", exec.install_hint.as_deref())
            .put("provideClusterInfo", Self::Flag(exec.provide_cluster_info))
            .text_if_any("interactiveMode", exec.interactive_mode.as_deref())
            .node()
    }

    fn env_var(var: &'a EnvVar) -> Self {
        Fields::over(&var.other).text("name", Some(&var.name)).text("value", Some(var.value.expose_secret())).node()
    }
}
