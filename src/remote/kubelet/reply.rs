//! Reads what a host says of its kubelet's credentials. The host is not trusted: nothing it says may panic.

use super::{AskingKey, KubeletFiles};
use crate::{
    foreign::ForeignText,
    inventory::Host,
    remote::{
        Error, FileError, FileFault,
        frame::{self, Line, Script},
        heard::Heard,
        installer::{failed_step, garbled, repeats_secret},
    },
    secret::scrub,
};

pub(super) fn parse(reply: &Heard<'_>, nonce: &str, host: &Host) -> Result<KubeletFiles, Error> {
    let (mut script, mut said, mut files) = (Script::Unseen, String::new(), KubeletFiles::default());
    let mut ended = false;
    for Line { noise, frame } in frame::lines(&reply.text, nonce) {
        said.push_str(noise);
        let Some(frame) = frame else {
            said.push('\n');
            continue;
        };
        match frame {
            ("begin", "") => {
                script = Script::Begun;
                // Whatever the login had to say.
                said.clear();
            }
            ("end", "") => ended = true,
            ("kubeconfig" | "client" | "moved" | "returned", name) => {
                files.files.push(ForeignText::message(name.trim_start_matches("./")));
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
    if !ended {
        return Err(frame::cut_short(reply, nonce, host, script, "while the script ran"));
    }
    // The subject of a certificate is foreign, too.
    if files.certificate().is_some_and(|pem| repeats_secret(reply, &pem)) {
        return Err(garbled("it repeats a credential", reply, nonce));
    }
    // Both directories may hold the backup of one run.
    for runs in [&mut files.unfinished, &mut files.kept] {
        runs.sort();
        runs.dedup();
    }
    Ok(files)
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
            let detail = "others than root may change it".into();
            FileError { path, fault: FileFault::ParentUnsafe, detail }
        }
        "several" | "unfinished" => {
            let detail = "it holds what another run set aside and was not done with".into();
            FileError { path, fault: FileFault::MixedVersions, detail }
        }
        _ => failed_step(path, step, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{
        Exit, Signal,
        frame::tests::{NONCE, host, reply},
    };

    fn parsed(text: &str, exit: Exit) -> Result<KubeletFiles, Error> {
        parse(&reply(text, exit), NONCE, &host())
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
        assert_eq!(parsed("@ begin\n", Exit::Signal(Signal::Known("KILL"))).unwrap_err().code(), "connection_lost");
    }
}
