//! Of which failed hosts it is known that nothing was changed there. Of all others it is not: a connection that was lost
//! may have been lost after the renames.

use super::{report::HostStatus, runs::KeptHost};

/// With these a host had failed before anything was changed there.
const CHANGED_NOTHING: [&str; 41] = [
    "dns_failed",
    "connect_refused",
    "connect_timeout",
    "unreachable",
    "handshake_failed",
    "host_key_unknown",
    "host_key_changed",
    "host_key_revoked",
    "host_ca_unsupported",
    "known_hosts_unreadable",
    "auth_failed",
    "key_unreadable",
    "key_encrypted",
    "password_expired",
    "become_failed",
    "shell_unusable",
    "tool_missing",
    "target_is_symlink",
    "target_is_directory",
    "target_is_special",
    "parent_unsafe",
    "parent_not_directory",
    "clock_outside_validity",
    "read_only_filesystem",
    "changed_since",
    "nothing_to_restore",
    "previous_unusable",
    "mixed_versions",
    "not_a_target",
    "other_authority",
    "foreign_token_rows",
    "jump_failed",
    "forwarding_refused",
    "unreachable_from_jump",
    "ssh_config_failed",
    "proxy_command_unsupported",
    "local_shell_failed",
    "path_unusable",
    "entropy_failed",
    "same_machine",
    UNKNOWN_OUTCOME,
];

/// Of a host where nobody knows what the run to be undone has changed. The rollback itself changes nothing there.
pub(super) const UNKNOWN_OUTCOME: &str = "unknown_outcome";

/// Whether the host was begun, and may have been changed, and nobody knows. A code of another version says nothing.
pub(super) fn is_outcome_unknown(host: &KeptHost) -> bool {
    match host.status {
        HostStatus::InFlight => true,
        HostStatus::Failed => host.error.as_ref().is_none_or(|error| !CHANGED_NOTHING.contains(&error.code.as_str())),
        HostStatus::Changed | HostStatus::Unchanged | HostStatus::Skipped => false,
    }
}
