//! No two hosts are the same: neither by name nor by the place their files would go to.
//!
//! One pass with hash tables; of each block only the first clash is reported.

use super::{
    address::JumpHost,
    diagnostics::{Mistake, Mistakes},
    hosts::PlacedHost,
    model::{Connection, Host},
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    path::PathBuf,
};

#[derive(PartialEq, Eq, Hash)]
enum Place<'h> {
    /// The same address behind another jump host is another machine.
    Ssh {
        address: &'h str,
        port: u16,
        jump: &'h [JumpHost],
        directory: &'h str,
    },
    Local(PathBuf),
}

fn place(host: &Host) -> Place<'_> {
    match &host.connection {
        Connection::Ssh(target) => Place::Ssh {
            address: &target.address,
            port: target.port,
            jump: &target.settings.jump,
            directory: &host.directory,
        },
        Connection::Local { root } => Place::Local(root.join(host.directory.trim_start_matches('/'))),
    }
}

fn describe(place: &Place<'_>) -> String {
    match place {
        Place::Ssh { address, port, directory, .. } => format!("{directory} on {address} port {port}"),
        Place::Local(path) => format!("{} on this machine", path.display()),
    }
}

pub(super) fn check_unique(hosts: &[PlacedHost], mistakes: &mut Mistakes<'_>) {
    let mut names = HashMap::with_capacity(hosts.len());
    let mut places = HashMap::with_capacity(hosts.len());
    let (mut name_clashes, mut place_clashes) = (HashSet::new(), HashSet::new());
    for PlacedHost { host, at } in hosts {
        if let Some(first) = names.insert(&host.name, *at) {
            if name_clashes.insert(*at) {
                let message = format!("the host name \"{}\" is used twice", host.name);
                let hint = format!("it first stands on line {}", mistakes.line(first));
                mistakes.report(*at, Mistake::new(message).hint(hint));
            }
            continue;
        }
        match places.entry(place(host)) {
            Entry::Vacant(free) => {
                free.insert(&host.name);
            }
            Entry::Occupied(taken) if place_clashes.insert(*at) => {
                let (other, place) = (taken.get(), describe(taken.key()));
                let message = format!("the hosts \"{other}\" and \"{}\" are the same place: {place}", host.name);
                let hint = match host.connection {
                    Connection::Ssh(_) => "give each its own address, port or directory",
                    Connection::Local { .. } => "give each its own root or directory",
                };
                mistakes.report(*at, Mistake::new(message).hint(hint));
            }
            Entry::Occupied(_) => {}
        }
    }
}
