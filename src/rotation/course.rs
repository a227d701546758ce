//! The state machine: the stages of each course in their order, what is true in each, and where one may turn.

use super::{Direction, Mode, Record, Stage, Which};

/// Why a rotation cannot be aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AbortError {
    #[error("the old token is being retired: apiservers may refuse it already")]
    Retiring,
    #[error("the old token is revoked: there is no way back to it")]
    Revoked,
}

/// Whom the apiservers are to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    Both,
    Only(Which),
}

impl Tokens {
    #[must_use]
    pub fn has(self, which: Which) -> bool {
        match self {
            Self::Both => true,
            Self::Only(one) => one == which,
        }
    }
}

impl Record {
    /// All stages of its course, in order.
    #[must_use]
    pub const fn course(&self) -> &'static [Stage] {
        use Stage::{Accept, Approve, Retire, Switch, Verify};
        match (self.mode, self.direction) {
            (Mode::Overlap, Direction::Forward) => &[Accept, Switch, Approve, Verify, Retire],
            (Mode::Overlap, Direction::Back) => &[Switch, Accept],
            (Mode::RevokeNow, _) => &[Retire, Switch, Approve, Verify],
        }
    }

    /// The stages that have to be gone through from here, in order. Those that are behind are gone through again, since a
    /// host may have failed in them; but once token.csv has lost a token, nothing is left to do for it before that.
    #[must_use]
    pub fn stages_ahead(&self) -> &'static [Stage] {
        let course = self.course();
        match (self.mode, self.direction) {
            (Mode::Overlap, Direction::Forward) if self.stage != Stage::Retire => course,
            (Mode::RevokeNow, _) => course,
            _ => &course[self.position(self.stage)..],
        }
    }

    /// Whether `stage` comes later in the course than where it stands.
    #[must_use]
    pub fn is_ahead(&self, stage: Stage) -> bool {
        self.position(stage) > self.position(self.stage)
    }

    fn position(&self, stage: Stage) -> usize {
        self.course().iter().position(|other| *other == stage).unwrap_or_default()
    }

    /// What token.csv holds in this stage.
    #[must_use]
    pub const fn tokens(&self) -> Tokens {
        match (self.mode, self.direction, self.stage) {
            (Mode::RevokeNow, ..) | (Mode::Overlap, Direction::Forward, Stage::Retire) => Tokens::Only(Which::New),
            (Mode::Overlap, Direction::Back, Stage::Accept) => Tokens::Only(Which::Old),
            (Mode::Overlap, ..) => Tokens::Both,
        }
    }

    /// Which token bootstrap.kubeconfig holds in this stage.
    #[must_use]
    pub const fn carried(&self) -> Which {
        match (self.mode, self.direction, self.stage) {
            (Mode::Overlap, Direction::Back, _) | (Mode::Overlap, Direction::Forward, Stage::Accept) => Which::Old,
            (Mode::Overlap | Mode::RevokeNow, ..) => Which::New,
        }
    }

    /// Turns back. One that has not got to the nodes has nothing to undo there.
    ///
    /// # Errors
    /// [`AbortError`]: an apiserver may refuse the old token already.
    pub fn aborted(&self) -> Result<Self, AbortError> {
        let stage = match (self.mode, self.direction, self.stage) {
            (Mode::RevokeNow, ..) => return Err(AbortError::Revoked),
            (Mode::Overlap, Direction::Back, stage) => stage,
            (Mode::Overlap, Direction::Forward, Stage::Retire) => return Err(AbortError::Retiring),
            (Mode::Overlap, Direction::Forward, Stage::Accept) => Stage::Accept,
            (Mode::Overlap, Direction::Forward, Stage::Switch | Stage::Approve | Stage::Verify) => Stage::Switch,
        };
        if self.direction == Direction::Back {
            return Ok(self.clone());
        }
        let restarted = Default::default();
        Ok(Self { direction: Direction::Back, stage, restarted, grace: None, grace_until: None, ..self.clone() })
    }

    /// Drops the old token at once, wherever it stands: forward, back, or never begun.
    #[must_use]
    pub fn revoked(&self) -> Self {
        if self.mode == Mode::RevokeNow {
            return self.clone();
        }
        // Going back, nodes may have been given the old token again.
        let restarted = if self.direction == Direction::Back { Default::default() } else { self.restarted.clone() };
        let (mode, direction, stage) = (Mode::RevokeNow, Direction::Forward, Stage::Retire);
        Self { mode, direction, stage, restarted, grace: None, grace_until: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn record() -> Record {
        let print = |text| Digest::of(text).fingerprint();
        Record::begin("run", (print("old"), Timestamp::UNIX_EPOCH), print("new"), Timestamp::UNIX_EPOCH)
    }

    /// What an apiserver knows or a node carries while it goes from one stage's set to the next: either.
    fn knows(before: Tokens, after: Tokens, which: Which) -> bool {
        before.has(which) && after.has(which)
    }

    #[test]
    fn a_token_that_a_node_may_carry_is_known_to_every_apiserver() {
        let mut at = record();
        let mut carried = vec![at.carried()];
        let mut before = Tokens::Only(Which::Old);
        for stage in at.course() {
            at.stage = *stage;
            carried.push(at.carried());
            let last = &carried[carried.len() - 2..];
            // While token.csv goes round, nodes hold what they held; while the kubeconfig goes round, either.
            for which in last {
                assert!(knows(before, at.tokens(), *which), "{stage:?} {which:?}");
            }
            before = at.tokens();
        }
        assert_eq!((at.tokens(), at.carried()), (Tokens::Only(Which::New), Which::New));
    }

    #[test]
    fn the_way_back_locks_nobody_out_either() {
        for stage in [Stage::Accept, Stage::Switch, Stage::Approve, Stage::Verify] {
            let forward = Record { stage, ..record() };
            let mut back = forward.aborted().unwrap();
            let (mut before, mut carried) = (forward.tokens(), forward.carried());
            for stage in back.stages_ahead() {
                back.stage = *stage;
                for which in [carried, back.carried()] {
                    assert!(knows(before, back.tokens(), which), "{forward:?} {stage:?}");
                }
                (before, carried) = (back.tokens(), back.carried());
            }
            assert_eq!((back.tokens(), back.carried()), (Tokens::Only(Which::Old), Which::Old), "{forward:?}");
        }
    }

    #[test]
    fn only_before_the_old_token_goes_is_there_a_way_back() {
        assert_eq!(Record { stage: Stage::Retire, ..record() }.aborted(), Err(AbortError::Retiring));
        assert_eq!(record().revoked().aborted(), Err(AbortError::Revoked));
        let back = record().aborted().unwrap();
        assert_eq!(back.aborted(), Ok(back.clone()), "to abort twice is to go on");
    }

    #[test]
    fn an_abort_before_the_switch_leaves_the_nodes_alone() {
        assert_eq!(record().aborted().unwrap().stages_ahead(), [Stage::Accept]);
        let switched = Record { stage: Stage::Switch, ..record() };
        assert_eq!(switched.aborted().unwrap().stages_ahead(), [Stage::Switch, Stage::Accept]);
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let record = Record { grace: Some(jiff::SignedDuration::from_hours(24)), ..record().revoked() };
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""stage":"retire","direction":"forward","mode":"revoke-now""#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    proptest! {
        /// Whatever is asked for in whatever order: it ends, with one token on both sides.
        #[test]
        fn every_course_ends_with_one_token(steps in proptest::collection::vec(0..4u8, 0..20)) {
            let mut at = record();
            for step in steps {
                match step {
                    0 => at = at.aborted().unwrap_or(at),
                    1 => at = at.revoked(),
                    _ => {
                        let next = at.course().iter().find(|stage| at.is_ahead(**stage));
                        at.stage = next.copied().unwrap_or(at.stage);
                    }
                }
                prop_assert!(at.course().contains(&at.stage));
                prop_assert!(at.stages_ahead().contains(&at.stage));
                prop_assert!(at.tokens().has(at.carried()));
            }
            while let Some(next) = at.course().iter().find(|stage| at.is_ahead(**stage)) {
                at.stage = *next;
            }
            prop_assert_eq!(at.tokens(), Tokens::Only(at.carried()));
        }
    }
}
