//! Kubernetes manifests for bootstrapping: RBAC bindings and the bootstrap-token Secret, from templates.
//!
//! Template text comes in as a parameter, so that the caller may override the ones compiled in. Every value a template
//! prints is a quoted YAML string, so no value can become syntax; a variable the template misspells is an error.

use super::{
    bootstrap_secret::{BOOTSTRAPPERS, BootstrapTokenSecret},
    template_bounds::find_excess,
};
use crate::{
    entropy,
    inventory::{TokenSettings, is_reserved_group, is_reserved_user},
    secret::{ExposeSecret, Secret},
};
use minijinja::{Environment, UndefinedBehavior, Value, context, value::ValueKind};
use serde::Deserialize;

/// The bindings of the Kubernetes documentation's kubelet-tls-bootstrapping page.
pub const RBAC_TEMPLATE: &str = include_str!("../../templates/rbac.yaml");
/// The Secret of the Kubernetes documentation's bootstrap-tokens page.
pub const BOOTSTRAP_SECRET_TEMPLATE: &str = include_str!("../../templates/bootstrap-token-secret.yaml");

/// Why a manifest cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error(transparent)]
    Entropy(#[from] entropy::Error),
    #[error("group {group:?} is none kube-apiserver gives a bootstrap token")]
    BootstrapGroup { group: String },
    #[error("the bootstrap token's time to live is not positive, or ends after the year 9999")]
    TimeToLive,
    #[error("group {group:?} is too wide to be given bootstrap rights")]
    TooWide { group: String },
    #[error("user {user:?} is one of Kubernetes' own")]
    ReservedUser { user: String },
    #[error("nobody to bind: the token has neither a user nor a group")]
    NoSubject,
    #[error("the template does not give YAML")]
    NotYaml,
    /// `reason` is the template engine's own, which repeats template text but no values.
    #[error("template {name}{}: {reason}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Template { name: &'static str, line: Option<usize>, reason: String },
}

impl ManifestError {
    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Entropy(_) => None,
            Self::BootstrapGroup { .. } => {
                Some("its groups are system:bootstrappers:NAME, NAME of a-z 0-9 : - and not ending in : or -")
            }
            Self::TimeToLive => Some("give a duration such as 24h"),
            Self::TooWide { .. } => Some("give the token a group of its own, such as system:bootstrappers"),
            Self::ReservedUser { .. } => Some("give the token a user of its own, such as kubelet-bootstrap"),
            Self::NoSubject => Some("set user or groups in [token]"),
            Self::NotYaml | Self::Template { .. } => {
                Some("compare with the template compiled in: run without --templates")
            }
        }
    }
}

/// The names of the two ClusterRoleBindings that name the subjects. Each form of token has its own: applying one form's
/// manifest leaves the other's bindings as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bindings {
    bootstrap: &'static str,
    approval: &'static str,
}

const OF_STATIC_TOKENS: Bindings = Bindings { bootstrap: "kubelet-bootstrap", approval: "auto-approve-csrs-for-group" };
const OF_BOOTSTRAP_SECRETS: Bindings =
    Bindings { bootstrap: "kubelet-bootstrap-tokens", approval: "auto-approve-csrs-for-bootstrap-tokens" };

/// Who bootstraps: the user and groups a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbacSubjects {
    bindings: Bindings,
    user: Option<String>,
    groups: Vec<String>,
}

impl RbacSubjects {
    /// The subjects of a row of token.csv.
    ///
    /// # Errors
    /// [`ManifestError::TooWide`] for a group of Kubernetes' own that holds more than bootstrapping kubelets,
    /// [`ManifestError::ReservedUser`] for such a user, and [`ManifestError::NoSubject`] when nothing is left to bind.
    pub fn for_static_token(settings: &TokenSettings) -> Result<Self, ManifestError> {
        if let Some(group) = settings.groups.iter().find(|group| is_reserved_group(group)) {
            return Err(ManifestError::TooWide { group: group.clone() });
        }
        if is_reserved_user(&settings.user) {
            return Err(ManifestError::ReservedUser { user: settings.user.clone() });
        }
        let user = Some(settings.user.clone()).filter(|user| !user.is_empty());
        let groups: Vec<String> = settings.groups.iter().filter(|group| !group.is_empty()).cloned().collect();
        if user.is_none() && groups.is_empty() {
            return Err(ManifestError::NoSubject);
        }
        Ok(Self { bindings: OF_STATIC_TOKENS, user, groups })
    }

    /// The subjects of a bootstrap-token Secret: its extra groups, or `system:bootstrappers` where it has none. Never
    /// its user, which lives only as long as the token.
    #[must_use]
    pub fn for_bootstrap_secret(secret: &BootstrapTokenSecret) -> Self {
        Self::for_bootstrap_groups(secret.extra_groups())
    }

    /// The same, of the groups alone.
    #[must_use]
    pub fn for_bootstrap_groups(groups: &[String]) -> Self {
        let extra: Vec<String> = groups.iter().filter(|group| *group != BOOTSTRAPPERS).cloned().collect();
        let groups = if extra.is_empty() { vec![BOOTSTRAPPERS.to_owned()] } else { extra };
        Self { bindings: OF_BOOTSTRAP_SECRETS, user: None, groups }
    }

    fn user_subject(&self) -> Option<Value> {
        self.user.as_ref().map(|name| context! { kind => "User", name => name })
    }

    fn group_subjects(&self) -> Vec<Value> {
        self.groups.iter().map(|name| context! { kind => "Group", name => name }).collect()
    }
}

/// Three ClusterRoleBindings: node-bootstrapper for the user and the groups, nodeclient for the groups (the user where
/// there are none), selfnodeclient for `system:nodes`. The template sees the lists `bootstrappers` and `approved`
/// of `kind` and `name`, and the names `bootstrap_binding` and `approval_binding` of the first two bindings; the third
/// is the same for every token.
///
/// # Errors
/// [`ManifestError::Template`].
pub fn render_rbac(template: &str, subjects: &RbacSubjects) -> Result<String, ManifestError> {
    let groups = subjects.group_subjects();
    let bootstrappers: Vec<Value> = subjects.user_subject().into_iter().chain(groups.clone()).collect();
    let approved = if groups.is_empty() { bootstrappers.clone() } else { groups };
    let Bindings { bootstrap, approval } = subjects.bindings;
    let values = context! { bootstrappers, approved, bootstrap_binding => bootstrap, approval_binding => approval };
    render("rbac.yaml", template, &values)
}

/// The Secret of namespace kube-system. The template sees `name`, `description`, `token_id`, `token_secret`,
/// `expiration` and `auth_extra_groups` (comma-separated, may be empty).
///
/// # Errors
/// [`ManifestError::Template`].
pub fn render_bootstrap_secret(template: &str, secret: &BootstrapTokenSecret) -> Result<Secret, ManifestError> {
    let values = context! {
        name => secret.name(),
        description => "Bootstrap token for kubelets, made by kubemint.",
        token_id => secret.id(),
        token_secret => secret.secret_part().expose_secret(),
        expiration => secret.expiration().to_string(),
        auth_extra_groups => secret.extra_groups().join(","),
    };
    render("bootstrap-token-secret.yaml", template, &values).map(Secret::from)
}

/// Several manifests as one stream of YAML documents.
#[must_use]
pub fn join_manifests(parts: &[Secret]) -> Secret {
    parts.iter().map(ExposeSecret::expose_secret).collect::<String>().into()
}

/// The documents of a manifest as one `v1` List, which kubectl takes as it takes the YAML. Holds what the manifest holds.
///
/// # Errors
/// [`ManifestError::NotYaml`], when an overridden template gave something else.
pub fn list_of_manifest(manifest: &Secret) -> Result<serde_json::Value, ManifestError> {
    let mut items = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifest.expose_secret()) {
        let value = serde_json::Value::deserialize(document).map_err(|_| ManifestError::NotYaml)?;
        if !value.is_null() {
            items.push(value);
        }
    }
    Ok(serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

fn render(name: &'static str, template: &str, values: &Value) -> Result<String, ManifestError> {
    let failed = |error: minijinja::Error| {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        ManifestError::Template { name, line: error.line(), reason: format!("{}{detail}", error.kind()) }
    };
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(|out, _, value| match (value.as_str(), value.kind()) {
        (Some(text), _) => out.write_str(&quote_yaml(text)).map_err(minijinja::Error::from),
        (None, ValueKind::Undefined) => Err(minijinja::ErrorKind::UndefinedError.into()),
        (None, _) => Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            "only text can be printed into a manifest",
        )),
    });
    if let Some((line, excess)) = find_excess(template) {
        return Err(ManifestError::Template { name, line: Some(line), reason: excess.to_string() });
    }
    environment.add_template(name, template).map_err(failed)?;
    let text = environment.get_template(name).and_then(|template| template.render(values)).map_err(failed)?;
    Ok(text.trim_end_matches('\n').to_owned() + "\n")
}

/// A double-quoted YAML scalar on one line. JSON's escapes will not do: YAML readers do not join surrogate pairs, and
/// some take U+0085, U+2028 and U+2029 for line ends.
fn quote_yaml(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}
