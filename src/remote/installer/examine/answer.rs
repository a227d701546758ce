//! Reads the answer: lines that begin with `x` are the examination's, the rest is what an install's look says and is read
//! as that. The host is not trusted: nothing it says may panic, and what is repeated is [`ForeignText`].

use super::{Examination, Ground, GroundState, Reach, SudoInput, Systemd, Trust, Unit, sudo_rules};
use crate::{
    foreign::ForeignText,
    inventory::Host,
    remote::{
        Error,
        heard::Heard,
        installer::{failure::garbled, reply, script::Layout},
    },
};
use jiff::Timestamp;

/// What is read line by line.
#[derive(Debug, Default)]
struct Answers {
    uid: Option<u32>,
    clock: Option<Timestamp>,
    tools: Option<(ForeignText, Vec<ForeignText>)>,
    /// What sudo lists; `None` where it was not asked.
    sudo: Option<Vec<String>>,
    grounds: Vec<Ground>,
    systemd: Systemd,
    units: Vec<Unit>,
    reach: Option<Reach>,
}

pub(super) fn parse_examination(
    reply: &Heard<'_>,
    nonce: &str,
    host: &Host,
    layout: &Layout<'_>,
) -> Result<Examination, Error> {
    let text = &reply.text;
    let mark = format!("{nonce} x ");
    let mut answers = Answers { grounds: grounds_of(layout), ..Answers::default() };
    let mut rest = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let Some((noise, answer)) = line.split_once(&mark) else {
            rest.push_str(line);
            continue;
        };
        rest.push_str(noise);
        let words: Vec<&str> = answer.trim_end().split(' ').collect();
        take(&words, &mut answers).ok_or_else(|| garbled("a line of it makes no sense", reply, nonce))?;
    }
    let rest = reply.with_text(rest);
    let view = match reply::parse_view(&rest, nonce, host, layout) {
        // Of what stands in the way of the files, the rest of the examination may be told all the same.
        Err(error) if !matches!(error, Error::Files(_)) => return Err(error),
        view => view,
    };
    let (Some(uid), Some((hasher, missing_tools))) = (answers.uid, answers.tools) else {
        return Err(garbled("an answer is missing from it", reply, nonce));
    };
    let Answers { clock, sudo, grounds, systemd, units, reach, .. } = answers;
    Ok(Examination {
        uid,
        clock,
        hasher,
        missing_tools,
        sudo_input: sudo.map_or(SudoInput::NotAsked, |lines| sudo_rules::judge(&lines)),
        grounds,
        systemd,
        units,
        reach,
        view,
        host_key: None,
        machine: None,
    })
}

fn grounds_of(layout: &Layout<'_>) -> Vec<Ground> {
    let directories = layout.directories.iter().enumerate();
    let ground = |(d, directory): (usize, &crate::remote::installer::script::Directory<'_>)| Ground {
        directory: layout.directory_path(d).unwrap_or_default(),
        files: directory.files.iter().map(|(index, _)| *index).collect(),
        ..Ground::default()
    };
    directories.map(ground).collect()
}

fn take(words: &[&str], answers: &mut Answers) -> Option<()> {
    match words {
        ["uid", uid] => answers.uid = Some(uid.parse().ok()?),
        ["clock", seconds] => answers.clock = seconds.parse().ok().and_then(|s| Timestamp::from_second(s).ok()),
        ["clock"] => {}
        ["tools", hasher, missing @ ..] => {
            answers.tools =
                Some((ForeignText::message(hasher), missing.iter().map(|tool| ForeignText::message(tool)).collect()));
        }
        ["sudo", line @ ..] => answers.sudo.get_or_insert_default().push(line.join(" ")),
        ["systemd", state] => {
            answers.systemd = match *state {
                "absent" => Systemd::Absent,
                "idle" => Systemd::Idle,
                "running" => Systemd::Running,
                _ => return None,
            }
        }
        ["unit", name, load, active, file] => {
            let [name, load, active, file] = [name, load, active, file].map(|word| ForeignText::message(word));
            answers.units.push(Unit { name, load, active, file });
        }
        ["api", result, ..] => answers.reach = Some(parse_reach(result)?),
        ["tls", verdict, program] => {
            let Some(Reach::Open(trust)) = &mut answers.reach else { return None };
            *trust = parse_trust(verdict, program)?;
        }
        [what, index, rest @ ..] => take_ground(what, answers.grounds.get_mut(index.parse::<usize>().ok()?)?, rest)?,
        _ => return None,
    }
    Some(())
}

fn take_ground(what: &str, ground: &mut Ground, rest: &[&str]) -> Option<()> {
    match (what, rest) {
        ("at", [state, path @ ..]) => {
            ground.state = match *state {
                "here" => GroundState::Here,
                "missing" => GroundState::Missing,
                _ => return None,
            };
            ground.at = ForeignText::message(&path.join(" "));
        }
        ("shut", []) => ground.closed = true,
        ("mount", [options, path @ ..]) => {
            ground.read_only = options.split(',').any(|option| option == "ro");
            ground.mount_point = Some(ForeignText::message(&path.join(" ")));
        }
        ("blocks", [free]) => ground.free_bytes = free.parse::<u64>().ok().map(|k| k.saturating_mul(1024)),
        ("inodes", [free]) => ground.free_inodes = free.parse().ok(),
        ("fixed", [name]) => ground.fixed.push(ForeignText::message(name.trim_start_matches("./"))),
        ("unkept", [name]) => ground.unkept.push(ForeignText::message(name.trim_start_matches("./"))),
        ("leftovers", [number]) => ground.leftovers = number.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn parse_reach(word: &str) -> Option<Reach> {
    Some(match word {
        "open" => Reach::Open(Trust::NotChecked),
        "refused" => Reach::Refused,
        "timeout" => Reach::Timeout,
        "unresolved" => Reach::Unresolved,
        "unreachable" => Reach::Unreachable,
        "untold" => Reach::Untold,
        _ => return None,
    })
}

/// The numbers are OpenSSL's (`X509_V_ERR_…` in x509_vfy.h).
fn parse_trust(verdict: &str, program: &str) -> Option<Trust> {
    Some(match (verdict, program) {
        ("none", _) => Trust::NoTls,
        ("other", "curl") => Trust::OtherAuthorityOrName,
        ("0", _) => Trust::Ours,
        ("2" | "7" | "18" | "19" | "20" | "21" | "30", _) => Trust::OtherAuthority,
        ("9", _) => Trust::NotYetValid,
        ("10", _) => Trust::Expired,
        ("62" | "64", _) => Trust::OtherName,
        (number, _) => Trust::Refused(number.parse().ok()?),
    })
}
