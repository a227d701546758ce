//! Reads the answer: lines that begin with `x` are told here, the rest is what any probe says. The host is not trusted:
//! nothing it says may panic, and what is repeated is made printable.

use super::{
    FileAge, InUse, KubeletCertificate, KubeletContent, Place, Process, Service, ServiceUse,
    moment::{Boot, Moment},
};
use crate::{
    foreign::ForeignText,
    inventory::Host,
    remote::{
        Error,
        heard::Heard,
        installer::{HostView, fact::repeats_secret, failure::garbled, reply, script::Layout},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// What the script tells of at most.
const MOST_PROCESSES: usize = 50;

#[derive(Default)]
struct Answers<'a> {
    boot: Option<Boot>,
    is_blind: bool,
    /// Path, and the two dates.
    ages: Vec<(&'a str, FileAge)>,
    /// Index of the file, the process and the ticks of its start.
    processes: Vec<(usize, Process, &'a str)>,
    kubelet: Option<KubeletCertificate>,
}

pub(super) fn parse_view_in_use(
    reply: &Heard<'_>,
    nonce: &str,
    host: &Host,
    layout: &Layout<'_>,
    services: &[(Service, usize)],
) -> Result<HostView, Error> {
    let text = &reply.text;
    let mark = format!("{nonce} x ");
    let mut answers = Answers::default();
    let mut rest = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let Some((noise, answer)) = line.split_once(&mark) else {
            rest.push_str(line);
            continue;
        };
        rest.push_str(noise);
        let words: Vec<&str> = answer.trim_end().split(' ').collect();
        take(&words, &layout.root, &mut answers).ok_or_else(|| garbled("a line of it makes no sense", reply, nonce))?;
    }
    let rest = reply.with_text(rest);
    let view = reply::parse_view(&rest, nonce, host, layout)?;
    // The subject of a certificate is foreign, too.
    if let Some(KubeletCertificate { content, .. }) = &mut answers.kubelet
        && let KubeletContent::Pem(pem) = content
        && repeats_secret(reply, pem)
    {
        *content = KubeletContent::Unusable;
    }
    Ok(HostView { in_use: Some(in_use(answers, layout, services)), ..view })
}

fn in_use(answers: Answers<'_>, layout: &Layout<'_>, services: &[(Service, usize)]) -> InUse {
    let uses = services.iter().map(|&(service, file)| {
        let path = layout.file_path(file);
        let age = answers.ages.iter().find(|(of, _)| Some(*of) == path.as_deref()).map(|(_, age)| *age);
        let own = answers.processes.iter().filter(|(of, ..)| *of == file);
        let processes = own.map(|(_, process, ticks)| Process {
            started: answers.boot.and_then(|boot| boot.start(ticks)),
            ..*process
        });
        let processes = (!answers.is_blind).then(|| processes.collect());
        ServiceUse { service, file, age, processes }
    });
    InUse { services: uses.collect(), kubelet: answers.kubelet }
}

fn take<'a>(words: &[&'a str], root: &str, answers: &mut Answers<'a>) -> Option<()> {
    match words {
        ["times", before, now, after, btime, ticks] => answers.boot = Boot::of(before, now, after, btime, ticks),
        ["blind"] => answers.is_blind = true,
        ["age", path, modified, changed] => {
            if let (Some(modified), Some(changed)) = (Moment::parse_date(modified), Moment::parse_date(changed)) {
                answers.ages.push((path, FileAge { modified, changed }));
            }
        }
        // What `date` and `stat` say of a host that has others by their names: not told, and no reason to doubt the rest.
        ["times" | "age", ..] => {}
        ["process", file, pid, parent, state, ticks, place] if answers.processes.len() < MOST_PROCESSES => {
            let place = match *place {
                "here" => Place::Here,
                "shares" => Place::Shares,
                "other" => Place::Other,
                "untold" => Place::Untold,
                _ => return None,
            };
            let (pid, parent) = (pid.parse().ok()?, parent.parse().ok()?);
            // proc_pid_stat(5): zombie, dead.
            let is_dead = matches!(*state, "Z" | "X" | "x");
            answers.processes.push((file.parse().ok()?, Process { pid, parent, is_dead, started: None, place }, ticks));
        }
        ["kubelet", form, data, path @ ..] => {
            let content = match *form {
                // The lines of a PEM block, joined.
                "pem" => {
                    KubeletContent::Pem(format!("-----BEGIN CERTIFICATE-----\n{data}\n-----END CERTIFICATE-----\n"))
                }
                // What a kubeconfig embeds: a whole file.
                "data" => match BASE64_STANDARD.decode(data).ok().and_then(|pem| String::from_utf8(pem).ok()) {
                    Some(pem) => KubeletContent::Pem(pem),
                    None => KubeletContent::Unusable,
                },
                "none" => KubeletContent::Unusable,
                "unreadable" => KubeletContent::Unreadable,
                "absent" => KubeletContent::Absent,
                _ => return None,
            };
            let path = ForeignText::name(format!("{root}{}", path.join(" ")));
            answers.kubelet = Some(KubeletCertificate { path, content });
        }
        _ => return None,
    }
    Some(())
}
