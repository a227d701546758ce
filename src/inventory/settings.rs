//! What holds for the whole inventory: cluster, CA, token, certificate, services.
//!
//! Every function reads one table, reports what is wrong with it, and returns a value in any case: a stand-in where
//! there was a mistake, so that reading goes on and all mistakes are found. The caller drops it then.

use super::{
    Host, Location, Role,
    choice::read_choice,
    diagnostics::{Mistake, Mistakes, did_you_mean, quoted},
    identity::{is_bootstrap_group, is_reserved_group, is_reserved_organization, is_reserved_user},
    model::{CaSource, CertificateSettings, Cluster, KubeletRestart, ServerUrl, Services, TokenForm, TokenSettings},
    pace::read_timeout,
    paths::resolve_path,
    reader::{Found, Reader},
};
use crate::pki::Algorithm;
use jiff::{Span, SpanRelativeTo};
use std::{path::PathBuf, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The kubelet's signer has the same floor (600 s).
const SHORTEST_VALIDITY: Duration = Duration::from_secs(10 * 60);
const LONGEST_VALIDITY: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);
/// ub-common-name and ub-organization-name of RFC 5280, appendix A.1.
const LONGEST_NAME: usize = 64;
/// Who is in this group is cluster admin, whatever RBAC says.
const MASTERS: &str = "system:masters";
const SECRET_GROUPS_HINT: &str =
    "remove it, or write \"system:bootstrappers:NAME\", NAME of a-z 0-9 : - and not ending in : or -";
const BOOTSTRAP_GROUPS_HINT: &str = "write \"system:kubelet-bootstrap\" or \"system:bootstrappers\"";

pub(super) fn read_state_dir(top: &Reader<'_>, location: &Location, mistakes: &mut Mistakes<'_>) -> PathBuf {
    read_path(top, "state_dir", location, mistakes).unwrap_or_else(|| location.folder.join("kubemint-state"))
}

fn read_path(table: &Reader<'_>, key: &str, location: &Location, mistakes: &mut Mistakes<'_>) -> Option<PathBuf> {
    let text = table.text(key)?;
    let path = resolve_path(text.value, location)
        .map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(text.value))).hint(e.hint()));
    mistakes.keep(text.at, path)
}

pub(super) fn read_cluster(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Cluster {
    let table = top.table("cluster");
    if table.place("server").is_none() && !top.refused_table("cluster") {
        let missing = Mistake::new("the cluster's server is missing");
        mistakes.report(table.at, missing.hint("write server = \"https://HOST:6443\" below [cluster]"));
    }
    let name = table.text("name").map_or("kubernetes", |name| name.value).to_owned();
    let server = table.text("server").and_then(|url| parse_server("server", url, mistakes));
    Cluster { name, server: server.unwrap_or_else(|| ServerUrl::new_unchecked("https://kubernetes.invalid:6443")) }
}

pub(super) fn parse_server(key: &str, url: Found<&str>, mistakes: &mut Mistakes<'_>) -> Option<ServerUrl> {
    mistakes.keep(url.at, server_url(key, url.value))
}

pub(super) fn server_url(key: &str, text: &str) -> Result<ServerUrl, Mistake> {
    text.parse::<ServerUrl>().map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(text))).maybe_hint(e.hint()))
}

pub(super) fn read_ca(top: &Reader<'_>, location: &Location, mistakes: &mut Mistakes<'_>) -> CaSource {
    let table = top.table("ca");
    let cert = read_path(&table, "cert", location, mistakes);
    let key = read_path(&table, "key", location, mistakes);
    let algorithm = read_algorithm(&table, mistakes);
    let validity = read_validity(&table, 3650, mistakes);
    let common_name = read_name(&table, "common_name", "kubernetes", mistakes);
    if table.place("cert").is_some() {
        for key in ["algorithm", "validity", "common_name"] {
            if let Some(at) = table.place(key) {
                let message = format!("{key} is for a new CA, but cert names an existing one");
                mistakes.report(at, Mistake::new(message).hint(format!("remove {key}, or cert and key")));
            }
        }
    } else if let Some(at) = table.place("key") {
        mistakes.report(at, Mistake::new("the CA's key is given without its cert").hint("add cert = \"ca.pem\""));
    }
    match (cert, key) {
        (Some(cert), Some(key)) => CaSource::Imported { cert, key },
        (Some(cert), None) => CaSource::External { cert },
        (None, _) => CaSource::New { algorithm, validity, common_name },
    }
}

pub(super) fn read_kube_proxy(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> CertificateSettings {
    let table = top.table("certificates").table("kube-proxy");
    if let Some(text) = table.text("organization").filter(|text| is_reserved_organization(text.value)) {
        let message = match text.value {
            MASTERS => format!("an organization of {MASTERS} makes every node cluster admin"),
            other => {
                format!("the organization {} is a group of Kubernetes' own, with rights of its own", quoted(other))
            }
        };
        mistakes.report(text.at, Mistake::new(message).hint("write \"system:node-proxier\""));
    }
    CertificateSettings {
        algorithm: read_algorithm(&table, mistakes),
        validity: read_validity(&table, 365, mistakes),
        organization: read_name(&table, "organization", "system:node-proxier", mistakes),
        per_node: table.flag("per_node"),
    }
}

fn read_algorithm(table: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Algorithm {
    let algorithm = table.text("algorithm").and_then(|text| {
        let parsed = text.value.parse::<Algorithm>().map_err(|e| {
            let hint = did_you_mean(text.value, Algorithm::ALL.map(Algorithm::name));
            Mistake::new(format!("bad algorithm {}: {e}", quoted(text.value))).maybe_hint(hint)
        });
        mistakes.keep(text.at, parsed)
    });
    algorithm.unwrap_or(Algorithm::ALL[0])
}

fn read_name(table: &Reader<'_>, key: &str, default: &str, mistakes: &mut Mistakes<'_>) -> String {
    let Some(text) = table.text(key) else { return default.to_owned() };
    if text.value.chars().count() > LONGEST_NAME {
        mistakes
            .report(text.at, Mistake::new(format!("{key} is longer than the {LONGEST_NAME} characters X.509 allows")));
    }
    text.value.to_owned()
}

fn read_validity(table: &Reader<'_>, default_days: u32, mistakes: &mut Mistakes<'_>) -> Duration {
    read_span(table, "validity", mistakes).unwrap_or(DAY * default_days)
}

fn read_span(table: &Reader<'_>, key: &str, mistakes: &mut Mistakes<'_>) -> Option<Duration> {
    let text = table.text(key)?;
    let parsed = parse_validity(text.value)
        .map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(text.value))).hint(e.hint()));
    mistakes.keep(text.at, parsed)
}

/// Why text is no validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum ValidityError {
    #[error("not a span of time")]
    NotASpan,
    #[error("months and years differ in length")]
    Calendar,
    #[error("shorter than 10 minutes")]
    Short,
    #[error("longer than 36500 days")]
    Long,
}

impl ValidityError {
    fn hint(self) -> &'static str {
        match self {
            Self::NotASpan | Self::Calendar => "write days or hours, such as \"365d\" or \"12h\"",
            Self::Short => "write at least \"10m\"",
            Self::Long => "write at most \"36500d\"",
        }
    }
}

/// A span such as `365d`, `12h`, `1d 12h` or `P90D`; a day has 24 hours. Whole seconds.
fn parse_validity(text: &str) -> Result<Duration, ValidityError> {
    let span: Span = text.parse().map_err(|_| ValidityError::NotASpan)?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| ValidityError::Calendar)?;
    match u64::try_from(length.as_secs()).map(Duration::from_secs) {
        Ok(length) if length > LONGEST_VALIDITY => Err(ValidityError::Long),
        Ok(length) if length >= SHORTEST_VALIDITY => Ok(length),
        _ => Err(ValidityError::Short),
    }
}

/// `form` decides which groups there may be.
pub(super) fn read_token(top: &Reader<'_>, form: TokenForm, mistakes: &mut Mistakes<'_>) -> TokenSettings {
    let table = top.table("token");
    let text = |key, default: &str| table.text(key).map_or(default, |text| text.value).to_owned();
    if let Some(user) = table.text("user").filter(|user| is_reserved_user(user.value)) {
        let message = format!("the user {} is one of Kubernetes' own, with rights of its own", quoted(user.value));
        mistakes.report(user.at, Mistake::new(message).hint("write \"kubelet-bootstrap\""));
    }
    let groups = table.texts("groups").map_or_else(Vec::new, |groups| groups.value);
    for (i, group) in groups.iter().enumerate() {
        if let Some(mistake) = group_mistake(group.value, groups[..i].iter().any(|other| other.value == group.value)) {
            mistakes.report(group.at, mistake);
        } else if form == TokenForm::Secret && !is_bootstrap_group(group.value) {
            let message = format!("the group {} is none that a token kept in a Secret may have", quoted(group.value));
            mistakes.report(group.at, Mistake::new(message).hint(SECRET_GROUPS_HINT));
        }
    }
    let groups = match (table.place("groups"), form) {
        (Some(_), _) => groups.into_iter().map(|group| group.value.to_owned()).collect(),
        (None, TokenForm::Csv) => vec!["system:kubelet-bootstrap".to_owned()],
        (None, TokenForm::Secret) => Vec::new(),
    };
    TokenSettings { user: text("user", "kubelet-bootstrap"), uid: text("uid", "10001"), groups }
}

fn group_mistake(group: &str, seen: bool) -> Option<Mistake> {
    if group == MASTERS {
        let message = format!("the group {MASTERS} makes the bootstrap token cluster admin");
        Some(Mistake::new(message).hint(BOOTSTRAP_GROUPS_HINT))
    } else if is_reserved_group(group) {
        let message = format!("the group {} is one of Kubernetes' own, with rights of its own", quoted(group));
        Some(Mistake::new(message).hint(BOOTSTRAP_GROUPS_HINT))
    } else if group.contains(',') {
        let message = format!("the group {} holds a comma, at which kube-apiserver would split it", quoted(group));
        Some(Mistake::new(message).hint("write each group in quotes of its own"))
    } else if seen {
        Some(Mistake::new(format!("the group {} is listed twice", quoted(group))).hint("remove one"))
    } else {
        None
    }
}

pub(super) fn read_token_form(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> TokenForm {
    read_choice(&top.table("token"), "form", TokenForm::ALL, TokenForm::name, mistakes).unwrap_or_default()
}

pub(super) fn read_token_ttl(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Duration {
    read_span(&top.table("token"), "ttl", mistakes).unwrap_or(DAY)
}

/// A token of its own for every node is worth nothing where a node sees the others', or a Secret carries them.
pub(super) fn read_token_per_node<'h>(
    top: &Reader<'_>,
    form: TokenForm,
    mut hosts: impl Iterator<Item = &'h Host>,
    mistakes: &mut Mistakes<'_>,
) -> bool {
    let table = top.table("token");
    let (Some(at), Some(true)) = (table.place("per_node"), table.flag("per_node")) else { return false };
    let mut refuse = |message: &str, hint: String| mistakes.report(at, Mistake::new(message).hint(hint));
    if form == TokenForm::Secret {
        let hint = "leave form out, or per_node: a Secret expires by itself and is rotated without restarts".to_owned();
        refuse("tokens of single nodes are rows of token.csv, and form is \"secret\"", hint);
    }
    if table.texts("groups").is_some_and(|groups| groups.value.is_empty()) {
        let hint = "write groups = [\"system:kubelet-bootstrap\"]".to_owned();
        refuse("tokens of single nodes have users of their own, which need a group to get their rights by", hint);
    }
    let shows_all = |host: &&Host| host.token_csv_on_nodes && !host.roles.contains(Role::ControlPlane);
    if let Some(host) = hosts.find(shows_all) {
        let hint =
            format!("{} has token_csv_on_nodes = true, and would get every node's token: leave it out", host.name);
        refuse("each node is to have a token of its own, and token.csv goes to nodes", hint);
    }
    true
}

pub(super) fn read_services(top: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Services {
    let table = top.table("services");
    let command = |key| table.text(key).map(|text| text.value.to_owned());
    let default = Services::default();
    let restart = read_choice(&table, "kubelet_restart", KubeletRestart::ALL, KubeletRestart::name, mistakes);
    Services {
        kubelet_restart: restart.unwrap_or_default(),
        restart_timeout: read_timeout(&table, "restart_timeout", mistakes).unwrap_or(default.restart_timeout),
        kube_apiserver: command("kube-apiserver"),
        kubelet: command("kubelet"),
        kube_proxy: command("kube-proxy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_validity_has_24_hours() {
        for (text, hours) in
            [("365d", 8760), ("12h", 12), ("1d 12h", 36), ("P90D", 2160), ("2w", 336), ("90 days", 2160)]
        {
            assert_eq!(parse_validity(text), Ok(Duration::from_secs(hours * 3600)), "{text}");
        }
        assert_eq!(parse_validity("10m"), Ok(SHORTEST_VALIDITY));
        assert_eq!(parse_validity("36500d"), Ok(LONGEST_VALIDITY));
    }

    #[test]
    fn a_validity_that_cannot_be_meant_is_refused() {
        for (text, error) in [
            ("365", ValidityError::NotASpan),
            ("soon", ValidityError::NotASpan),
            ("1y", ValidityError::Calendar),
            ("1mo", ValidityError::Calendar),
            ("0s", ValidityError::Short),
            ("-365d", ValidityError::Short),
            ("365d ago", ValidityError::Short),
            ("9m 59s", ValidityError::Short),
            ("36501d", ValidityError::Long),
        ] {
            assert_eq!(parse_validity(text), Err(error), "{text}");
        }
    }
}
