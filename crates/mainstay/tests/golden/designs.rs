//! The four designs as each verb tells them.

use crate::{DENIED, mainstay, root, text};

const DESIGNS: [&str; 4] = ["0-simple", "1-distributed", "2-secured", "3-scale-up"];

/// Runs a verb on every design and compares what it prints.
fn golden(verb: &[&str], name: &str) {
    for design in DESIGNS {
        let file = format!("designs/{design}.toml");
        let output = mainstay(&root(), &[verb, &[&file]].concat());
        assert!(output.status.success(), "{design}: {}", text(output.stderr));
        insta::with_settings!({ snapshot_path => "designs", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{design}.{name}"), without_release(text(output.stdout)));
        });
    }
}

#[test]
fn check() {
    golden(&["check"], "check");
    golden(&["check", "--json"], "check-json");
}

#[test]
fn check_can_deny_a_group() {
    let code =
        |design: &str| mainstay(&root(), &["check", "--deny", "spof", &format!("designs/{design}.toml")]).status.code();
    assert_eq!(code("1-distributed"), Some(DENIED));
    assert_eq!(code("3-scale-up"), Some(0));
}

#[test]
fn the_schema_is_stable() {
    insta::with_settings!({ snapshot_path => "designs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("schema", text(mainstay(&root(), &["schema"]).stdout));
    });
}

/// The release follows the codebase's contents; its place is golden, its number is not.
fn without_release(text: String) -> String {
    /// Hexadecimal digits of a release.
    const DIGITS: usize = 12;
    let mark = "releases/site-";
    match text.find(mark) {
        Some(at) => {
            let release = text[at + mark.len()..][..DIGITS].to_owned();
            text.replace(&release, "RELEASE")
        }
        None => text,
    }
}

#[test]
fn plan() {
    golden(&["plan"], "plan");
    golden(&["plan", "--json"], "plan-json");
}

/// The pictures are kept as files that can be looked at.
#[test]
fn draw() {
    golden(&["draw", "--format", "text"], "draw");
    for (format, ending) in [("svg", "svg"), ("mermaid", "mmd")] {
        for design in DESIGNS {
            let output = mainstay(&root(), &["draw", "--format", format, &format!("designs/{design}.toml")]);
            assert!(output.status.success(), "{design}: {}", text(output.stderr));
            insta::with_settings!({ snapshot_path => "designs", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_binary_snapshot!(&format!("{design}-{format}.{ending}"), output.stdout);
            });
        }
    }
}

/// The ending of the file says which format is meant.
#[test]
fn a_drawing_goes_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.svg");
    let output = mainstay(&root(), &["draw", "designs/0-simple.toml", "--output", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(output.stderr));
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("<svg "));
    let nowhere = folder.path().join("none/site.svg");
    let output = mainstay(&root(), &["draw", "designs/0-simple.toml", "-o", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("name another file with --output"));
}

#[test]
fn explain() {
    golden(&["explain"], "explain");
}

/// A server, a component that the design lacks, and a word that names nothing.
#[test]
fn explain_one() {
    let ask = |word: &str, design: &str| mainstay(&root(), &["explain", word, &format!("designs/{design}.toml")]);
    assert!(text(ask("lb1", "1-distributed").stdout).contains("As `balancer`: the site is down"));
    assert!(text(ask("monitor", "0-simple").stdout).contains("not in this design"));
    let unknown = ask("balansr", "0-simple");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(unknown.stderr).contains("did you mean `balancer`?"));
}
