//! What is wrong with a declaration, and where.

use std::ops::Range;

use serde::Serialize;

/// A mistake in the declaration. Spans are byte ranges of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
    /// What to write under the caret.
    pub label: String,
    /// Another place that has to do with it: the first of two equal addresses.
    pub also: Option<(Range<usize>, String)>,
    /// The next step.
    pub hint: Option<String>,
}

/// A place in a text as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` of `text`.
    pub fn of(text: &str, offset: usize) -> Place {
        let before = &text[..text.floor_char_boundary(offset)];
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line..].chars().count() + 1 }
    }
}

/// Collects mistakes: none ends the reading of a file.
#[derive(Default)]
pub(super) struct Errors(Vec<Diagnostic>);

impl Errors {
    /// Notes a mistake; what it gives back takes the details.
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.0.push(Diagnostic {
            message: message.into(),
            span: span.clone(),
            label: String::new(),
            also: None,
            hint: None,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        self.0
    }
}

impl Diagnostic {
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
        self
    }

    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn also(&mut self, span: &Range<usize>, label: impl Into<String>) -> &mut Self {
        self.also = Some((span.clone(), label.into()));
        self
    }
}

/// A hint for a word that is none of `known`: the nearest one, or all of them.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|is| (strsim::damerau_levenshtein(word, is), is)).min();
    match near {
        // Two slips of the finger, or a third of a longer word; further off it is a guess.
        Some((distance, nearest)) if distance <= 2.max(word.len() / 3) => format!("did you mean `{nearest}`?"),
        _ => format!("one of {}", list(known)),
    }
}

/// `a`, `b` or `c`
fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
