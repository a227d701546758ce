//! The fields of one YAML mapping, taken out one by one with their types checked. What is left over is kept as
//! [`Unknown`]. Errors name a field by its path from the top of the file and never repeat a value.

use super::{
    decode::{ParseError, TEXT},
    model::{Named, Unknown},
};
use crate::secret::{Secret, scrub};
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;

/// A mapping whose fields are taken one by one; what is left is [`Unknown`].
pub(super) struct Fields {
    path: String,
    map: Mapping,
}

impl Fields {
    pub fn of(path: String, value: Value) -> Result<Self, ParseError> {
        match value {
            Value::Mapping(map) => Ok(Self { path, map }),
            Value::Null if !path.is_empty() => Ok(Self { path, map: Mapping::new() }),
            other => Err(wrong_type(path, "a mapping", &other)),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>, ParseError> {
        let text = self.take(key).map(|value| text_value(self.path_of(key), value)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    pub fn secret(&mut self, key: &str) -> Result<Option<Secret>, ParseError> {
        Ok(self.text(key)?.map(Secret::from))
    }

    pub fn flag(&mut self, key: &str) -> Result<bool, ParseError> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(wrong_type(self.path_of(key), "true or false", &other)),
        }
    }

    pub fn list<T>(
        &mut self,
        key: &str,
        item: impl Fn(String, Value) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        self.take(key).map_or(Ok(Vec::new()), |value| list_of(self.path_of(key), value, item))
    }

    pub fn map<T>(
        &mut self,
        key: &str,
        item: impl Fn(String, Value) -> Result<T, ParseError>,
    ) -> Result<BTreeMap<String, T>, ParseError> {
        let Some(value) = self.take(key) else {
            return Ok(BTreeMap::new());
        };
        let fields = Self::of(self.path_of(key), value)?;
        let path = fields.path.clone();
        fields
            .rest()
            .0
            .into_iter()
            .map(|(key, value)| Ok((key.clone(), item(format!("{path}.{key}"), value)?)))
            .collect()
    }

    pub fn nested<T>(
        &mut self,
        key: &str,
        read: impl Fn(Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.take(key).map(|value| read(Self::of(self.path_of(key), value)?)).transpose()
    }

    pub fn named<T>(
        &mut self,
        key: &str,
        inner: &str,
        read: impl Fn(Self) -> Result<T, ParseError>,
    ) -> Result<Vec<Named<T>>, ParseError> {
        self.list(key, |path, value| {
            let mut fields = Self::of(path, value)?;
            let name = fields.text("name")?.ok_or_else(|| ParseError::Missing { path: fields.path_of("name") })?;
            let value = fields.take(inner).unwrap_or(Value::Null);
            let entry = read(Self::of(fields.path_of(inner), value)?)?;
            Ok(Named { name, entry, other: fields.rest() })
        })
    }

    pub fn expect_value(&mut self, field: &'static str, expected: &'static str) -> Result<(), ParseError> {
        match self.text(field)? {
            Some(found) if found != expected => Err(ParseError::WrongKind { field, found: scrub(&found), expected }),
            _ => Ok(()),
        }
    }

    /// The tree holds text keys only.
    pub fn rest(self) -> Unknown {
        let text_key = |(key, value): (Value, Value)| key.as_str().map(|key| (key.to_owned(), value));
        Unknown(self.map.into_iter().filter_map(text_key).collect())
    }
}

pub(super) fn text_value(path: String, value: Value) -> Result<String, ParseError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(wrong_type(path, TEXT, &other)),
    }
}

pub(super) fn secret_value(path: String, value: Value) -> Result<Secret, ParseError> {
    text_value(path, value).map(Secret::from)
}

pub(super) fn list_of<T>(
    path: String,
    value: Value,
    item: impl Fn(String, Value) -> Result<T, ParseError>,
) -> Result<Vec<T>, ParseError> {
    match value {
        Value::Sequence(list) => {
            list.into_iter().enumerate().map(|(at, value)| item(format!("{path}[{at}]"), value)).collect()
        }
        Value::Null => Ok(Vec::new()),
        other => Err(wrong_type(path, "a list", &other)),
    }
}

fn wrong_type(path: String, expected: &'static str, found: &Value) -> ParseError {
    let found = match found {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => TEXT,
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    };
    ParseError::WrongType { path: if path.is_empty() { ".".to_owned() } else { path }, expected, found }
}
