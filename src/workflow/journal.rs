//! The lines of a run's journal.jsonl, written while the run goes on: it starts, it begins a host, a host ends, it is
//! finished. Every line but `begun` is on the disk before the run goes on; a `begun` line outlives the process, not the
//! machine, which is all that is asked of it: a host that was begun in vain is retried like one that was not begun.

use super::report::{HostReport, Summary};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A line as it is written.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Entry<'a> {
    Started {
        at: Timestamp,
        command: &'static str,
        generation: u64,
        pid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<&'a str>,
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
        command: String,
        generation: u64,
        #[serde(default)]
        of: Option<String>,
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
    },
    #[serde(other)]
    Unknown,
}
