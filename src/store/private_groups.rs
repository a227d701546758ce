//! Which groups are a user's own, as most distributions make one for each user. Judged by the text of /etc/passwd and
//! /etc/group alone, so that a group is private only where these prove it; reads no file itself.

use std::collections::BTreeSet;

/// The own groups of `trusted` users, by /etc/group and /etc/passwd: the primary group, of the user's name and without
/// another member, as most distributions make one for each user, who then works with umask 002. A group with any other name
/// is none, even without a member: users of a directory service, who are not known here, may have it as their primary group.
pub(super) fn private_groups(passwd: &str, group: &str, trusted: &BTreeSet<u32>) -> BTreeSet<u32> {
    let users: Vec<(&str, u32, u32)> = passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _) = (fields.next()?, fields.next()?);
            Some((name, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    let private = group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let gid: u32 = fields.next()?.parse().ok()?;
        let members = fields.next()?;
        let mut named = users.iter().filter(|(user, _, _)| *user == name);
        let (_, own, primary) = named.next().filter(|_| named.next().is_none())?;
        let is_ours = *primary == gid
            && trusted.contains(own)
            && members.split(',').map(str::trim).all(|member| member.is_empty() || member == name)
            && users.iter().all(|(_, uid, primary)| *primary != gid || uid == own);
        is_ours.then_some(gid)
    });
    let mut gids = BTreeSet::new();
    let mut shared = BTreeSet::new();
    let lines: Vec<u32> = private.collect();
    for gid in group.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok()) {
        // A group that is written twice has the members of both lines.
        if !gids.insert(gid) {
            shared.insert(gid);
        }
    }
    lines.into_iter().filter(|gid| !shared.contains(gid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_private_when_it_is_a_trusted_users_own() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\nbroken\n\
                      eve:x:1002:50::/:/bin/sh\nzoe:x:1003:100::/:/bin/sh\ntwin:x:1004:1004::/:\nmate:x:1005:1004::/:\n\
                      dup:x:1006:1006::/:\ndup:x:1007:1006::/:\nlent:x:1008:1008::/:\n";
        let group = "root:x:0:\nann:x:1000:ann\nbob:x:1001:\nteam:x:2000:ann,bob\nann2:x:2001: ann,root\nstaff:x:50:\n\
                     empty:x:2002:\ngone:x:2003:nobody-here\ntwice:x:2004:\ntwice:x:2004:bob\nbroken:x\n\
                     users:x:100:\ntwin:x:1004:\ndup:x:1006:\nlent:x:1008:lent,bob\nzoe:x:2005:\n";
        let of = |uids: &[u32]| private_groups(passwd, group, &uids.iter().copied().collect());
        assert_eq!(of(&[0, 1000]), BTreeSet::from([0, 1000]));
        assert_eq!(of(&[0, 1000, 1001]), BTreeSet::from([0, 1000, 1001]));
        assert_eq!(of(&[0]), BTreeSet::from([0]));
        // `users`, a group with another's primary group in it, a name given twice, one lent to another, one that is not primary.
        assert_eq!(of(&[0, 1003, 1004, 1005, 1006, 1007, 1008]), BTreeSet::from([0]));
    }
}
