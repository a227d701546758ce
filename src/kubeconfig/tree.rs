//! YAML text to a tree of values, with everything refused that makes YAML dangerous or ambiguous: duplicate keys, keys
//! that are not text, tags, and aliases that multiply a small file into a large one. Errors repeat no values.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Mapping, Value};
use std::{cell::Cell, fmt};

/// The most values a file may hold once its aliases are followed. A kubeconfig of 1,000 clusters has about 15,000.
const MAX_VALUES: usize = 200_000;
/// The most text it may then hold, in bytes.
const MAX_TEXT: usize = 4 << 20;
/// The deepest nesting; a kubeconfig has seven levels.
const MAX_DEPTH: usize = 100;

/// The fields of a kubeconfig, which may be named in an error: another key may be a value that slipped there.
#[rustfmt::skip]
const FIELDS: [&str; 45] = [
    "apiVersion", "args", "as", "as-groups", "as-uid", "as-user-extra", "auth-provider", "certificate-authority",
    "certificate-authority-data", "client-certificate", "client-certificate-data", "client-key", "client-key-data",
    "cluster", "clusters", "colors", "command", "config", "context", "contexts", "current-context",
    "disable-compression", "env", "exec", "extension", "extensions", "insecure-skip-tls-verify", "installHint",
    "interactiveMode", "kind", "name", "namespace", "password", "preferences", "provideClusterInfo", "proxy-url",
    "server", "tls-server-name", "token", "tokenFile", "user", "username", "users", "value", "<<",
];

/// Why there is no tree.
pub(super) enum Fault {
    Syntax(serde_yaml::Error),
    Expands,
    TooDeep,
}

/// Parses one document. An empty document is `Null`.
pub(super) fn parse_tree(text: &str) -> Result<Value, Fault> {
    if looks_too_deep(text) {
        return Err(Fault::TooDeep);
    }
    let budget = Budget { values: Cell::new(MAX_VALUES), text: Cell::new(MAX_TEXT), spent: Cell::new(false) };
    let tree = (&budget).deserialize(serde_yaml::Deserializer::from_str(text));
    // The parser has limits of its own for aliases, and no place to name for them.
    let expands = |error: &serde_yaml::Error| budget.spent.get() || (error.location().is_none() && text.contains('&'));
    let mut tree = tree.map_err(|error| if expands(&error) { Fault::Expands } else { Fault::Syntax(error) })?;
    tree.apply_merge().map_err(Fault::Syntax)?;
    Ok(tree)
}

/// The YAML scanner needs quadratic time for deep nesting, long before its own limit counts. Brackets inside quotes are
/// counted, too: that many, unbalanced, stand in no real file.
fn looks_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    text.lines().any(|line| {
        let blocks = line.split(' ').take_while(|word| matches!(*word, "-" | "?" | "")).filter(|word| !word.is_empty());
        let opened = line.bytes().any(|b| {
            match b {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth > MAX_DEPTH
        });
        opened || blocks.count() > MAX_DEPTH
    })
}

struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
    spent: Cell<bool>,
}

impl Budget {
    fn spend<E: de::Error>(&self, text: usize) -> Result<(), E> {
        match (self.values.get().checked_sub(1), self.text.get().checked_sub(text)) {
            (Some(values), Some(text)) => {
                self.values.set(values);
                self.text.set(text);
                Ok(())
            }
            _ => {
                self.spent.set(true);
                Err(E::custom("aliases expand too far"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.spend(0).map(|()| Value::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Err(E::custom("a number of more than 64 bits"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        Err(E::custom("a number of more than 64 bits"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.spend(value.len()).map(|()| Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Sequence(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut map = Mapping::new();
        while let Some(key) = entries.next_key_seed(self)? {
            if !key.is_string() {
                return Err(de::Error::custom("a key that is not text"));
            }
            if map.contains_key(&key) {
                let known = key.as_str().filter(|name| FIELDS.contains(name));
                let name = known.map_or_else(|| "a key".to_owned(), |name| format!("the key {name:?}"));
                return Err(de::Error::custom(format_args!("{name} stands twice in one mapping")));
            }
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Mapping(map))
    }
}
