//! Who reads standard input. It can be read once: two flags that name it are a mistake, which is told before anything is
//! done. Reads nothing itself.

use super::failure::Failure;
use std::cell::Cell;

#[derive(Debug, Default)]
pub(super) struct StandardInput(Cell<Option<&'static str>>);

impl StandardInput {
    /// Gives it to `flag`, which may ask again.
    pub(super) fn claim(&self, flag: &'static str) -> Result<(), Failure> {
        match self.0.get() {
            Some(first) if first != flag => {
                let what = format!("{first} and {flag} both name standard input, which can be read once");
                Err(Failure::bad_input("usage", what)
                    .hint("name a file for one of them, or another descriptor, as in `/dev/fd/3 3<FILE`"))
            }
            _ => {
                self.0.set(Some(flag));
                Ok(())
            }
        }
    }
}
