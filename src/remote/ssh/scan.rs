//! The keys a host shows to anybody who asks: key exchange, and goodbye before the login. They prove nothing by themselves;
//! a person compares them. known_hosts is read and never written. A jump host on the way is logged in to, as for any
//! other purpose: only one whose key is known leads to what is behind it.
//!
//! A server shows one key per connection, and one that is hung up on before the login is a connection that sshd counts
//! (PerSourcePenalties, since OpenSSH 9.8): no more are made than are needed.

use super::{
    SshRemote,
    access::known_name,
    connect::Failure,
    destination::{Destination, Hop, Route, plan_route},
    host_key::HostKey,
    known_hosts::{HostEntries, Verdict, lookup_name},
};
use crate::{
    inventory::{Connection, Host},
    remote::{Error, KnownEntry},
};
use std::{path::PathBuf, time::Instant};

/// Which of a host's keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The one it would be known by, and those of the types known_hosts has for it.
    Needed,
    /// One of each kind.
    AllTypes,
}

/// What known_hosts says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    Known(KnownEntry),
    Unknown,
    /// known_hosts has another key of this type.
    Differs(KnownEntry),
    Revoked(KnownEntry),
}

/// A key that a host showed: unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedKey {
    pub key_type: String,
    pub base64: String,
    pub fingerprint: String,
    pub state: KeyState,
}

/// What one host showed, and what ended it early.
#[derive(Debug)]
pub struct HostScan {
    /// As known_hosts names it: `name` or `[name]:port`.
    pub name: String,
    pub keys: Vec<ScannedKey>,
    pub error: Option<Error>,
}

/// A jump host, and the way to it.
#[derive(Debug, Clone)]
pub struct JumpWay {
    /// As the inventory or the user's configuration writes it.
    pub name: String,
    route: Route,
}

impl JumpWay {
    /// Whether both lead to one machine: the same addresses in the same order, held against the same files.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        fn stops(way: &JumpWay) -> impl Iterator<Item = (String, &[PathBuf])> {
            let before = way.route.hops.iter().map(|hop| &hop.destination);
            before.chain([&way.route.target]).map(|stop: &Destination| (known_name(stop), stop.known_hosts.as_slice()))
        }
        stops(self).eq(stops(other))
    }
}

const ED25519: &str = "ssh-ed25519";
const ALL_TYPES: [&[&str]; 3] =
    [&[ED25519], &["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"], &["ssh-rsa"]];

impl SshRemote {
    /// Asks an SSH host for its keys; `None` for a host that has none.
    #[must_use]
    pub fn scan_host_keys(&self, host: &Host, extent: Extent) -> Option<HostScan> {
        let Connection::Ssh(target) = &host.connection else { return None };
        let route = match plan_route(host.name.as_str(), target, &self.user_config) {
            Ok(route) => route,
            Err(error) => {
                let name = lookup_name(&target.address, target.port);
                return Some(HostScan { name, keys: Vec::new(), error: Some(error) });
            }
        };
        Some(self.scan(&route, extent))
    }

    /// The jump hosts on the way to `host`, nearest first; none where the way cannot be found out.
    #[must_use]
    pub fn jump_ways(&self, host: &Host) -> Vec<JumpWay> {
        let Connection::Ssh(target) = &host.connection else { return Vec::new() };
        let Ok(route) = plan_route(host.name.as_str(), target, &self.user_config) else { return Vec::new() };
        let way = |(n, hop): (usize, &Hop)| JumpWay {
            name: hop.name.clone(),
            route: Route { hops: route.hops[..n].to_vec(), target: hop.destination.clone() },
        };
        route.hops.iter().enumerate().map(way).collect()
    }

    /// Asks a jump host for its keys, through those before it.
    #[must_use]
    pub fn scan_jump_host(&self, way: &JumpWay, extent: Extent) -> HostScan {
        self.scan(&way.route, extent)
    }

    fn scan(&self, route: &Route, extent: Extent) -> HostScan {
        let mut scan = HostScan { name: known_name(&route.target), keys: Vec::new(), error: None };
        scan.error = self.collect_keys(route, extent, &mut scan.keys).err();
        scan
    }

    fn collect_keys(&self, route: &Route, extent: Extent, keys: &mut Vec<ScannedKey>) -> Result<(), Error> {
        let known = self.access.known_entries(&route.target)?;
        let known_types = known.key_types();
        let of_known: Vec<Vec<&str>> = known_types.iter().map(|name| vec![name.as_str()]).collect();
        let wanted = match extent {
            // Last the one that a host with all of them shows to somebody who knows nothing of it.
            Extent::Needed => of_known.into_iter().chain([vec![ED25519]]).collect::<Vec<_>>(),
            Extent::AllTypes => ALL_TYPES.map(<[&str]>::to_vec).into_iter().chain(of_known).collect(),
        };
        let end = Instant::now() + self.access.deadlines().host;
        for types in wanted {
            if keys.iter().any(|key| types.contains(&key.key_type.as_str())) {
                continue;
            }
            let shown = self.ask_for_key(route, &HostEntries::preferring(&types), end).map_err(Failure::into_error)?;
            let key = judged(&known, &shown);
            // A server without such a key shows another of its own.
            if !keys.iter().any(|seen| seen.base64 == key.base64) {
                keys.push(key);
            }
        }
        Ok(())
    }

    fn ask_for_key(&self, route: &Route, types: &HostEntries, end: Instant) -> Result<HostKey, Failure> {
        let door = self.doors.last_of(&route.hops);
        let link = self.access.open(&route.target, door.as_ref(), types, end)?;
        let shown = link.session.host_key().and_then(|(blob, _)| HostKey::new(blob));
        let _ = link.session.disconnect(None, "only the host key was asked for", None);
        shown.ok_or_else(|| {
            let reason = "it shows no host key".into();
            Failure::Final(Error::HandshakeFailed { endpoint: link.endpoint.clone(), reason })
        })
    }
}

fn judged(known: &HostEntries, shown: &HostKey) -> ScannedKey {
    let state = match known.judge(shown) {
        Verdict::Known(entry) => KeyState::Known(entry),
        Verdict::Changed(entry) => KeyState::Differs(entry),
        Verdict::Revoked(entry) => KeyState::Revoked(entry),
        Verdict::Unknown(_) | Verdict::CertAuthority(_) => KeyState::Unknown,
    };
    ScannedKey { key_type: shown.key_type(), base64: shown.base64(), fingerprint: shown.fingerprint(), state }
}
