//! What must hold of every text, whatever it is: reading it never panics, each mistake has a place that can be shown, and
//! of what is found valid everything that follows is sound.

mod wild;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::declaration::{Anywhere, Diagnostic, Disk, parse};
use crate::findings::{findings, notices};
use crate::model::Site;
use crate::plan::tests::assert_sound;
use crate::{draw, explain};

/// A disk on which nothing is.
struct Nowhere;

impl Disk for Nowhere {
    fn is_folder(&self, _: &str) -> bool {
        false
    }
    fn is_file(&self, _: &str) -> bool {
        false
    }
}

fn assert_shown(text: &str, mistakes: &[Diagnostic]) {
    assert!(!mistakes.is_empty(), "refused without a reason");
    for mistake in mistakes {
        let spans = [Some(&mistake.span), mistake.also.as_ref().map(|(span, _)| span)];
        for span in spans.into_iter().flatten() {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {} bytes: {}", text.len(), mistake.message);
        }
        assert!(!mistake.message.is_empty());
    }
}

/// Everything that is told of a valid site can be told.
fn assert_told(site: &Site) {
    assert_sound(site);
    let told = serde_json::to_value((findings(site), notices(site), site)).unwrap();
    assert_eq!(serde_json::from_value::<Site>(told[2].clone()).unwrap(), *site, "a stored site is the same");
    for topic in explain::explain_all(site) {
        assert!(!topic.what.is_empty() && !topic.fails.is_empty(), "{}", topic.title);
    }
    let drawn = [draw::svg(site, None), draw::mermaid(site), draw::text(site)];
    for server in &site.servers {
        assert!(site.servers.len() > 4 || drawn[2].contains(server.name.as_str()), "{} in {}", server.name, drawn[2]);
    }
}

/// Tries `texts`; returns how many of them were valid.
fn try_all(cases: u32, texts: impl Strategy<Value = String>) -> u32 {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let valid = Cell::new(0);
    let tried = runner.run(&texts, |text| {
        if let Err(mistakes) = parse(&text, &Nowhere) {
            assert_shown(&text, &mistakes);
        }
        match parse(&text, &Anywhere) {
            Ok(site) => {
                valid.set(valid.get() + 1);
                assert_told(&site);
            }
            Err(mistakes) => assert_shown(&text, &mistakes),
        }
        Ok::<(), TestCaseError>(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    valid.get()
}

#[test]
fn any_text() {
    try_all(1000, any::<String>());
    try_all(1000, "[\\[\\]{}='\"\\\\a-c.#0-9 \n\té🦀]{0,40}");
}

#[test]
fn changed_designs() {
    let valid = try_all(1000, wild::mutant());
    assert!(valid > 100, "only {valid} of 1000 were valid");
}

#[test]
fn any_site() {
    let valid = try_all(1000, wild::site());
    assert!(valid > 100, "only {valid} of 1000 were valid");
}
