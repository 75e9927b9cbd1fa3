//! `mainstay schema` against a foreign validator, and against the reader: an editor must say what `check` says.

use std::path::Path;

use jsonschema::Validator;
use mainstay_site::declaration::{Anywhere, parse};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use crate::wrong::{files, folder};
use crate::{mainstay, root, text};

#[path = "../../../site/src/properties/wild.rs"]
mod wild;

fn schema() -> Value {
    serde_json::from_slice(&mainstay(&root(), &["schema"]).stdout).unwrap()
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

/// What an editor sees of a declaration.
fn seen(declaration: &str) -> Value {
    table(&DeTable::parse(declaration).unwrap().into_inner())
}

fn table(table: &DeTable<'_>) -> Value {
    let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), self::value(value.get_ref())));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap()),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(date) => json!({ "date": date.to_string() }),
        DeValue::Array(list) => list.iter().map(|item| self::value(item.get_ref())).collect(),
        DeValue::Table(inner) => table(inner),
    }
}

fn faults(validator: &Validator, declaration: &str) -> Vec<String> {
    validator.iter_errors(&seen(declaration)).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Every file of a folder, and of the folders in it, that is a declaration.
fn declarations(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(declarations(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "toml") {
            found.push(std::fs::read_to_string(entry).unwrap());
        }
    }
    found.retain(|text| text.contains("format = 1"));
    found
}

#[test]
fn it_is_a_schema_and_our_declarations_follow_it() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let (validator, mut all) = (validator(), declarations(&root().join("designs")));
    all.extend(declarations(&root().join("examples")));
    assert!(all.len() >= 6, "{} declarations", all.len());
    all.iter().for_each(|text| assert_eq!(faults(&validator, text), [""; 0], "{text}"));
}

/// Words, keys and types are for the schema; what depends on several places or on the disk is for `check` alone.
#[test]
fn it_refuses_what_it_can_see() {
    let (validator, folder) = (validator(), folder());
    let mut refused = 0;
    for file in files() {
        let told = text(mainstay(&folder, &["check", &file]).stderr);
        let visible = ["unknown key", "is no value of `", "` must be from ", "^ this is "];
        if !told.contains("not TOML") && visible.iter().any(|words| told.contains(words)) {
            let declaration = std::fs::read_to_string(folder.join(&file)).unwrap();
            assert!(!faults(&validator, &declaration).is_empty(), "the schema allows {file}: {told}");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused} of the corpus");
}

proptest! {
    /// The schema is never stricter than the reader.
    #[test]
    fn it_allows_what_the_reader_allows(text in prop_oneof![wild::site(), wild::mutant()]) {
        thread_local!(static VALIDATOR: Validator = validator());
        if parse(&text, &Anywhere).is_ok() {
            VALIDATOR.with(|validator| assert_eq!(faults(validator, &text), [""; 0], "{text}"));
        }
    }
}

/// What no key holds.
const WRONG: &str = "1979-05-27";

/// Inline TOML of the schema's shape in which one thing, each in turn, is [`WRONG`].
fn spoilt(schema: &Value) -> Vec<String> {
    let mut all = vec![WRONG.to_owned()];
    if let Some(properties) = schema["properties"].as_object() {
        for (key, inner) in properties {
            let beside = beside(schema, key);
            all.extend(spoilt(inner).iter().map(|value| format!("{{ {beside}{key} = {value} }}")));
        }
    } else if schema["additionalProperties"].is_object() {
        all.extend(spoilt(&schema["additionalProperties"]).iter().map(|value| format!("{{ x = {value} }}")));
    }
    if schema["items"].is_object() {
        all.extend(spoilt(&schema["items"]).iter().map(|value| format!("[{value}]")));
    }
    all.extend(schema["anyOf"].as_array().into_iter().flatten().flat_map(spoilt));
    all
}

/// The other keys that the table must have.
fn beside(schema: &Value, key: &str) -> String {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let one = |other: &str| {
        let (kind, property) = (&schema["properties"][other]["type"], &schema["properties"][other]);
        let value = match (kind.as_str(), property["enum"][0].as_str()) {
            (_, Some(word)) => format!("\"{word}\""),
            (Some("array"), _) => "[]".to_owned(),
            _ => "\"x\"".to_owned(),
        };
        format!("{other} = {value}, ")
    };
    required.filter(|other| *other != key).map(one).collect()
}

/// A key that nobody reads may hold anything: an operator would write it and believe in it.
#[test]
fn every_key_is_read() {
    let schema = schema();
    let mut tried = 0;
    for (key, inner) in schema["properties"].as_object().unwrap() {
        for value in spoilt(inner) {
            let text = format!("{key} = {value}\n");
            let mistakes = parse(&text, &Anywhere).unwrap_err();
            let told = mistakes.iter().any(|mistake| &text[mistake.span.clone()] == WRONG);
            assert!(told, "nobody read this: {text}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried} places");
}
