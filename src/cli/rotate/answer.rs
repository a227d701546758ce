//! How a rotation ended, or where it stands, in words: for a person at a terminal. What is pending comes first, what to type
//! next last.

use crate::{
    cli::hosts::{Told, told_failures},
    rotation::Direction,
    workflow::rotate::{RotationReport, State},
};

pub(super) fn text(report: &RotationReport) -> String {
    let mut text = told_failures(report.pending.iter().map(|host| {
        let error = &host.error;
        (host.name.as_str(), Told { code: error.code, message: &error.message, hint: &error.hint })
    }));
    if !text.is_empty() {
        text.push('\n');
    }
    text += &match report.state {
        State::Done if !report.own_tokens_of.is_empty() => {
            let is_pending = |node: &&String| report.pending.iter().any(|host| host.name == **node);
            let (away, done): (Vec<&String>, Vec<&String>) = report.own_tokens_of.iter().partition(is_pending);
            let named = |nodes: &[&String]| nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(", ");
            let mut text = "revoked: the old tokens are refused on every control-plane host\n".to_owned();
            if !done.is_empty() {
                text += &format!("with a new token: {}\n", named(&done));
            }
            if !away.is_empty() {
                text += &format!("not yet with a new token: {}\n", named(&away));
            }
            text
        }
        State::Done => {
            format!("rotated: token {} works on every control-plane host, {} is refused\n", report.new, report.old)
        }
        State::Aborted => format!("aborted: token {} is in use as before, {} is refused\n", report.old, report.new),
        State::Paused => paused(report),
    };
    for step in &report.next_steps {
        text += &format!("next: {step}\n");
    }
    text
}

fn paused(report: &RotationReport) -> String {
    let back = if report.direction == Direction::Back.name() { " on the way back" } else { "" };
    let mut text = format!("paused in stage {}{back} (rotation {})", report.stage, report.rotation_id);
    if let Some(reason) = &report.reason {
        text += &format!(": {}\n  {}\n  hint: {}\n", reason.code, reason.message, reason.hint);
    } else {
        text.push('\n');
    }
    text
}
