//! Request bodies: JSON objects whose fields are asked for by name, refused in RabbitMQ's words.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};

use crate::{
    admin::{
        json::table_of,
        request::{Reply, Request},
    },
    data::value::Table,
};

/// A request's body.
#[derive(Debug, Clone, Default)]
pub struct Body(pub Map<String, Json>);

impl Request {
    /// The body as a JSON object; nothing at all is an empty one.
    pub fn object(&self) -> Result<Body, Reply> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Body::default());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(map)) => Ok(Body(map)),
            Ok(Json::Array(empty)) if empty.is_empty() => Ok(Body::default()),
            Ok(_) => Err(Reply::bad_request("not_a_json_object")),
            Err(_) => Err(Reply::bad_request("not_json")),
        }
    }

    /// As [`Request::object`], with fields it must have.
    pub fn object_with(&self, keys: &[&str]) -> Result<Body, Reply> {
        let body = self.object()?;
        body.must_have(keys)?;
        Ok(body)
    }
}

impl Body {
    /// Refuses a body without one of these fields.
    pub fn must_have(&self, keys: &[&str]) -> Result<(), Reply> {
        let missing: Vec<_> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{}}}", atom(key)))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Reply::bad_request(&format!("[{}]", missing.join(",")))) }
    }

    /// A field as text; numbers and booleans are taken as they are written.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Json::Null | Json::Array(_) | Json::Object(_) => None,
            Json::String(text) => Some(text.clone()),
            other @ (Json::Bool(_) | Json::Number(_)) => Some(other.to_string()),
        }
    }

    #[must_use]
    pub fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A field as text that fits into a short string; absent is empty.
    pub fn short(&self, name: &str) -> Result<String, Reply> {
        let text = self.text_or_empty(name);
        fits(name, &text).map(|()| text)
    }

    /// A field as true or false, which may be a string; absent is false.
    pub fn flag(&self, name: &str) -> Result<bool, Reply> {
        self.flag_or(name, false)
    }

    /// As [`Body::flag`], with what it is when absent.
    pub fn flag_or(&self, name: &str, absent: bool) -> Result<bool, Reply> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(absent),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(Reply::bad_request_json(json!(["not_boolean", other]))),
        }
    }

    /// A field as a whole number, which may be a string.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Reply> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Number(n)) if n.is_i64() => Ok(n.as_i64()),
            Some(Json::String(text)) if text.parse::<i64>().is_ok() => Ok(text.parse().ok()),
            Some(other) => Err(Reply::bad_request_json(json!(["not_integer", other]))),
        }
    }

    /// `arguments`; absent is empty.
    pub fn arguments(&self) -> Result<Table, Reply> {
        match self.0.get("arguments") {
            None | Some(Json::Null) => Ok(Table::default()),
            Some(Json::Object(map)) => Ok(table_of(map)),
            Some(Json::Array(empty)) if empty.is_empty() => Ok(Table::default()),
            Some(_) => Err(Reply::bad_request("arguments must be an object")),
        }
    }

    /// `tags`, a list or text with commas; `None` when absent.
    #[must_use]
    pub fn tags(&self) -> Option<Vec<String>> {
        match self.0.get("tags")? {
            Json::Array(tags) => Some(tags.iter().filter_map(Json::as_str).map(str::to_owned).collect()),
            Json::String(text) => {
                let tags = text.split([',', ' ']).map(str::trim).filter(|tag| !tag.is_empty());
                Some(tags.map(str::to_owned).collect())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => None,
        }
    }
}

/// Refuses what no short string of AMQP can hold.
pub fn fits(what: &str, name: &str) -> Result<(), Reply> {
    match name.len() {
        0..=255 => Ok(()),
        n => Err(Reply::bad_request(&format!("{what} should be less than 255 bytes, actually was {n}\n"))),
    }
}

/// Undoes base64.
pub fn base64(text: &str) -> Result<Vec<u8>, Reply> {
    STANDARD.decode(text).map_err(|_| Reply::bad_request_json(json!(["not_base64", text])))
}

/// As Erlang prints an atom.
fn atom(word: &str) -> String {
    let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { word.to_owned() } else { format!("'{word}'") }
}
