//! The command line's reference, and what is said to whom it misunderstood.

use crate::{mainstay, root, text};

#[test]
fn the_reference() {
    let whole = text(mainstay(&root(), &["--help"]).stdout);
    let verbs = whole.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A line that goes on has more spaces before it.
    let verbs = verbs.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let verbs: Vec<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() >= 10, "{verbs:?}");
    let mut all = format!("$ mainstay --help\n{whole}");
    for verb in verbs {
        let help = text(mainstay(&root(), &[verb, "--help"]).stdout);
        all += &format!("\n\n$ mainstay {verb} --help\n{help}");
        if verb == "db" {
            for below in ["status", "switchover", "failover", "rejoin", "backup", "restore", "verify"] {
                let help = text(mainstay(&root(), &[verb, below, "--help"]).stdout);
                all += &format!("\n\n$ mainstay {verb} {below} --help\n{help}");
            }
        }
    }
    snapshot("reference", &all);
}

#[test]
fn what_cannot_be_done() {
    let design = "designs/0-simple.toml";
    let tries: [&[&str]; 9] = [
        &["check"],
        &["check", "designs"],
        &["check", "crates/mainstay/tests/golden/help/not-text.toml"],
        &["chekc", design],
        &["check", "--deny", "spoof", design],
        &["plan", "--server", "web1", design],
        &["explain", "primry", design],
        &["draw", "--format", "png", design],
        &["logs"],
    ];
    let mut all = String::new();
    for arguments in tries {
        let output = mainstay(&root(), arguments);
        let code = output.status.code().unwrap();
        all += &format!("$ mainstay {}\n{}exit code {code}\n\n", arguments.join(" "), text(output.stderr));
    }
    snapshot("errors", &all);
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "help", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}
