//! The Secrets of a rotation: made and deleted at one apiserver, then every apiserver is asked until it knows the tokens
//! that it should. Nothing is restarted. Whatever is there already, or gone already, is as good as done: the new token was
//! stored before its Secret was made, so what a killed run left is taken up here.

use super::{
    bench::Course,
    stop::{Ailment, Stop},
    tokens::TokenPair,
};
use crate::{
    cluster::{self, Cluster, ErrorClass},
    inventory::Host,
    rotation::{Carrier, Direction, Mode, Tokens, Which},
    token::{BootstrapTokenSecret, SecretTerms},
    workflow::{
        distribute,
        report::{HostReport, HostStatus},
    },
};
use std::{
    thread,
    time::{Duration, Instant},
};

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(250);
/// kube-apiserver keeps what it thinks of a token for 10 s (`TokenSuccessCacheTTL`, `TokenFailureCacheTTL` in
/// `pkg/kubeapiserver/authenticator/config.go`), and hears of Secrets from its informer.
const AT_LEAST: Duration = Duration::from_secs(20);

/// Makes the Secrets what the stage wants them to be; gives what every apiserver is to be asked for then.
pub(super) fn settle(course: &mut Course) -> Result<(), Stop> {
    let wanted = course.record.tokens();
    let tokens = course.tokens()?;
    // A token that has leaked goes before anything else is done.
    let order = match course.record.mode {
        Mode::RevokeNow => [Which::Old, Which::New],
        Mode::Overlap => [Which::New, Which::Old],
    };
    for which in order {
        course.stop_if_interrupted()?;
        let Some(terms) = course.record.secret_of(which).cloned() else { continue };
        match (wanted.has(which), which) {
            (true, Which::New) => make(course, &tokens, &terms)?,
            // Nothing but time made it go.
            (true, Which::Old) => {}
            (false, _) => delete(course, &terms)?,
        }
    }
    Ok(())
}

fn make(course: &mut Course, tokens: &TokenPair, terms: &SecretTerms) -> Result<(), Stop> {
    if terms.expiration <= course.bench.fleet.clock.now() {
        let end = terms.expiration.strftime("%Y-%m-%d %H:%M:%S UTC");
        let what = format!("the new token {} expired {end}", course.record.new);
        if course.record.tokens() == Tokens::Both && course.record.direction == Direction::Forward {
            let hint = "`kubemint rotate token --abort`, then begin again; token.ttl says how long a token lives";
            return Err(Stop::new("token_expired", what, hint));
        }
        course.remarks.push(format!("{what}: `kubemint rotate token` makes another"));
        return Ok(());
    }
    let groups = &tokens.new_holder.groups;
    let secret = BootstrapTokenSecret::of_token(&tokens.new, terms.expiration, groups)
        .ok_or_else(|| Stop::new("state_damaged", "the new token has not the shape of one in a Secret", RESTORE))?;
    let name = secret.name();
    on_any(course, |cluster| match cluster.create_bootstrap_secret(&secret) {
        Ok(()) => Ok(Some(format!("Secret {name} created in kube-system"))),
        // By an earlier run; whether it has our token shows when apiservers are asked.
        Err(cluster::Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    })
}

const RESTORE: &str = "restore the whole directory from a backup";

fn delete(course: &Course, terms: &SecretTerms) -> Result<(), Stop> {
    on_any(course, |cluster| {
        let was_there = cluster.delete_bootstrap_secret(&terms.id)?;
        Ok(was_there.then(|| format!("Secret bootstrap-token-{} deleted from kube-system", terms.id)))
    })
}

/// By the first apiserver that answers; says what it did.
fn on_any(course: &Course, act: impl Fn(&dyn Cluster) -> Result<Option<String>, cluster::Error>) -> Result<(), Stop> {
    let mut last = Stop::new("no_control_plane", "there is no control-plane host", "");
    for host in course.bench.control_plane() {
        match act(course.bench.cluster(host)?.as_ref()) {
            Ok(Some(what)) => {
                course.bench.observer.step(host.name.as_str(), &what);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                last = Stop::of_cluster(&error).at(host);
                if error.class() == ErrorClass::Refused {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// Asks every apiserver until it knows and refuses what it should.
pub(super) fn show(course: &mut Course) -> Result<(), Stop> {
    let tokens = course.tokens()?;
    let bench = course.bench;
    for host in bench.control_plane() {
        course.stop_if_interrupted()?;
        bench.begin(host)?;
        let began = Instant::now();
        let stop = show_one(course, host, &tokens).err();
        let status = if stop.is_some() { HostStatus::Failed } else { HostStatus::Unchanged };
        let error = stop.as_ref().map(|stop| stop.why.clone());
        let report = distribute::host_report(host, status, Vec::new(), error, 1, began.elapsed());
        let report = HostReport { untouched: true, ..report };
        let journaled = bench.end(&report);
        course.control_plane.retain(|other| other.name != report.name);
        course.control_plane.push(report);
        if let Some(stop) = stop {
            return Err(stop);
        }
        journaled?;
        bench.observer.step(host.name.as_str(), "ready, tokens as they should be");
    }
    Ok(())
}

fn show_one(course: &Course, host: &Host, tokens: &TokenPair) -> Result<(), Stop> {
    let cluster = course.bench.cluster(host)?;
    let until = Instant::now() + course.bench.inventory.services.restart_timeout.max(AT_LEAST);
    loop {
        match tokens.check(cluster.as_ref(), course.record.tokens()) {
            Ok(()) => return Ok(()),
            Err(ailment) if Instant::now() >= until => {
                return Err(stop_of(course.record.carrier(), course.record.new, &ailment).at(host));
            }
            Err(_) => thread::sleep(BETWEEN_QUESTIONS),
        }
        course.stop_if_interrupted()?;
    }
}

/// What an apiserver's ailment means where its tokens are not in a file.
pub(super) fn stop_of(carrier: Carrier, new: crate::digest::Fingerprint, ailment: &Ailment) -> Stop {
    match ailment {
        Ailment::Unknown(token) if carrier != Carrier::TokenFile && *token == new => {
            let what =
                format!("kube-apiserver is ready, but does not know token {token} (401), though its Secret is there");
            let hint = "start kube-apiserver there with --enable-bootstrap-token-auth, and see whether the Secret has \
                        been changed; then `kubemint rotate token --resume`";
            Stop::new("bootstrap_tokens_off", what, hint)
        }
        Ailment::StillKnown(token) if carrier == Carrier::Secrets || *token == new => {
            let what =
                format!("kube-apiserver is ready, but still accepts token {token}, though its Secret is deleted");
            let hint = "it has not heard of it: look at its connection to etcd, and whether the token is in its \
                        --token-auth-file, too; then `kubemint rotate token --resume`";
            Stop::new("secret_still_known", what, hint)
        }
        _ => ailment.stop(None),
    }
}
