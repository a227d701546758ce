//! Renders the examination: the functions of both templates, and the calls with what this host is asked.

use super::Questions;
use crate::inventory::Privilege;
use crate::remote::{
    Input,
    installer::{
        machine,
        script::{Layout, push_look, quote_sh, without_remarks, wrap},
    },
};
use std::{fmt::Write, net::IpAddr, sync::LazyLock};

static FUNCTIONS: LazyLock<String> = LazyLock::new(|| without_remarks(include_str!("../../../../templates/doctor.sh")));

/// What an install calls. `dd` and `setfacl` only help it to say why something failed.
const TOOLS: &str = "cat chgrp chmod chown date df ln ls mkdir mv rm sync";

pub(super) fn render_examination(
    layout: &Layout<'_>,
    nonce: &str,
    privilege: Privilege,
    questions: Questions<'_>,
) -> Input {
    let mut calls = machine::render_call(&[]);
    let _ = write!(calls, "km_tell uid \"$km_uid\"\nkm_tell clock \"$(date +%s)\"\nkm_tools {TOOLS}\n");
    if privilege == Privilege::Sudo {
        calls.push_str("km_sudo\n");
    }
    if !questions.units.is_empty() {
        calls.push_str("km_units");
        for unit in questions.units {
            let _ = write!(calls, " {}", quote_sh(unit));
        }
        calls.push('\n');
    }
    if let Some(server) = questions.server {
        let host = server.host();
        let option = if host.parse::<IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
        let authority = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = format!("https://{authority}:{}", server.port());
        let _ = writeln!(calls, "km_trusted={}", quote_sh(questions.ca_pem.unwrap_or_default().trim_end()));
        let _ = writeln!(calls, "km_reach {} {} {} {option}", quote_sh(&host), server.port(), quote_sh(&url));
    }
    calls.push_str("km_mounts=$km_newline$(cat /proc/mounts 2>/dev/null)$km_newline\n");
    for d in 0..layout.directories.len() {
        calls.push_str("km_names=\n");
        push_look(&mut calls, layout, d, "look");
        let _ = writeln!(calls, "km_ground {d}");
    }
    wrap(layout, nonce, &FUNCTIONS, &calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::installer::script::assert_is_script;

    #[test]
    fn what_is_sent_is_a_script_to_every_shell_and_cannot_be_broken_by_stripping() {
        assert_is_script(&FUNCTIONS, include_str!("../../../../templates/doctor.sh"));
    }
}
