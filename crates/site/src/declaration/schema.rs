//! The JSON Schema of the declaration (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::keys::{FILE, Key, Kind};

/// The schema, made from the same list that the reader checks against.
pub fn schema() -> Value {
    let mut schema = object(FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Mainstay: the declaration of a site");
    schema
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), described(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.example.is_some()).map(|key| key.name).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn described(key: &Key) -> Value {
    let mut value = kind(key.kind);
    value["description"] = json!(key.doc);
    value
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Words(words) => {
            json!({ "type": "array", "items": { "enum": words }, "minItems": 1, "uniqueItems": true })
        }
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::TextOrKeysMap(keys) => {
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "string" }, object(keys)] } })
        }
        Kind::Keys(keys) => object(keys),
        Kind::List(keys) => json!({ "type": "array", "items": object(keys) }),
        Kind::Named(keys) => json!({ "type": "object", "additionalProperties": object(keys) }),
        Kind::FlagOr(keys) => json!({ "anyOf": [{ "type": "boolean" }, object(keys)] }),
        Kind::WordOr(words, keys) => json!({ "anyOf": [{ "enum": words }, object(keys)] }),
    }
}
