//! Every key an inventory may hold, as data: its table, its name, its kind and a sample value.
//!
//! The reader's checks (unknown keys, wrong kinds) and the test that inventory.example.toml documents every key are
//! both derived from here. A new key is one line here and the line that reads it. What values mean is not known here.

/// What kind of TOML value a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A string: not empty, no control characters, no space at either end.
    Text,
    /// A list of such strings.
    Texts,
    /// One such string or a list of them.
    TextOrTexts,
    /// A whole number.
    Integer,
    /// A whole number or a string.
    IntegerOrText,
    /// `true` or `false`.
    Flag,
    /// A table of strings under free names.
    Map,
    Table(&'static Section),
    /// `[[…]]`.
    Tables(&'static Section),
}

/// One key. The sample is TOML, shown where the key has a value of the wrong kind.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub sample: &'static str,
}

/// One table: its heading as written in the file (empty: the top of the file) and its keys.
#[derive(Debug)]
pub(super) struct Section {
    pub heading: &'static str,
    pub keys: &'static [Key],
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// This section and those below it.
    pub fn all(&'static self) -> Vec<&'static Section> {
        let below = self.keys.iter().filter_map(|key| match key.kind {
            Kind::Table(section) | Kind::Tables(section) => Some(section.all()),
            _ => None,
        });
        std::iter::once(self).chain(below.flatten()).collect()
    }
}

const fn key(name: &'static str, kind: Kind, sample: &'static str) -> Key {
    Key { name, kind, sample }
}

const fn table(name: &'static str, section: &'static Section) -> Key {
    Key { name, kind: Kind::Table(section), sample: "" }
}

pub(super) static TOP: Section = Section {
    heading: "",
    keys: &[
        key("state_dir", Kind::Text, r#""kubemint-state""#),
        table("cluster", &CLUSTER),
        table("ca", &CA),
        table("token", &TOKEN),
        table("certificates", &CERTIFICATES),
        table("ssh", &SSH),
        table("distribute", &DISTRIBUTE),
        table("services", &SERVICES),
        Key { name: "hosts", kind: Kind::Tables(&HOSTS), sample: "" },
    ],
};

static CLUSTER: Section = Section {
    heading: "[cluster]",
    keys: &[key("name", Kind::Text, r#""kubernetes""#), key("server", Kind::Text, r#""https://172.20.0.113:6443""#)],
};

static CA: Section = Section {
    heading: "[ca]",
    keys: &[
        key("cert", Kind::Text, r#""ca.pem""#),
        key("key", Kind::Text, r#""ca-key.pem""#),
        key("algorithm", Kind::Text, r#""ecdsa-p256""#),
        key("validity", Kind::Text, r#""3650d""#),
        key("common_name", Kind::Text, r#""kubernetes""#),
    ],
};

static TOKEN: Section = Section {
    heading: "[token]",
    keys: &[
        key("user", Kind::Text, r#""kubelet-bootstrap""#),
        key("uid", Kind::Text, r#""10001""#),
        key("groups", Kind::Texts, r#"["system:kubelet-bootstrap"]"#),
        key("form", Kind::Text, r#""csv""#),
        key("ttl", Kind::Text, r#""24h""#),
        key("per_node", Kind::Flag, "true"),
    ],
};

static CERTIFICATES: Section = Section { heading: "[certificates]", keys: &[table("kube-proxy", &KUBE_PROXY)] };

static KUBE_PROXY: Section = Section {
    heading: "[certificates.kube-proxy]",
    keys: &[
        key("algorithm", Kind::Text, r#""ecdsa-p256""#),
        key("validity", Kind::Text, r#""365d""#),
        key("organization", Kind::Text, r#""system:node-proxier""#),
        key("per_node", Kind::Flag, "true"),
    ],
};

static SSH: Section = Section {
    heading: "[ssh]",
    keys: &[
        key("user", Kind::Text, r#""root""#),
        key("port", Kind::Integer, "22"),
        key("identity_files", Kind::Texts, r#"["~/.ssh/id_ed25519"]"#),
        key("known_hosts", Kind::Texts, r#"["~/.ssh/known_hosts"]"#),
        key("jump", Kind::TextOrTexts, r#""bastion.example.net""#),
        key("use_config", Kind::Flag, "true"),
        key("become", Kind::Text, r#""sudo""#),
    ],
};

static DISTRIBUTE: Section = Section {
    heading: "[distribute]",
    keys: &[
        key("directory", Kind::Text, r#""/etc/kubernetes""#),
        key("concurrency", Kind::Integer, "64"),
        key("order", Kind::Text, r#""control-plane-first""#),
        key("batch", Kind::IntegerOrText, r#""10%""#),
        key("max_failures", Kind::IntegerOrText, r#""5%""#),
        key("connect_timeout", Kind::Text, r#""10s""#),
        key("login_timeout", Kind::Text, r#""30s""#),
        key("idle_timeout", Kind::Text, r#""30s""#),
        key("host_timeout", Kind::Text, r#""2m""#),
        key("retries", Kind::Integer, "3"),
        key("token_csv_on_nodes", Kind::Flag, "true"),
        key("install_ca", Kind::Flag, "true"),
    ],
};

static SERVICES: Section = Section {
    heading: "[services]",
    keys: &[
        key("kube-apiserver", Kind::Text, r#""systemctl restart kube-apiserver""#),
        key("kubelet", Kind::Text, r#""systemctl restart kubelet""#),
        key("kube-proxy", Kind::Text, r#""systemctl restart kube-proxy""#),
        key("kubelet_restart", Kind::Text, r#""unjoined""#),
        key("restart_timeout", Kind::Text, r#""2m""#),
    ],
};

static HOSTS: Section = Section {
    heading: "[[hosts]]",
    keys: &[
        key("name", Kind::Text, r#""node-1""#),
        key("address", Kind::Text, r#""10.0.1.1""#),
        key("port", Kind::Integer, "22"),
        key("user", Kind::Text, r#""root""#),
        key("roles", Kind::Texts, r#"["node"]"#),
        key("labels", Kind::Map, r#"{ rack = "a" }"#),
        key("connection", Kind::Text, r#""ssh""#),
        key("root", Kind::Text, r#""demo/node-1""#),
        key("server", Kind::Text, r#""https://172.20.0.113:6443""#),
        key("apiserver", Kind::Text, r#""https://10.0.0.1:6443""#),
        key("directory", Kind::Text, r#""/etc/kubernetes""#),
        key("install_ca", Kind::Flag, "true"),
        key("token_csv_on_nodes", Kind::Flag, "true"),
        key("become", Kind::Text, r#""sudo""#),
        key("identity_files", Kind::Texts, r#"["~/.ssh/id_ed25519"]"#),
        key("known_hosts", Kind::Texts, r#"["~/.ssh/known_hosts"]"#),
        key("jump", Kind::TextOrTexts, r#""bastion.example.net""#),
        key("use_config", Kind::Flag, "true"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Diagnostic, EXAMPLE, Location, parse_inventory};

    /// The example with its samples made live, but for the lines that begin with one of `without`.
    fn uncommented(without: &[&str]) -> String {
        let sample = |line: &'static str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with([' ', '#']) => rest,
            _ => line,
        };
        let lines = EXAMPLE.lines().map(sample).filter(|line| !without.iter().any(|start| line.starts_with(start)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Whether the key stands in this table, or in one of a list of tables.
    fn find<'v>(value: &'v toml::Value, key: &str) -> Vec<&'v toml::Value> {
        match value {
            toml::Value::Array(items) => items.iter().filter_map(|item| item.get(key)).collect(),
            table => table.get(key).into_iter().collect(),
        }
    }

    fn assert_documented(section: &'static Section, values: &[&toml::Value]) {
        for key in section.keys {
            let found: Vec<_> = values.iter().flat_map(|value| find(value, key.name)).collect();
            assert!(!found.is_empty(), "inventory.example.toml lacks {} of {}", key.name, section.heading);
            if let Kind::Table(below) | Kind::Tables(below) = key.kind {
                assert_documented(below, &found);
            }
        }
    }

    #[test]
    fn the_example_documents_every_key() {
        let document = toml::Value::Table(uncommented(&[]).parse().unwrap());
        assert_documented(&TOP, &[&document]);
    }

    #[test]
    fn the_examples_samples_are_valid_once_uncommented() {
        let location = Location { path: "x".into(), folder: "/w".into(), home: Some("/home/x".into()) };
        // Of each of these pairs one excludes the other.
        let choices =
            [&["cert =", "key =", "token_csv_on_nodes"][..], &["algorithm", "validity", "common_name", "per_node"]];
        for without in choices {
            let inventory = parse_inventory(&uncommented(without), &location).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(inventory.hosts.len(), 3 + 3 + 100 + 1);
        }
    }

    #[test]
    fn every_sample_is_of_its_keys_kind() {
        for section in TOP.all() {
            for key in section.keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Tables(_))) {
                let line = format!("{} = {}", key.name, key.sample);
                let value = line.parse::<toml::Table>().unwrap_or_else(|e| panic!("{line}: {e}"))[key.name].clone();
                assert!(
                    match key.kind {
                        Kind::Text | Kind::TextOrTexts => value.is_str(),
                        Kind::Texts => value.is_array(),
                        Kind::Integer => value.is_integer(),
                        Kind::IntegerOrText => value.is_integer() || value.is_str(),
                        Kind::Flag => value.is_bool(),
                        Kind::Map => value.is_table(),
                        Kind::Table(_) | Kind::Tables(_) => false,
                    },
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn every_key_refuses_a_value_of_another_kind_and_points_at_it() {
        let location = Location { path: "x".into(), folder: "/w".into(), home: Some("/home/x".into()) };
        for section in TOP.all() {
            for key in section.keys {
                let text = format!("{}\n{} = 1979-05-27\n", section.heading, key.name);
                let found = parse_inventory(&text, &location).unwrap_err();
                let column = key.name.len() + 4;
                let said = |d: &&Diagnostic| d.message.starts_with(key.name) && d.message.ends_with("not a date");
                let there: Vec<_> = found.iter().filter(said).collect();
                assert_eq!(there.len(), 1, "{text}{found}");
                assert_eq!((there[0].line, there[0].column), (2, column), "{text}{found}");
                assert!(there[0].hint.is_some());
            }
        }
    }
}
