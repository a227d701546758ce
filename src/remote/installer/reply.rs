//! Reads a host's reply. Our lines carry the run's nonce somewhere; everything else (banners, shell noise, what failing
//! programs print) is kept only to quote it. The host is not trusted: nothing it says may panic or mislead by index.

use super::{
    fact::take_fact,
    failure::{ended_early, failed_step, garbled, no_reply},
    foreign::pin_of,
    mode::parse_mode,
    outcome::{Action, Facts, FileOutcome, FileState, FileView, Found, HostOutcome, HostView, Regular, refuse_blocked},
    restore::fault_of,
    script::Layout,
};
use crate::{
    bundle::HostFile,
    digest::Digest,
    foreign::ForeignText,
    inventory::Host,
    remote::{Error, Exit, FileError, FileFault, frame::killed, heard::Heard},
};
use jiff::Timestamp;

/// What all scripts' replies have in common.
pub(super) struct Parsed {
    clock: Option<Timestamp>,
    pub(super) views: Vec<FileView>,
    /// Whether the host has said anything of the file.
    seen: Vec<bool>,
    pub(super) done: Vec<Option<(Action, Option<Digest>)>>,
}

pub(super) fn parse_view(reply: &Heard<'_>, nonce: &str, host: &Host, layout: &Layout<'_>) -> Result<HostView, Error> {
    let parsed = parse(reply, nonce, host, layout)?;
    Ok(HostView { clock: parsed.clock, files: parsed.views, ..HostView::default() })
}

pub(super) fn parse_outcome(
    reply: &Heard<'_>,
    nonce: &str,
    host: &Host,
    layout: &Layout<'_>,
) -> Result<HostOutcome, Error> {
    let parsed = parse(reply, nonce, host, layout)?;
    refuse_blocked(&parsed.views)?;
    let mut files = Vec::new();
    for (((n, file), view), done) in layout.files.iter().enumerate().zip(parsed.views).zip(parsed.done) {
        let Some((action, read_back)) = done else {
            return Err(garbled("a file is missing from it", reply, nonce));
        };
        let found = view.sha256();
        let read_back = match action {
            Action::Unchanged | Action::Repaired => found,
            _ => read_back,
        };
        match read_back {
            Some(sha256) if sha256 == file.sha256 => {
                let replaced = found.filter(|found| action == Action::Updated && *found != sha256);
                files.push(FileOutcome { path: file.path.clone(), action, sha256, replaced });
            }
            other => {
                let detail = other.map(|d| ForeignText::name(format!("SHA-256 {d}"))).unwrap_or_default();
                let path = layout.file_path(n).unwrap_or_default();
                let error = FileError { path, fault: FileFault::DigestMismatch, detail };
                return Err(Error::Files(vec![error]));
            }
        }
    }
    Ok(HostOutcome { clock: parsed.clock, files, attempts: reply.attempts, machine: None, twin: None })
}

pub(super) fn parse(reply: &Heard<'_>, nonce: &str, host: &Host, layout: &Layout<'_>) -> Result<Parsed, Error> {
    let text = &reply.text;
    let unseen = |f: &HostFile| FileView { path: f.path.clone(), found: Found::Absent, state: FileState::Missing };
    let mut parsed = Parsed {
        clock: None,
        views: layout.files.iter().map(unseen).collect(),
        seen: vec![false; layout.files.len()],
        done: layout.files.iter().map(|_| None).collect(),
    };
    let (mut begun, mut ended) = (false, false);
    let mut said = String::new();
    // With a blank after it: the nonce is in temporary names too, and so in error messages.
    let mark = format!("{nonce} ");
    for line in text.lines() {
        let Some((noise, frame)) = line.split_once(&mark) else {
            said.push_str(line);
            said.push('\n');
            continue;
        };
        said.push_str(noise);
        let words: Vec<&str> = frame.trim_end_matches('\r').splitn(8, ' ').collect();
        match words.as_slice() {
            ["begin"] => {
                begun = true;
                // Whatever the login had to say.
                said.clear();
            }
            ["end"] | ["end", "untouched" | "changed"] => ended = true,
            other => take(other, &said, reply, layout, &mut parsed)?
                .ok_or_else(|| garbled("a line of it makes no sense", reply, nonce))?,
        }
    }
    // A shell that was killed says nothing of itself, however early.
    if !begun && !matches!(reply.exit, Exit::Signal(_)) {
        return Err(no_reply(text, &reply.exit, host));
    }
    if ended && parsed.seen.contains(&false) {
        return Err(garbled("a file is missing from it", reply, nonce));
    }
    if ended {
        return Ok(parsed);
    }
    Err(match &reply.exit {
        Exit::Signal(signal) => Error::ConnectionLost { during: "while the script ran", reason: killed(*signal) },
        Exit::Status(_) => ended_early(reply, nonce),
    })
}

/// Takes in one frame; `None` when it is not one of ours.
fn take(
    words: &[&str],
    said: &str,
    reply: &Heard<'_>,
    layout: &Layout<'_>,
    parsed: &mut Parsed,
) -> Result<Option<()>, Error> {
    match words {
        ["missing", tool @ ..] => return Err(Error::ToolMissing { tool: ForeignText::message(&tool.join(" ")) }),
        ["fail", index, step] => {
            let Some(path) = index.parse().ok().and_then(|i| layout.file_path(i)) else { return Ok(None) };
            return Err(Error::Files(vec![failed_step(path, step, said)]));
        }
        ["faildir", index, step] => {
            let Some(path) = index.parse().ok().and_then(|d| layout.directory_path(d)) else { return Ok(None) };
            return Err(Error::Files(vec![failed_step(path, step, said)]));
        }
        ["untimely"] => {
            let (Some(clock), Some(validity)) = (parsed.clock, layout.validity) else { return Ok(None) };
            return Err(Error::ClockOutsideValidity { clock, validity });
        }
        _ => {}
    }
    Ok(take_view(words, reply, layout, parsed))
}

fn take_view(words: &[&str], reply: &Heard<'_>, layout: &Layout<'_>, parsed: &mut Parsed) -> Option<()> {
    match words {
        ["clock", seconds] => {
            parsed.clock = seconds.parse().ok().and_then(|s| Timestamp::from_second(s).ok());
        }
        ["dir", index, why, detail @ ..] => {
            let directory = layout.directories.get(index.parse::<usize>().ok()?)?;
            let fault = match *why {
                "not-directory" => FileFault::ParentNotDirectory,
                "unsafe" => FileFault::ParentUnsafe,
                _ => return None,
            };
            for (i, _) in &directory.files {
                let detail = ForeignText::message(&detail.join(" "));
                let error = FileError { path: layout.file_path(*i)?, fault, detail };
                parsed.views.get_mut(*i)?.state = FileState::Blocked(error);
                *parsed.seen.get_mut(*i)? = true;
            }
        }
        ["found", index, kind, rest @ ..] => {
            let index = index.parse::<usize>().ok()?;
            take_found(parsed.views.get_mut(index)?, &layout.file_path(index)?, kind, rest)?;
            *parsed.seen.get_mut(index)? = true;
        }
        ["fact", index, name, rest @ ..] => {
            let view = parsed.views.get_mut(index.parse::<usize>().ok()?)?;
            let Found::Regular(regular) = &mut view.found else { return None };
            take_fact(&mut regular.facts, name, &rest.join(" "), reply)?;
        }
        ["other", index, what, found @ ..] => {
            let index = index.parse::<usize>().ok()?;
            let found = found.join(" ");
            let (fault, detail) = match *what {
                "authority" => {
                    let kind = layout.files.get(index)?.kind;
                    let pin = pin_of(kind, &found).filter(|pin| !reply.repeats_secret(pin.as_bytes()));
                    (FileFault::OtherAuthority, pin.map(ForeignText::name).unwrap_or_default())
                }
                "rows" => match found.parse::<u32>() {
                    Ok(1) => (FileFault::ForeignRows, "1 row".into()),
                    Ok(rows) => (FileFault::ForeignRows, ForeignText::name(format!("{rows} rows"))),
                    Err(_) => (FileFault::ForeignRows, ForeignText::default()),
                },
                _ => return None,
            };
            let error = FileError { path: layout.file_path(index)?, fault, detail };
            parsed.views.get_mut(index)?.state = FileState::Blocked(error);
        }
        ["mounted", index] => block(layout, parsed, index, FileFault::TargetIsMountPoint, ForeignText::default())?,
        ["limited", index, limit] => {
            let detail = ForeignText::name(format!("{} bytes at most", limit.parse::<u64>().ok()?));
            block(layout, parsed, index, FileFault::FileSizeLimit, detail)?;
        }
        ["kept", index, why] => {
            let (index, fault) = (index.parse::<usize>().ok()?, fault_of(why)?);
            let error = FileError { path: layout.file_path(index)?, fault, detail: ForeignText::default() };
            parsed.views.get_mut(index)?.state = FileState::Blocked(error);
        }
        ["done", index, state, sum] => {
            *parsed.done.get_mut(index.parse::<usize>().ok()?)? = Some((Action::parse(state)?, sum.parse().ok()));
        }
        _ => return None,
    }
    Some(())
}

/// What was found out about a file after it was found.
fn block(layout: &Layout<'_>, parsed: &mut Parsed, index: &str, fault: FileFault, detail: ForeignText) -> Option<()> {
    let index = index.parse::<usize>().ok()?;
    let error = FileError { path: layout.file_path(index)?, fault, detail };
    parsed.views.get_mut(index)?.state = FileState::Blocked(error);
    Some(())
}

fn take_found(view: &mut FileView, path: &str, kind: &str, rest: &[&str]) -> Option<()> {
    let blocked = |fault, detail| FileState::Blocked(FileError { path: path.to_owned(), fault, detail });
    let (found, state) = match (kind, rest) {
        ("absent", []) => (Found::Absent, FileState::Missing),
        ("symlink", []) => (Found::Symlink, blocked(FileFault::TargetIsSymlink, ForeignText::default())),
        ("directory", []) => (Found::Directory, blocked(FileFault::TargetIsDirectory, ForeignText::default())),
        ("special", []) => (Found::Special, blocked(FileFault::TargetIsSpecial, ForeignText::default())),
        ("regular", [state, permissions, uid, gid, sum]) => {
            let regular = Regular {
                sha256: sum.parse().ok(),
                too_large: sum.strip_prefix("huge:").map(str::parse).transpose().ok()?,
                mode: parse_mode(permissions)?,
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                acl: permissions.ends_with('+'),
                facts: Facts::default(),
            };
            let state = match *state {
                "same" => FileState::Matches,
                "repair" => FileState::WrongAttributes,
                "update" => FileState::Differs,
                "huge" => blocked(FileFault::TooLarge, "others may write to it".into()),
                "foreign" => {
                    blocked(FileFault::PermissionDenied, ForeignText::name(format!("it belongs to uid {uid}")))
                }
                _ => return None,
            };
            (Found::Regular(regular), state)
        }
        _ => return None,
    };
    view.found = found;
    view.state = state;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundle::FileKind,
        inventory::{Connection, HostName, Privilege, Role, Roles, ServerUrl},
        remote::heard::tests::heard_of,
        secret::Secret,
    };

    const NONCE: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

    fn host() -> Host {
        Host {
            name: HostName::new_unchecked("h"),
            connection: Connection::Local { root: "/r".into() },
            privilege: Privilege::AsLoggedIn,
            roles: Roles::new(&[Role::Node]).unwrap(),
            labels: std::collections::BTreeMap::new(),
            server: ServerUrl::new_unchecked("https://h"),
            apiserver: ServerUrl::new_unchecked("https://h"),
            directory: "/etc".into(),
            install_ca: false,
            token_csv_on_nodes: false,
        }
    }

    fn files() -> [HostFile; 1] {
        let content = std::sync::Arc::new(Secret::from("x"));
        [HostFile {
            kind: FileKind::TokenCsv,
            path: "/etc/t".into(),
            content,
            sha256: Digest::of("x"),
            validity: None,
            own_users_below: None,
        }]
    }

    fn heard(text: &str) -> Heard<'static> {
        heard_of(&text.replace('@', NONCE), Exit::Status(0), NONCE, files().into())
    }

    fn outcome(text: &str) -> Result<HostOutcome, Error> {
        let reply = heard(text);
        parse_outcome(
            &reply,
            NONCE,
            &host(),
            &Layout::new(&host(), &files(), crate::remote::installer::ForeignPolicy::Refuse).unwrap(),
        )
    }

    #[test]
    fn frames_are_found_behind_noise_on_the_same_line() {
        let sum = Digest::of("x");
        let text = format!("motd@ begin\nx\n\u{fffd}@ found 0 absent\r\n@ done 0 create {sum}\nbye@ end\n");
        assert_eq!(outcome(&text).unwrap().files[0].action, Action::Created);
    }

    #[test]
    fn a_reply_that_is_not_whole_or_not_ours_is_an_error_and_never_a_panic() {
        let sum = Digest::of("x");
        for (text, code) in [
            (String::new(), "shell_unusable"),
            ("begin\nend\n".to_owned(), "shell_unusable"),
            ("@ begin\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ found 0 absent\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ found 1 absent\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ found -1 absent\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ fail 99999999999999999999 x\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ faildir 7 x\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ fact 0 server x\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ found 0 regular update rwx 0 0 -\n@ end\n".to_owned(), "protocol_garbled"),
            ("@ begin\n@ found 0 absent\n@ done 0 create -\n@ end\n".to_owned(), "digest_mismatch"),
            (format!("@ begin\n@ found 0 absent\n@ done 3 create {sum}\n@ end\n"), "protocol_garbled"),
            (format!("@ begin\n@ found 0 absent\n@ done 0 create {}\n@ end\n", Digest::of("y")), "digest_mismatch"),
            (format!("@ begin\n@ found 0 symlink\n@ done 0 create {sum}\n@ end\n"), "target_is_symlink"),
        ] {
            assert_eq!(outcome(&text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn no_more_rows_are_kept_than_the_script_tells_of() {
        let view = |rows: usize| {
            let row = "@ fact 0 row 00000000 other 00000000\n".repeat(rows);
            let text = format!("@ begin\n@ found 0 regular update -rw------- 0 0 -\n{row}@ end\n");
            let reply = heard(&text);
            let policy = crate::remote::installer::ForeignPolicy::Refuse;
            let layout_files = files();
            let layout = Layout::new(&host(), &layout_files, policy).unwrap();
            parse_view(&reply, NONCE, &host(), &layout).unwrap().files.remove(0).found
        };
        for (sent, kept) in [(3, 3), (50, 50), (5000, 50)] {
            let Found::Regular(regular) = view(sent) else { panic!("{sent}") };
            assert_eq!(regular.facts.token_rows.len(), kept);
        }
    }

    #[test]
    fn what_a_failed_command_said_decides_the_code() {
        for (said, code) in [
            ("sh: 1: cannot create ./x: Permission denied", "permission_denied"),
            ("mv: x: Operation not permitted\nmore", "immutable"),
            ("dd: No space left on device\n1+0 records out", "disk_full"),
            ("Disk quota exceeded", "disk_full"),
            ("sh: can't create ./x: Read-only file system", "read_only_filesystem"),
            ("", "write_failed"),
        ] {
            let error = outcome(&format!("@ begin\n{said}\n@ fail 0 write\n@ end\n")).unwrap_err();
            assert_eq!(error.code(), code, "{said}");
            assert!(error.to_string().contains("/r/etc/t"), "{error}");
        }
        let secret = "0123456789abcdef0123456789abcdef";
        let error = outcome(&format!("@ begin\nsh: {secret}: not found\n@ fail 0 write\n@ end\n")).unwrap_err();
        assert!(error.to_string().contains("not found") && !error.to_string().contains(secret), "{error}");
    }
}
