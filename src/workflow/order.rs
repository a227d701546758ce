//! The order in which a run goes over its hosts: groups by role, and batches within a group. A wave is begun when the one
//! before has ended. Pure: it knows hosts, not what is done to them.

use crate::inventory::{Host, Limits, Role, Sequence};

/// Which hosts belong together.
#[derive(Clone, Copy)]
enum Group {
    ControlPlane,
    /// Hosts that are nodes and nothing else.
    Nodes,
    All,
}

/// Indices of `hosts` that may be worked on at the same time, wave by wave. Every host is in exactly one; none is empty.
pub(super) fn plan_waves(hosts: &[&Host], limits: &Limits) -> Vec<Vec<usize>> {
    let groups: &[Group] = match limits.sequence {
        Sequence::ControlPlaneFirst => &[Group::ControlPlane, Group::Nodes],
        Sequence::NodesFirst => &[Group::Nodes, Group::ControlPlane],
        Sequence::AsListed => &[Group::All],
    };
    let size = limits.batch.map_or(usize::MAX, |batch| batch.at_least_one_of(hosts.len()));
    let mut waves = Vec::new();
    for group in groups {
        let members: Vec<usize> = (0..hosts.len()).filter(|index| group.contains(hosts[*index])).collect();
        waves.extend(members.chunks(size).map(<[usize]>::to_vec));
    }
    waves
}

impl Group {
    fn contains(self, host: &Host) -> bool {
        let leads = host.roles.contains(Role::ControlPlane);
        match self {
            Self::ControlPlane => leads,
            Self::Nodes => !leads,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Amount, Inventory, Location, parse_inventory};

    /// node-1, cp-1 (a node as well), node-2, cp-2, node-3.
    fn inventory() -> Inventory {
        let block = |name: &str, roles: &str| {
            format!("[[hosts]]\nname = \"{name}\"\nconnection = \"local\"\nroot = \"/{name}\"\nroles = {roles}\n")
        };
        let text = "[cluster]\nserver = \"https://x:6443\"\n".to_owned()
            + &block("node-1", "[\"node\"]")
            + &block("cp-1", "[\"control-plane\", \"node\"]")
            + &block("node-2", "[\"node\"]")
            + &block("cp-2", "[\"control-plane\"]")
            + &block("node-3", "[\"node\"]");
        let location = Location { path: "x".into(), folder: "/w".into(), home: None };
        parse_inventory(&text, &location).unwrap()
    }

    fn waves(sequence: Sequence, batch: Option<Amount>) -> Vec<Vec<usize>> {
        let inventory = inventory();
        let hosts: Vec<&Host> = inventory.hosts.iter().collect();
        let limits = Limits { sequence, batch, max_failures: None };
        plan_waves(&hosts, &limits)
    }

    #[test]
    fn a_group_ends_before_the_next_begins() {
        assert_eq!(waves(Sequence::ControlPlaneFirst, None), [vec![1, 3], vec![0, 2, 4]]);
        assert_eq!(waves(Sequence::NodesFirst, None), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(waves(Sequence::AsListed, None), [vec![0, 1, 2, 3, 4]]);
    }

    #[test]
    fn batches_are_shares_of_the_whole_run_and_never_cross_a_group() {
        let batches = |amount| waves(Sequence::ControlPlaneFirst, Some(amount));
        assert_eq!(batches(Amount::Hosts(2)), [vec![1, 3], vec![0, 2], vec![4]]);
        assert_eq!(batches(Amount::Percent(40)), batches(Amount::Hosts(2)));
        assert_eq!(batches(Amount::Percent(10)), batches(Amount::Hosts(1)));
        assert_eq!(batches(Amount::Hosts(9)), waves(Sequence::ControlPlaneFirst, None));
        assert_eq!(waves(Sequence::AsListed, Some(Amount::Hosts(3))), [vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn a_group_without_hosts_is_no_wave() {
        let inventory = inventory();
        let nodes: Vec<&Host> = inventory.hosts.iter().filter(|h| !h.roles.contains(Role::ControlPlane)).collect();
        let waves = plan_waves(&nodes, &Limits::default());
        assert_eq!(waves, [[0, 1, 2]]);
        assert_eq!(plan_waves(&[], &Limits::default()), [[0; 0]; 0]);
    }
}
