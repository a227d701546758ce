//! How a rotation comes along: a line per stage and step on standard error; the nodes as in any run over hosts.

use crate::{
    cli::{hosts::counted, output::Output, progress::Progress},
    rotation::{Carrier, Direction, Stage},
    workflow::{InterruptObserver, distribute, report::HostReport, rotate},
};
use std::cell::RefCell;

pub(super) struct Steps<'a> {
    output: &'a Output,
    nodes: RefCell<Option<Progress<'a>>>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, nodes: RefCell::default() }
    }
}

impl rotate::Observer for Steps<'_> {
    fn stage_begun(&self, stage: Stage, direction: Direction, carrier: Carrier) {
        let what = match (stage, direction) {
            (Stage::Accept, Direction::Forward) if carrier != Carrier::TokenFile => {
                "a Secret with the new token, known to every apiserver"
            }
            (Stage::Accept, Direction::Back) if carrier != Carrier::TokenFile => {
                "the Secret with the new token goes, and every apiserver refuses it"
            }
            (Stage::Retire, _) if carrier == Carrier::Secrets => {
                "the Secret with the old token goes, and every apiserver refuses it"
            }
            (Stage::Accept, Direction::Forward) => "token.csv with the old and the new token, one host after the other",
            (Stage::Accept, Direction::Back) => "token.csv without the new token, one host after the other",
            (Stage::Switch, Direction::Forward) => "bootstrap.kubeconfig with the new token to the nodes",
            (Stage::Switch, Direction::Back) => "bootstrap.kubeconfig with the old token to the nodes",
            (Stage::Approve, _) => "what nodes ask for",
            (Stage::Verify, _) => "every node, every apiserver",
            (Stage::Retire, _) => "token.csv without the old token, one host after the other",
        };
        self.output.note(&format!("{}: {what}", stage.name()));
    }

    fn step(&self, host: &str, what: &str) {
        self.output.note(&format!("  {host}: {what}"));
    }

    fn nodes_begun(&self, count: usize) {
        self.output.note(&format!("  {}", counted(count, "node")));
        self.nodes.replace(Some(Progress::new(self.output, count)));
    }

    fn nodes_ended(&self) {
        if let Some(progress) = self.nodes.take() {
            progress.finish();
        }
    }
}

impl distribute::Observer for Steps<'_> {
    fn host_started(&self, name: &str) {
        if let Some(progress) = self.nodes.borrow().as_ref() {
            progress.host_started(name);
        }
    }

    fn host_finished(&self, report: &HostReport) {
        if let Some(progress) = self.nodes.borrow().as_ref() {
            progress.host_finished(report);
        }
    }
}

impl InterruptObserver for Steps<'_> {
    fn interrupted(&self, in_flight: usize) {
        match self.nodes.borrow().as_ref() {
            Some(progress) => progress.interrupted(in_flight),
            None => self.output.note("interrupted: finishing the host in hand; once more stops at once"),
        }
    }
}
