//! What `status` found, in the text format of Prometheus, as node_exporter's textfile collector reads it. It holds names,
//! paths, dates and states: no secret. See <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use crate::workflow::{
    survey::{HostSurvey, Verdict},
    upkeep::ServiceState,
};
use jiff::Timestamp;
use std::fmt::{Display, Write};

/// All metrics. Of a host that could not be read only that is told; of one that was not begun, nothing.
pub(super) fn render_metrics(surveys: &[HostSurvey], now: Timestamp) -> String {
    let mut text = String::new();
    let begun = || surveys.iter().filter(|survey| survey.verdict() != Verdict::Skipped);
    let mut up = Family::begin(&mut text, "kubemint_host_up", "Whether the host could be read.");
    for survey in begun() {
        up.sample(&[("host", &survey.name)], u8::from(survey.error.is_none()));
    }
    let mut files = Family::begin(
        &mut text,
        "kubemint_file_state",
        "How a file compares with what should be there (same, missing, differs, attributes, refused), as a label; always 1.",
    );
    for survey in begun() {
        for file in &survey.files {
            files.sample(&[("host", &survey.name), ("path", &file.path), ("state", file.state.name())], 1);
        }
    }
    let mut ends = Family::begin(
        &mut text,
        "kubemint_certificate_not_after_seconds",
        "When a certificate on the host ends, in seconds since the epoch.",
    );
    let upkeeps = || begun().filter_map(|survey| Some((&survey.name, survey.upkeep.as_ref()?)));
    for (host, upkeep) in upkeeps() {
        for found in &upkeep.certificates {
            if let Some(end) = found.not_after {
                ends.sample(&[("host", host), ("certificate", found.certificate.name())], end.as_second());
            }
        }
    }
    let mut stale = Family::begin(
        &mut text,
        "kubemint_service_stale",
        "Whether a service runs since before its file changed, and still uses what that held; absent where it does not run or cannot be told.",
    );
    for (host, upkeep) in upkeeps() {
        for found in &upkeep.services {
            let value = match found.state {
                ServiceState::Stale => 1,
                ServiceState::Current | ServiceState::Joined => 0,
                ServiceState::NotRunning | ServiceState::Unknown => continue,
            };
            stale.sample(&[("host", host), ("service", found.service.name())], value);
        }
    }
    let mut tokens = Family::begin(
        &mut text,
        "kubemint_token_generation_current",
        "Whether the files of the host hold the bootstrap token that is in use.",
    );
    for (host, upkeep) in upkeeps() {
        if let Some(is_current) = upkeep.has_current_tokens() {
            tokens.sample(&[("host", host)], u8::from(is_current));
        }
    }
    Family::begin(
        &mut text,
        "kubemint_status_timestamp_seconds",
        "When all this was found, in seconds since the epoch.",
    )
    .sample(&[], now.as_second());
    text
}

/// One metric; its samples stand together, as the format asks.
struct Family<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl<'t> Family<'t> {
    fn begin(text: &'t mut String, name: &'static str, help: &str) -> Self {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        Self { text, name }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (n, (label, of)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if n == 0 { '{' } else { ',' });
            push_escaped(self.text, of);
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// As the format has it: backslash, double quote and line feed.
fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_label_is_escaped() {
        let mut text = String::new();
        Family::begin(&mut text, "m", "Help.").sample(&[("a", "x\\y\"z\nü"), ("b", "")], 7);
        assert_eq!(text, "# HELP m Help.\n# TYPE m gauge\nm{a=\"x\\\\y\\\"z\\nü\",b=\"\"} 7\n");
    }
}
