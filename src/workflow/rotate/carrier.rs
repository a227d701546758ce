//! Every apiserver is brought to know the tokens of the stage, and no other: by token.csv and restarts, by Secrets, or,
//! while the one gives way to the other, the new token by a Secret and the old one by token.csv.

use super::{bench::Course, control_plane, secrets, stop::Stop};
use crate::rotation::{Carrier, Tokens, Which};

pub(super) fn bring(course: &mut Course) -> Result<(), Stop> {
    match course.record.carrier() {
        Carrier::TokenFile => control_plane::bring(course),
        Carrier::Secrets => {
            secrets::settle(course)?;
            secrets::show(course)
        }
        Carrier::Migration => {
            secrets::settle(course)?;
            // token.csv is touched, and apiservers are restarted, for nothing but to drop the old row.
            match course.record.tokens() {
                Tokens::Only(Which::New) => control_plane::bring(course),
                Tokens::Both | Tokens::Only(Which::Old) => secrets::show(course),
            }
        }
    }
}
