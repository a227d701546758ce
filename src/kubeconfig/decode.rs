//! A kubeconfig from text. Refuses what kubectl refuses (wrong types, wrong kind, text that is no YAML) and what is
//! dangerous. Bare words that only YAML 1.1 misreads (`y`, `0123`) are taken as text here, though kubectl stumbles.

use super::{
    fields::{Fields, list_of, secret_value, text_value},
    model::{AuthProvider, Cluster, Context, EnvVar, Exec, Kubeconfig, User},
    tree::{Fault, parse_tree},
};
use crate::secret::scrub;

/// The largest file that is parsed, in bytes: etcd's limit for one object, and far more than a kubeconfig needs.
pub const MAX_SIZE: usize = 1 << 20;

/// Why text is not a kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("{size} bytes are too many for a kubeconfig (at most {MAX_SIZE})")]
    TooLarge { size: usize },
    #[error("not UTF-8 text (byte {offset})")]
    NotUtf8 { offset: usize },
    /// `line` and `column` from 1, where the parser knows them.
    #[error("{}{reason}", place(*line, *column))]
    Yaml { line: Option<usize>, column: Option<usize>, reason: String },
    #[error("its aliases expand it too far")]
    Expands,
    #[error("it is nested too deeply")]
    TooDeep,
    #[error("the file is empty")]
    Empty,
    /// `path` as in `users[0].user.token`; the file itself is `.`.
    #[error("{path} is {found}, expected {expected}")]
    WrongType { path: String, expected: &'static str, found: &'static str },
    #[error("{path} is missing")]
    Missing { path: String },
    #[error("not a kubeconfig: {field} is {found:?}, expected {expected:?}")]
    WrongKind { field: &'static str, found: String, expected: &'static str },
}

impl ParseError {
    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WrongType { expected: TEXT, .. } => {
                Some("quote the value: kubectl reads bare yes, 1e5, 0123 and the like as something else than text")
            }
            Self::WrongKind { .. } => Some("a kubeconfig has apiVersion: v1 and kind: Config"),
            Self::Expands => Some("write the values out instead of using anchors and aliases"),
            Self::TooDeep => Some("a kubeconfig is five levels deep: is this the right file?"),
            Self::TooLarge { .. } => Some("is this the right file?"),
            Self::NotUtf8 { .. } => Some("save the file as UTF-8"),
            Self::Yaml { .. } => Some("mend the YAML there; kubectl could not read it either"),
            Self::Empty | Self::Missing { .. } | Self::WrongType { .. } => {
                Some("compare with `kubectl config view --raw` of a kubeconfig that works")
            }
        }
    }
}

pub(super) const TEXT: &str = "text";

fn place(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        _ => String::new(),
    }
}

/// Reads a kubeconfig.
///
/// # Errors
/// [`ParseError`], where kubectl would refuse the file too, or where reading it would be dangerous.
pub fn parse_kubeconfig(text: &[u8]) -> Result<Kubeconfig, ParseError> {
    if text.len() > MAX_SIZE {
        return Err(ParseError::TooLarge { size: text.len() });
    }
    let text = std::str::from_utf8(text).map_err(|e| ParseError::NotUtf8 { offset: e.valid_up_to() })?;
    let tree = parse_tree(text).map_err(|fault| match fault {
        Fault::Expands => ParseError::Expands,
        Fault::TooDeep => ParseError::TooDeep,
        Fault::Syntax(error) => {
            let (line, column) = error.location().map(|at| (at.line(), at.column())).unzip();
            // serde_yaml appends the place to its own text.
            let said = error.to_string();
            let reason = scrub(said.split(" at line ").next().unwrap_or_default());
            ParseError::Yaml { line, column, reason }
        }
    })?;
    if tree.is_null() {
        return Err(ParseError::Empty);
    }
    let mut fields = Fields::of(String::new(), tree)?;
    fields.expect_value("kind", "Config")?;
    fields.expect_value("apiVersion", "v1")?;
    Ok(Kubeconfig {
        clusters: fields.named("clusters", "cluster", cluster)?,
        contexts: fields.named("contexts", "context", context)?,
        users: fields.named("users", "user", user)?,
        current_context: fields.text("current-context")?,
        other: fields.rest(),
    })
}

fn cluster(mut fields: Fields) -> Result<Cluster, ParseError> {
    Ok(Cluster {
        server: fields.text("server")?,
        tls_server_name: fields.text("tls-server-name")?,
        insecure_skip_tls_verify: fields.flag("insecure-skip-tls-verify")?,
        certificate_authority: fields.text("certificate-authority")?,
        certificate_authority_data: fields.text("certificate-authority-data")?,
        proxy_url: fields.text("proxy-url")?,
        disable_compression: fields.flag("disable-compression")?,
        other: fields.rest(),
    })
}

fn context(mut fields: Fields) -> Result<Context, ParseError> {
    Ok(Context {
        cluster: fields.text("cluster")?,
        user: fields.text("user")?,
        namespace: fields.text("namespace")?,
        other: fields.rest(),
    })
}

fn user(mut fields: Fields) -> Result<User, ParseError> {
    Ok(User {
        client_certificate: fields.text("client-certificate")?,
        client_certificate_data: fields.text("client-certificate-data")?,
        client_key: fields.text("client-key")?,
        client_key_data: fields.secret("client-key-data")?,
        token: fields.secret("token")?,
        token_file: fields.text("tokenFile")?,
        impersonate: fields.text("as")?,
        impersonate_uid: fields.text("as-uid")?,
        impersonate_groups: fields.list("as-groups", text_value)?,
        impersonate_extra: fields.map("as-user-extra", |path, value| list_of(path, value, secret_value))?,
        username: fields.text("username")?,
        password: fields.secret("password")?,
        auth_provider: fields.nested("auth-provider", auth_provider)?,
        exec: fields.nested("exec", exec)?,
        other: fields.rest(),
    })
}

fn auth_provider(mut fields: Fields) -> Result<AuthProvider, ParseError> {
    Ok(AuthProvider {
        name: fields.text("name")?.unwrap_or_default(),
        config: fields.map("config", secret_value)?,
        other: fields.rest(),
    })
}

fn exec(mut fields: Fields) -> Result<Exec, ParseError> {
    Ok(Exec {
        api_version: fields.text("apiVersion")?,
        command: fields.text("command")?.unwrap_or_default(),
        args: fields.list("args", secret_value)?,
        env: fields.list("env", |path, value| {
            let mut fields = Fields::of(path, value)?;
            Ok(EnvVar {
                name: fields.text("name")?.unwrap_or_default(),
                value: fields.secret("value")?.unwrap_or_default(),
                other: fields.rest(),
            })
        })?,
        install_hint: fields.text("installHint")?,
        provide_cluster_info: fields.flag("provideClusterInfo")?,
        interactive_mode: fields.text("interactiveMode")?,
        other: fields.rest(),
    })
}
