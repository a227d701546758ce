//! Which machine answers, whatever the inventory calls it: systemd's /etc/machine-id, where there is one. It is not secret,
//! but not to be shown either (machine-id(5)): here it is only ever compared, by its digest. A machine that shows the id of
//! one written under another name says so itself, and is written only if it is another after all: never here.

use crate::{
    digest::Digest,
    remote::{Error, Peer, heard::Heard},
};

/// The digest of a machine-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MachineId(Digest);

/// A machine that was written in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub machine: MachineId,
    /// Its name in the inventory.
    pub name: String,
}

/// Gives the machines that were written under other names and show the host key of this peer. May wait for them, and fails
/// where that takes too long.
pub type Roster<'a> = dyn Fn(&Peer) -> Result<Vec<Written>, Error> + 'a;

/// The digits of a machine-id.
const LENGTH: usize = 32;

/// The call that lets the script say which machine it runs on, and whether that is one of `written`.
pub(super) fn render_call(written: &[Written]) -> String {
    let known: String = written.iter().map(|written| format!(" {}", written.machine.0)).collect();
    format!("km_machine{known}\n")
}

/// What a reply tells of the machine.
pub(super) struct Told<'a> {
    /// The reply without it.
    pub reply: Heard<'a>,
    pub machine: Option<MachineId>,
    twin: Option<Digest>,
    /// It is one of those that were written, by what it shows, and does not hold what it should.
    is_barred: bool,
}

impl<'a> Told<'a> {
    /// Takes out of `reply` the lines about the machine.
    pub fn by(reply: &Heard<'a>, nonce: &str) -> Self {
        let text = &reply.text;
        let (mut machine, mut twin, mut is_barred) = (None, None, false);
        let mut rest = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let frame = line.split_once(nonce).map(|(noise, frame)| (noise, frame.trim_ascii()));
            let said = frame.map(|(noise, frame)| (noise, frame.split_once(' ').unwrap_or((frame, ""))));
            match said {
                Some((noise, ("machine", id))) => {
                    machine = is_id(id).then(|| MachineId(Digest::of(id)));
                    rest.push_str(noise);
                }
                Some((noise, ("twin", digest))) => {
                    twin = digest.parse().ok();
                    rest.push_str(noise);
                }
                Some((noise, ("barred", ""))) => {
                    is_barred = true;
                    rest.push_str(noise);
                }
                _ => rest.push_str(line),
            }
        }
        Self { reply: reply.with_text(rest), machine, twin, is_barred }
    }

    /// The one of `written` whose machine-id the host shows.
    ///
    /// # Errors
    /// [`Error::SameMachine`] when it lacks something that it should hold then.
    pub fn twin_of(&self, written: &[Written]) -> Result<Option<String>, Error> {
        let same = |written: &&Written| self.twin == Some(written.machine.0);
        match written.iter().find(same) {
            Some(Written { name, .. }) if self.is_barred => Err(Error::SameMachine { name: name.clone() }),
            twin => Ok(twin.map(|written| written.name.clone())),
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Exit, heard::tests::heard_of};

    const NONCE: &str = "0f0f";
    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn told(text: &str) -> Told<'static> {
        Told::by(&heard_of(&text.replace('@', NONCE), Exit::Status(0), NONCE, Vec::new()), NONCE)
    }

    fn written(name: &str, id: &str) -> Written {
        Written { machine: MachineId(Digest::of(id)), name: name.into() }
    }

    #[test]
    fn the_machine_is_taken_out_of_the_reply_and_the_rest_stays() {
        let told = told(&format!("hello\n@ begin\nnoise@ machine {ID}\n@ found 0 absent\n@ end\n"));
        assert_eq!(told.machine, Some(MachineId(Digest::of(ID))));
        assert_eq!(told.reply.text, "hello\n0f0f begin\nnoise0f0f found 0 absent\n0f0f end\n");
    }

    #[test]
    fn what_is_no_machine_id_is_none() {
        for id in ["", "uninitialized", &ID[1..], &format!("{ID}0"), &"0".repeat(32), &"g".repeat(32)] {
            assert_eq!(told(&format!("@ begin\n@ machine {id}\n")).machine, None, "{id}");
        }
        assert_eq!(told("@ begin\n@ end\n").machine, None);
    }

    #[test]
    fn a_host_is_believed_only_about_machines_it_was_asked_for() {
        let known = [written("node-1", "x"), written("node-2", ID)];
        let says = |digest: &str, more| told(&format!("@ begin\n@ twin {digest}\n{more}@ end\n")).twin_of(&known);
        let (own, other) = (Digest::of(ID).to_string(), Digest::of("other").to_string());
        assert!(matches!(says(&own, "@ barred\n"), Err(Error::SameMachine { name }) if name == "node-2"));
        assert_eq!(says(&own, "").unwrap().as_deref(), Some("node-2"));
        assert!([&*other, "nonsense"].iter().all(|digest| says(digest, "@ barred\n").unwrap().is_none()));
        assert_eq!(render_call(&[]), "km_machine\n");
        assert_eq!(render_call(&known[..1]), format!("km_machine {}\n", Digest::of("x")));
    }
}
