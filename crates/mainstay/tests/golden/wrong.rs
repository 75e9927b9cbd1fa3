//! Every wrong declaration of the corpus and what is said of it.

use std::path::{Path, PathBuf};

use crate::{INVALID, mainstay, text};

/// Fewer would mean that the corpus was not found.
const LEAST: usize = 60;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wrong")
}

pub fn files() -> Vec<String> {
    let folder = folder();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() >= LEAST, "{} files", files.len());
    files
}

#[test]
fn every_mistake_is_explained() {
    let folder = folder();
    for file in files() {
        let output = mainstay(&folder, &["check", &file]);
        let said = text(output.stderr);
        assert_eq!(output.status.code(), Some(INVALID), "{file}: {said}");
        assert!(said.contains(&format!("{file}:")), "{file}: no place in {said}");
        insta::with_settings!({ snapshot_path => "wrong", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(file.trim_end_matches(".toml"), said);
        });
    }
}

/// As data, the same mistakes at the same places as in the text.
#[test]
fn every_mistake_is_data() {
    let folder = folder();
    for file in files() {
        let (told, data) = (mainstay(&folder, &["check", &file]), mainstay(&folder, &["check", "--json", &file]));
        assert_eq!((data.status.code(), text(data.stderr)), (Some(INVALID), String::new()), "{file}");
        let data: serde_json::Value = serde_json::from_slice(&data.stdout).unwrap();
        let of =
            |mistake: &serde_json::Value| format!("{file}:{}:{}", mistake["from"]["line"], mistake["from"]["column"]);
        let data: Vec<String> = data["mistakes"].as_array().unwrap().iter().map(of).collect();
        let told = text(told.stderr);
        let told: Vec<&str> = told.lines().filter_map(|line| line.split_once("--> ")).map(|(_, place)| place).collect();
        assert_eq!(data, told);
    }
}
