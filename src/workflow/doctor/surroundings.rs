//! What surrounds the files: the host's clock, the units that read them, the apiserver they point to.

use super::{Subject, check::Verdict};
use crate::{
    bundle::Validity,
    inventory::{Host, Role, Services},
    remote::installer::examine::{Reach, Systemd, Trust},
    workflow::skew,
};

/// The units of one host, as [services] names them.
pub(super) struct AskedUnits {
    pub names: Vec<String>,
    /// Services whose command is not of the plain form.
    unread: Vec<&'static str>,
}

impl AskedUnits {
    pub fn of(host: &Host, services: &Services) -> Self {
        let all = [
            (Role::ControlPlane, "kube-apiserver", &services.kube_apiserver),
            (Role::Node, "kubelet", &services.kubelet),
            (Role::Node, "kube-proxy", &services.kube_proxy),
        ];
        let mut asked = Self { names: Vec::new(), unread: Vec::new() };
        for (_, service, command) in all.into_iter().filter(|(role, ..)| host.roles.contains(*role)) {
            match command.as_deref().map(unit_in) {
                Some(Some(unit)) => asked.names.push(unit.to_owned()),
                Some(None) => asked.unread.push(service),
                None => {}
            }
        }
        asked
    }
}

/// `systemctl restart kubelet` -> `kubelet`; no other form is read.
fn unit_in(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace();
    let (program, verb, unit, rest) = (words.next()?, words.next()?, words.next()?, words.next());
    let plain = unit.starts_with(|c: char| c.is_ascii_alphanumeric())
        && unit.chars().all(|c| c.is_ascii_alphanumeric() || "@._:-".contains(c));
    (program == "systemctl" && verb == "restart" && plain && rest.is_none()).then_some(unit)
}

pub(super) fn clock(subject: &Subject) -> Verdict {
    let Some(clock) = subject.examination.clock else { return Verdict::skipped("the host did not tell its time") };
    let skew = skew::skew_seconds(clock, subject.asked);
    let validity = subject.files.iter().filter_map(|file| file.validity).reduce(Validity::overlap);
    match validity {
        Some(validity) if !validity.contains(clock) => Verdict::fail(format!(
            "its clock says {clock} ({skew:+} s): the certificates hold from {} to {}",
            validity.not_before, validity.not_after
        ))
        .code("clock_outside_validity"),
        _ if skew::is_notable(skew) => Verdict::warn(format!("{skew:+} s off")),
        _ => Verdict::ok(format!("{skew:+} s off")),
    }
}

pub(super) fn units(subject: &Subject) -> Verdict {
    let asked = subject.units;
    let unread = match asked.unread.as_slice() {
        [] => String::new(),
        some => format!("the command for {} is not `systemctl restart UNIT`", some.join(", ")),
    };
    if asked.names.is_empty() {
        let reason = if unread.is_empty() { "[services] names none for this host".to_owned() } else { unread };
        return Verdict::skipped(reason);
    }
    match subject.examination.systemd {
        Systemd::Absent => return Verdict::skipped("the host has no systemctl"),
        Systemd::Idle | Systemd::NotAsked => return Verdict::skipped("systemd does not run the host"),
        Systemd::Running => {}
    }
    let found = &subject.examination.units;
    let told: Vec<_> = found
        .iter()
        .map(|unit| match &*unit.load {
            "loaded" => format!("{} {}, {}", unit.name, unit.active, unit.file),
            other => format!("{} is {other}", unit.name),
        })
        .chain(Some(unread).filter(|unread| !unread.is_empty()))
        .collect();
    let told = told.join("; ");
    if found.iter().any(|unit| unit.load == "unknown") {
        Verdict::warn(format!("systemctl did not tell: {told}"))
    } else if found.iter().all(|unit| unit.load == "loaded") {
        Verdict::ok(told)
    } else {
        Verdict::fail(told)
    }
}

pub(super) fn apiserver(subject: &Subject) -> Verdict {
    let server = &subject.host.server;
    let Some(reach) = subject.examination.reach else { return Verdict::skipped("not asked") };
    match reach {
        Reach::Open(trust) => trusted(server.as_str(), trust),
        Reach::Refused => Verdict::fail(format!("{server}: refused")),
        Reach::Timeout => Verdict::fail(format!("{server}: timeout")),
        Reach::Unresolved => Verdict::fail(format!("{server}: its name is not resolved there")),
        Reach::Unreachable => Verdict::fail(format!("{server}: no route to it")),
        Reach::Untold => {
            Verdict::skipped("none of bash, python3, nc, curl, openssl and wget on the host could tell (with timeout)")
        }
    }
}

fn trusted(server: &str, trust: Trust) -> Verdict {
    let other = "the host may be pointed at another cluster's apiserver, or the credential directory be the wrong one";
    match trust {
        Trust::Ours => Verdict::ok(format!("{server}: reachable, its certificate is of our CA")),
        Trust::NotChecked => Verdict::ok(format!("{server}: reachable (certificate not checked)")),
        Trust::OtherAuthority => Verdict::fail(format!("{server}: other CA")).hint(other),
        Trust::OtherAuthorityOrName => {
            Verdict::fail(format!("{server}: its certificate is of another CA, or not for that address")).hint(other)
        }
        Trust::OtherName => Verdict::fail(format!("{server}: its certificate is not for that address"))
            .hint("add the address to the apiserver certificate's SANs, or point server to a name it has"),
        Trust::Expired => Verdict::fail(format!("{server}: its certificate has expired, by the host's clock")),
        Trust::NotYetValid => Verdict::fail(format!("{server}: its certificate is not valid yet, by the host's clock")),
        Trust::Refused(number) => {
            Verdict::fail(format!("{server}: its certificate is refused (OpenSSL verify code {number})"))
        }
        Trust::NoTls => Verdict::fail(format!("{server}: what answers there speaks no TLS")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_command_names_a_unit() {
        for (command, unit) in [
            ("systemctl restart kubelet", Some("kubelet")),
            ("  systemctl  restart kube-proxy.service ", Some("kube-proxy.service")),
            ("systemctl restart getty@tty1", Some("getty@tty1")),
            ("systemctl restart kubelet kube-proxy", None),
            ("systemctl restart --no-block kubelet", None),
            ("systemctl restart -kubelet", None),
            ("systemctl restart $(x)", None),
            ("sudo systemctl restart kubelet", None),
            ("service kubelet restart", None),
            ("systemctl restart", None),
            ("", None),
        ] {
            assert_eq!(unit_in(command), unit, "{command}");
        }
    }
}
