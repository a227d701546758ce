//! Keys whose value is one of a few words.
//!
//! As everywhere here, nothing is returned where there was a mistake, and reading goes on.

use super::{
    diagnostics::{Mistake, Mistakes, did_you_mean, quoted},
    reader::Reader,
};

/// The one of `known` whose name stands there.
pub(super) fn read_choice<T: Copy, const N: usize>(
    table: &Reader<'_>,
    key: &str,
    known: [T; N],
    name: impl Fn(T) -> &'static str,
    mistakes: &mut Mistakes<'_>,
) -> Option<T> {
    let text = table.text(key)?;
    let found = known.into_iter().find(|choice| name(*choice) == text.value).ok_or_else(|| {
        let names = known.map(&name);
        let all = || format!("known are {}", names.join(", "));
        Mistake::new(format!("unknown {key} {}", quoted(text.value)))
            .hint(did_you_mean(text.value, names).unwrap_or_else(all))
    });
    mistakes.keep(text.at, found)
}
