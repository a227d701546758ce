//! What the commands over hosts share: their flags, and how many hosts and their failures are put into words.

use super::passwords::PasswordArgs;
use crate::{
    inventory::Inventory,
    remote::installer::ForeignPolicy,
    workflow::report::{ErrorReport, Twin, TwinKind},
};
use std::{collections::BTreeMap, fmt::Write};

#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// Hosts worked on at a time [default: distribute.concurrency of the inventory, 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    #[command(flatten)]
    pub(super) passwords: PasswordArgs,
}

/// The same for commands that go from host to host.
#[cfg(feature = "k8s")]
#[derive(Debug, clap::Args)]
pub(super) struct SerialHostArgs {
    /// Hosts worked on at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    #[command(flatten)]
    passwords: PasswordArgs,
}

#[cfg(feature = "k8s")]
impl SerialHostArgs {
    pub(super) fn concurrency(&self) -> usize {
        usize::from(self.concurrency)
    }

    pub(super) fn passwords(&self) -> &PasswordArgs {
        &self.passwords
    }
}

/// What only commands that write, or foretell writing, can be asked for.
#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    pub(super) hosts: HostArgs,
    /// Overwrite kubeconfigs of another CA, and token.csv rows of users ours does not know
    #[arg(long)]
    replace_foreign: bool,
}

impl InstallArgs {
    pub(super) fn foreign(&self) -> ForeignPolicy {
        if self.replace_foreign { ForeignPolicy::Replace } else { ForeignPolicy::Refuse }
    }
}

impl HostArgs {
    pub(super) fn concurrency(&self, inventory: &Inventory) -> usize {
        self.concurrency.map_or(inventory.concurrency, usize::from)
    }
}

/// Up to here every host gets a line; above, those that need no attention are only counted.
pub(super) const LONGEST_TABLE: usize = 50;

/// `1 host`, `2 hosts`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The first few names, and how many more.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [first, second, third, rest @ ..] if rest.len() > 1 => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}

/// One paragraph for each kind of failure: who, what happened to the first of them, and the cure.
pub(super) fn failures<'a>(failed: impl IntoIterator<Item = (&'a str, &'a ErrorReport)>) -> String {
    told_failures(
        failed
            .into_iter()
            .map(|(name, error)| (name, Told { code: error.code, message: &error.message, hint: &error.hint })),
    )
}

/// An error as it is told, from wherever.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) hint: &'a str,
}

/// As [`failures`].
pub(super) fn told_failures<'a>(failed: impl IntoIterator<Item = (&'a str, Told<'a>)>) -> String {
    let mut kinds: BTreeMap<(&str, &str), Vec<(&str, Told)>> = BTreeMap::new();
    for (name, error) in failed {
        kinds.entry((error.code, error.hint)).or_default().push((name, error));
    }
    let mut text = String::new();
    for ((code, hint), hosts) in kinds {
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let Some((first, error)) = hosts.first() else { continue };
        let of = if names.len() > 1 { format!("{first}: ") } else { String::new() };
        let _ = write!(text, "\n{}: {code}\n  {of}{}\n  hint: {hint}\n", listed(&names), error.message);
    }
    text
}

/// One line for each machine that goes by several names, or host key that several machines have.
pub(super) fn twin_warnings<'a>(hosts: impl IntoIterator<Item = (&'a str, &'a Option<Twin>)>) -> Vec<String> {
    let mut kinds: BTreeMap<(TwinKind, &str), Vec<&str>> = BTreeMap::new();
    for (name, twin) in hosts {
        if let Some(twin) = twin {
            kinds.entry((twin.kind, &twin.host)).or_default().push(name);
        }
    }
    let warning = |((kind, host), names): ((TwinKind, &str), Vec<&str>)| match kind {
        TwinKind::SameMachine => {
            format!(
                "{} and {host} are one machine, by host key and machine-id: list it once; or clones, which need keys \
                 (`ssh-keygen -A` after removing the old ones) and machine-ids of their own",
                listed(&names)
            )
        }
        TwinKind::SameHostKey => format!(
            "{} and {host} show the same host key: whoever holds one can pose as the others; make new keys with \
             `ssh-keygen -A` after removing the old ones",
            listed(&names)
        ),
    };
    kinds.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &'static str, message: &str) -> ErrorReport {
        ErrorReport { code, message: message.into(), hint: "mend it".into() }
    }

    #[test]
    fn equal_failures_are_told_once() {
        let refused = error("auth_failed", "refused");
        let names = ["a", "b", "c", "d", "e"];
        let text = failures(names.map(|name| (name, &refused)));
        assert_eq!(text, "\na, b, c and 2 more: auth_failed\n  a: refused\n  hint: mend it\n");
    }

    #[test]
    fn different_failures_stay_apart() {
        let (one, two) = (error("auth_failed", "no"), error("dns_failed", "what"));
        let text = failures([("a", &one), ("b", &two)]);
        assert!(text.contains("a: auth_failed\n  no\n") && text.contains("b: dns_failed\n  what\n"), "{text}");
        assert_eq!(failures([]), "");
    }

    #[test]
    fn one_is_not_a_plural() {
        assert_eq!((counted(1, "host"), counted(0, "host")), ("1 host".into(), "0 hosts".into()));
    }
}
