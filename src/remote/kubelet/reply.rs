//! Reads what a host says of its kubelet's credentials. The host is not trusted: nothing it says may panic.

use super::{AskingKey, KubeletFiles};
use crate::{
    inventory::Host,
    remote::{
        Error, Exit, FileError, FileFault, Reply,
        installer::{failed_step, garbled, no_reply},
    },
    secret::scrub,
};

pub(super) fn parse(reply: &Reply, nonce: &str, host: &Host) -> Result<KubeletFiles, Error> {
    let text = String::from_utf8_lossy(&reply.output);
    let mark = format!("{nonce} ");
    let (mut begun, mut ended, mut said, mut files) = (false, false, String::new(), KubeletFiles::default());
    for line in text.lines() {
        let Some((noise, frame)) = line.split_once(&mark) else {
            said.push_str(line);
            said.push('\n');
            continue;
        };
        said.push_str(noise);
        let frame = frame.trim_end_matches('\r');
        match frame.split_once(' ').unwrap_or((frame, "")) {
            ("begin", "") => {
                begun = true;
                // Whatever the login had to say.
                said.clear();
            }
            ("end", "") => ended = true,
            ("kubeconfig" | "client" | "moved" | "returned", name) => {
                files.files.push(scrub(name.trim_start_matches("./")));
            }
            ("backup", name) => match (name.strip_suffix(".kept"), name.strip_suffix(".part")) {
                (Some(run), _) => files.kept.push(scrub(run)),
                (None, run) => files.unfinished.push(scrub(run.unwrap_or(name))),
            },
            ("pem", line) => files.certificate.push(line.to_owned()),
            ("asking", key) => files.asking = Some(asking_key(key)),
            ("fail", rest) => {
                let (step, path) = rest.split_once(' ').unwrap_or((rest, ""));
                return Err(Error::Files(vec![failure(step, scrub(path), &said)]));
            }
            _ => return Err(garbled("a line of it makes no sense", reply, nonce)),
        }
    }
    match (&reply.exit, ended, begun) {
        (_, true, _) => {
            // Both directories may hold the backup of one run.
            for runs in [&mut files.unfinished, &mut files.kept] {
                runs.sort();
                runs.dedup();
            }
            Ok(files)
        }
        (Exit::Signal(signal), ..) => Err(Error::ConnectionLost {
            during: "while the script ran",
            reason: format!("the remote shell was killed by signal {}", scrub(signal)),
        }),
        (Exit::Status(_), _, false) => Err(no_reply(&text, &reply.exit, host)),
        (Exit::Status(_), _, true) => Err(garbled("it ends too early", reply, nonce)),
    }
}

/// What is no digest tells nothing of the key.
fn asking_key(told: &str) -> AskingKey {
    match told {
        "none" => AskingKey::Absent,
        other => other.parse().map_or(AskingKey::Unread, AskingKey::Known),
    }
}

fn failure(step: &str, path: String, said: &str) -> FileError {
    match step {
        "unsafe" => {
            let detail = "others than root may change it".to_owned();
            FileError { path, fault: FileFault::ParentUnsafe, detail }
        }
        "several" | "unfinished" => {
            let detail = "it holds what another run set aside and was not done with".to_owned();
            FileError { path, fault: FileFault::MixedVersions, detail }
        }
        _ => failed_step(path, &scrub(step), said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Connection, HostName, Privilege, Role, Roles, ServerUrl};

    fn parsed(text: &str, exit: Exit) -> Result<KubeletFiles, Error> {
        let host = Host {
            name: HostName::new_unchecked("h"),
            connection: Connection::Local { root: "/".into() },
            privilege: Privilege::AsLoggedIn,
            roles: Roles::new(&[Role::Node]).unwrap(),
            labels: std::collections::BTreeMap::new(),
            server: ServerUrl::new_unchecked("https://h"),
            apiserver: ServerUrl::new_unchecked("https://h"),
            directory: "/etc/kubernetes".into(),
            install_ca: false,
            token_csv_on_nodes: false,
        };
        parse(&Reply::new(text.replace('@', "0f0f").into_bytes(), exit), "0f0f", &host)
    }

    #[test]
    fn files_and_backups_are_told_apart() {
        let text = "motd\n@ begin\n@ kubeconfig ./kubelet.kubeconfig\n@ backup R1\n@ client ./kubelet-client-current.pem\n\
                    @ backup R1.part\n@ backup R0.kept\n@ end\n";
        let files = parsed(text, Exit::Status(0)).unwrap();
        assert_eq!(files.files, ["kubelet.kubeconfig", "kubelet-client-current.pem"]);
        assert_eq!((files.unfinished, files.kept), (vec!["R1".to_owned()], vec!["R0".to_owned()]));
    }

    #[test]
    fn what_is_no_digest_tells_nothing_of_a_key() {
        let digest = "0123456789abcdef".repeat(4);
        for (told, key) in [
            (digest.as_str(), AskingKey::Known(digest.parse().unwrap())),
            ("none", AskingKey::Absent),
            ("unread", AskingKey::Unread),
            (&digest[1..], AskingKey::Unread),
            ("", AskingKey::Unread),
        ] {
            let files = parsed(&format!("@ begin\n@ asking {told}\n@ end\n"), Exit::Status(0)).unwrap();
            assert_eq!(files.asking, Some(key), "{told}");
        }
    }

    #[test]
    fn a_reply_that_is_not_whole_or_not_ours_is_an_error_and_never_a_panic() {
        for (text, code) in [
            ("", "shell_unusable"),
            ("@ begin\n", "protocol_garbled"),
            ("@ begin\n@ what\n@ end\n", "protocol_garbled"),
            ("@ begin\nmv: x: No space left on device\n@ fail move /x\n@ end\n", "disk_full"),
            ("@ begin\n@ fail\n@ end\n", "write_failed"),
            ("@ begin\n@ fail unsafe /x\n@ end\n", "parent_unsafe"),
        ] {
            assert_eq!(parsed(text, Exit::Status(0)).unwrap_err().code(), code, "{text}");
        }
        assert_eq!(parsed("@ begin\n", Exit::Signal("KILL".into())).unwrap_err().code(), "connection_lost");
    }
}
