//! Renders the probe with the questions of `status`: the functions of both templates, and the calls.

use super::{KUBELET_CERTIFICATE, KUBELET_KUBECONFIG, Service};
use crate::{
    inventory::{Host, Role},
    remote::{
        Input,
        installer::{
            machine,
            script::{Layout, push_look, quote_sh, without_remarks, wrap},
        },
    },
};
use std::{fmt::Write, sync::LazyLock};

static FUNCTIONS: LazyLock<String> = LazyLock::new(|| without_remarks(include_str!("../../../../templates/status.sh")));

pub(super) fn render_probe_in_use(
    layout: &Layout<'_>,
    host: &Host,
    services: &[(Service, usize)],
    nonce: &str,
) -> Input {
    let asked: Vec<_> = services.iter().filter_map(|(of, file)| Some((of, file, layout.file_path(*file)?))).collect();
    let mut calls = machine::render_call(&[]);
    calls.push_str(if asked.is_empty() { "km_say clock \"$(date +%s)\"\n" } else { "km_times\n" });
    for d in 0..layout.directories.len() {
        push_look(&mut calls, layout, d, "probe");
    }
    if !asked.is_empty() {
        let (mut ages, mut processes) = ("km_ages".to_owned(), "km_processes".to_owned());
        for (service, file, path) in asked {
            let path = quote_sh(&path);
            let _ = write!(ages, " {path}");
            let _ = write!(processes, " {} {file} {path}", service.name());
        }
        let _ = write!(calls, "{ages}\n{processes}\n");
    }
    if host.roles.contains(Role::Node) {
        let kubeconfig = format!("{}/{KUBELET_KUBECONFIG}", host.directory.trim_end_matches('/'));
        let _ = writeln!(
            calls,
            "km_kubelet {} {} {}",
            quote_sh(&layout.root),
            quote_sh(&kubeconfig),
            quote_sh(KUBELET_CERTIFICATE)
        );
    }
    wrap(layout, nonce, &FUNCTIONS, &calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::installer::script::assert_is_script;

    #[test]
    fn what_is_sent_is_a_script_to_every_shell_and_cannot_be_broken_by_stripping() {
        assert_is_script(&FUNCTIONS, include_str!("../../../../templates/status.sh"));
    }

    #[test]
    fn the_kernel_does_not_cut_the_names_we_look_for() {
        assert!(Service::ALL.iter().all(|service| service.name().len() < 16));
    }
}
