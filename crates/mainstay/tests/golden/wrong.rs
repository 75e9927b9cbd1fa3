//! Every wrong declaration of the corpus and what is said of it.

use std::path::Path;

use crate::{INVALID, mainstay, text};

/// Fewer would mean that the corpus was not found.
const LEAST: usize = 60;

#[test]
fn every_mistake_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wrong");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() >= LEAST, "{} files", files.len());
    for file in files {
        let output = mainstay(&folder, &["check", &file]);
        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(INVALID), "{file}: {said}");
        assert!(said.contains(&format!("{file}:")), "{file}: no place in {said}");
        insta::with_settings!({ snapshot_path => "wrong", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(file.trim_end_matches(".toml"), said);
        });
    }
}
