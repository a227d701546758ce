//! How a run comes along: a bar on a terminal that can draw one, a line per host
//! otherwise. Standard error only.

use super::{hosts::counted, output::Output};
use crate::workflow::{
    InterruptObserver,
    distribute::Observer,
    doctor::{HealthObserver, HostHealth, HostKeys, ScanObserver, Status},
    report::{HostReport, HostStatus},
    survey::{HostSurvey, SurveyObserver},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;

pub(super) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    failed: Cell<usize>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output, hosts: usize) -> Self {
        let bar = output.draws_bars().then(|| {
            let bar = ProgressBar::with_draw_target(Some(hosts as u64), ProgressDrawTarget::stderr());
            let template = "{bar:30} {pos}/{len} hosts, {prefix} failed  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix("0");
            bar
        });
        Self { output, bar, failed: Cell::new(0) }
    }

    fn advance(&self, event: &str, failed: bool) {
        if failed {
            self.failed.set(self.failed.get() + 1);
        }
        match &self.bar {
            None => self.output.note(event),
            Some(bar) => {
                if failed {
                    bar.println(event);
                }
                bar.set_prefix(self.failed.get().to_string());
                bar.set_message(event.to_owned());
                bar.inc(1);
            }
        }
    }

    /// Takes the bar away; the closing table says the rest.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl InterruptObserver for Progress<'_> {
    fn interrupted(&self, in_flight: usize) {
        let line = format!("interrupted: finishing {} in flight; once more stops at once", counted(in_flight, "host"));
        match &self.bar {
            None => self.output.note(&line),
            Some(bar) => bar.println(line),
        }
    }
}

impl Observer for Progress<'_> {
    fn host_started(&self, name: &str) {
        tracing::debug!(host = name, "begun");
    }

    fn host_finished(&self, report: &HostReport) {
        let event = match &report.error {
            None => format!("{}: {}", report.name, report.status.name()),
            Some(error) => format!("{}: {} ({})", report.name, report.status.name(), error.code),
        };
        self.advance(&event, report.status == HostStatus::Failed);
    }
}

impl SurveyObserver for Progress<'_> {
    fn host_surveyed(&self, survey: &HostSurvey) {
        let event = match &survey.error {
            None => format!("{}: read", survey.name),
            Some(error) => format!("{}: failed ({})", survey.name, error.code),
        };
        self.advance(&event, survey.error.is_some());
    }
}

impl HealthObserver for Progress<'_> {
    fn host_examined(&self, health: &HostHealth) {
        self.advance(&format!("{}: {}", health.name, health.status.name()), health.status == Status::Fail);
    }
}

impl ScanObserver for Progress<'_> {
    fn host_scanned(&self, name: &str, keys: &HostKeys) {
        let event = match &keys.error {
            None => format!("{name}: asked"),
            Some(error) => format!("{name}: failed ({})", error.code),
        };
        self.advance(&event, keys.error.is_some());
    }
}
