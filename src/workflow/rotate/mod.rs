//! Rotating the bootstrap token without locking a node out: accept, switch, approve, verify, retire; or the way back.
//!
//! What always holds: the stored set is what hosts may safely hold in the recorded stage. Each stage is journaled, then
//! committed with its set, and only then are hosts brought to it; what a host has already is not done again. So to resume
//! is to go through the course once more.

mod approval;
mod bench;
mod carrier;
mod control_plane;
mod exchange;
mod nodes;
mod preflight;
mod report;
mod secrets;
mod stop;
mod token_files;
mod tokens;
mod verification;

pub use bench::{Bench, Gate, Observer};
pub use exchange::without_own_token;
pub use preflight::{Beginning, Plan, Refusal, Scope, check_inventory, plan_rotation};
pub use report::{Pending, RotationReport, State};

use crate::{
    rotation::{Carrier, Direction, Mode, Record, Stage},
    store::{self, Snapshot, StoredFile},
    token::TokenFile,
    workflow::generate::stage_record,
};
use bench::Course;
use stop::Stop;

/// Makes the plan's record the stored one, and then the set of its stage: from here on a rotation is under way.
///
/// # Errors
/// [`store::Error`]: then none is, or it is with the set that was there.
pub fn begin_rotation(bench: &Bench, plan: Plan, snapshot: &Snapshot) -> Result<Begun, store::Error> {
    let (snapshot, record) = bench::commit_record(bench, snapshot, plan.record, plan.both)?;
    Ok(Begun { remarks: plan.remarks, ..turn_rotation(bench, snapshot, record)? })
}

/// Turns one that is under way: back, or to drop the old token at once.
///
/// # Errors
/// [`store::Error`]; it then goes on as before.
pub fn turn_rotation(bench: &Bench, snapshot: Snapshot, record: Record) -> Result<Begun, store::Error> {
    let stored = snapshot.state.as_ref().and_then(|state| state.rotation.as_ref());
    let (snapshot, record) = if stored == Some(&record) && is_settled(&snapshot) {
        (snapshot, record)
    } else {
        bench::commit(bench, &snapshot, record)?
    };
    Ok(Begun { snapshot, record, remarks: Vec::new() })
}

/// Whether the stored set is that of the stage it is in; also where none is under way. One that was killed as it began may
/// have left the set that was there.
#[must_use]
pub fn is_settled(snapshot: &Snapshot) -> bool {
    let Some(state) = &snapshot.state else { return true };
    let (Some(record), Some(own)) = (&state.rotation, &state.token) else { return true };
    let both = snapshot.content(StoredFile::RotationTokens).and_then(|text| TokenFile::from_secret(text).ok());
    let Some(both) = both else { return false };
    let is_stored = |file: TokenFile| snapshot.holds(StoredFile::TokenCsv, &file.render());
    stage_record(own, record, &both).as_ref() == Some(own)
        && (record.carrier() == Carrier::Secrets || record.token_file(&both).is_some_and(is_stored))
}

/// A rotation whose record is stored.
pub struct Begun {
    pub snapshot: Snapshot,
    pub record: Record,
    /// What was found that holds nothing up.
    pub remarks: Vec<String>,
}

/// Goes through what is ahead of it, to its end or until something stands in the way.
#[must_use]
pub fn run_rotation(bench: &Bench, begun: Begun) -> RotationReport {
    let mut course = Course::new(bench, begun);
    course.tell_newcomers();
    let stop = course.start().and_then(|()| run_stages(&mut course)).err();
    report::close(&course, stop)
}

fn run_stages(course: &mut Course) -> Result<(), Stop> {
    for stage in course.record.stages_ahead() {
        if is_gated(course, *stage) {
            course.pass_gate()?;
        }
        course.enter(*stage)?;
        // Where an apiserver knows the old token still, requests go on being made with it.
        if *stage == Stage::Switch && course.held_up.is_none() {
            approval::draw_line(course);
        }
        match stage {
            Stage::Accept | Stage::Retire => carrier::bring(course)?,
            Stage::Switch => {
                nodes::switch(course)?;
                if let Some(stop) = course.held_up.take() {
                    return Err(stop);
                }
            }
            Stage::Approve => approval::approve(course)?,
            Stage::Verify => verification::verify(course)?,
        }
    }
    match course.record.mode {
        Mode::RevokeNow => course.pass_gate()?,
        Mode::Overlap => nodes::spread_token_file(course)?,
    }
    course.finish()
}

/// Whether a node that is not done would be locked out by this stage.
fn is_gated(course: &Course, stage: Stage) -> bool {
    let Record { mode, direction, .. } = course.record;
    match (mode, direction, stage) {
        (Mode::Overlap, Direction::Forward, Stage::Retire) | (Mode::Overlap, Direction::Back, Stage::Accept) => {
            course.record.is_ahead(stage)
        }
        _ => false,
    }
}
