//! Nothing that a host says comes out raw: every word of every frame of our scripts, and every foreign field beside them, is
//! fed terminal escapes, ends of lines, bytes that are no text, and our own secrets, whole and cut. The frames are read out
//! of the scripts (see `frames`), the outputs are what reports, journals and answers are made of.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "foreign_words/frames.rs"]
mod frames;
#[path = "foreign_words/payloads.rs"]
mod payloads;
#[path = "foreign_words/peer.rs"]
mod peer;
mod support;

use frames::Frame;
use jiff::{SignedDuration, Timestamp};
use kubemint::{
    bundle::{Bundle, CredentialSet, HostFile, build_bundles},
    clock::SystemClock,
    entropy::OsEntropy,
    foreign::ForeignText,
    inventory::{Inventory, Limits, Location, parse_inventory},
    json,
    remote::{
        Error, Exit, HostRemote, LocalRemote, Remote, Signal, SshConfig, SshRemote,
        installer::{ForeignPolicy, KeptFile, Undo, install_host, probe_host, restore_host},
        kubelet, service,
    },
    secret::ExposeSecret,
    store::{RunId, Store},
    workflow::{
        Interrupt, InterruptObserver,
        distribute::{Fleet, Observer, Order, run_distribution},
        doctor::{Credentials, HealthObserver, HostHealth, Preflight, examine_hosts},
        report::HostReport,
        sent::SentFiles,
        stored::read_stored_set,
        survey::{HostSurvey, Scope, SurveyObserver, Unmade, survey_hosts},
        upkeep::Outlook,
    },
};
use payloads::{Secrets, is_raw};
use peer::{Hostile, MARK, Saying};
use std::{fmt::Write, path::Path, sync::Arc, time::Duration};
use support::TestEnv;

/// An error of a host that says something.
type MakeError = fn(&str) -> Error;

const PASSWORD: &str = "correct-horse-battery";
const HOSTS: usize = 9000;
/// Hold token.csv alone: no kubeconfig is read for each of thousands of hosts.
const FEW_FILES: &str = "[\"control-plane\"]";
const ALL_FILES: &str = "[\"control-plane\", \"node\"]";

/// A credential directory that the real binary made, and hosts that should hold its files.
struct World {
    env: TestEnv,
    inventory: Inventory,
    set: CredentialSet,
    secrets: Secrets,
}

impl World {
    fn of(roles: &str) -> Self {
        let text = format!(
            "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[[hosts]]\nname = \"h[1-{HOSTS}]\"\n\
             roles = {roles}\n"
        );
        let env = TestEnv::with_inventory(&text);
        env.ok(&["generate"]);
        let location = Location { path: "i".into(), folder: env.dir().to_owned(), home: Some(env.path("home")) };
        let inventory = parse_inventory(&text, &location).unwrap();
        let snapshot = Store::at(&env.path("state")).load().unwrap();
        let set = read_stored_set(&inventory, &snapshot).unwrap();
        // What a host was never sent it cannot repeat.
        let key = if roles == ALL_FILES { set.client_key_pem.expose_secret() } else { "" };
        let secrets = Secrets::new(set.token.secret().expose_secret(), key, PASSWORD);
        Self { env, inventory, set, secrets }
    }

    fn bundles(&self, count: usize) -> Vec<Bundle<'_>> {
        let hosts: Vec<_> = self.inventory.hosts.iter().take(count).collect();
        build_bundles(&hosts, &self.set).unwrap()
    }

    fn files(&self) -> Vec<HostFile> {
        self.bundles(1).remove(0).files
    }

    /// Fails, without repeating it, where `text` shows what nobody may see; `name` is what was said.
    #[track_caller]
    fn assert_safe(&self, name: &str, text: &str) {
        if let Some(c) = text.chars().find(|c| is_raw(*c)) {
            panic!("{c:?} came out of {name}: {text:?}");
        }
        assert!(self.secrets.piece_in(text).is_none(), "a piece of a secret came out of {name}: {text}");
    }

    /// As a document: of every string in it alone.
    #[track_caller]
    fn assert_safe_json(&self, name: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.assert_safe(name, text),
            serde_json::Value::Array(values) => values.iter().for_each(|value| self.assert_safe_json(name, value)),
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    self.assert_safe(name, key);
                    self.assert_safe_json(name, value);
                }
            }
            serde_json::Value::Number(number) => self.assert_safe(name, &number.to_string()),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    /// The text itself too: what is escaped there would be raw in it.
    #[track_caller]
    fn assert_safe_document(&self, name: &str, text: &str) {
        assert!(!text.chars().any(is_raw), "{name}: {text:?}");
        self.assert_safe_json(name, &serde_json::from_str(text).unwrap());
    }
}

/// One thing a host says, and what it is called in failures.
struct Attack {
    name: String,
    saying: Saying,
}

/// The frames of `scripts` behind `before` and in front of `after`, each word of each replaced by each of `payloads`, and
/// secrets spread over all words behind the verb.
fn attacks(frames: &[&Frame], payloads: &[Vec<u8>], token: &str, before: &str, after: &str) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut push = |name: String, frame: &[u8]| {
        let bytes = [before.as_bytes(), MARK.as_bytes(), b" ", frame, b"\n", after.as_bytes()].concat();
        attacks.push(Attack { name, saying: Saying::Reply { bytes, exit: Exit::Status(0) } });
    };
    for frame in frames {
        for form in frame.forms() {
            for at in 0..form.len() {
                for payload in payloads {
                    let mut words: Vec<&[u8]> = form.iter().map(String::as_bytes).collect();
                    words[at] = payload;
                    let frame = words.join(&b' ');
                    push(format!("{form:?} with {:?} as word {at}", String::from_utf8_lossy(payload)), &frame);
                }
            }
            for length in [4, 8] {
                let pieces = (0..).map(|n| &token[n * length % 32..][..length]);
                let words: Vec<&str> =
                    form[..1].iter().map(String::as_str).chain(pieces.take(form.len() - 1)).collect();
                push(format!("{form:?} with the token over all words"), words.join(" ").as_bytes());
            }
        }
    }
    attacks
}

/// What stands beside frames: noise before and after the beginning, exit signals, an end without a word.
fn noise(payloads: &[Vec<u8>], begin: &str) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for payload in payloads {
        let name = String::from_utf8_lossy(payload).into_owned();
        let reply = |bytes: Vec<u8>, exit| Saying::Reply { bytes, exit };
        let line = |before: &str, after: &str| [before.as_bytes(), payload, after.as_bytes()].concat();
        let failed = format!(": No space left on device\n{MARK} fail 0 write\n");
        let signal = Exit::Signal(Signal::named(&name));
        for (kind, saying) in [
            ("a banner", reply(line("", "\n"), Exit::Status(1))),
            ("a banner before the frames", reply(line("", &format!("\n{begin}{MARK} nonsense\n")), Exit::Status(0))),
            ("an error of a step", reply(line(begin, &failed), Exit::Status(0))),
            ("noise that the reply ends with", reply(line(begin, ""), Exit::Status(7))),
            ("an exit signal", reply(begin.as_bytes().to_vec(), signal.clone())),
            ("an exit signal before a word", reply(Vec::new(), signal)),
            ("noise in two lines", reply(line(begin, &format!("\n{name}\n")), Exit::Status(0))),
        ] {
            attacks.push(Attack { name: format!("{name:?} as {kind}"), saying });
        }
        let fails: [(&str, MakeError); 9] = [
            ("a lost connection", |said| Error::ConnectionLost { during: "x", reason: ForeignText::message(said) }),
            ("a greeting", |said| Error::HandshakeFailed { endpoint: "x".into(), reason: ForeignText::name(said) }),
            ("login methods", |said| Error::AuthFailed {
                endpoint: "x".into(),
                user: "u".into(),
                tried: ForeignText::name(said),
                password: kubemint::remote::PasswordFate::NotGiven,
            }),
            ("sudo's question", |said| Error::BecomeFailed { user: "u".into(), said: ForeignText::message(said) }),
            ("why a shell did not start", |said| Error::ShellUnusable {
                exit: "no command was started".into(),
                said: ForeignText::message(said),
            }),
            ("why a jump host is not used", |said| Error::JumpFailed {
                jump: "bastion".into(),
                cause: Arc::new(Error::AuthFailed {
                    endpoint: "x".into(),
                    user: "u".into(),
                    tried: ForeignText::name(said),
                    password: kubemint::remote::PasswordFate::NotGiven,
                }),
            }),
            ("why a jump host was lost, after retries", |said| {
                let reason = ForeignText::message(said);
                let last = Box::new(Error::ConnectionLost { during: "x", reason });
                let cause = Arc::new(Error::Retried { attempts: 3, last });
                Error::JumpFailed { jump: "bastion".into(), cause }
            }),
            ("why a jump host does not connect", |said| Error::UnreachableFromJump {
                jump: "bastion".into(),
                endpoint: "x".into(),
                reason: ForeignText::message(said),
            }),
            ("after retries", |said| Error::Retried {
                attempts: 2,
                last: Box::new(Error::TimedOut { during: "x", reason: ForeignText::message(said) }),
            }),
        ];
        // Passwords are what the way itself looks for: see remote::sudo.
        for (kind, error) in fails.into_iter().filter(|_| name != PASSWORD) {
            attacks.push(Attack { name: format!("{name:?} as {kind}"), saying: Saying::Fails(error, name.clone()) });
        }
    }
    attacks
}

/// Puts each attack into the mouth of a host of its own; gives their names in the order of the hosts.
fn arm(attacks: Vec<Attack>, sent: Vec<HostFile>) -> (Hostile, Vec<String>) {
    let (mut peer, mut names) = (Hostile { password: PASSWORD.to_owned(), sent, ..Hostile::default() }, Vec::new());
    assert!(attacks.len() <= HOSTS, "{} attacks: make HOSTS as many", attacks.len());
    for (n, Attack { name, saying }) in attacks.into_iter().enumerate() {
        peer.sayings.get_mut().unwrap().insert(format!("h{}", n + 1), saying);
        names.push(name);
    }
    (peer, names)
}

struct Quiet;

impl InterruptObserver for Quiet {
    fn interrupted(&self, _: usize) {}
}

impl Observer for Quiet {
    fn host_started(&self, _: &str) {}
    fn host_finished(&self, _: &HostReport) {}
}

impl SurveyObserver for Quiet {
    fn host_surveyed(&self, _: &HostSurvey) {}
}

impl HealthObserver for Quiet {
    fn host_examined(&self, _: &HostHealth) {}
}

fn fleet<'a>(remote: &'a Hostile, interrupt: &'a Interrupt) -> Fleet<'a> {
    Fleet {
        remote,
        entropy: &OsEntropy,
        clock: &SystemClock,
        concurrency: 2,
        interrupt,
        foreign: ForeignPolicy::Refuse,
        limits: Limits::default(),
    }
}

/// The frames that scripts send which begin with these templates.
fn of<'f>(frames: &'f [Frame], scripts: &[&str]) -> Vec<&'f Frame> {
    let found: Vec<_> = frames.iter().filter(|frame| scripts.contains(&frame.script.as_str())).collect();
    assert!(scripts.iter().all(|script| found.iter().any(|frame| frame.script == *script)), "{scripts:?}");
    found
}

fn begin() -> String {
    format!("{MARK} begin\n{MARK} machine 0123456789abcdef0123456789abcdef\n{MARK} clock 1764278000\n")
}

/// The look at every file: each differs.
fn looks(files: &[HostFile]) -> String {
    (0..files.len()).fold(String::new(), |mut text, n| {
        writeln!(text, "{MARK} found {n} regular update -rw------- 0 0 {}", "6".repeat(64)).unwrap();
        text
    })
}

fn done(files: &[HostFile]) -> String {
    let frames = files.iter().enumerate().map(|(n, file)| format!("{MARK} done {n} update {}\n", file.sha256));
    frames.collect::<String>() + MARK + " end\n"
}

#[test]
fn the_frames_are_those_of_the_scripts_and_each_is_understood() {
    let world = World::of(ALL_FILES);
    let (frames, files) = (frames::all(), world.files());
    let mut verbs: Vec<_> = frames.iter().map(|frame| (frame.script.as_str(), frame.verb())).collect();
    verbs.sort();
    verbs.dedup();
    for known in [("install", "found"), ("install", "fail"), ("doctor", "tls"), ("status", "age"), ("kubelet", "pem")] {
        assert!(verbs.contains(&(known.0, known.1.to_owned())), "{known:?} is not in {verbs:?}");
    }
    assert!(verbs.len() >= 40, "{verbs:?}");
    let host = &world.inventory.hosts[0];
    for frame in &frames {
        for form in frame.forms() {
            let line = format!("{MARK} {}\n", form.join(" "));
            let installer = format!("{}{}{MARK} x uid 0\n{MARK} x tools sha256sum\n", begin(), looks(&files));
            let ask = |before: String, after: &str| {
                let bytes = format!("{before}{line}{after}").into_bytes();
                arm(
                    vec![Attack { name: String::new(), saying: Saying::Reply { bytes, exit: Exit::Status(0) } }],
                    vec![],
                )
                .0
            };
            let error = match frame.script.as_str() {
                "install" => {
                    let before = format!("{}{}", begin(), looks(&files));
                    install_host(&ask(before, &done(&files)), host, &files, ForeignPolicy::Refuse, &OsEntropy).err()
                }
                "restore" => {
                    let before = format!("{MARK} begin\n{}", looks(&files));
                    restore_host(&ask(before, &done(&files)), host, &kept(&files), &OsEntropy).err().map(Error::from)
                }
                // Their `x` frames mean nothing to another script.
                "doctor" => {
                    let peer = ask(format!("{installer}{MARK} x api open curl\n"), &format!("{MARK} end\n"));
                    let fleet_health = examined(&world, &peer, 1);
                    assert!(
                        !fleet_health[0].checks.iter().any(|check| check.code == Some("protocol_garbled")),
                        "{form:?}"
                    );
                    None
                }
                "status" => {
                    let peer = ask(format!("{}{}", begin(), looks(&files)), &format!("{MARK} end\n"));
                    let survey = surveyed(&world, &peer, 1).remove(0);
                    assert!(survey.error.as_ref().is_none_or(|error| error.code != "protocol_garbled"), "{form:?}");
                    None
                }
                "kubelet" => {
                    let peer = ask(format!("{MARK} begin\n"), &format!("{MARK} end\n"));
                    kubelet::probe_kubelet(&peer, host, &paths(), &OsEntropy).err()
                }
                "service" => {
                    let peer = ask(format!("{MARK} begin\n"), &format!("{MARK} ended 0\n"));
                    let internal = ["pid", "status"].contains(&frame.verb().as_str());
                    let limit = Duration::from_secs(1);
                    service::run_command(&peer, host, "true", limit, &OsEntropy).err().filter(|_| !internal)
                }
                other => panic!("who reads what {other}.sh says?"),
            };
            let nonsense = |error: &Error| error.to_string().contains("makes no sense");
            assert!(!error.as_ref().is_some_and(nonsense), "{form:?} of {}.sh: give its words examples", frame.script);
        }
    }
}

fn kept(files: &[HostFile]) -> Vec<KeptFile> {
    let kept = |file: &HostFile| KeptFile { kind: file.kind, path: file.path.clone(), undo: Undo::ExchangeAny };
    files.iter().map(kept).collect()
}

fn paths() -> kubelet::KubeletPaths {
    kubelet::KubeletPaths { kubeconfig: "/etc/kubernetes/kubelet.kubeconfig".into(), pki: kubelet::USUAL_PKI.into() }
}

fn surveyed(world: &World, peer: &Hostile, count: usize) -> Vec<HostSurvey> {
    let interrupt = Interrupt::default();
    let outlook = Outlook { within: SignedDuration::from_hours(24), now: Timestamp::now(), exchanges: None };
    let scope = Scope::Upkeep(outlook);
    survey_hosts(&fleet(peer, &interrupt), &world.bundles(count), &world.set, Unmade::default(), scope, &Quiet)
}

fn examined(world: &World, peer: &Hostile, count: usize) -> Vec<HostHealth> {
    let interrupt = Interrupt::default();
    let ssh = SshRemote::new(SshConfig { ssh_program: Some("/nonexistent".into()), ..SshConfig::default() });
    let bundles = world.bundles(count);
    let preflight = Preflight {
        ssh: &ssh,
        bundles: &bundles,
        credentials: Credentials::Stored,
        ca_pem: Some(&world.set.ca_pem),
        services: &world.inventory.services,
        left_out: &[],
    };
    examine_hosts(&fleet(peer, &interrupt), &preflight, &Quiet)
}

#[test]
fn nothing_a_host_says_to_an_install_comes_raw_into_report_or_journal() {
    let world = World::of(FEW_FILES);
    let (frames, files, payloads) = (frames::all(), world.files(), world.secrets.payloads());
    let before = format!("{}{}", begin(), looks(&files));
    let mut attacks = attacks(&of(&frames, &["install"]), &payloads, &world.secrets.token, &before, &done(&files));
    attacks.extend(noise(&payloads, &begin()));
    let (peer, names) = arm(attacks, Vec::new());
    let (interrupt, bundles) = (Interrupt::default(), world.bundles(names.len()));
    let store = Store::at(&world.env.path("state"));
    let journal = store.start_run(RunId::new(Timestamp::now(), &OsEntropy).unwrap()).unwrap();
    let order = Order { command: "distribute", generation: 1, of: None, duty: None };
    let done = run_distribution(&fleet(&peer, &interrupt), &bundles, order, &journal, &Quiet).unwrap();
    assert!(done.unrecorded.is_none());
    for (report, name) in done.report.hosts.iter().zip(&names) {
        world.assert_safe_document(name, &json::to_string(report).unwrap());
    }
    let run = world.env.path("state/runs").join(journal.id().as_str());
    for file in ["report.json", "journal.jsonl"] {
        let text = std::fs::read_to_string(run.join(file)).unwrap();
        assert!(text.len() > names.len() * 50 && !text.chars().any(is_raw), "{file}");
        text.lines().for_each(|line| assert!(world.secrets.piece_in_raw(line).is_none(), "{file}: {line}"));
    }
    assert_count("install", &names, 3500);
}

#[test]
fn nothing_a_host_says_to_status_comes_raw_into_the_answer() {
    let world = World::of(FEW_FILES);
    let (frames, files, payloads) = (frames::all(), world.files(), world.secrets.payloads());
    let before = format!("{}{}", begin(), looks(&files));
    let end = format!("{MARK} end\n");
    let mut attacks = attacks(&of(&frames, &["install", "status"]), &payloads, &world.secrets.token, &before, &end);
    attacks.extend(noise(&payloads, &begin()));
    let (peer, names) = arm(attacks, Vec::new());
    for (survey, name) in surveyed(&world, &peer, names.len()).iter().zip(&names) {
        world.assert_safe_document(name, &json::to_string_pretty(survey).unwrap());
    }
    assert_count("status", &names, 5000);
}

#[test]
fn nothing_a_host_says_to_doctor_comes_raw_into_the_answer() {
    let world = World::of(FEW_FILES);
    let (frames, files, payloads) = (frames::all(), world.files(), world.secrets.payloads());
    let before =
        format!("{}{}{MARK} x uid 0\n{MARK} x tools sha256sum\n{MARK} x api open curl\n", begin(), looks(&files));
    let end = format!("{MARK} end\n");
    let mut attacks = attacks(&of(&frames, &["doctor"]), &payloads, &world.secrets.token, &before, &end);
    attacks.extend(noise(&payloads, &begin()));
    let (peer, names) = arm(attacks, Vec::new());
    for (health, name) in examined(&world, &peer, names.len()).iter().zip(&names) {
        world.assert_safe_document(name, &json::to_string_pretty(health).unwrap());
    }
    assert_count("doctor", &names, 2500);
}

#[test]
fn what_a_host_was_sent_is_known_where_no_file_is_sent() {
    let world = World::of(ALL_FILES);
    let host = &world.inventory.hosts[0];
    let sent = SentFiles::new(Store::at(&world.env.path("state")), world.inventory.clone());
    let local = LocalRemote::new(world.inventory.deadlines);
    let remote = HostRemote::new(SshRemote::new(SshConfig::default()), local).remembering(move |host| sent.to(host));
    let known = |remote: &HostRemote| {
        let files = remote.sent_to(host);
        files.iter().map(|file| file.content.expose_secret().to_owned()).collect::<String>()
    };
    let before = known(&remote);
    assert!(before.contains(&world.secrets.token) && before.contains("client-key-data"));
    // What a run has written since is seen.
    world.env.write("more.csv", "fedcba9876543210fedcba9876543210,somebody,1\n");
    world.env.ok(&["token", "merge", "more.csv"]);
    assert!(!before.contains("somebody") && known(&remote).contains("fedcba9876543210,somebody"));
}

#[test]
fn a_jump_host_that_is_a_node_repeats_no_token_to_a_host_that_was_sent_none() {
    let text = "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[token]\nper_node = true\n\
                [[hosts]]\nname = \"bastion\"\nroles = [\"node\"]\n[[hosts]]\nname = \"behind\"\nroles = [\"node\"]\n\
                jump = \"198.51.100.7\"\n[[hosts]]\nname = \"direct\"\nroles = [\"node\"]\n";
    let env = TestEnv::with_inventory(text);
    env.ok(&["generate"]);
    let location = Location { path: "i".into(), folder: env.dir().to_owned(), home: Some(env.path("home")) };
    let inventory = parse_inventory(text, &location).unwrap();
    let all = SentFiles::new(Store::at(&env.path("state")), inventory.clone()).secrets_of_all();
    let tokens: Vec<String> = env.read("state/token.csv").lines().map(|line| line[..32].to_owned()).collect();
    assert!(tokens.len() >= 4, "the shared one and one for each node: {}", tokens.len());
    for token in tokens {
        let cause = |said: &str| {
            let reason = ForeignText::name(said);
            let cause = Arc::new(Error::HandshakeFailed { endpoint: "198.51.100.7:22".into(), reason });
            Error::JumpFailed { jump: "198.51.100.7".into(), cause }
        };
        // As a banner cut in pieces, which looks like no secret.
        let said = token.as_bytes().chunks(8).map(|piece| String::from_utf8_lossy(piece)).collect::<Vec<_>>().join(" ");
        for (host, is_shown) in [(&inventory.hosts[1], false), (&inventory.hosts[2], true)] {
            let peer = Hostile { all: all.clone(), ..Hostile::default() };
            peer.sayings.lock().unwrap().insert(host.name.as_str().to_owned(), Saying::Fails(cause, said.clone()));
            let error = kubelet::probe_kubelet(&peer, host, &paths(), &OsEntropy).unwrap_err();
            assert_eq!(error.code(), "jump_failed");
            assert_eq!(error.to_string().contains(&token[..8]), is_shown, "of {}", host.name);
        }
    }
}

/// As the three before, of hosts that hold a private key, too, with fewer words.
#[test]
fn no_piece_of_a_private_key_comes_out() {
    let world = World::of(ALL_FILES);
    let (frames, files) = (frames::all(), world.files());
    let key = &world.secrets.key[0];
    let payloads =
        [key.clone(), key[..8].to_owned(), format!("{}-{}", &key[3..7], &key[7..12]), key[40..50].to_uppercase()];
    let payloads = payloads.map(String::into_bytes);
    let before = format!("{}{}", begin(), looks(&files));
    let frames = of(&frames, &["install", "status"]);
    let mut attacks = attacks(&frames, &payloads, &world.secrets.token, &before, &format!("{MARK} end\n"));
    attacks.extend(noise(&payloads, &begin()));
    let (peer, names) = arm(attacks, Vec::new());
    for (survey, name) in surveyed(&world, &peer, names.len()).iter().zip(&names) {
        world.assert_safe_document(name, &json::to_string_pretty(survey).unwrap());
    }
    assert_count("status with keys", &names, 500);
}

#[test]
fn nothing_a_host_says_where_it_is_sent_no_file_comes_raw_out() {
    let world = World::of(FEW_FILES);
    let (frames, files, payloads) = (frames::all(), world.files(), world.secrets.payloads());
    let token = &world.secrets.token;
    let show = |error: &Error| format!("{error}\n{}", error.hint());
    let mut count = Vec::new();
    let look = format!("{MARK} begin\n{}", looks(&files));
    let mut restoring = attacks(&of(&frames, &["restore"]), &payloads, token, &look, &done(&files));
    restoring.extend(noise(&payloads, &format!("{MARK} begin\n")));
    let end = format!("{MARK} end\n");
    let plain = format!("{MARK} begin\n");
    let mut of_kubelets = attacks(&of(&frames, &["kubelet"]), &payloads, token, &plain, &end);
    of_kubelets.extend(noise(&payloads, &plain));
    let mut of_services = attacks(&of(&frames, &["service"]), &payloads, token, &plain, &format!("{MARK} ended 1\n"));
    of_services.extend(noise(&payloads, &format!("{plain}{MARK} said\n")));
    for (kind, attacks) in [("restore", restoring), ("kubelet", of_kubelets), ("service", of_services)] {
        let (peer, names) = arm(attacks, files.clone());
        for (host, name) in world.inventory.hosts.iter().zip(&names) {
            let shown = match kind {
                "restore" => match restore_host(&peer, host, &kept(&files), &OsEntropy) {
                    Ok(done) => done.files.iter().map(|file| format!("{file:?}\n")).collect(),
                    Err(error) => show(&error),
                },
                "kubelet" => {
                    let found = match kubelet::probe_kubelet(&peer, host, &paths(), &OsEntropy) {
                        Ok(found) => {
                            let files: Vec<&str> = found.files.iter().map(|file| &**file).collect();
                            [files.join("\n"), found.unfinished.join("\n"), found.kept.join("\n")].join("\n")
                        }
                        Err(error) => show(&error),
                    };
                    let certificate = kubelet::read_certificate(&peer, host, &paths(), &OsEntropy);
                    if let Ok(Some(pem)) = certificate
                        && let Ok(shown) = kubemint::pki::parse_certificate(&pem)
                    {
                        world.assert_safe(name, &format!("{}\n{}", shown.subject, shown.serial));
                    }
                    found
                }
                _ => match service::run_command(&peer, host, "true", Duration::from_secs(1), &OsEntropy) {
                    Ok(outcome) => {
                        format!("{}\n{}", outcome.said, outcome.complaint().map(|told| told.how).unwrap_or_default())
                    }
                    Err(error) => show(&error),
                },
            };
            world.assert_safe(&format!("{kind}: {name}"), &shown);
        }
        count.extend(names);
    }
    assert_count("restore, kubelet and service", &count, 3000);
}

/// A probe is what plan asks for; its answer is the survey's without upkeep.
#[test]
fn a_host_that_says_only_what_is_expected_is_believed() {
    let world = World::of(ALL_FILES);
    let files = world.files();
    let same = files
        .iter()
        .enumerate()
        .map(|(n, file)| format!("{MARK} found {n} regular same -rw------- 0 0 {}\n", file.sha256));
    let text = begin() + &same.collect::<String>() + MARK + " end\n";
    let saying = Saying::Reply { bytes: text.into_bytes(), exit: Exit::Status(0) };
    let (peer, _) = arm(vec![Attack { name: String::new(), saying }], Vec::new());
    let view = probe_host(&peer, &world.inventory.hosts[0], &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert_eq!(view.clock, Timestamp::from_second(1_764_278_000).ok());
    assert!(view.files.iter().zip(&files).all(|(seen, file)| seen.sha256() == Some(file.sha256)));
    assert!(view.machine.is_some() && Path::new(&files[0].path).is_absolute());
}

#[allow(clippy::print_stdout, reason = "the number is part of the result")]
fn assert_count(what: &str, names: &[String], floor: usize) {
    println!("{what}: {} inputs", names.len());
    assert!(names.len() >= floor, "{what}: {} inputs", names.len());
}
