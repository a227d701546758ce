//! What ~/.ssh/config says of a host, in the words of `ssh -G`: OpenSSH is the judge of its own language. One call for each
//! name, user, port and address, without a shell, within a deadline. Nothing here loosens a check: StrictHostKeyChecking
//! and the like are not even read; what tightens one is kept, or refused by name.

use super::destination::{AgentChoice, Destination, Offered};
use crate::{
    foreign::ForeignText,
    inventory::{JumpHost, parse_address},
    remote::Error,
    secret::{is_unprintable, scrub},
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::HashMap,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// What is asked: a host as one would give it to ssh, and what the inventory has settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub host: String,
    pub address: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
}

/// What ssh would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    /// Its identity and certificate files are those that exist; known_hosts are the user's files, then the system's.
    pub destination: Destination,
    /// Nearest first.
    pub jump: Vec<JumpHost>,
    pub proxy_command: Option<String>,
}

type Cell = Arc<OnceLock<Result<Arc<HostConfig>, String>>>;

#[derive(Debug)]
pub(super) struct UserConfig {
    program: PathBuf,
    home: Option<PathBuf>,
    limit: Duration,
    answers: Mutex<HashMap<Question, Cell>>,
}

impl UserConfig {
    /// `home` is what `~` and `%d` stand for.
    pub fn new(program: Option<&Path>, home: Option<&Path>, limit: Duration) -> Self {
        let program = program.unwrap_or_else(|| Path::new("ssh")).to_owned();
        Self { program, home: home.map(Path::to_owned), limit, answers: Mutex::default() }
    }

    /// # Errors
    /// [`Error::SshConfigFailed`].
    pub fn ask(&self, question: &Question) -> Result<Arc<HostConfig>, Error> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(answers.entry(question.clone()).or_default());
        drop(answers);
        let answer = cell.get_or_init(|| {
            let text = self.run(question)?;
            Parser { home: self.home.as_deref(), question }.parse(&text).map(Arc::new)
        });
        answer
            .clone()
            .map_err(|reason| Error::SshConfigFailed { host: question.host.clone(), reason: ForeignText::name(reason) })
    }

    fn run(&self, question: &Question) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(["-G", "-T"]);
        if let Some(user) = &question.user {
            command.args(["-l", user]);
        }
        if let Some(port) = question.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(address) = &question.address {
            command.args(["-o", &format!("HostName={address}")]);
        }
        command.args(["--", &question.host]);
        let program = self.program.display();
        let output = output_within(&mut command, self.limit).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => format!("there is no program {program}"),
            io::ErrorKind::TimedOut => format!("`{program} -G` has not answered after {} s", self.limit.as_secs()),
            _ => format!("{program} cannot be run: {e}"),
        })?;
        if !output.status.success() {
            let said = scrub(String::from_utf8_lossy(&output.stderr).trim());
            return Err(format!("`{program} -G` ended with {}: {said}", output.status));
        }
        String::from_utf8(output.stdout).map_err(|_| format!("`{program} -G` does not answer in UTF-8"))
    }
}

/// Runs a program that may hang (`Match exec`): it is killed with what it called when `limit` is over.
fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (send, receive) = mpsc::sync_channel(1);
    thread::Builder::new().name("ssh-config".into()).spawn(move || send.send(child.wait_with_output()))?;
    receive.recv_timeout(limit).unwrap_or_else(|_| {
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        Err(io::ErrorKind::TimedOut.into())
    })
}

struct Parser<'a> {
    home: Option<&'a Path>,
    question: &'a Question,
}

impl Parser<'_> {
    fn parse(&self, text: &str) -> Result<HostConfig, String> {
        let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        let all = |key: &'static str| pairs.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value);
        let one = |key: &'static str| all(key).next().filter(|value| *value != "none");
        let needed = |key: &'static str| one(key).ok_or_else(|| format!("`ssh -G` names no {key}"));
        let mut found = Destination {
            address: parse_address(needed("hostname")?).map_err(|e| format!("HostName is no address: {e}"))?,
            port: needed("port")?.parse().ok().filter(|port| *port != 0).ok_or("Port is no port")?,
            user: needed("user")?.to_owned(),
            key_alias: one("hostkeyalias").map(str::to_lowercase),
            ..Destination::default()
        };
        for (key, name) in [("User", Some(&found.user)), ("HostKeyAlias", found.key_alias.as_ref())] {
            if name.is_some_and(|name| name.chars().any(is_unprintable)) {
                return Err(format!("{key} holds a character that cannot be shown"));
            }
        }
        if let Some(file) = one("revokedhostkeys") {
            let file = scrub(file);
            return Err(format!(
                "RevokedHostKeys {file} is not supported: put these keys into known_hosts, after `@revoked *`"
            ));
        }
        let expand = |value: &str| self.expand(value, &found.address, found.port, &found.user);
        // As ssh, which lists all it would look for.
        let existing = |key: &'static str| -> Result<Vec<PathBuf>, String> {
            let paths = all(key).filter(|value| *value != "none").map(expand).collect::<Result<Vec<_>, _>>()?;
            Ok(paths.into_iter().filter(|path| path.exists()).collect())
        };
        let (identities, certificates) = (existing("identityfile")?, existing("certificatefile")?);
        let lists = ["userknownhostsfile", "globalknownhostsfile"];
        let words = lists.iter().flat_map(|key| all(key)).flat_map(str::split_ascii_whitespace);
        let known_hosts: Result<Vec<PathBuf>, String> =
            words.filter(|value| !["none", "/dev/null"].contains(value)).map(expand).collect();
        let agent = match all("identityagent").next() {
            None | Some("SSH_AUTH_SOCK") => AgentChoice::Usual,
            Some("none") => AgentChoice::Nobody,
            Some(path) => AgentChoice::At(expand(path)?),
        };
        (found.identity_files, found.certificate_files, found.known_hosts) = (identities, certificates, known_hosts?);
        found.agent = agent;
        if one("identitiesonly") == Some("yes") {
            found.offered = Offered::Listed;
        }
        let mut jump = Vec::new();
        for text in one("proxyjump").into_iter().flat_map(|list| list.split(',')) {
            let host = text.trim().trim_start_matches("ssh://").trim_end_matches('/');
            jump.push(host.parse().map_err(|e| format!("ProxyJump {}: {e}", scrub(text)))?);
        }
        Ok(HostConfig { destination: found, jump, proxy_command: one("proxycommand").map(scrub) })
    }

    /// `~` and the tokens of ssh_config(5), TOKENS, that stand for something we know.
    fn expand(&self, text: &str, address: &str, port: u16, user: &str) -> Result<PathBuf, String> {
        let home = || self.home.and_then(Path::to_str).ok_or_else(|| format!("{}: the home is not known", scrub(text)));
        let mut path = String::new();
        let rest = match text.strip_prefix("~/") {
            Some(rest) => {
                path = format!("{}/", home()?);
                rest
            }
            None => text,
        };
        let mut letters = rest.chars();
        while let Some(letter) = letters.next() {
            match (letter, if letter == '%' { letters.next() } else { None }) {
                ('%', Some('%')) => path.push('%'),
                ('%', Some('d')) => path.push_str(home()?),
                ('%', Some('h')) => path.push_str(address),
                ('%', Some('n')) => path.push_str(&self.question.host),
                ('%', Some('p')) => path.push_str(&port.to_string()),
                ('%', Some('r')) => path.push_str(user),
                ('%' | '$', _) => return Err(format!("{}: this token or variable is not supported", scrub(text))),
                (letter, _) => path.push(letter),
            }
        }
        match path.starts_with('/') {
            true => Ok(PathBuf::from(path)),
            false => Err(format!("{}: it is not an absolute path", scrub(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HostConfig, String> {
        let question = Question { host: "node-1".into(), address: None, user: None, port: None };
        let whole = format!("user ops\nhostname 10.0.0.1\nport 2222\n{text}");
        Parser { home: Some(Path::new("/home/x")), question: &question }.parse(&whole)
    }

    #[test]
    fn what_ssh_prints_is_understood() {
        let config = parse(
            "identityfile ~/.ssh/%%/%h-%n-%p-%r\nglobalknownhostsfile /etc/a /etc/b\nuserknownhostsfile %d/k /dev/null\n\
             proxyjump ops@b:2222,ssh://[fd00::1]:22\nproxycommand none\nhostkeyalias Cluster-Key\nidentityagent none\n\
             stricthostkeychecking no\n",
        )
        .unwrap();
        assert_eq!(
            (config.destination.address.as_str(), config.destination.port, config.destination.user.as_str()),
            ("10.0.0.1", 2222, "ops")
        );
        assert_eq!(config.destination.known_hosts, ["/home/x/k", "/etc/a", "/etc/b"].map(PathBuf::from));
        let jump: Vec<String> = config.jump.iter().map(ToString::to_string).collect();
        assert_eq!(jump, ["ops@b:2222", "[fd00::1]:22"]);
        assert_eq!(
            (config.proxy_command.as_deref(), config.destination.key_alias.as_deref()),
            (None, Some("cluster-key"))
        );
        assert_eq!((&config.destination.agent, config.destination.offered), (&AgentChoice::Nobody, Offered::All));
        assert_eq!(parse("identitiesonly yes").unwrap().destination.offered, Offered::Listed);
        assert!(config.destination.identity_files.is_empty(), "a file that does not exist is not named: {config:?}");
        assert_eq!(parse("proxycommand nc %h %p").unwrap().proxy_command.as_deref(), Some("nc %h %p"));
    }

    #[test]
    fn paths_are_expanded_as_ssh_does() {
        let question = Question { host: "node-1".into(), address: None, user: None, port: None };
        let parser = Parser { home: Some(Path::new("/home/x")), question: &question };
        let expand = |text: &str| parser.expand(text, "10.0.0.1", 22, "ops");
        assert_eq!(expand("~/k-%h-%n-%p-%r-%%"), Ok(PathBuf::from("/home/x/k-10.0.0.1-node-1-22-ops-%")));
        for bad in ["~other/k", "k", "/a/%C", "/a/${HOME}", "/a/%"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_answer_is_an_error() {
        let revoked = parse("revokedhostkeys /etc/ssh/revoked").unwrap_err();
        assert!(revoked.contains("RevokedHostKeys /etc/ssh/revoked"), "{revoked}");
        assert!(parse("revokedhostkeys none").is_ok());
        for bad in ["proxyjump -oProxyCommand=x", "identityfile /k/%C"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let question = Question { host: "x".into(), address: None, user: None, port: None };
        for bad in ["", "user a\nhostname b\nport 0\n", "user a\nhostname -x\nport 22\n"] {
            assert!(Parser { home: None, question: &question }.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600"]);
        let error = output_within(&mut command, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
