//! Typed access to a table of the file. Whatever is wrong is noted, and reading goes on.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Errors, did_you_mean};
use super::keys::{Key, Kind};

pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A text, or a table in its place.
pub(super) enum TextOr<'a> {
    Text(At<String>),
    Section(Section<'a>),
}

/// A table whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    keys: &'static [Key],
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'a> Section<'a> {
    /// Opens a table: keys that nobody knows and keys that are missing are noted.
    pub(super) fn open(
        table: &'a DeTable<'a>,
        span: &Span,
        name: &str,
        keys: &'static [Key],
        errors: &mut Errors,
    ) -> Section<'a> {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        for key in table.keys().filter(|key| !names.contains(&key.get_ref().as_ref())) {
            errors
                .add(&key.span(), format!("unknown key `{}` in {name}", key.get_ref()))
                .label("not a key of this table")
                .hint(did_you_mean(key.get_ref(), &names));
        }
        for key in keys.iter().filter(|key| !table.contains_key(key.name)) {
            let Some(example) = key.example else { continue };
            errors
                .add(span, format!("{name} has no `{}`", key.name))
                .label(format!("`{}` is missing", key.name))
                .hint(format!("for example {example}"));
        }
        Section { table, keys }
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.keys.iter().any(|key| key.name == name), "`{name}` is in the list of keys");
        self.table.get(name)
    }

    fn wanted(name: &str, wanted: &str, value: &Spanned<DeValue<'_>>, errors: &mut Errors) {
        let is = kind_of(value.get_ref());
        errors.add(&value.span(), format!("`{name}` must be {wanted}, not {is}")).label(format!("this is {is}"));
    }

    /// A table within.
    pub(super) fn section(&self, name: &str, label: &str, errors: &mut Errors) -> Option<(Section<'a>, Span)> {
        let value = self.value(name)?;
        let Kind::Keys(keys) = self.kind(name) else { return None };
        match value.get_ref() {
            DeValue::Table(table) => Some((Section::open(table, &value.span(), label, keys, errors), value.span())),
            _ => {
                Self::wanted(name, "a table", value, errors);
                None
            }
        }
    }

    /// What is in the table `name`, in the order of the file; nothing if it is none, which is said as `wanted`.
    fn entries(&self, name: &str, wanted: &str, errors: &mut Errors) -> Vec<(At<String>, &'a Spanned<DeValue<'a>>)> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            Self::wanted(name, wanted, value, errors);
            return Vec::new();
        };
        let entries = table.iter();
        entries.map(|(key, value)| (At { value: key.get_ref().to_string(), span: key.span() }, value)).collect()
    }

    /// The named tables within, in the order of the file.
    pub(super) fn named(&self, name: &str, errors: &mut Errors) -> Vec<(At<String>, Section<'a>)> {
        let Kind::Named(keys) = self.kind(name) else { return Vec::new() };
        let mut found = Vec::new();
        for (at, value) in self.entries(name, "a table", errors) {
            match value.get_ref() {
                DeValue::Table(table) => {
                    let label = format!("[{name}.{}]", at.value);
                    found.push((at.clone(), Section::open(table, &at.span, &label, keys, errors)));
                }
                _ => Self::wanted(&at.value, "a table", value, errors),
            }
        }
        found.sort_by_key(|(at, _)| at.span.start);
        found
    }

    /// A list of tables.
    pub(super) fn list(&self, name: &str, label: &str, errors: &mut Errors) -> Vec<(Section<'a>, Span)> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Kind::List(keys) = self.kind(name) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            Self::wanted(name, "a list of tables", value, errors);
            return Vec::new();
        };
        let mut found = Vec::new();
        for value in array.iter() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    found.push((Section::open(table, &value.span(), label, keys, errors), value.span()));
                }
                _ => Self::wanted(name, "a list of tables", value, errors),
            }
        }
        found
    }

    fn kind(&self, name: &str) -> Kind {
        self.keys.iter().find(|key| key.name == name).map_or(Kind::Text, |key| key.kind)
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &str, errors: &mut Errors) -> Option<At<String>> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                errors.add(&value.span(), format!("`{name}` is empty")).label("write something, or leave the key out");
                None
            }
            // Neither a path, an argument nor a name can hold one (execve(2), path_resolution(7)).
            DeValue::String(text) if text.contains('\0') => {
                errors.add(&value.span(), format!("`{name}` holds a NUL")).label("cut it out");
                None
            }
            DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
            _ => {
                Self::wanted(name, "text", value, errors);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str, errors: &mut Errors) -> Option<At<bool>> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At { value: *flag, span: value.span() }),
            _ => {
                Self::wanted(name, "true or false", value, errors);
                None
            }
        }
    }

    /// A whole number within the key's bounds.
    pub(super) fn count(&self, name: &str, errors: &mut Errors) -> Option<At<u64>> {
        let value = self.value(name)?;
        let Kind::Count { least, most } = self.kind(name) else { return None };
        let DeValue::Integer(integer) = value.get_ref() else {
            Self::wanted(name, "a whole number", value, errors);
            return None;
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if (least..=most).contains(&number) => Some(At { value: number, span: value.span() }),
            _ => {
                errors
                    .add(&value.span(), format!("`{name}` must be from {least} to {most}"))
                    .label(format!("{integer} is outside"));
                None
            }
        }
    }

    /// One of the key's words.
    pub(super) fn word(&self, name: &str, errors: &mut Errors) -> Option<At<&'static str>> {
        let (Kind::Word(words) | Kind::WordOr(words, _)) = self.kind(name) else { return None };
        let at = self.text(name, errors)?;
        Self::known(name, &at, words, errors)
    }

    fn known(
        name: &str,
        at: &At<String>,
        words: &'static [&'static str],
        errors: &mut Errors,
    ) -> Option<At<&'static str>> {
        let found = words.iter().find(|word| **word == at.value);
        if found.is_none() {
            errors
                .add(&at.span, format!("`{}` is no value of `{name}`", at.value))
                .label("not one of the allowed words")
                .hint(did_you_mean(&at.value, words));
        }
        found.map(|word| At { value: *word, span: at.span.clone() })
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str, errors: &mut Errors) -> Option<At<Vec<At<String>>>> {
        let value = self.value(name)?;
        let DeValue::Array(array) = value.get_ref() else {
            Self::wanted(name, "a list of texts", value, errors);
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(At { value: text.to_string(), span: item.span() }),
                _ => Self::wanted(name, "a list of texts", item, errors),
            }
        }
        Some(At { value: texts, span: value.span() })
    }

    /// A list of the key's words.
    pub(super) fn words(&self, name: &str, errors: &mut Errors) -> Option<At<Vec<At<&'static str>>>> {
        let Kind::Words(words) = self.kind(name) else { return None };
        let texts = self.texts(name, errors)?;
        let value = texts.value.iter().filter_map(|at| Self::known(name, at, words, errors)).collect();
        Some(At { value, span: texts.span })
    }

    /// A table of texts: key, value.
    pub(super) fn text_map(&self, name: &str, errors: &mut Errors) -> Vec<(At<String>, At<String>)> {
        let mut found = Vec::new();
        for (at, value) in self.entries(name, "a table of texts", errors) {
            match value.get_ref() {
                DeValue::String(text) => found.push((at, At { value: text.to_string(), span: value.span() })),
                _ => Self::wanted(&at.value, "text", value, errors),
            }
        }
        found
    }

    /// A table of texts or tables: key, value.
    pub(super) fn text_or_section_map(&self, name: &str, errors: &mut Errors) -> Vec<(At<String>, TextOr<'a>)> {
        let Kind::TextOrKeysMap(keys) = self.kind(name) else { return Vec::new() };
        let mut found = Vec::new();
        for (at, value) in self.entries(name, "a table", errors) {
            let read = match value.get_ref() {
                DeValue::String(text) => TextOr::Text(At { value: text.to_string(), span: value.span() }),
                DeValue::Table(table) => {
                    TextOr::Section(Section::open(table, &value.span(), &format!("`{}`", at.value), keys, errors))
                }
                _ => {
                    Self::wanted(&at.value, "text or a table", value, errors);
                    continue;
                }
            };
            found.push((at, read));
        }
        found
    }
}
