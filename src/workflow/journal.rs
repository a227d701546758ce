//! The lines of a run's journal.jsonl, written while the run goes on: it starts, it begins a host, a host ends, it is
//! finished. A host whose `begun` line cannot be written is not begun. That line outlives the process, not the machine,
//! which is all that is asked of it: after a power failure every host of the run is looked at again.

use super::{
    debts::ByService,
    report::{HostReport, Summary},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A line as it is written.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Entry<'a> {
    Started {
        at: Timestamp,
        number: u64,
        command: &'static str,
        generation: u64,
        pid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<&'a str>,
        /// Restarts that earlier runs owed then: complete, where it stands there.
        #[serde(skip_serializing_if = "Option::is_none")]
        owed: Option<&'a ByService>,
        hosts: Vec<&'a str>,
    },
    Begun {
        at: Timestamp,
        host: &'a str,
    },
    Host {
        at: Timestamp,
        host: &'a HostReport,
    },
    /// A step on a host begins.
    #[cfg(feature = "k8s")]
    Step {
        at: Timestamp,
        host: &'a str,
        step: &'static str,
    },
    /// A stage of a rotation begins.
    #[cfg(feature = "k8s")]
    Stage {
        at: Timestamp,
        stage: &'static str,
        direction: &'static str,
    },
    Finished {
        at: Timestamp,
        summary: Summary,
    },
}

/// A line as it is read: what other versions write beside is passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Line<H> {
    Started {
        at: Timestamp,
        #[serde(default)]
        number: Option<u64>,
        command: String,
        generation: u64,
        #[serde(default)]
        of: Option<String>,
        #[serde(default)]
        owed: Option<ByService>,
        hosts: Vec<String>,
    },
    Begun {
        host: String,
    },
    Host {
        host: H,
    },
    Stage {
        stage: String,
        direction: String,
    },
    Finished {
        at: Timestamp,
        #[serde(default)]
        summary: Option<KeptSummary>,
    },
    #[serde(other)]
    Unknown,
}

/// Of the counts at the end of a run those that tell whether all is known.
#[derive(Debug, Deserialize)]
pub(super) struct KeptSummary {
    pub failed: usize,
}
